"""What ECS gives a task for the `Resources` that it asks for (pure).

They become a `TaskSize` that Fargate permits, or that an EC2 cluster takes as it is, within the deployment's limits;
what cannot be had is an error that says what could. This module knows no API and evaluates nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import EvaluationError
from ..task import Resources
from .attributes import Policy
from .settings import EcsSettings, how_to_set

FARGATE: tuple[tuple[int, tuple[int, ...]], ...] = (
    (256, (512, 1024, 2048)),
    (512, tuple(range(1024, 4096 + 1, 1024))),
    (1024, tuple(range(2048, 8192 + 1, 1024))),
    (2048, tuple(range(4096, 16384 + 1, 1024))),
    (4096, tuple(range(8192, 30720 + 1, 1024))),
    (8192, tuple(range(16384, 61440 + 1, 4096))),
    (16384, tuple(range(32768, 122880 + 1, 8192))),
)
"""CPU units and the MiB of memory that go with them (Fargate developer guide, "Task CPU and memory")."""

_MOST_MEMORY = 64 * 1024 * 1024
"""MiB beyond which no machine goes, so that a large factor remains a number."""

_FARGATE_DISK = (21, 200)
"""GiB of ephemeral storage that may be asked for; what is not asked for is 20."""

_MOST_CPU = 192 * 1024
"""CPU units of a task on EC2 (Amazon ECS API reference, "TaskOverride")."""

_EBS = {"gp2": 1, "gp3": 1, "io1": 4, "io2": 4, "st1": 125, "sc1": 125}
"""GiB that a volume of a type has at least (Amazon ECS API reference, "TaskManagedEBSVolumeConfiguration")."""

_MOST_EBS = 16384

GPU_TYPES: dict[str, str] = {
    "nvidia-tesla-k80": "p2.*",
    "nvidia-tesla-v100": "p3.*",
    "nvidia-tesla-t4": "g4dn.*",
    "nvidia-tesla-a10g": "g5.*",
    "nvidia-a10g": "g5.*",
    "nvidia-tesla-t4-a10g": "g4dn.*|g5.*",
    "nvidia-l4": "g6.*",
    "nvidia-l4-a10g": "g5.*|g6.*",
    "nvidia-t4-a10g-l4": "g4dn.*|g5.*|g6.*",
    "nvidia-l40s": "g6e.*",
    "nvidia-tesla-a100": "p4d.*",
    "nvidia-a100-80gb": "p4de.*",
    "nvidia-h100-80gb": "p5.*",
}
"""The instance types that have a GPU, by its name in ``gpuType`` or ``acceleratorType``; patterns, separated by |."""


@dataclass(frozen=True)
class TaskSize:
    """What an ECS task is given.

    :param cpu: CPU units, 1024 to a vCPU. :param memory: MiB.
    :param disk: GiB of ephemeral storage; None for what the platform gives.
    :param ebs: GiB of an EBS volume of its own; 0 for none.
    :param instances: patterns of the EC2 instance types that will do; none for any.
    """

    cpu: int
    memory: int
    disk: int | None = None
    gpu: int = 0
    ebs: int = 0
    instances: tuple[str, ...] = ()

    def __str__(self) -> str:
        disk = f", {self.disk} GiB disk" if self.disk else f", {self.ebs} GiB EBS volume" if self.ebs else ""
        gpu = f", {self.gpu} GPU" if self.gpu else ""
        where = f" on {' or '.join(self.instances)}" if self.instances else ""
        return f"{self.cpu / 1024:g} vCPU, {self.memory} MiB{disk}{gpu}{where}"


def size_of(asked: Resources, settings: EcsSettings) -> TaskSize:
    """What ECS gives: on Fargate the smallest permitted size that is enough, elsewhere what was asked for.

    :raises EvaluationError: if nothing that there is, or that the deployment allows, is enough.
    """
    cpu = math.ceil((asked.cpu or settings.cpu) * 1024)
    memory = asked.memory or settings.memory
    wanted = math.ceil(asked.disk / 1024) if asked.disk else settings.disk
    _check_limits(cpu, memory, wanted, asked.gpu, settings)
    disk, ebs = _disk(wanted, settings)
    if not settings.fargate:
        if cpu > _MOST_CPU:
            raise EvaluationError(
                f"the task asks for {cpu / 1024:g} vCPU, and ECS gives {_MOST_CPU // 1024} at most", hint="ask for less"
            )
        # An EC2 task takes 0.125 vCPUs at least; memory below 6 MiB is refused by Docker.
        instances = _instances(asked.gpu_type, settings) if asked.gpu else ()
        return TaskSize(max(cpu, 128), max(memory, 6), gpu=asked.gpu, ebs=ebs, instances=instances)
    if asked.gpu:
        raise EvaluationError(
            "the task asks for a GPU, and Fargate has none", hint="run it on an EC2 cluster (launch_type = EC2)"
        )
    pair = fargate_pair(cpu, memory)
    if pair is None:
        raise EvaluationError(
            f"the task asks for {cpu / 1024:g} vCPU and {memory} MiB, and Fargate gives 16 and 122880 at most",
            hint="ask for less, or run it on an EC2 cluster (launch_type = EC2)",
        )
    return TaskSize(*pair, disk=disk, ebs=ebs)


def _check_limits(cpu: int, memory: int, disk: int, gpu: int, settings: EcsSettings) -> None:
    """:raises EvaluationError: naming the setting that forbids so much."""
    limits = (
        ("max_cpu", cpu / 1024, settings.max_cpu, "vCPU"),
        ("max_memory", memory, settings.max_memory, "MiB of memory"),
        ("max_disk", disk, settings.max_disk, "GiB of disk"),
        ("max_gpu", gpu, settings.max_gpu, "GPUs"),
    )
    for name, wanted, most, unit in limits:
        if 0 < most < wanted:
            raise EvaluationError(
                f"the task asks for {wanted:g} {unit}, and this deployment gives {most:g} at most",
                hint=f"ask for less; a deployer may raise {how_to_set(name)}",
            )


def _disk(wanted: int, settings: EcsSettings) -> tuple[int | None, int]:
    """GiB of ephemeral storage, None for the platform's own; and of an EBS volume, 0 for none."""
    most = _FARGATE_DISK[1] if settings.fargate else 0
    if settings.ebs_role_arn and wanted and wanted >= (settings.ebs_from or most + 1):
        if wanted > _MOST_EBS:
            raise EvaluationError(
                f"the task asks for {wanted} GiB of disk, and an EBS volume has {_MOST_EBS} at most",
                hint="ask for less in `disks`",
            )
        return None, max(wanted, _EBS.get(settings.ebs_volume_type, 1))
    if not settings.fargate:
        return None, 0
    if wanted > most:
        raise EvaluationError(
            f"the task asks for {wanted} GiB of disk, and Fargate gives {most} at most",
            hint="ask for less in `disks`, have EBS volumes made for large disks (the setting ebs_role_arn), or run it "
            "on an EC2 cluster (launch_type = EC2)",
        )
    return (wanted if wanted >= _FARGATE_DISK[0] else None), 0


def _instances(gpu_type: str, settings: EcsSettings) -> tuple[str, ...]:
    """Patterns of the instance types with such GPUs; none for any.

    :raises EvaluationError: if it is not known which have them.
    """
    known = {**GPU_TYPES, **settings.gpu_types}
    if not gpu_type:
        return ()
    if gpu_type not in known:
        raise EvaluationError(
            f"the task asks for GPUs of the type {gpu_type}, and it is not known which instances have them",
            hint=f"known are {', '.join(sorted(known))}; a deployer names others in {how_to_set('gpu_types')}",
        )
    patterns = tuple(part.strip() for part in known[gpu_type].split("|") if part.strip())
    return () if "*" in patterns else patterns


def fargate_pair(cpu: int, memory: int) -> tuple[int, int] | None:
    """The smallest permitted CPU units and MiB that are at least these, or None if there are none."""
    for units, sizes in FARGATE:
        if units >= cpu and sizes[-1] >= memory:
            return units, next(size for size in sizes if size >= memory)
    return None


def more_memory(given: int, policy: Policy, settings: EcsSettings) -> int:
    """MiB to ask for after a task with this much ran out of memory.

    :return: what it had if there is to be no more: by ``out_of_memory_limit`` or ``max_memory``, by the task's own
        limit, or because Fargate has no more.
    """
    factor = settings.out_of_memory_factor if policy.memory_factor is None else policy.memory_factor
    own = (settings.out_of_memory_limit, settings.max_memory, policy.memory_limit)
    limits = [*own, FARGATE[-1][1][-1] if settings.fargate else 0]
    wanted = min(given * factor, *(limit for limit in limits if limit), _MOST_MEMORY)
    return max(math.ceil(wanted), given)


def with_time_limit(policy: Policy, settings: EcsSettings) -> Policy:
    """A task's policy with the time limit that holds for it here: its own or the deployment's, and never beyond
    ``max_time``.
    """
    limit, source = (policy.time_limit, policy.time_source) if settings.time_limits else (0, "")
    if not limit and not policy.time_limit:
        limit, source = math.ceil(settings.time_limit * 60), "the setting time_limit"
    most = math.ceil(settings.max_time * 60)
    if most and (not limit or limit > most):
        limit, source = most, "the setting max_time"
    return replace(policy, time_limit=limit, time_source=source if limit else "")


def rounding(asked: Resources, given: TaskSize, settings: EcsSettings) -> str:
    """Why more is given than was asked for, in words; empty if it is not."""
    reasons = []
    cpu = math.ceil((asked.cpu or settings.cpu) * 1024)
    memory = asked.memory or settings.memory
    if (given.cpu, given.memory) != (cpu, memory):
        if settings.fargate:
            sizes = dict(FARGATE)[given.cpu]
            reasons.append(f"Fargate gives {given.cpu / 1024:g} vCPU with {sizes[0]} to {sizes[-1]} MiB")
        else:
            reasons.append("ECS takes no less than 0.125 vCPU and 6 MiB")
    if given.ebs > math.ceil(asked.disk / 1024) > 0:
        reasons.append(f"an EBS volume of the type {settings.ebs_volume_type} has {given.ebs} GiB at least")
    if asked.disk and given.disk is None and not given.ebs:
        reasons.append(
            "20 GiB of disk are there in any case" if settings.fargate else "the disk is the EC2 instance's own"
        )
    return "; ".join(reasons)


def describe(asked: Resources) -> str:
    """What was asked for, in words."""
    parts: Iterable[str] = (
        f"{asked.cpu:g} vCPU" if asked.cpu else "default vCPU",
        f"{asked.memory} MiB" if asked.memory else "default memory",
        f"{asked.disk / 1024:g} GiB disk" if asked.disk else "",
        f"{asked.gpu} GPU{f' ({asked.gpu_type})' if asked.gpu_type else ''}" if asked.gpu else "",
    )
    return ", ".join(part for part in parts if part)
