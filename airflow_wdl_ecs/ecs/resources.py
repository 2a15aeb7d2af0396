"""What a task's runtime section asks for, and what ECS gives for it (pure).

A task's evaluated ``runtime`` (or ``requirements``) becomes `Resources` and `Policy`; `Resources` become a `TaskSize`
that Fargate permits, or that an EC2 cluster takes as it is. Attributes of other engines are named, so that the log
can say that they do nothing here. This module knows no API and evaluates nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import EvaluationError
from ..task import Resources
from .settings import EcsSettings

_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(?:([KMGTP]?)(i?)B?)?\s*", re.IGNORECASE)

_FARGATE: tuple[tuple[int, tuple[int, ...]], ...] = (
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

_SIZES = ("cpu", "memory", "disks", "disk", "bootDiskSizeGb", "gpu", "gpuCount", "docker", "container")
_RETRIES = ("maxRetries", "max_retries", "preemptible")
_MEMORY = ("memory_retry_multiplier", "memoryRetryMultiplier", "max_memory", "maxMemory")
_POLICIES = (*_RETRIES, *_MEMORY, "returnCodes", "return_codes", "continueOnReturnCode")
_UNDERSTOOD = frozenset((*_SIZES, *_POLICIES))


@dataclass(frozen=True)
class Policy:
    """When a task has succeeded, and how often it may be tried.

    :param success: the exit codes of success; None for any.
    :param max_retries: fresh attempts after the command failed.
    :param preemptible: attempts that may run on capacity that can be taken away.
    :param memory_factor: by how much the memory grows after it ran out; None for the deployment's factor.
    :param memory_limit: MiB up to which it grows; 0 for no limit of the task's own.
    """

    success: tuple[int, ...] | None = (0,)
    max_retries: int = 0
    preemptible: int = 0
    memory_factor: float | None = None
    memory_limit: int = 0

    def succeeded(self, exit_code: int) -> bool:
        """Whether this exit code is a success."""
        return self.success is None or exit_code in self.success


@dataclass(frozen=True)
class TaskSize:
    """What an ECS task is given.

    :param cpu: CPU units, 1024 to a vCPU. :param memory: MiB.
    :param disk: GiB of ephemeral storage; None for what the platform gives.
    """

    cpu: int
    memory: int
    disk: int | None = None
    gpu: int = 0

    def __str__(self) -> str:
        disk = f", {self.disk} GiB disk" if self.disk else ""
        gpu = f", {self.gpu} GPU" if self.gpu else ""
        return f"{self.cpu / 1024:g} vCPU, {self.memory} MiB{disk}{gpu}"


def resources_of(runtime: Mapping[str, Any]) -> Resources:
    """What a runtime section asks for (WDL 1.1 "Runtime", 1.2 "Requirements").

    ``disks`` may be the specification's forms or Cromwell's ``local-disk 100 SSD``; several disks are added up.

    :raises EvaluationError: for a value that cannot be read; it names the attribute.
    """
    disk = _disks(runtime["disks"] if runtime.get("disks") is not None else runtime.get("disk"))
    boot = runtime.get("bootDiskSizeGb")
    if boot is not None:
        disk += _number("bootDiskSizeGb", boot) * 1024
    return Resources(
        cpu=_number("cpu", runtime["cpu"]) if runtime.get("cpu") is not None else 0,
        memory=_mebibytes("memory", runtime["memory"], unit=1) if runtime.get("memory") is not None else 0,
        disk=math.ceil(disk),
        gpu=_gpus(runtime),
    )


def policy_of(runtime: Mapping[str, Any]) -> Policy:
    """The retries and exit codes of success that a runtime section asks for; Cromwell's names too.

    The attribute, or hint, ``memory_retry_multiplier`` is this package's; it has the name of Cromwell's option. The
    hint ``max_memory`` is the specification's (WDL 1.2 "Reserved Task Hints").

    :raises EvaluationError: for a value that cannot be read; it names the attribute.
    """
    return Policy(
        success=_success(runtime),
        max_retries=_whole(runtime, "max_retries", "maxRetries"),
        preemptible=_whole(runtime, "preemptible"),
        memory_factor=_factor(runtime, "memory_retry_multiplier", "memoryRetryMultiplier"),
        memory_limit=next((_mebibytes(n, runtime[n], unit=1) for n in _MEMORY[2:] if runtime.get(n) is not None), 0),
    )


def ignored_attributes(runtime: Mapping[str, Any]) -> tuple[str, ...]:
    """The attributes that do nothing here: those of other engines."""
    return tuple(name for name in runtime if name not in _UNDERSTOOD)


def size_of(asked: Resources, settings: EcsSettings) -> TaskSize:
    """What ECS gives: on Fargate the smallest permitted size that is enough, elsewhere what was asked for.

    :raises EvaluationError: if nothing that Fargate has is enough.
    """
    cpu = math.ceil((asked.cpu or settings.cpu) * 1024)
    memory = asked.memory or settings.memory
    disk = math.ceil(asked.disk / 1024) if asked.disk else settings.disk
    if not settings.fargate:
        # An EC2 task takes 0.125 to 192 vCPUs; memory below 6 MiB is refused by Docker.
        return TaskSize(cpu=max(cpu, 128), memory=max(memory, 6), gpu=asked.gpu)
    if asked.gpu:
        raise EvaluationError(
            "the task asks for a GPU, and Fargate has none", hint="run it on an EC2 cluster (launch_type = EC2)"
        )
    if disk > _FARGATE_DISK[1]:
        raise EvaluationError(
            f"the task asks for {disk} GiB of disk, and Fargate gives {_FARGATE_DISK[1]} at most",
            hint="ask for less in `disks`, or run it on an EC2 cluster (launch_type = EC2)",
        )
    pair = fargate_pair(cpu, memory)
    if pair is None:
        raise EvaluationError(
            f"the task asks for {cpu / 1024:g} vCPU and {memory} MiB, and Fargate gives 16 and 122880 at most",
            hint="ask for less, or run it on an EC2 cluster (launch_type = EC2)",
        )
    return TaskSize(*pair, disk=disk if disk >= _FARGATE_DISK[0] else None)


def fargate_pair(cpu: int, memory: int) -> tuple[int, int] | None:
    """The smallest permitted CPU units and MiB that are at least these, or None if there are none."""
    for units, sizes in _FARGATE:
        if units >= cpu and sizes[-1] >= memory:
            return units, next(size for size in sizes if size >= memory)
    return None


def more_memory(given: int, policy: Policy, settings: EcsSettings) -> int:
    """MiB to ask for after a task with this much ran out of memory.

    :return: what it had if there is to be no more: by ``out_of_memory_limit``, by the task's own limit, or because
        Fargate has no more.
    """
    factor = settings.out_of_memory_factor if policy.memory_factor is None else policy.memory_factor
    limits = [settings.out_of_memory_limit, policy.memory_limit, _FARGATE[-1][1][-1] if settings.fargate else 0]
    wanted = min(given * factor, *(limit for limit in limits if limit), _MOST_MEMORY)
    return max(math.ceil(wanted), given)


def rounding(asked: Resources, given: TaskSize, settings: EcsSettings) -> str:
    """Why more is given than was asked for, in words; empty if it is not."""
    reasons = []
    cpu = math.ceil((asked.cpu or settings.cpu) * 1024)
    memory = asked.memory or settings.memory
    if (given.cpu, given.memory) != (cpu, memory):
        if settings.fargate:
            sizes = dict(_FARGATE)[given.cpu]
            reasons.append(f"Fargate gives {given.cpu / 1024:g} vCPU with {sizes[0]} to {sizes[-1]} MiB")
        else:
            reasons.append("ECS takes no less than 0.125 vCPU and 6 MiB")
    if asked.disk and given.disk is None:
        reasons.append(
            "20 GiB of disk are there in any case" if settings.fargate else "the disk is the EC2 instance's own"
        )
    return "; ".join(reasons)


def _gpus(runtime: Mapping[str, Any]) -> int:
    count = runtime.get("gpuCount")
    if count is not None:
        return int(_number("gpuCount", count))
    wanted = runtime.get("gpu")
    if isinstance(wanted, str):
        wanted = wanted.strip().lower() not in ("", "false", "0")
    return int(wanted or 0)


def _success(runtime: Mapping[str, Any]) -> tuple[int, ...] | None:
    for name in ("return_codes", "returnCodes", "continueOnReturnCode"):
        given = runtime.get(name)
        if given is None:
            continue
        if given == "*" or given is True or (name == "continueOnReturnCode" and given == "true"):
            return None
        if given is False or given == "false":
            return (0,)
        values = given if isinstance(given, list) else [given]
        return tuple(int(_number(name, value)) for value in values)
    return (0,)


def _whole(runtime: Mapping[str, Any], *names: str) -> int:
    for name in names:
        given = runtime.get(name)
        if isinstance(given, bool):
            return int(given)
        if given is not None:
            return max(0, int(_number(name, given)))
    return 0


def _factor(runtime: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        if runtime.get(name) is not None:
            factor = _number(name, runtime[name])
            if factor < 1:
                raise EvaluationError(f"runtime attribute {name} is to be 1 or more, not {runtime[name]!r}")
            return factor
    return None


def _number(name: str, given: Any) -> float:
    try:
        found = float(given)
        if isinstance(given, bool) or not math.isfinite(found):
            raise ValueError
        return found
    except (TypeError, ValueError, OverflowError):
        raise EvaluationError(f"runtime attribute {name}: {given!r} is not a number") from None


def _disks(given: Any) -> float:
    """MiB of all disks together."""
    if given is None:
        return 0
    if isinstance(given, list):
        return sum(_disks(item) for item in given)
    if isinstance(given, str):
        return sum(_disk(item) for item in given.split(",") if item.strip())
    return _mebibytes("disks", given, unit=_GIB)


def _disk(text: str) -> float:
    words = text.split()
    if words[-1].upper() in ("SSD", "HDD", "LOCAL"):
        words.pop()
    if words and (words[0] == "local-disk" or words[0].startswith("/")):
        words.pop(0)
    if not words:
        # Cromwell's "local-disk" without a size does not occur; a bare class of disk asks for nothing.
        return 0
    return _mebibytes("disks", " ".join(words), unit=_GIB)


def _mebibytes(name: str, given: Any, *, unit: int) -> int:
    """A quantity in MiB, rounded up; ``unit`` is the bytes in one of a number without a unit."""
    matched = _QUANTITY.fullmatch(str(given)) if not isinstance(given, bool | list | dict) else None
    if matched is None or not math.isfinite(float(matched[1])):
        raise EvaluationError(f"runtime attribute {name}: {given!r} is not a quantity", hint='write it like "8 GiB"')
    number, prefix, binary = matched.groups()
    bare = not re.search(r"[A-Za-z]\s*$", str(given))
    scale = unit if bare else (1024 if binary else 1000) ** " KMGTP".index((prefix or " ").upper())
    return math.ceil(round(float(number) * scale / _MIB, 6))


def describe(asked: Resources) -> str:
    """What was asked for, in words."""
    parts: Iterable[str] = (
        f"{asked.cpu:g} vCPU" if asked.cpu else "default vCPU",
        f"{asked.memory} MiB" if asked.memory else "default memory",
        f"{asked.disk / 1024:g} GiB disk" if asked.disk else "",
        f"{asked.gpu} GPU" if asked.gpu else "",
    )
    return ", ".join(part for part in parts if part)
