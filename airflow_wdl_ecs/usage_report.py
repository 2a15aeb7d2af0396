"""What a report tells of the memory and CPU that commands have used: beside what was asked for, and with advice (pure).

Advice is given for a call, over all of its shards, in terms of the runtime attributes that its author would change. It
is drawn from what was measured (see ``usage``), with room to spare: `ROOM`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .attempts import Attempt
from .ecs.resources import fargate_pair
from .usage import Way

if TYPE_CHECKING:
    from .report import ShardReport

ROOM = 1.3
"""What is advised is so many times what was used."""
NEARLY_ALL = 0.9
"""The part of the memory given from which more is advised."""
LEAST_SECONDS = 10.0
"""A command that took less says nothing about what would be enough."""
_MIB = 1024 * 1024
_GIB = 1024
_WORTH = 512
"""MiB that are worth to be saved, if they are a quarter of what was asked for as well."""
_PART_WORTH = 0.75


@dataclass(frozen=True)
class AttemptUsage:
    """What the command of an attempt has used; `usage.Usage` explains ``memory``, ``way`` and ``with_cache``, in bytes.

    :param cpu_seconds: CPU time. :param seconds: how long the command took. :param cpu: vCPUs, on average.
    :param memory_asked: MiB, and ``cpu_asked``: vCPUs; 0 if that is not known. :param memory_given: MiB.
    :param in_words: all of it, for people.
    """

    memory: int
    way: Way
    with_cache: int
    cpu_seconds: float | None
    seconds: float | None
    cpu: float | None
    memory_asked: int
    memory_given: int
    cpu_asked: float
    cpu_given: float
    in_words: str = ""


@dataclass(frozen=True)
class CallUsage:
    """What the commands of a call's shards have used.

    :param shards: how many were measured. :param memory: bytes, the most of any.
    :param memory_asked: MiB, the least and the most that a shard asked for at first, of those that were measured or
        ran out of memory; ``cpu_asked``: vCPUs, likewise, of those that were measured.
    :param cpu: vCPUs used, on average over the time of all; ``cpu_busiest``: over that of the busiest.
    :param in_words: all of it, for people. :param advice: what the task's author may want to change, and why.
    """

    shards: int
    memory: int
    memory_asked: tuple[int, int]
    cpu: float | None
    cpu_busiest: float | None
    cpu_asked: tuple[float, float]
    in_words: str
    advice: tuple[str, ...] = ()


def attempt_usage(attempt: Attempt) -> AttemptUsage | None:
    """What an attempt's command has used, or None if that was not measured."""
    used, times = attempt.usage, attempt.times
    if used is None:
        return None
    seconds = None
    if times.command_started is not None and times.command_ended is not None:
        seconds = max(0.0, times.command_ended - times.command_started)
    cpu = used.cpu / seconds if used.cpu is not None and seconds else None
    found = AttemptUsage(
        memory=used.memory,
        way=used.way,
        with_cache=used.with_cache,
        cpu_seconds=used.cpu,
        seconds=seconds,
        cpu=cpu,
        memory_asked=attempt.memory_asked,
        memory_given=attempt.memory_given,
        cpu_asked=attempt.cpu_asked,
        cpu_given=attempt.cpu,
    )
    return replace(found, in_words=_in_words(found))


def call_usage(shards: Iterable[ShardReport]) -> CallUsage | None:
    """What the commands of a call have used, or None if none was measured."""
    runs = [_Run(shard) for shard in shards]
    measured = [run for run in runs if run.used]
    if not measured:
        return None
    told = [run for run in runs if run.used or run.short]
    used = [one for run in measured for one in run.used]
    asked = [run.memory_asked for run in told]
    cpu_asked = [run.used[0].cpu_asked for run in measured]
    averages = [one for one in used if one.cpu_seconds is not None and one.seconds]
    spent = sum(one.seconds or 0.0 for one in averages)
    found = CallUsage(
        shards=len(measured),
        memory=max(one.memory for one in used),
        memory_asked=(min(asked), max(asked)),
        cpu=sum(one.cpu_seconds or 0.0 for one in averages) / spent if averages else None,
        cpu_busiest=max((one.cpu or 0.0 for one in averages), default=None),
        cpu_asked=(min(cpu_asked), max(cpu_asked)),
        in_words="",
    )
    return replace(found, in_words=_call_in_words(found), advice=tuple(_advice(found, told)))


class _Run:
    """A shard as advice sees it.

    :ivar used: what its attempts have used, those of which it is known. :ivar memory_asked: MiB that it asked for at
        first, and ``short``: MiB given to those attempts that had too few, 0 if none had. Of these it is not asked
        whether anything was measured: a task that is killed as a whole leaves no figures.
    """

    def __init__(self, shard: ShardReport) -> None:
        self.used = [attempt.usage for attempt in shard.attempts if attempt.usage is not None]
        self.memory_asked = next((made.memory_asked for made in shard.attempts if made.memory_asked), 0)
        self.short = max((made.memory_given for made in shard.attempts if made.kind == "out_of_memory"), default=0)
        self.fargate = any(attempt.launch_type.startswith("FARGATE") for attempt in shard.attempts)


def _advice(call: CallUsage, runs: Sequence[_Run]) -> Iterable[str]:
    """What the author may want to change; nothing if what is asked for fits."""
    least, most = call.memory_asked
    long_enough = any(one.seconds is not None and one.seconds >= LEAST_SECONDS for run in runs for one in run.used)
    more = _more_memory(call, runs)
    if more:
        yield more
    if least != most:
        # What each asks for depends on its inputs; what to write there is not to be told from what was used.
        parts = [one.memory / _MIB / one.memory_asked for run in runs for one in run.used if one.memory_asked]
        if not more and long_enough and parts and max(parts) < 1 / 2:
            yield f"no shard used more than {max(parts):.0%} of the memory that it asked for"
        return
    if not long_enough:
        return
    cpu = _less_cpu(call)
    memory = 0 if more else _less_memory(call)
    fargate = any(run.fargate for run in runs)
    # On Fargate only some pairs can be had, so that less of the one may be of no use without less of the other.
    asked = (call.cpu_asked[1], most)
    if cpu and _differs(asked, (cpu, most), fargate=fargate):
        asked = (cpu, most)
        yield f"`cpu: {cpu}` may be enough: {_cpu_in_words(call)}"
    if memory and _differs(asked, (asked[0], memory), fargate=fargate):
        yield f'`memory: "{_size(memory)}"` would be enough: {_size(call.memory / _MIB)} at most were used'


def _more_memory(call: CallUsage, runs: Sequence[_Run]) -> str:
    """Advice to ask for more memory; empty if there is none."""
    short = [run.short for run in runs if run.short]
    same = call.memory_asked[0] == call.memory_asked[1]
    if short:
        many = f"{len(short)} of {len(runs)} shards" if len(runs) > 1 else "it"
        wanted = _rounded(max(call.memory / _MIB, *short) * ROOM)
        how = f'`memory: "{_size(wanted)}"`' if same else "more `memory`"
        return f"{how} would spare attempts: {many} ran out of {_size(max(short))}"
    parts = [one.memory / _MIB / one.memory_given for run in runs for one in run.used if one.memory_given]
    if not parts or max(parts) < NEARLY_ALL:
        return ""
    how = f'`memory: "{_size(_rounded(call.memory / _MIB * ROOM))}"`' if same else "more `memory`"
    return f"{how} would be safer: {max(parts):.0%} of the memory given were used"


def _less_memory(call: CallUsage) -> int:
    """MiB that would do, if it is worth it; else 0."""
    asked = call.memory_asked[1]
    wanted = _rounded(call.memory / _MIB * ROOM)
    return wanted if call.memory and wanted <= min(asked * _PART_WORTH, asked - _WORTH) else 0


def _less_cpu(call: CallUsage) -> int:
    """vCPUs that would do, if that is half of what was asked for at the most; else 0."""
    least, most = call.cpu_asked
    wanted = max(1, math.ceil((call.cpu_busiest or 0.0) * ROOM))
    return wanted if call.cpu_busiest is not None and least == most and wanted <= most / 2 else 0


def _differs(one: tuple[float, int], other: tuple[float, int], *, fargate: bool) -> bool:
    """Whether tasks that ask for these vCPUs and MiB are given something else."""

    def given(cpu: float, memory: int) -> tuple[int, int] | None:
        return fargate_pair(math.ceil(cpu * 1024), memory) if fargate else (math.ceil(cpu * 1024), memory)

    return given(*one) != given(*other)


def _rounded(mebibytes: float) -> int:
    """MiB as a person would ask for them."""
    step = 256 if mebibytes <= _GIB else _GIB if mebibytes <= 16 * _GIB else 4 * _GIB
    return max(step, math.ceil(mebibytes / step) * step)


def _size(mebibytes: float) -> str:
    if mebibytes < _GIB:
        return f"{mebibytes:.0f} MiB"
    gibibytes = round(mebibytes / _GIB, 1)
    return f"{gibibytes:g} GiB"


def _in_words(used: AttemptUsage) -> str:
    parts = []
    if used.memory:
        asked = f" of {_size(used.memory_asked)}" if used.memory_asked else ""
        parts.append(f"{_size(used.memory / _MIB)}{asked} memory at most")
    if used.with_cache:
        parts.append(f"{_size(used.with_cache / _MIB)} with the pages of files")
    if used.cpu is not None:
        asked = f" of {used.cpu_asked:g}" if used.cpu_asked else ""
        parts.append(f"{used.cpu:.1f}{asked} vCPU on average")
    elif used.cpu_seconds is not None:
        parts.append(f"{used.cpu_seconds:.1f} s of CPU time")
    return ", ".join(parts) + (" (measured by its processes)" if used.way == "processes" else "")


def _call_in_words(call: CallUsage) -> str:
    parts = []
    if call.memory:
        parts.append(f"{_size(call.memory / _MIB)}{_of(*map(_size, call.memory_asked))} memory at most")
    if call.cpu is not None:
        parts.append(_cpu_in_words(call))
    return ", ".join(parts) or "nothing was seen of its memory"


def _cpu_in_words(call: CallUsage) -> str:
    of = _of(*(f"{asked:g}" for asked in call.cpu_asked))
    busiest = f", {call.cpu_busiest:.1f} in the busiest shard" if call.shards > 1 else ""
    return f"{call.cpu:.1f}{of} vCPU on average{busiest}"


def _of(least: str, most: str) -> str:
    """What was asked for, which ledgers of earlier versions do not tell."""
    if most in ("0", "0 MiB"):
        return ""
    return f" of {most}" if least == most else f" of {least} to {most}"
