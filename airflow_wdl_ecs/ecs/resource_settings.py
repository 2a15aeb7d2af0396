"""What a deployment gives its tasks: defaults, limits, images, GPUs, placement and disks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .placement_settings import PlacementSettings
from .setting import setting


@dataclass(frozen=True)
class ResourceSettings(PlacementSettings):
    """The part of `settings.EcsSettings` that says what a task is given for what it asks."""

    image: str = setting(
        "", "text", "Image for tasks whose runtime section names none.", example="public.ecr.aws/debian/debian:12-slim"
    )
    cpu: float = setting(1.0, "number", "vCPUs for tasks that ask for none.", example="2")
    memory: int = setting(2048, "integer", "MiB of memory for tasks that ask for none.", example="4096")
    disk: int = setting(0, "integer", "GiB of disk for tasks that ask for none; 0 for Fargate's own 20.", example="100")
    time_limit: float = setting(
        0.0,
        "number",
        "Minutes after which a command is stopped if its task does not say `time_minutes`; 0 for never.",
        example="2880",
    )
    time_limits: bool = setting(
        True, "flag", "Stop the command of a task that says `time_minutes` when they are over.", example="false"
    )
    max_cpu: float = setting(
        0.0, "number", "vCPUs that a task may ask for; one that asks for more fails. 0 for no limit.", example="64"
    )
    max_memory: int = setting(
        0,
        "integer",
        "MiB of memory that a task may ask for, also after it ran out of it; 0 for no limit.",
        example="262144",
    )
    max_disk: int = setting(0, "integer", "GiB of disk that a task may ask for; 0 for no limit.", example="2000")
    max_gpu: int = setting(0, "integer", "GPUs that a task may ask for; 0 for no limit.", example="4")
    max_time: float = setting(
        0.0,
        "number",
        "Minutes after which any command is stopped, also one whose task asks for more; 0 for no limit.",
        example="4320",
    )
    measure_usage: bool = setting(
        True,
        "flag",
        "Measure the memory and CPU time that commands use, to be told beside what they asked for.",
        example="false",
    )
    cpu_architecture: str = setting(
        "X86_64", "text", "CPU architecture of the images.", example="ARM64", choices=("X86_64", "ARM64")
    )
    image_mirrors: Mapping[str, str] = setting(
        {},
        "pairs",
        "Where images of a registry are pulled from instead, such as the namespace of an ECR pull-through cache. "
        "Docker Hub is docker.io; ubuntu becomes library/ubuntu.",
        example="docker.io=123456789012.dkr.ecr.eu-west-1.amazonaws.com/docker-hub",
    )
    registry_credentials: Mapping[str, str] = setting(
        {},
        "pairs",
        "Secrets of AWS Secrets Manager with the credentials of private registries outside ECR, by registry.",
        example="registry.example.org=arn:aws:secretsmanager:eu-west-1:123456789012:secret:pull-a1b2c3",
    )
    gpu_types: Mapping[str, str] = setting(
        {},
        "pairs",
        "Instance types for a `gpuType` on EC2, beside and before those that are known: patterns, separated by |; "
        "* for any instance.",
        example="nvidia-tesla-p100=g5.*|g6.*",
    )
    placement_constraints: tuple[str, ...] = setting(
        (),
        "list",
        "Placement constraints of tasks on EC2: distinctInstance, or expressions of ECS's cluster query language; "
        "as a JSON list if one has a comma.",
        example="attribute:ecs.instance-type =~ r6i.*",
    )
    placement_strategies: tuple[str, ...] = setting(
        (),
        "list",
        "Placement strategies of tasks on EC2, in order: random, binpack:FIELD, spread:FIELD.",
        example="spread:attribute:ecs.availability-zone, binpack:memory",
    )
    ebs_role_arn: str = setting(
        "",
        "text",
        "IAM role with which ECS makes EBS volumes for large disks, one for a task; without it there are none.",
        example="arn:aws:iam::123456789012:role/ecsInfrastructureRole",
    )
    ebs_from: int = setting(
        0,
        "integer",
        "GiB from which a disk is an EBS volume; 0 for every disk that is asked for on EC2, and on Fargate for those "
        "that are larger than its own can be.",
        example="100",
    )
    ebs_volume_type: str = setting(
        "gp3",
        "text",
        "Type of the EBS volumes.",
        example="io2",
        choices=("gp2", "gp3", "io1", "io2", "st1", "sc1"),
    )
    ebs_iops: int = setting(
        0, "integer", "IOPS of the EBS volumes; 0 for the default of gp3. io1 and io2 need it.", example="6000"
    )
    ebs_throughput: int = setting(0, "integer", "MiB/s of the EBS volumes, for gp3; 0 for its default.", example="500")
    ebs_kms_key: str = setting(
        "",
        "text",
        "KMS key of the EBS volumes, which are always encrypted; empty for the account's default key.",
        example="arn:aws:kms:eu-west-1:123456789012:key/1a2b3c4d-0000-0000-0000-000000000000",
    )
