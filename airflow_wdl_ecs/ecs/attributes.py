"""A task's evaluated ``runtime`` (or ``requirements``) section, read as `Resources` and a `Policy` (pure).

The specification's attributes and those of other engines that mean the same are read; the rest are named, so that the
log can say that they do nothing here. What ECS gives for what is asked is decided in ``resources``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import EvaluationError
from ..task import Resources

_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(?:([KMGTP]?)(i?)B?)?\s*", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d{1,2})(?::(\d{1,2}))?")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|m|s)[a-z]*\s*", re.IGNORECASE)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_LONGEST = 366 * 86400
"""Seconds beyond which nobody waits, so that a large number remains one that bash can read."""

_SIZES = ("cpu", "memory", "disks", "disk", "bootDiskSizeGb", "docker", "container")
_GPUS = ("gpu", "gpuCount", "gpuType", "acceleratorCount", "acceleratorType")
_RETRIES = ("maxRetries", "max_retries", "preemptible")
_MEMORY = ("memory_retry_multiplier", "memoryRetryMultiplier", "max_memory", "maxMemory")
_TIMES = ("time_minutes", "timeMinutes", "maxTime")
_CACHING = ("volatile", "cacheable")
_POLICIES = (*_RETRIES, *_MEMORY, *_TIMES, "returnCodes", "return_codes", "continueOnReturnCode")
UNDERSTOOD = frozenset((*_SIZES, *_GPUS, *_POLICIES, *_CACHING))
"""The attributes that mean something here."""


@dataclass(frozen=True)
class Policy:
    """When a task has succeeded, and how often it may be tried.

    :param success: the exit codes of success; None for any.
    :param max_retries: fresh attempts after the command failed.
    :param preemptible: attempts that may run on capacity that can be taken away.
    :param memory_factor: by how much the memory grows after it ran out; None for the deployment's factor.
    :param memory_limit: MiB up to which it grows; 0 for no limit of the task's own.
    :param time_limit: seconds after which the command is stopped; 0 for never.
    :param time_source: which attribute or setting says so.
    """

    success: tuple[int, ...] | None = (0,)
    max_retries: int = 0
    preemptible: int = 0
    memory_factor: float | None = None
    memory_limit: int = 0
    time_limit: int = 0
    time_source: str = ""

    def succeeded(self, exit_code: int) -> bool:
        """Whether this exit code is a success; -1, of a command that was stopped, never is."""
        return exit_code >= 0 if self.success is None else exit_code in self.success


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
        gpu_type=_gpu_type(runtime),
    )


def policy_of(runtime: Mapping[str, Any]) -> Policy:
    """The retries and exit codes of success that a runtime section asks for; Cromwell's names too.

    The attribute, or hint, ``memory_retry_multiplier`` is this package's; it has the name of Cromwell's option. The
    hint ``max_memory`` is the specification's (WDL 1.2 "Reserved Task Hints"). ``time_minutes``, ``timeMinutes`` and
    ``maxTime`` are minutes, or text such as ``2h 30m`` or ``02:30:00``.

    :raises EvaluationError: for a value that cannot be read; it names the attribute.
    """
    time_limit, time_source = _time_limit(runtime)
    return Policy(
        success=_success(runtime),
        max_retries=_whole(runtime, "max_retries", "maxRetries"),
        preemptible=_whole(runtime, "preemptible"),
        memory_factor=_factor(runtime, "memory_retry_multiplier", "memoryRetryMultiplier"),
        memory_limit=next((_mebibytes(n, runtime[n], unit=1) for n in _MEMORY[2:] if runtime.get(n) is not None), 0),
        time_limit=time_limit,
        time_source=time_source,
    )


def ignored_attributes(runtime: Mapping[str, Any]) -> tuple[str, ...]:
    """The attributes that do nothing here: those of other engines."""
    return tuple(name for name in runtime if name not in UNDERSTOOD)


def mount_points(runtime: Mapping[str, Any]) -> tuple[str, ...]:
    """The folders that ``disks`` names for its disks, other than Cromwell's ``local-disk`` (WDL 1.2 "disks")."""
    given = runtime.get("disks")
    texts = given if isinstance(given, list) else [given]
    words = [item.split() for text in texts if isinstance(text, str) for item in text.split(",")]
    return tuple(found[0] for found in words if found and found[0].startswith("/"))


def _gpus(runtime: Mapping[str, Any]) -> int:
    """The number of GPUs; a type alone asks for one, as with Cromwell, unless ``gpu`` is false."""
    for name in ("gpuCount", "acceleratorCount"):
        if runtime.get(name) is not None:
            return max(0, int(_number(name, runtime[name])))
    wanted = runtime.get("gpu")
    if isinstance(wanted, str):
        wanted = wanted.strip().lower() not in ("", "false", "0")
    if wanted is None:
        wanted = bool(_gpu_type(runtime))
    return max(0, int(_number("gpu", int(wanted) if isinstance(wanted, bool) else wanted)))


def _gpu_type(runtime: Mapping[str, Any]) -> str:
    return next((str(runtime[name]).strip() for name in ("gpuType", "acceleratorType") if runtime.get(name)), "")


def _time_limit(runtime: Mapping[str, Any]) -> tuple[int, str]:
    """Seconds, and the attribute that says so; 0 for no limit."""
    name = next((name for name in _TIMES if runtime.get(name) is not None), "")
    if not name:
        return 0, ""
    seconds = _seconds(name, runtime[name])
    return (min(math.ceil(seconds), _LONGEST), name) if seconds > 0 else (0, "")


def _seconds(name: str, given: Any) -> float:
    """A number of minutes, or text with units (``2h 30m``) or like a clock's (``[D-]HH:MM[:SS]``), in seconds."""
    text = given.strip() if isinstance(given, str) else ""
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if text and _SPAN.sub("", text) == "":
        return sum(float(number) * _SECONDS[unit.lower()] for number, unit in _SPAN.findall(text))
    return _number(name, given) * 60


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
