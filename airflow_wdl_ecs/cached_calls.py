"""The call cache in the life of a shard: whether its outputs are there already, and keeping them when it has made them.

What is asked of it costs S3 one request for each input file, one for the entry and one for each output file of a hit;
nothing is copied, and a hit starts no ECS task. Nothing here fails a call: what S3 refuses is a miss, or is not kept,
and the log says so.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from .attempts import Attempt, Times
from .aws import in_thread
from .call_cache import IMAGE, CacheLayout, Entry, Key, read_entry, read_parts, why_missed, why_stale
from .call_keys import KeyedCall, RecordedFiles, versions
from .ecs.image_digests import image_digest
from .errors import WdlEcsError
from .given_files import may_take
from .layout import shard_key
from .preparation import Prepared
from .run import Run
from .sensitive import Log
from .task import CallIdentity, Outputs

SHORT = "call cache"
"""What the lines of the log begin with."""


class ShardCache:
    """The call cache, as one shard in one try asks it.

    :param mode: ``on``, or ``refresh`` to keep outputs without looking for them first.
    """

    def __init__(self, run: Run, identity: CallIdentity, inputs: Mapping[str, Any], log: Log, *, mode: str) -> None:
        self.said = ""
        """What became of the look, in words, for the ledger: ``hit: ...``, ``miss: ...`` or ``not used: ...``."""
        self.key = ""
        """The digest of the shard's key; empty as long as its outputs are not to be kept."""
        self._looked: Key | None = None
        self.call = KeyedCall(run, identity, inputs)
        self._run, self._log, self._mode = run, log, mode
        prefix = run.settings.call_cache_prefix or f"{run.settings.workspace.rstrip('/')}/cache"
        self._layout = CacheLayout(prefix)
        self._last = self._layout.last_key(run.plan.name, identity.call, identity.shard)
        self._read = RecordedFiles(run.store)

    def files(self) -> RecordedFiles:
        """The files for an evaluation that is about to begin."""
        self._read = RecordedFiles(self._run.store)
        return self._read

    async def look_up(self, prepared: Prepared, *, cleared: bool) -> Entry | None:
        """The entry of the shard's key, if there is one and all of its files are as they were.

        :param prepared: the attempt that would be started otherwise.
        :param cleared: whether somebody has cleared the shard's success, so that it is to run again.
        """
        try:
            unfit = self._unfit(prepared)
            key = None if unfit else await self._key(prepared)
            if key is None:
                return self._without("not used", unfit or await self._without_digest(prepared))
            self._looked, self.key = key, key.digest
            if cleared or self._mode == "refresh":
                why = "the call was cleared, so that it runs again" if cleared else "the run refreshes it"
                return self._without("not used", f"{why}; its outputs are kept")
            return await self._find(key)
        except WdlEcsError as error:
            self._log.warning("%s: it could not be asked: %s", SHORT, error)
            return self._without("miss", f"it could not be asked: {error.message}")

    async def _find(self, key: Key) -> Entry | None:
        store = self._run.store
        data = await in_thread(store.get, self._layout.entry(key.digest))
        entry = None if data is None else read_entry(data)
        if data is None:
            before = read_parts(await in_thread(store.get, self._last))
            return self._without("miss", why_missed(before, key.parts))
        if entry is None:
            return self._without("miss", "its entry cannot be read")
        refused = next((uri for uri in entry.uris if not may_take(self._run.settings, uri)), None)
        if refused is not None:
            where = "is where this run may take no files from (input_prefixes)"
            return self._without("miss", f"its output {refused} {where}")
        stale = why_stale(entry.files, await versions(store, (file.uri for file in entry.files)))
        if stale:
            return self._without("miss", stale)
        self.said = f"hit: the outputs are those of {entry.origin}"
        self._log.info("%s: %s; no ECS task is started, and everything is in %s", SHORT, self.said, entry.folder)
        return entry

    def _without(self, what: str, why: str) -> Entry | None:
        """Say why there is no entry to be taken: None."""
        self.said = f"{what}: {why}"
        self._log.info("%s: %s", SHORT, self.said)
        return None

    def go_on(self, attempt: Attempt) -> None:
        """Take what became of the look from an attempt of the same inputs, which an earlier host has started."""
        self.said, self.key = attempt.cache, attempt.cache_key

    def tell_unrecorded(self) -> None:
        """Tell that what the attempt makes is not kept, since it may be another one's."""
        why = "an earlier host may have started this attempt, with what its files were then"
        self._log.info("%s: the outputs will not be kept: %s", SHORT, why)

    async def keep(self, prepared: Prepared, attempt: Attempt, outputs: Outputs) -> None:
        """Keep the outputs of an attempt that has succeeded, unless what it was given has changed meanwhile.

        :param attempt: it has the key that the shard had when it was started; none if they are not to be kept.
        """
        if not attempt.cache_key:
            return
        try:
            why = await self._keep(prepared, attempt, outputs)
        except WdlEcsError as error:
            why = str(error)
        if why:
            self._log.warning("%s: the outputs are not kept: %s", SHORT, why)

    async def _keep(self, prepared: Prepared, attempt: Attempt, outputs: Outputs) -> str:
        """What has kept the outputs from being kept; empty if nothing has, or they are never kept."""
        if _holds_any(self._run.secrets, [json.dumps(outputs, ensure_ascii=False)]):
            return "there is a secret in them"
        key = await self._key(prepared)
        if key is None or key.digest != attempt.cache_key:
            return self._what_changed(prepared.request.image, key)
        uris = await self.call.output_uris(outputs)
        shared = next((uri for uri in uris if self._run.mounted(uri) is not None), None)
        if shared is not None:
            text = "%s: the outputs are not kept: %s is on a shared file system, and nobody sees here whether it stays"
            self._log.info(text, SHORT, shared)
            return ""
        files, folders = await self.call.output_versions(uris)
        gone = [uri for uri, version in files.items() if version is None]
        if gone:
            return f"{gone[0]} is not there"
        who, store, uri = self.call.identity, self._run.store, self._layout.entry(key.digest)
        entry = Entry(
            key=key.digest,
            dag_id=who.dag_id,
            run_id=who.run_id,
            scope=self._run.scope,
            call=who.call,
            shard=shard_key(who.shard),
            attempt=attempt.number,
            made=time.time(),
            folder=prepared.request.prefix,
            outputs=outputs,
            files=tuple(version for version in files.values() if version is not None),
            folders=tuple(folders),
            exit_code=attempt.exit_code,
            image=prepared.request.image,
        )
        await asyncio.gather(
            in_thread(store.put_json, uri, asdict(entry)), in_thread(store.put_json, self._last, dict(key.parts))
        )
        self._log.info("%s: the outputs are kept as %s", SHORT, uri)
        return ""

    async def _key(self, prepared: Prepared) -> Key | None:
        """The shard's key as it is now; None if its image is not known well enough."""
        image = await in_thread(image_digest, prepared.request.image, self._run.clients)
        if not image.digest and not self._run.settings.call_cache_tags:
            return None
        return await self.call.key(prepared, tuple(self._read.uris), image)

    def _what_changed(self, image: str, now: Key | None) -> str:
        """Why the key of an attempt is no longer what it was when it started, in words."""
        before = self._looked.parts if self._looked is not None else {}
        same = now is not None and now.parts == {**before, IMAGE: now.parts[IMAGE]}
        if now is not None and same and before.get(IMAGE) == image:
            # A pull-through cache has an image from its first pull on.
            return f"the digest of image {image} was not known before it was pulled; it is {now.parts[IMAGE]}"
        return "an input, the image or another file that the task reads has changed while it ran"

    def _unfit(self, prepared: Prepared) -> str:
        """Why this call is never cached; empty if it may be."""
        said = said_by_attributes(prepared.evaluation.runtime)
        if said:
            return f"the task says {said}"
        # A digest of a text that is easy to guess would give it away, and outputs may well hold what was put in.
        inputs = json.dumps(self.call.inputs, ensure_ascii=False)
        given = (prepared.request.command, *prepared.request.environment.values())
        if _holds_any(self._run.secrets, (*given, inputs)):
            return "the call is given a secret"
        if self._run.secrets and self._run.store.layout.named("files/") in inputs:
            return "the call is given a file that the workflow wrote, in which there may be a secret"
        return ""

    async def _without_digest(self, prepared: Prepared) -> str:
        name = prepared.request.image
        image = await in_thread(image_digest, name, self._run.clients)
        return f"the digest of image {name} is not known ({image.why_not}), and call_cache_tags is false"


def shard_cache(run: Run, identity: CallIdentity, inputs: Mapping[str, Any], log: Log) -> tuple[ShardCache | None, str]:
    """The call cache for a shard; or None where its outputs are neither looked for nor kept, and why, in words for the
    ledger (see `ShardCache.said`), which are empty where the cache is off.
    """
    mode = run.call_cache_mode
    if mode == "off":
        return None, ""
    if run.plan.tasks[run.plan.call_by_id[identity.call].task].meta.get("volatile") is True:
        said = "not used: the task says `volatile: true` in its meta section"
        log.info("%s: %s", SHORT, said)
        return None, said
    return ShardCache(run, identity, inputs, log, mode=mode), ""


def said_by_attributes(runtime: Mapping[str, Any]) -> str:
    """The runtime attribute, or hint, with which a task says that it is not to be cached; empty if there is none.

    ``volatile: true`` has the name of Cromwell's entry of ``meta``, and ``cacheable: false`` is Sprocket's hint.
    """
    if str(runtime.get("volatile")).lower() == "true":
        return "`volatile: true`"
    return "`cacheable: false`" if str(runtime.get("cacheable")).lower() == "false" else ""


def was_cleared(attempts: Iterable[Attempt]) -> bool:
    """Whether somebody has cleared what a shard had brought to a success in this run, whatever came after that.

    What counts no more for another reason (a DAG run that was deleted and has come again, inputs that have changed) is
    no wish that the call runs.
    """
    marks = [attempt.superseded for attempt in attempts if attempt.superseded]
    return bool(marks) and marks[-1] > 1


def hit_attempt(
    entry: Entry, cache: ShardCache, prepared: Prepared, *, number: int, given: str, taken_up: float | None
) -> Attempt:
    """What a shard's ledger says of a hit: an attempt without an ECS task.

    :param number: of the attempt. :param given: as in `Attempt`. :param taken_up: when the host took up the shard.
    """
    now = time.time()
    return Attempt(
        number,
        cache.call.identity.try_number,
        "",
        "",
        now,
        kind="succeeded",
        times=Times(taken_up=taken_up, stopped=now),
        exit_code=entry.exit_code,
        prefix=entry.folder,
        image=prepared.request.image,
        given=given,
        cache=cache.said,
        cached=entry.folder,
    )


def _holds_any(secrets: Iterable[str], texts: Iterable[str]) -> bool:
    texts = list(texts)
    return any(secret in text for secret in secrets for text in texts)
