"""The key of a call for the call cache: what its inputs, its image and whatever else its expressions read are now.

A file counts by its size and its ETag in S3, and by its name and which other inputs lie beside it, since that is what
a command sees; not by where it is, so that what two runs have made of the same counts as the same. Of a file on a
shared file system nobody sees the contents here: it counts by its path, and by what is mounted there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from .aws import in_evaluation_thread, in_thread
from .call_cache import COMMAND, FILES, IMAGE, INPUT, MOUNTS, SETTINGS, TASK, Key, digest
from .ecs.image_digests import ImageDigest
from .ecs.mounts import mounts_of
from .plan import Task
from .preparation import Prepared
from .run import Run
from .shared_reads import SharedReads
from .storage import RunStore, Version
from .task import CallIdentity, Outputs

_asking = SharedReads()
"""Shards that begin together have files in common."""


class RecordedFiles:
    """The `Files` of a run, and which of them an evaluation has asked for."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.uris: dict[str, None] = {}

    def read(self, uri: str) -> bytes:
        """See `task.Files`."""
        self.uris[uri] = None
        return self._store.read(uri)

    def size(self, uri: str) -> int | None:
        """See `task.Files`."""
        self.uris[uri] = None
        return self._store.size(uri)

    def list(self, uri: str) -> Iterator[tuple[str, int]]:
        """See `task.Files`."""
        self.uris[uri if uri.endswith("/") else f"{uri}/"] = None
        return self._store.list(uri)

    def write(self, data: bytes, name: str) -> str:
        """See `task.Files`."""
        return self._store.write(data, name)


@dataclass(frozen=True)
class KeyedCall:
    """A shard of a call that is to have a key.

    :param inputs: its bound inputs.
    """

    run: Run
    identity: CallIdentity
    inputs: Mapping[str, Any]

    @property
    def task(self) -> Task:
        """The task that it calls."""
        return self.run.plan.tasks[self.run.plan.call_by_id[self.identity.call].task]

    async def key(self, prepared: Prepared, read: Collection[str], image: ImageDigest) -> Key:
        """The key as it is now.

        :param prepared: the attempt as it is evaluated. :param read: what its expressions have asked for.
        :raises WdlEcsError: if S3 does not say what it has.
        """
        store, request = self.run.store, prepared.request
        paths = await in_evaluation_thread(self._input_paths)
        shared = {uri: path for uri in paths if (path := self.run.mounted(uri)) is not None}
        given = [uri for uri in paths if uri not in shared]
        names = _Names(store, given)
        others = names.others((*(item.uri for item in request.inputs), *read), own=request.prefix)
        identities = await _identities(store, [*given, *others])

        def told(uri: str) -> str:
            return shared.get(uri) or json.dumps([names.of(uri), identities[uri]])

        rewritten = await in_evaluation_thread(self._inputs_with, told)
        parts = {
            TASK: digest([self.task.name, self.task.wdl_version, self.task.source]),
            COMMAND: digest(self.task.command),
            IMAGE: image.digest or request.image,
            FILES: digest(sorted(told(uri) for uri in others)) if others else "",
            SETTINGS: await in_evaluation_thread(self._settings, prepared),
            **{f"{INPUT}{name}": digest(value) for name, value in rewritten.items()},
        }
        mounts = self._mounts(prepared)
        return Key({**parts, MOUNTS: mounts} if mounts else parts)

    async def output_uris(self, outputs: Outputs) -> list[str]:
        """The files in outputs, and the directories (these end with ``/``), each once."""
        return await in_evaluation_thread(self._output_paths, outputs)

    async def output_versions(self, uris: Collection[str]) -> tuple[dict[str, Version | None], list[str]]:
        """Output files, those in directories too, as they are now, by their URIs; and the directories.

        :param uris: as `output_uris` gives them, all in S3.
        """
        folders = [uri for uri in uris if uri.endswith("/")]
        files = await versions(self.run.store, (uri for uri in uris if not uri.endswith("/")))
        listed = await asyncio.gather(*(in_thread(_listed, self.run.store, uri) for uri in folders))
        files |= {version.uri: version for some in listed for version in some}
        return files, folders

    def _input_paths(self) -> list[str]:
        from .wdl.task_paths import input_paths

        # The order in which inputs are given is none of the key's business.
        return input_paths(self.task, dict(sorted(self.inputs.items())))

    def _inputs_with(self, told: Callable[[str], str]) -> dict[str, Any]:
        from .wdl.task_paths import map_task_inputs, uri_of

        return map_task_inputs(self.task, self.inputs, lambda path: told(uri_of(path)))

    def _output_paths(self, outputs: Outputs) -> list[str]:
        from .wdl.task_paths import output_paths

        return output_paths(self.task, outputs)

    def _mounts(self, prepared: Prepared) -> str:
        """What is mounted at the paths that the call names, in whatever way; empty if it names none."""
        mounts = mounts_of(self.run.settings.mounts)
        request = prepared.request
        given = json.dumps(self.inputs, ensure_ascii=False)
        texts = (given, self.task.source, request.command, *request.environment.values())
        used = [
            [mount.path, mount.file_system, mount.root, mount.access_point]
            for mount in mounts
            if any(mount.path in text or (mount.file_system and mount.file_system in text) for text in texts)
        ]
        return digest(sorted(used)) if used else ""

    def _settings(self, prepared: Prepared) -> str:
        """What may change the outputs besides the task, its inputs and its image."""
        from .wdl.task_paths import runtime_facts_used

        who, used = self.identity, runtime_facts_used(self.task)
        facts: dict[str, Any] = {
            "cpu_architecture": self.run.settings.cpu_architecture,
            "success": prepared.policy.success,
        }
        if "id" in used:
            facts["id"] = [who.dag_id, who.run_id, str(who)]
        if "attempt" in used:
            facts["attempt"] = prepared.request.attempt
        if used - {"id", "attempt", "name", "meta", "parameter_meta", "return_code"}:
            facts["runtime"] = sorted(prepared.evaluation.runtime.items())
        return digest(facts)


class _Names:
    """How a key names files: by where they stand to each other in the container, not by where they are in S3.

    :param given: the call's input files and directories (these end with ``/``), in order.
    """

    def __init__(self, store: RunStore, given: Iterable[str]) -> None:
        self._run = store.layout.folder
        self._written = store.layout.named("files/")
        self._given = list(given)
        self._folders = [uri for uri in self._given if uri.endswith("/")]
        self._groups: dict[str, int] = {}
        for uri in self._given:
            self._groups.setdefault(uri.rstrip("/").rpartition("/")[0], len(self._groups))

    def of(self, uri: str) -> str:
        """The name of a file or directory."""
        inside = next((folder for folder in self._folders if uri.startswith(folder) and uri != folder), None)
        if inside is not None:
            return f"{self.of(inside)}/{uri[len(inside) :]}"
        parent, _, base = uri.rstrip("/").rpartition("/")
        if parent in self._groups:
            return f"{self._groups[parent]}/{base}"
        return uri.removeprefix(self._run)

    def others(self, uris: Iterable[str], *, own: str) -> list[str]:
        """Those of these that are no inputs, and whose contents are not told by what else is in the key.

        :param own: the attempt's folder: what the command has made.
        """
        given = set(self._given)
        return [
            uri
            for uri in dict.fromkeys(uris)
            if uri not in given
            if not uri.startswith((own, self._written))  # what the task's own expressions wrote, of what is in the key
            if not any(uri.startswith(folder) for folder in self._folders)
        ]


async def versions(store: RunStore, uris: Iterable[str]) -> dict[str, Version | None]:
    """Files as they are now; None for one that is not there."""
    wanted = list(uris)
    return dict(zip(wanted, await asyncio.gather(*(in_thread(store.version, uri) for uri in wanted)), strict=True))


async def _identities(store: RunStore, uris: Iterable[str]) -> dict[str, Any]:
    """What tells the contents of files and directories (these end with ``/``) from others; None of what is gone."""
    wanted = list(dict.fromkeys(uris))
    found = await asyncio.gather(*(in_thread(_asking.get, uri, partial(_identity, store, uri)) for uri in wanted))
    return dict(zip(wanted, found, strict=True))


def _identity(store: RunStore, uri: str) -> Any:
    if uri.endswith("/"):
        return digest([(found.uri.removeprefix(uri), found.size, found.etag) for found in store.versions(uri)])
    found = store.version(uri)
    return None if found is None else [found.size, found.etag]


def _listed(store: RunStore, uri: str) -> list[Version]:
    return list(store.versions(uri))
