"""The life of one shard of a call: attempt after attempt, until one succeeds or none is left.

An attempt is evaluated, staged and started as one ECS task, waited for, and judged; the ledger records each step, so
that whoever hosts the call next goes on from there. This module knows nothing of the shard's siblings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from .attempts import Attempt, Times, digest_of
from .aws import in_evaluation_thread, in_thread
from .cached_calls import hit_attempt, shard_cache, was_cleared
from .clean import hint_if_cleaned
from .ecs.attributes import Policy
from .ecs.client import EcsClient
from .ecs.logs import LogsClient, LogSettings, LogTail, logs_client
from .ecs.poller import Pace, poller
from .ecs.request import COMMAND, STAGE_IN, STAGE_OUT, log_stream
from .ecs.resources import TaskSize, describe, more_memory
from .ecs.status import TaskStatus, classify, command_status
from .errors import AwsError, CallError, EvaluationError, WdlEcsError
from .ledger import Ledger, Success
from .plan import Shard
from .preparation import Prepared, prepare
from .remains import last_words, result_of, staging_log, what_is_not_whole
from .retries import decision, may_try_again, pause_before, runs_on_spot
from .run import Run
from .sensitive import redact
from .stops import stop_attempt
from .story import Log, as_json, durations, tell_inputs, tell_request
from .submission import Starting, starting, submit
from .task import CallIdentity, Outputs, TaskHandle, TaskRequest, TaskResult
from .usage_report import attempt_usage

STDERR_LINES = 20
"""Lines of a failed command's stderr that its error carries."""

_SOON = 1.0
"""Seconds after its start within which a task cannot have ended."""


class Audience(Protocol):
    """Who is told of a call's ECS tasks while it runs; it must not block, and whatever it does must not fail."""

    def attempt(self, shard: Shard, attempt: Attempt, request: TaskRequest) -> None:
        """An attempt has started, or is taken up again."""

    def attempt_ended(self, shard: Shard, attempt: Attempt) -> None:
        """An attempt's end has been recorded, for the first time."""


@dataclass(frozen=True)
class HostedCall:
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
        self, hosted: HostedCall, shard: Shard, inputs: Mapping[str, Any], story: Log, *, begun: bool = True
    ) -> None:
        self.hosted = hosted
        self.run = hosted.run
        self.shard = shard
        self.inputs = inputs
        self.log = story
        self.identity = CallIdentity(self.run.dag_id, self.run.run_id, hosted.call, shard, hosted.try_number)
        self.ledger = Ledger(self.run.store, hosted.call, shard)
        self.given = hosted.digest(inputs)
        self.attempts: list[Attempt] = []
        self.begun = begun
        self.cache = shard_cache(self.run, self.identity, inputs, story)
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
            await asyncio.sleep(pause_before(self.attempts, self.hosted.try_number))
            self.times = replace(self.times, queued=time.time())
            async with self.hosted.ecs.slots.hold(self.hosted.limits()):
                self.times = replace(self.times, slot=time.time())
                # Not before: of thousands that wait for their turn, each would hold what its evaluation made.
                prepared = prepared or await self._prepare(len(self.attempts), self._memory())
                outputs, prepared = await self._attempt(prepared), None
        success = Success(self.hosted.try_number, self.attempts[-1].number, outputs, self.given, files)
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
                await stop_attempt(self.hosted.ecs, self.run.store, last.handle, why)
            return None
        own = last.try_number == self.hosted.try_number
        failed = last.kind not in (None, "succeeded")
        if failed and not own:
            return None
        prepared = await self._prepare(last.number, last.memory)
        if failed:
            # Nobody was told of it: that the host has gone away pays for no attempt.
            prefix = prepared.request.prefix
            self._failure = self._error(
                prefix, last.status, await in_thread(last_words, self.run.store, prefix, STDERR_LINES)
            )
            return None
        self.log.info("taking up attempt %d, ECS task %s", last.number, last.arn)
        if not own:
            self.attempts[-1] = replace(last, taken_up=self.hosted.try_number)
            await in_thread(self.ledger.write_attempts, self.attempts)
        self._announce(prepared)
        async with self.hosted.ecs.slots.hold(self.hosted.limits(), at_once=True):
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
        settings, last = self.hosted.run.settings, self.attempts[-1]
        again = may_try_again(self.attempts, self.hosted.try_number, self._policy, settings)
        what = decision(self.attempts, self.hosted.try_number, self._policy, settings)
        self.log.warning("attempt %d: %s: %s; %s", last.number, last.kind, last.reason, what)
        return again

    def _memory(self) -> int:
        """MiB to ask for in place of the task's own: more, if the last attempt had too few."""
        if not self.attempts:
            return 0
        last = self.attempts[-1]
        given = last.memory_given or (self._size.memory if self._size else 0)
        if last.kind == "out_of_memory" and given:
            return more_memory(given, self._policy, self.hosted.run.settings)
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
        start = Starting(prepared.request.prefix, self.hosted.try_number)
        start.task = asyncio.ensure_future(self._start(prepared, start))
        starting(self.hosted.ecs).add(start)
        start.task.add_done_callback(lambda _: starting(self.hosted.ecs).discard(start))
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
        request, settings, ecs = prepared.request, self.hosted.run.settings, self.hosted.ecs
        spot = runs_on_spot(self.attempts, self.hosted.try_number, prepared.policy, settings)
        submitted = await submit(self.run, ecs, prepared, start, spot=spot, log=self.log, begun=self.begun)
        self.begun = False  # the attempts after this one are nobody else's
        self.times = replace(self.times, submitted=submitted.at)
        handle, spot = submitted.task.handle, submitted.spot
        # What an earlier try has started is that try's: its failure is no reason for this one to end.
        of_try = self.hosted.try_number - submitted.task.earlier
        self.attempts.append(self._record(prepared, handle, of_try, spot=spot))
        await in_thread(self.ledger.write_attempts, self.attempts)
        self._announce(prepared)
        self.log.info("attempt %d is ECS task %s%s", request.attempt, handle.arn, " on Spot capacity" if spot else "")
        self.log.info("its log is %s %s", settings.log_group, log_stream(handle.arn))
        if start.stop and handle.arn:
            await stop_attempt(ecs, self.run.store, handle, start.stop)

    def _record(self, prepared: Prepared, handle: TaskHandle, try_number: int, *, spot: bool) -> Attempt:
        request, size, settings = prepared.request, prepared.size, self.hosted.run.settings
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
            cache=self.cache.said if self.cache is not None else "",
            cache_key=self.cache.key if self.cache is not None else "",
            ebs=bool(size.ebs),
            architecture=settings.cpu_architecture,
        )

    def _announce(self, prepared: Prepared) -> None:
        if self.hosted.audience is not None:
            self.hosted.audience.attempt(self.shard, self.attempts[-1], prepared.request)

    def _tell(self, prepared: Prepared) -> None:
        """Tell what is about to run."""
        if not self.attempts:
            tell_inputs(self.log, self.inputs, prepared.evaluation.runtime)
        tell_request(self.log, prepared.request, prepared.size, self.hosted.run.settings)

    async def _wait(self, prepared: Prepared) -> Outputs | None:
        """Wait for the end of the last attempt, record it, and give the outputs of a success."""
        attempt, prefix = self.attempts[-1], prepared.request.prefix
        soon = attempt.arn and attempt.kind is None and time.time() - attempt.started <= _SOON
        result = None if soon else await self._result(prefix)
        task = None
        tail = self._tail(attempt)
        try:
            if attempt.arn and (result is None or not prepared.policy.succeeded(result.exit_code)):
                # Only of a success is everything known without ECS.
                task = await self._stopped(attempt, tail)
                result = await self._result(prefix)
                if task is None and result is None:
                    # What ECS does not show may run all the same; nobody will wait for it any more.
                    await self.hosted.ecs.stop_task(attempt.handle, "it was not to be found, and counts as lost")
            return await self._end(prepared, attempt, task, result, tail)
        finally:
            tail.stop()

    async def _end(
        self,
        prepared: Prepared,
        attempt: Attempt,
        task: dict[str, Any] | None,
        result: TaskResult | None,
        tail: LogTail,
    ) -> Outputs | None:
        """Record how an attempt has ended, and tell it."""
        known_before = attempt.kind is not None
        attempt = self.attempts[-1] = attempt.knowing(task, result)
        outputs, status = await self._judge(prepared, task, result, tail)
        self.attempts[-1] = attempt.ended(replace(status, reason=redact(status.reason, self.run.secrets)))
        took = durations(attempt)
        if took:
            self.log.info("attempt %d took: %s", attempt.number, took)
        used = attempt_usage(attempt)
        if used and used.in_words:
            self.log.info("attempt %d used: %s", attempt.number, used.in_words)
        await in_thread(self.ledger.write_attempts, self.attempts)
        if self.hosted.audience is not None and not known_before:
            self.hosted.audience.attempt_ended(self.shard, self.attempts[-1])
        return outputs

    async def _judge(
        self, prepared: Prepared, task: dict[str, Any] | None, result: TaskResult | None, tail: LogTail
    ) -> tuple[Outputs | None, TaskStatus]:
        """How an attempt has ended, and the outputs of one that has succeeded."""
        store, prefix = self.run.store, prepared.request.prefix
        if result is not None and prepared.policy.succeeded(result.exit_code):
            return await self._outputs(prepared, result, tail)
        if task is not None or result is not None:
            await tail.finish()
        said = "" if result else await in_thread(staging_log, store, prefix)
        stderr = await in_thread(last_words, store, prefix, STDERR_LINES)
        status = classify(task, result, prepared.policy, staging_log=said, stderr="\n".join(stderr))
        if said and status.kind == "never_started":  # an input may be missing because somebody has cleaned the run
            status = replace(status, hint=status.hint or await in_thread(hint_if_cleaned, store))
        if not tail.told:
            for line in stderr:
                self.log.info("stderr: %s", line)
        self._failure = self._error(prefix, status, stderr)
        return None, status

    def _tail(self, attempt: Attempt) -> LogTail:
        """What repeats the command's log in this one."""
        s, run = self.hosted.run.settings, self.run

        async def client() -> LogsClient:
            return logs_client(await in_thread(run.clients, "logs"))

        return LogTail(
            client,
            attempt.log_group,
            attempt.log_streams.get(COMMAND, ""),
            LogSettings(s.live_logs, s.live_logs_interval, s.live_logs_lines),
            tell=partial(self.log.info, "%s"),
            warn=partial(self.log.warning, "%s"),
        )

    async def _stopped(self, attempt: Attempt, tail: LogTail) -> dict[str, Any] | None:
        """The task of an attempt when it has stopped; None if ECS does not know it."""

        def on_change(task: Mapping[str, Any]) -> None:
            state = command_status(task)
            self.log.info("ECS task is %s, %.1f s after its start", state, time.time() - attempt.started)
            if state == "running":
                tail.start()

        settings = self.hosted.run.settings
        age = max(0.0, time.time() - attempt.started)
        return await poller(self.hosted.ecs, attempt.cluster).stopped(
            attempt.handle,
            Pace(settings.poll_fastest, settings.poll_slowest),
            age=age if age > _SOON else 0.0,
            on_change=on_change,
        )

    async def _result(self, prefix: str) -> TaskResult | None:
        return await in_thread(result_of, self.run.store, prefix)

    async def _outputs(
        self, prepared: Prepared, result: TaskResult, tail: LogTail
    ) -> tuple[Outputs | None, TaskStatus]:
        """Evaluate the outputs, and see that they are whole; what fails in them counts as a failure of the command."""
        prefix, code = prepared.request.prefix, result.exit_code
        wrong, outputs, _ = await asyncio.gather(
            in_thread(what_is_not_whole, self.run.store, prefix, result),
            in_evaluation_thread(prepared.evaluation.outputs, result, prefix),
            tail.finish() if result.stdout_size or result.stderr_size else asyncio.sleep(0),
            return_exceptions=True,
        )
        self.log.info("the command succeeded with exit code %d", code)
        for problem in result.problems:
            self.log.warning("%s", problem)
        if isinstance(wrong, BaseException):
            raise wrong
        if wrong:
            text = f"the command succeeded, and its outputs are not whole in S3: {wrong}"
            status = TaskStatus("lost", code, text, "infrastructure")
            self._failure = self._error(prefix, status, [])
            return None, status
        if isinstance(outputs, EvaluationError):
            self._failure = outputs
            return None, TaskStatus("command_failed", code, outputs.message, "command")
        if isinstance(outputs, BaseException):
            raise outputs
        return outputs, TaskStatus("succeeded", code, "the command succeeded")

    def _error(self, prefix: str, status: TaskStatus, stderr: list[str]) -> CallError:
        """The error of an attempt that failed, with the last lines of its stderr."""
        kept = f"everything of the attempt is in {prefix}"
        message = status.reason
        if stderr:
            message += "\nthe last lines of its stderr:\n" + "\n".join(f"  {line}" for line in stderr)
        return CallError(
            message,
            kind=status.kind,
            exit_code=status.exit_code,
            stderr="\n".join(stderr),
            attempt=self.attempts[-1].number,
            position=self.run.plan.call_by_id[self.hosted.call].position,
            hint=f"{status.hint}\n{kept}" if status.hint else kept,
        )
