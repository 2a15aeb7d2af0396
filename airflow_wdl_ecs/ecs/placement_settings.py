"""Where a deployment runs its ECS tasks: credentials, cluster, capacity, network, roles and the staging containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True)
class PlacementSettings:
    """The part of `settings.EcsSettings` that says where tasks run, and with which permissions."""

    aws_conn_id: str | None = setting(
        "aws_default",
        "text",
        "Airflow connection with the AWS credentials; without such a connection, boto3's own chain is used.",
        example="aws_genomics",
    )
    region: str | None = setting(
        None, "text", "AWS region of the cluster; empty for the connection's own.", example="eu-west-1"
    )
    cluster: str = setting("", "text", "Name or ARN of the ECS cluster that runs the tasks.", example="genomics")
    workspace: str = setting(
        "",
        "text",
        "Where runs keep their files, commands, logs and outputs in S3.",
        example="s3://my-bucket/wdl",
    )
    launch_type: str = setting(
        "FARGATE",
        "text",
        "How tasks are launched where no capacity provider is set.",
        example="EC2",
        choices=("FARGATE", "EC2"),
    )
    capacity_providers: tuple[str, ...] = setting(
        (),
        "list",
        "Capacity provider strategy instead of the launch type: names, each with an optional :weight and :base.",
        example="FARGATE:1:2, FARGATE_SPOT:4",
    )
    spot_capacity_providers: tuple[str, ...] = setting(
        (),
        "list",
        "Capacity provider strategy for the attempts of calls that set `preemptible`; empty to run them like others.",
        example="FARGATE_SPOT",
    )
    subnets: tuple[str, ...] = setting(
        (),
        "list",
        "Subnets of the tasks, by id. Fargate needs at least one; EC2 without one uses the bridge network.",
        example="subnet-0a1b2c3d, subnet-4e5f6a7b",
    )
    security_groups: tuple[str, ...] = setting(
        (), "list", "Security groups of the tasks, by id; empty for the VPC's default one.", example="sg-0a1b2c3d"
    )
    assign_public_ip: bool = setting(
        False, "flag", "Give Fargate tasks a public IP address, where their subnet has no NAT gateway.", example="true"
    )
    task_role_arn: str = setting(
        "",
        "text",
        "IAM role of the task: reads the inputs and writes the workspace in S3.",
        example="arn:aws:iam::123456789012:role/wdl-task",
    )
    execution_role_arn: str = setting(
        "",
        "text",
        "IAM role with which ECS pulls the images and writes the logs.",
        example="arn:aws:iam::123456789012:role/wdl-execution",
    )
    log_group: str = setting("", "text", "CloudWatch log group of the containers; it must exist.", example="/wdl")
    staging_image: str = setting(
        "public.ecr.aws/aws-cli/aws-cli:2.27.50",
        "text",
        "Image of the containers that move files between S3 and the task; needs bash, coreutils and the staging tool.",
        example="123456789012.dkr.ecr.eu-west-1.amazonaws.com/aws-cli:2.27.50",
    )
    staging_tool: str = setting(
        "aws", "text", "The tool in the staging image that moves files.", example="s5cmd", choices=("aws", "s5cmd")
    )
    container_root: str = setting(
        "/wdl", "text", "Absolute folder in the containers under which every attempt has its own.", example="/scratch"
    )
    mounts: Mapping[str, str] = setting(
        {},
        "pairs",
        "Shared file systems with reference data, by their path in the command's container: "
        "efs://fs-ID/folder?access_point=fsap-ID&iam=true, or on EC2 host:///folder. Files on them are not staged. "
        "Read-only, unless with write=true.",
        example="/refs=efs://fs-0a1b2c3d/genomes, /scratch=host:///mnt/fsx?write=true",
    )
