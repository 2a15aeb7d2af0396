"""What the log of a task instance tells of a shard: what goes in, what is run with what, how long it took (pure).

Each function gives lines of text or takes a `Log`; when they are told, and of which attempt, is the shard's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .attempts import Attempt
from .ecs.attributes import ignored_attributes, mount_points
from .ecs.resources import TaskSize, describe, rounding
from .ecs.settings import EcsSettings
from .sensitive import Log
from .task import TaskRequest

WHOLE_COMMAND = 60
"""Lines of a command that are told; of a longer one, `COMMAND_ENDS` from its beginning and from its end."""

COMMAND_ENDS = 20


def tell_inputs(log: Log, inputs: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
    """Tell what a shard is given."""
    for name, value in inputs.items():
        log.info("input %s = %s", name, as_json(value))
    ignored = ignored_attributes(runtime)
    if ignored:
        log.info("runtime attributes that do nothing here: %s", ", ".join(ignored))
    mounts = mount_points(runtime)
    if mounts:
        log.warning("mount points of `disks` that are not made here, where a task has one disk: %s", ", ".join(mounts))


def tell_request(log: Log, request: TaskRequest, size: TaskSize, settings: EcsSettings) -> None:
    """Tell what an attempt is about to run, and with what."""
    log.info("image %s", request.image)
    why = rounding(request.resources, size, settings)
    log.info("asks for %s; is given %s%s", describe(request.resources), size, f" ({why})" if why else "")
    if request.time_limit:
        log.info("is stopped after %g min", request.time_limit / 60)
    for line in command_lines(request.command, f"{request.prefix}command.sh"):
        log.info("%s", line)
    log.info("the attempt is kept in %s", request.prefix)


def command_lines(command: str, where: str) -> Iterator[str]:
    """A command for people to read: whole if it is short, else its head and tail.

    :param where: the whole of it.
    """
    text = command.rstrip()
    # A command section begins with a line break; the numbers are still those of the script.
    skipped = len(text) - len(text.lstrip("\n"))
    # Only what bash takes for the end of a line is one.
    lines = text.split("\n")[skipped:] if text else []
    yield "command:"
    if len(lines) <= WHOLE_COMMAND:
        yield from _numbered(lines, skipped + 1)
        return
    yield from _numbered(lines[:COMMAND_ENDS], skipped + 1)
    yield f"     … {len(lines) - 2 * COMMAND_ENDS} lines more, all of which are in {where}"
    yield from _numbered(lines[-COMMAND_ENDS:], skipped + len(lines) - COMMAND_ENDS + 1)


def _numbered(lines: Sequence[str], first: int) -> Iterator[str]:
    return (f"{number:4}  {line}" for number, line in enumerate(lines, first))


def durations(attempt: Attempt) -> str:
    """How long the phases of an attempt took, in one line; empty if nothing is known."""
    phases = attempt.times.phases()
    said = [f"{_WORDS[name]} {seconds:.1f} s" for name, seconds in phases.items() if name != "image"]
    if "image" in phases and "start" in phases:
        at = next(index for index, text in enumerate(said) if text.startswith(_WORDS["start"]))
        said[at] += f" (images {phases['image']:.1f} s)"
    return ", ".join(said)


_WORDS = {
    "slot": "waited for a slot",
    "submit": "submission",
    "capacity": "for ECS to take it",
    "start": "for its start",
    "stage-in": "staging in",
    "command start": "start of the command's container",
    "command": "command",
    "stage-out": "staging out",
}


def as_json(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(value, ensure_ascii=False)
