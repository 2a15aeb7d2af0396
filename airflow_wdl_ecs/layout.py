"""Where a run keeps everything in S3: the map of its folder, and how names become segments of keys (pure).

::

    <workspace>/plans/<digest>.json
    <workspace>/runs/<dag>/<run>/run.json, inputs.json, outputs.json
                                 reopened.json                        calls have run again since outputs.json
                                 publishing.json, published.json      what was copied to where outputs are published
                                 cleaned.json                         when its intermediate files were deleted
                                 files/<sha256>/<name>                what write_lines() and the like made
                                 web.json, web/<digest>/<name>        copies of inputs of the web (see ``web_inputs``)
                                 source/...                           the files beside the source that it names
                                 scatters/<section>.json              how its shards are divided
                                 failures/<task>/...                  why task instances failed (see ``reasons``)
                                 calls/<call>/epoch.json              changes when a success is cleared
                                 calls/<call>/<shard>/outputs.json    the shard has succeeded
                                                      attempts.json   its ECS tasks, and what became of each
                                                      failure.json    why its last try failed without one
                                                      <attempt>/      scripts, stdout, stderr, result.json, work/,
                                                                      stopped.json when ECS was told to stop it
                                 tasks/<scope>/                       the same of a task group, or an operator alone
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import EvaluationError
from .plan import Shard

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]")

LONGEST_SEGMENT = 200
"""Characters of a name as a segment of a key: a key has 1,024 bytes at most (S3 user guide, "Naming objects"), in which
there must be room for a DAG, a run, a call and the path of an output."""


def key_safe(name: str) -> str:
    """A name as one segment of an S3 key: different names give different segments, and it reads like the name.

    Characters other than letters, digits, ``_``, ``.`` and ``-`` become ``=XX`` per byte of UTF-8; so do the names
    that a path would swallow (empty, ``.``, ``..``). Of what would be longer than `LONGEST_SEGMENT` the beginning is
    left, with ``=_`` and a digest of the name.
    """
    if name in ("", ".", ".."):
        return "=" + "".join("=2E" for _ in name)
    safe = _UNSAFE.sub(lambda found: "".join(f"={byte:02X}" for byte in _bytes(found[0])), name)
    if len(safe) <= LONGEST_SEGMENT:
        return safe
    digest = hashlib.sha256(_bytes(name)).hexdigest()[:32]
    head = re.sub(r"=[0-9A-F]?$", "", safe[: LONGEST_SEGMENT - len(digest) - 2])
    return f"{head}=_{digest}"


def name_of(segment: str) -> str | None:
    """The name that `key_safe` has made a segment of; None if the segment has only its beginning, or is none."""
    head, *escaped = segment.encode().split(b"=")
    try:
        found = head + b"".join(bytes.fromhex(text[:2].decode()) + text[2:] for text in escaped if len(text) > 1)
        return found.decode(errors="surrogatepass")
    except ValueError:
        return None


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def shard_key(shard: Shard) -> str:
    """A shard as a word: ``0.3`` for ``(0, 3)``, ``_`` outside scatters."""
    return ".".join(map(str, shard)) or "_"


def shard_of(key: str) -> Shard:
    """The shard whose word `shard_key` is: ``(0, 3)`` of ``0.3``.

    :raises ValueError: if it is none.
    """
    return () if key == "_" else tuple(int(index) for index in key.split("."))


def scope_of(task_id: str, map_index: int | None) -> str:
    """What tells the folder of an operator on its own from others of the DAG run (see `Layout`)."""
    return task_id if map_index is None or map_index < 0 else f"{task_id}[{map_index}]"


def instance_of_scope(scope: str) -> tuple[str, int]:
    """The task id and map index whose `scope_of` it is; -1 outside mapped tasks."""
    task_id, bracket, index = scope.removesuffix("]").rpartition("[")
    return (task_id, int(index)) if bracket and index.isdecimal() else (scope, -1)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI.

    :raises EvaluationError: if it is no such URI.
    """
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise EvaluationError(f"not an s3:// URI: {uri}")
    return bucket, key if slash else ""


def folders_above(uri: str) -> Iterator[str]:
    """The folders that an object is in, innermost first, with their slashes; a folder's own URI is the first of its."""
    at = uri.rfind("/")
    while at > len("s3://"):
        yield uri[: at + 1]
        at = uri.rfind("/", 0, at)


@dataclass(frozen=True)
class Layout:
    """The URIs of one run's things; every folder ends with ``/``.

    :param workspace: ``s3://bucket`` or ``s3://bucket/prefix``.
    :param scope: tells several runs within one Airflow run apart: the id of a task group, or `scope_of` an operator on
        its own.
    """

    workspace: str
    dag_id: str
    run_id: str
    scope: str | None = None

    @property
    def folder(self) -> str:
        """The run's folder."""
        folder = f"{self.workspace.rstrip('/')}/runs/{key_safe(self.dag_id)}/{key_safe(self.run_id)}/"
        return f"{folder}tasks/{key_safe(self.scope)}/" if self.scope is not None else folder

    def plan(self, digest: str) -> str:
        """The plan with this digest; runs share it."""
        return f"{self.workspace.rstrip('/')}/plans/{digest}.json"

    def named(self, name: str) -> str:
        """A thing of the run's own, such as ``inputs.json``."""
        return f"{self.folder}{name}"

    def file(self, digest: str, name: str) -> str:
        """A file that an expression wrote."""
        return f"{self.folder}files/{digest}/{key_safe(name)}"

    def call(self, call: str) -> str:
        """A call's folder."""
        return f"{self.folder}calls/{key_safe(call)}/"

    def shard(self, call: str, shard: Shard) -> str:
        """The folder of one shard of a call."""
        return f"{self.call(call)}{shard_key(shard)}/"

    def attempt(self, call: str, shard: Shard, attempt: int) -> str:
        """The folder of one attempt."""
        return f"{self.shard(call, shard)}{attempt}/"
