"""What a command has used, read from what its container noted (pure; see ``ecs/bash/usage.sh``, which notes it).

The container is the user's, and may have written there what it likes: only what can be true is believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Way = Literal["", "group", "processes"]
"""How memory was measured: by the container's control group, or by the command's processes."""

_FIGURE = re.compile(r"(group|processes|peak|cpu_usec|cpu_nsec) ([0-9]{1,20})")
_CLOCK = r"([0-9]{1,10})m([0-9]{1,2})[.,]([0-9]{3})s"
_TIMES = re.compile(f"{_CLOCK} {_CLOCK}")
_MOST_MEMORY = 2**46
"""Bytes; no machine has more."""
_MOST_CPU = 366 * 86400 * 1024
"""Seconds; nothing runs longer."""


@dataclass(frozen=True)
class Usage:
    """What a command has used.

    :param memory: bytes, the most at a time that belonged to no file of a disk, as far as it was seen; 0 if it was not.
    :param way: how that was measured; empty if it was not.
    :param with_cache: bytes, the most at a time as the kernel counts it for the container: with the pages of files,
        which it would have given up for more; 0 where the kernel does not say.
    :param cpu: seconds of CPU time; None if that is not known.
    """

    memory: int = 0
    way: Way = ""
    with_cache: int = 0
    cpu: float | None = None


def read_usage(text: str) -> Usage | None:
    """What a container noted, item by item, each after a ``;``; None if there is nothing in it that can be believed.

    An item is the name of a figure and a number, or a line of bash's ``times``: the shell's own, then the command's.
    """
    memory, with_cache, cpu, way = 0, 0, None, ""
    times = []
    for item in text.split(";"):
        figure, clocks = _FIGURE.fullmatch(item.strip()), _TIMES.fullmatch(item.strip())
        if clocks is not None:
            times.append(_seconds(*clocks.groups()[:3]) + _seconds(*clocks.groups()[3:]))
        if figure is None:
            continue
        name, number = figure[1], int(figure[2])
        if name in ("cpu_usec", "cpu_nsec"):
            cpu = number / (1e6 if name == "cpu_usec" else 1e9)
        elif 0 < number <= _MOST_MEMORY and name == "peak":
            with_cache = number
        elif memory < number <= _MOST_MEMORY:
            memory, way = number, name
    if cpu is None and len(times) > 1:
        cpu = times[1]
    if cpu is not None and cpu > _MOST_CPU:
        cpu = None
    if not memory and not with_cache and cpu is None:
        return None
    return Usage(memory, _WAYS.get(way, ""), with_cache, cpu)


_WAYS: dict[str, Way] = {"group": "group", "processes": "processes"}


def _seconds(minutes: str, seconds: str, thousandths: str) -> float:
    return int(minutes) * 60 + int(seconds) + int(thousandths) / 1000
