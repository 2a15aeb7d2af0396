"""The call cache's words: what a call is known by, what an entry says, and why there is none (pure).

A call is known by its *key*, a digest over named parts: the task's text, each input with the sizes and ETags of its
files, the image, and the settings that may change what comes out. An entry is a small JSON object under the key's name
that refers to the outputs of the call that has made them; nothing is copied. Reading and writing is for
``cached_calls``; neither WDL, ECS nor S3 is known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from .layout import key_safe, shard_key
from .plan import UNREADABLE, Shard
from .storage import Version
from .task import Outputs

FORMAT = 2
"""Of keys and entries; calls that were kept under another are not found."""

TASK, COMMAND, IMAGE, FILES, SETTINGS = "task", "command", "image", "files", "settings"
"""Parts of a key; ``command`` is in ``task`` too, and is there to tell what has changed."""
MOUNTS = "mounts"
"""A part of the keys of calls that name something on a shared file system, and of no others."""
INPUT = "input "
"""What the parts of inputs begin with."""

_SHOWN = 5


def digest(value: Any) -> str:
    """Of a value as JSON, the order of an object's members too, since a Map has one: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Key:
    """What a call is known by.

    :param parts: name -> a digest, or for the image what it is known by.
    """

    parts: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """The name of its entry: 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps([FORMAT, self.parts], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """Outputs that were kept, by reference.

    :param call: the call, ``shard`` and ``attempt`` of run ``dag_id``/``run_id`` that made them.
    :param made: when they were kept, in seconds since the epoch.
    :param folder: the attempt's folder, ``s3://.../``.
    :param outputs: name -> WDL value as JSON, files as URIs.
    :param files: the output files, those in output directories too, as they were.
    :param folders: the output directories, ``s3://.../``.
    """

    key: str
    dag_id: str
    run_id: str
    call: str
    shard: str
    attempt: int
    made: float
    folder: str
    outputs: Outputs
    files: tuple[Version, ...] = ()
    folders: tuple[str, ...] = ()
    scope: str | None = None
    exit_code: int | None = None
    image: str = ""
    format: int = FORMAT

    @property
    def origin(self) -> str:
        """The call and the run that have made the outputs, in words."""
        within = f", task {self.scope}" if self.scope else ""
        return f"{self.call} of run {self.dag_id}/{self.run_id}{within}"

    @property
    def uris(self) -> tuple[str, ...]:
        """What who takes the outputs may read: the files, and the directories with all that is in them."""
        return (*(file.uri for file in self.files), *self.folders)


# Made once and here: msgspec breaks the process if threads are the first to decode a dataclass, at the same time.
_ENTRY = msgspec.json.Decoder(Entry)
_PARTS = msgspec.json.Decoder(dict[str, str])


def read_entry(data: bytes) -> Entry | None:
    """An entry of its JSON, or None if it is none of this format."""
    try:
        entry = _ENTRY.decode(data)
    except UNREADABLE:
        return None
    return entry if entry.format == FORMAT else None


def read_parts(data: bytes | None) -> dict[str, str] | None:
    """The parts of the key that a call last had, of their JSON; None if they are not known."""
    try:
        return None if data is None else _PARTS.decode(data)
    except UNREADABLE:
        return None


@dataclass(frozen=True)
class CacheLayout:
    """The URIs of the call cache's things.

    :param prefix: where it is, ``s3://bucket/prefix``.
    """

    prefix: str

    def entry(self, key: str) -> str:
        """The entry under a key."""
        return f"{self.prefix.rstrip('/')}/entries/{key[:2]}/{key}.json"

    def last_key(self, workflow: str, call: str, shard: Shard) -> str:
        """What the key was made of under which a shard's outputs were kept last, in whichever run."""
        names = (key_safe(workflow), key_safe(call), shard_key(shard))
        return f"{self.prefix.rstrip('/')}/last/{'/'.join(names)}.json"


def why_missed(before: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """Why there is no entry, in words.

    :param before: the parts of the key that the same shard of the same call had when its outputs were kept last, if
        they ever were. :param now: those of its key now.
    """
    if before is None:
        return "no entry yet"
    found = list(_changes(before, now))
    return "; ".join(found) or "its entry is no longer there"


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterable[str]:
    def differs(part: str) -> bool:
        return before.get(part) != now.get(part)

    if differs(TASK):
        yield "the command changed" if differs(COMMAND) else "the task's source changed"
    changed = [name.removeprefix(INPUT) for name in {**before, **now} if name.startswith(INPUT) and differs(name)]
    if changed:
        shown = ", ".join(f"`{name}`" for name in changed[:_SHOWN])
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        yield f"input{'s' if len(changed) > 1 else ''} {shown}{more} changed"
    if differs(IMAGE):
        kinds = {str(parts.get(IMAGE)).startswith("sha256:") for parts in (before, now)}
        what = "the image has another digest" if kinds == {True} else "the image changed"
        yield f"{what}: {now.get(IMAGE)} instead of {before.get(IMAGE)}"
    if differs(FILES):
        yield "a file changed that the task reads besides its inputs"
    if differs(MOUNTS):
        yield "a shared file system that the call names is mounted from elsewhere"
    if differs(SETTINGS):
        yield "the CPU architecture, the exit codes of success or what the task reads of `task` changed"


def why_stale(expected: Iterable[Version], found: Mapping[str, Version | None]) -> str:
    """Which output file of an entry is no longer what it was, in words; empty if all are."""
    for file in expected:
        now = found.get(file.uri)
        if now is None:
            return f"output file {file.uri} is gone"
        if now != file:
            return f"output file {file.uri} has changed since"
    return ""
