"""The life of one shard of a call: attempt after attempt, until one succeeds or none is left.

An attempt is evaluated, staged and started as one ECS task, waited for, and judged (see ``attempt_end``); the ledger
records each step, so that whoever hosts the call next goes on from there. This module knows nothing of the shard's
siblings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .attempt_end import STDERR_LINES, AttemptWatch, failure_of_attempt
from .attempts import Attempt, Times, digest_of
from .aws import in_evaluation_thread, in_thread
from .cached_calls import hit_attempt, shard_cache, was_cleared
from .ecs.attributes import Policy
from .ecs.client import EcsClient
from .ecs.request import COMMAND, STAGE_IN, STAGE_OUT, log_stream
from .ecs.resources import TaskSize, describe, more_memory
from .errors import AwsError, CallError, WdlEcsError
from .ledger import Ledger, Success
from .plan import Shard
from .preparation import Prepared, prepare
from .remains import last_words
from .retries import decision, may_try_again, pause_before, runs_on_spot
from .run import Run
from .sensitive import Log, redact
from .stops import stop_attempt
from .story import as_json, durations, tell_inputs, tell_request
from .submission import Starting, starting, submit
from .task import CallIdentity, Outputs, TaskHandle, TaskRequest, TaskResult
from .usage_report import attempt_usage


class Audience(Protocol):
    """Who is told of a call's ECS tasks while it runs; it must not block, and whatever it does must not fail."""

    def attempt(self, shard: Shard, attempt: Attempt, request: TaskRequest) -> None:
        """An attempt has started, or is taken up again."""

    def attempt_ended(self, shard: Shard, attempt: Attempt) -> None:
        """An attempt's end has been recorded, for the first time."""


@dataclass(frozen=True)
class CallTry:
    """One call in one try, on the event loop of one `EcsClient`.

    :param id: unlike that of any other host; the tasks of this one are counted under it.
    :param audience: who is told of its ECS tasks, if anybody.
    """

    run: Run
    call: str
    try_number: int
    ecs: EcsClient
    id: str
    audience: Audience | None = None

    def digest(self, inputs: Mapping[str, Any]) -> str:
        """What tells results of this task with these inputs from others."""
        plan = self.run.plan
        return digest_of(plan.tasks[plan.call_by_id[self.call].task].source, inputs)

    def limits(self) -> dict[str, int]:
        """The names under which a task of this call is counted, and how many may be in flight under each."""
        s = self.run.settings
        return {
            f"cluster {s.cluster}": s.max_tasks,
            f"run {self.run.folder}": s.max_tasks_per_run,
            f"call {self.id}": s.max_tasks_per_call,
        }


class ShardRun:
    """One shard of a call in one try: attempt after attempt, until one succeeds or none is left.

    :param begun: whether an earlier host may have left something of the shard.
    """

    def __init__(
        self, call_try: CallTry, shard: Shard, inputs: Mapping[str, Any], story: Log, *, begun: bool = True
    ) -> None:
        self.call_try = call_try
        self.run = call_try.run
        self.shard = shard
        self.inputs = inputs
        self.log = story
        self.identity = CallIdentity(self.run.dag_id, self.run.run_id, call_try.call, shard, call_try.try_number)
        self.ledger = Ledger(self.run.store, call_try.call, shard)
        self.given = call_try.digest(inputs)
        self.attempts: list[Attempt] = []
        self.begun = begun
        self.cache, self.not_cached = shard_cache(self.run, self.identity, inputs, story)
        self.times = Times(taken_up=time.time())
        self._failure: WdlEcsError | None = None

    async def to_the_end(self) -> Outputs:
        """The shard's outputs; raises what its last attempt failed of."""
        self.attempts = await in_thread(self.ledger.attempts) if self.begun else []
        outputs = await self._take_up()
        prepared: Prepared | None = None
        files: tuple[str, ...] = ()
        if outputs is None and self._failure is None and self.cache is not None:
            prepared = await self._prepare(len(self.attempts), self._memory())
            outputs, files = await self._from_cache(prepared)
        while outputs is None:
            if self._failure is not None and not self._again():
                raise self._failure
            await asyncio.sleep(pause_before(self.attempts, self.call_try.try_number))
            self.times = replace(self.times, queued=time.time())
            async with self.call_try.ecs.slots.hold(self.call_try.limits()):
                self.times = replace(self.times, slot=time.time())
                # Not before, where no cache asks for it: thousands that wait for their turn would each hold theirs.
                prepared = prepared or await self._prepare(len(self.attempts), self._memory())
                outputs, prepared = await self._attempt(prepared), None
        success = Success(self.call_try.try_number, self.attempts[-1].number, outputs, self.given, files)
        await in_thread(self.ledger.write_success, success)
        if self.cache is not None and self._prepared is not None:
            await self.cache.keep(self._prepared, self.attempts[-1], outputs)
        for name, value in outputs.items():
            self.log.info("output %s = %s", name, as_json(value))
        return outputs

    async def _take_up(self) -> Outputs | None:
        """Go on where the host before this one was: the outputs of the last attempt, if it comes to any."""
        if not self.attempts or self.attempts[-1].superseded:
            return None
        last = self.attempts[-1]
        if last.cached:
            return None  # a hit, whose host died before it could say so: it is looked for again
        if last.given not in ("", self.given):
            self.log.info("attempt %d was of other inputs, or of another version of the task", last.number)
            if last.kind is None and last.arn:
                why = "its inputs or its task have changed"
                await stop_attempt(self.call_try.ecs, self.run.store, last.handle, why)
            return None
        own = last.try_number == self.call_try.try_number
        failed = last.kind not in (None, "succeeded")
        if failed and not own:
            return None
        prepared = await self._prepare(last.number, last.memory)
        if self.cache is not None:
            self.cache.go_on(last)
        if failed:
            # Nobody was told of it: that the host has gone away pays for no attempt.
            stderr = await in_thread(last_words, self.run.store, prepared.request.prefix, STDERR_LINES)
            self._failure = failure_of_attempt(self.run, prepared.request, last.status, stderr)
            return None
        self.log.info("taking up attempt %d, ECS task %s", last.number, last.arn)
        if not own:
            self.attempts[-1] = replace(last, taken_up=self.call_try.try_number)
            await in_thread(self.ledger.write_attempts, self.attempts)
        self._announce(prepared)
        async with self.call_try.ecs.slots.hold(self.call_try.limits(), at_once=True):
            outputs = await self._wait(prepared)
        if outputs is None and not own:
            # How an earlier try ended is no reason for this one to end.
            self._failure = None
        return outputs

    async def _from_cache(self, prepared: Prepared) -> tuple[Outputs | None, tuple[str, ...]]:
        """What the call cache has for the shard: its outputs and their files, or None."""
        assert self.cache is not None
        entry = await self.cache.look_up(prepared, cleared=was_cleared(self.attempts))
        if entry is None:
            return None, ()
        tell_inputs(self.log, self.inputs, prepared.evaluation.runtime)
        number, taken_up = len(self.attempts), self.times.taken_up
        hit = hit_attempt(entry, self.cache, prepared, number=number, given=self.given, taken_up=taken_up)
        self.attempts.append(hit)
        await in_thread(self.ledger.write_attempts, self.attempts)
        return entry.outputs, entry.uris

    def _again(self) -> bool:
        settings, last = self.call_try.run.settings, self.attempts[-1]
        again = may_try_again(self.attempts, self.call_try.try_number, self._policy, settings)
        what = decision(self.attempts, self.call_try.try_number, self._policy, settings)
        self.log.warning("attempt %d: %s: %s; %s", last.number, last.kind, last.reason, what)
        return again

    def _memory(self) -> int:
        """MiB to ask for in place of the task's own: more, if the last attempt had too few."""
        if not self.attempts:
            return 0
        last = self.attempts[-1]
        given = last.memory_given or (self._size.memory if self._size else 0)
        if last.kind == "out_of_memory" and given:
            return more_memory(given, self._policy, self.call_try.run.settings)
        return last.memory

    _policy = Policy()
    _size: TaskSize | None = None
    _prepared: Prepared | None = None

    async def _prepare(self, number: int, memory: int) -> Prepared:
        files = self.cache.files() if self.cache is not None else None
        prepared = await in_evaluation_thread(
            prepare, self.run, self.identity, self.inputs, attempt=number, memory=memory, files=files
        )
        self._policy, self._size, self._prepared = prepared.policy, prepared.size, prepared
        return prepared

    async def _attempt(self, prepared: Prepared) -> Outputs | None:
        """Start a fresh attempt and wait for its end; None if it failed."""
        self._tell(prepared)
        # A host that goes away while the task starts must not leave a task that is in no ledger.
        start = Starting(prepared.request.prefix, self.call_try.try_number)
        start.task = asyncio.ensure_future(self._start(prepared, start))
        starting(self.call_try.ecs).add(start)
        start.task.add_done_callback(lambda _: starting(self.call_try.ecs).discard(start))
        try:
            await asyncio.shield(start.task)
        except asyncio.CancelledError:
            start.left = True
            raise
        except AwsError as error:
            raise CallError(
                f"ECS did not start the task: {error.message}", kind="never_started", hint=error.hint
            ) from error
        return await self._wait(prepared)

    async def _start(self, prepared: Prepared, start: Starting) -> None:
        request, settings, ecs = prepared.request, self.call_try.run.settings, self.call_try.ecs
        cache_key = await self._cache_key(request)
        spot = runs_on_spot(self.attempts, self.call_try.try_number, prepared.policy, settings)
        submitted = await submit(self.run, ecs, prepared, start, spot=spot, log=self.log, begun=self.begun)
        self.begun = False  # the attempts after this one are nobody else's
        self.times = replace(self.times, submitted=submitted.at)
        handle, spot = submitted.task.handle, submitted.spot
        # What an earlier try has started is that try's: its failure is no reason for this one to end.
        of_try = self.call_try.try_number - submitted.task.earlier
        if submitted.at is None or submitted.task.earlier:
            cache_key = ""
        self.attempts.append(self._record(prepared, handle, of_try, spot=spot, cache_key=cache_key))
        await in_thread(self.ledger.write_attempts, self.attempts)
        self._announce(prepared)
        self.log.info("attempt %d is ECS task %s%s", request.attempt, handle.arn, " on Spot capacity" if spot else "")
        self.log.info("its log is %s %s", settings.log_group, log_stream(handle.arn))
        if start.stop and handle.arn:
            await stop_attempt(ecs, self.run.store, handle, start.stop)

    async def _cache_key(self, request: TaskRequest) -> str:
        """Under which the outputs of an attempt that is about to start are to be kept; empty if they are not.

        An earlier host may have started it without recording it. What that one's inputs were then is not known: RunTask
        gives the same task for the same token, whatever is in the files now.
        """
        if self.cache is None or not self.cache.key:
            return ""
        if self.begun and await in_thread(self.run.store.exists, request.prefix):
            self.cache.tell_unrecorded()
            return ""
        return self.cache.key

    def _record(
        self, prepared: Prepared, handle: TaskHandle, try_number: int, *, spot: bool, cache_key: str
    ) -> Attempt:
        request, size, settings = prepared.request, prepared.size, self.call_try.run.settings
        providers = settings.spot_capacity_providers if spot else settings.capacity_providers
        containers = (STAGE_IN, COMMAND, STAGE_OUT) if handle.arn else ()
        return Attempt(
            request.attempt,
            try_number,
            handle.arn,
            handle.cluster,
            time.time(),
            spot,
            request.resources.memory if self._memory() else 0,
            times=self.times,
            prefix=request.prefix,
            image=request.image,
            asked=describe(request.resources),
            cpu=size.cpu / 1024,
            memory_given=size.memory,
            disk=size.disk or size.ebs,
            gpu=size.gpu,
            launch_type=", ".join(providers) or settings.launch_type,
            log_group=settings.log_group,
            log_streams={name: log_stream(handle.arn, name) for name in containers},
            given=self.given,
            cpu_asked=request.resources.cpu or settings.cpu,
            memory_asked=request.resources.memory or settings.memory,
            cache=self.not_cached if self.cache is None else self.cache.said,
            cache_key=cache_key,
            ebs=bool(size.ebs),
            architecture=settings.cpu_architecture,
        )

    def _announce(self, prepared: Prepared) -> None:
        if self.call_try.audience is not None:
            self.call_try.audience.attempt(self.shard, self.attempts[-1], prepared.request)

    def _tell(self, prepared: Prepared) -> None:
        """Tell what is about to run."""
        if not self.attempts:
            tell_inputs(self.log, self.inputs, prepared.evaluation.runtime)
        tell_request(self.log, prepared.request, prepared.size, self.call_try.run.settings)

    async def _wait(self, prepared: Prepared) -> Outputs | None:
        """Wait for the end of the last attempt, record it, and give the outputs of a success."""
        watch = AttemptWatch(self.run, self.call_try.ecs, self.attempts[-1], prepared, self.log)
        try:
            task, result = await watch.wait()
            return await self._end(watch, task, result)
        finally:
            watch.tail.stop()

    async def _end(self, watch: AttemptWatch, task: dict[str, Any] | None, result: TaskResult | None) -> Outputs | None:
        """Record how the last attempt has ended, and tell it."""
        known_before = watch.attempt.kind is not None
        attempt = self.attempts[-1] = watch.attempt.knowing(task, result)
        end = await watch.judge(task, result)
        self._failure = end.failure or self._failure
        status = end.status
        self.attempts[-1] = attempt.ended(replace(status, reason=redact(status.reason, self.run.secrets)))
        took = durations(attempt)
        if took:
            self.log.info("attempt %d took: %s", attempt.number, took)
        used = attempt_usage(attempt)
        if used and used.in_words:
            self.log.info("attempt %d used: %s", attempt.number, used.in_words)
        await in_thread(self.ledger.write_attempts, self.attempts)
        if self.call_try.audience is not None and not known_before:
            self.call_try.audience.attempt_ended(self.shard, self.attempts[-1])
        return end.outputs
