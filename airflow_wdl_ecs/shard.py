"""The life of one shard of a call: attempt after attempt, until one succeeds or none is left.

An attempt is evaluated, staged and started as one ECS task, waited for, and judged; the ledger records each step, so
that whoever hosts the call next goes on from there. This module knows nothing of the shard's siblings.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import msgspec

from .aws import in_evaluation_thread, in_thread
from .ecs.client import EcsClient, StartedTask
from .ecs.poller import Pace, poller
from .ecs.request import log_stream, run_task, task_definition
from .ecs.resources import (
    Policy,
    TaskSize,
    describe,
    ignored_attributes,
    more_memory,
    policy_of,
    resources_of,
    size_of,
)
from .ecs.staging import stage_in_script, stage_out_script
from .ecs.status import TaskStatus, classify, command_status
from .errors import AwsError, CallError, EvaluationError, WdlEcsError
from .ledger import Attempt, Ledger, Success, may_try_again, pause_before, runs_on_spot
from .plan import Shard
from .run import Run
from .task import CallIdentity, Outputs, TaskHandle, TaskRequest, TaskResult

if TYPE_CHECKING:
    from .wdl.task_evaluation import TaskEvaluation

STDERR_LINES = 20
"""Lines of a failed command's stderr that its error carries."""

_TAIL = 16 * 1024
_SOON = 1.0
"""Seconds after its start within which a task cannot have ended."""


class Audience(Protocol):
    """Who is told of a call's ECS tasks while it runs; it must not block, and whatever it does must not fail."""

    def attempt(self, shard: Shard, attempt: Attempt, request: TaskRequest) -> None:
        """An attempt has started, or is taken up again."""


class Log(Protocol):
    """What the lifecycle tells its story to; a `logging.Logger` is one."""

    def info(self, message: str, *values: Any) -> Any:
        """Tell what happens."""

    def warning(self, message: str, *values: Any) -> Any:
        """Tell what a person may want to change."""


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

    def limits(self) -> dict[str, int]:
        """The names under which a task of this call is counted, and how many may be in flight under each."""
        s = self.run.settings
        return {
            f"cluster {s.cluster}": s.max_tasks,
            f"run {self.run.folder}": s.max_tasks_per_run,
            f"call {self.id}": s.max_tasks_per_call,
        }


@dataclass(eq=False)
class Starting:
    """An attempt whose task ECS is being asked for; it outlives the host's waiting for it.

    :param prefix: the attempt's folder. :param stop: why its task is to be stopped as soon as it is there, if it is.
    :param left: whether the host has gone away, so that nobody waits for capacity any more.
    """

    prefix: str
    stop: str = ""
    left: bool = False
    task: asyncio.Future[None] | None = None


_starting: WeakKeyDictionary[EcsClient, set[Starting]] = WeakKeyDictionary()


def starting(ecs: EcsClient) -> set[Starting]:
    """What is being started on an event loop."""
    return _starting.setdefault(ecs, set())


@dataclass(frozen=True)
class _Prepared:
    """An attempt that is ready to be staged and started."""

    request: TaskRequest
    evaluation: TaskEvaluation
    size: TaskSize
    policy: Policy


class ShardRun:
    """One shard of a call in one try: attempt after attempt, until one succeeds or none is left."""

    def __init__(self, hosted: HostedCall, shard: Shard, inputs: Mapping[str, Any], story: Log) -> None:
        self.hosted = hosted
        self.run = hosted.run
        self.shard = shard
        self.inputs = inputs
        self.log = story
        self.identity = CallIdentity(self.run.dag_id, self.run.run_id, hosted.call, shard, hosted.try_number)
        self.ledger = Ledger(self.run.store, hosted.call, shard)
        self.attempts: list[Attempt] = []
        self._failure: WdlEcsError | None = None

    async def to_the_end(self) -> Outputs:
        """The shard's outputs; raises what its last attempt failed of."""
        self.attempts = await in_thread(self.ledger.attempts)
        outputs = await self._take_up()
        while outputs is None:
            if self._failure is not None and not self._again():
                raise self._failure
            await asyncio.sleep(pause_before(self.attempts, self.hosted.try_number))
            prepared = await self._prepare(len(self.attempts), self._memory())
            outputs = await self._attempt(prepared)
        success = Success(self.hosted.try_number, self.attempts[-1].number, outputs)
        await in_thread(self.ledger.write_success, success)
        for name, value in outputs.items():
            self.log.info("output %s = %s", name, _short(value))
        return outputs

    async def _take_up(self) -> Outputs | None:
        """Go on where the host before this one was: the outputs of the last attempt, if it comes to any."""
        if not self.attempts or self.attempts[-1].superseded:
            return None
        last = self.attempts[-1]
        own = last.try_number == self.hosted.try_number
        failed = last.kind not in (None, "succeeded")
        if failed and not own:
            return None
        prepared = await self._prepare(last.number, last.memory)
        if failed:
            # Nobody was told of it: that the host has gone away pays for no attempt.
            self._failure = await in_thread(self._error, prepared.request.prefix, last.status)
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

    def _again(self) -> bool:
        settings, last = self.hosted.run.settings, self.attempts[-1]
        again = may_try_again(self.attempts, self.hosted.try_number, self._policy, settings)
        what = "trying again" if again else "not trying again"
        self.log.warning("attempt %d: %s: %s; %s", last.number, last.kind, last.reason, what)
        return again

    def _memory(self) -> int:
        """MiB to ask for in place of the task's own: more, if the last attempt had too few."""
        if not self.attempts:
            return 0
        last = self.attempts[-1]
        if last.kind == "out_of_memory" and self._size is not None:
            return more_memory(self._size, self.hosted.run.settings.out_of_memory_factor, self.hosted.run.settings)
        return last.memory

    _policy = Policy()
    _size: TaskSize | None = None

    async def _prepare(self, number: int, memory: int) -> _Prepared:
        prepared = await in_evaluation_thread(self._evaluate, number, memory)
        self._policy, self._size = prepared.policy, prepared.size
        return prepared

    def _evaluate(self, number: int, memory: int) -> _Prepared:
        """Evaluate an attempt: blocks and computes."""
        from .wdl.task_evaluation import TaskEvaluation

        run, settings = self.run, self.hosted.run.settings
        folder = f"{settings.container_root.rstrip('/')}/{self._folder_name()}-{number}"
        evaluation = TaskEvaluation(
            self.run.plan.tasks[self.run.plan.call_by_id[self.hosted.call].task],
            self.inputs,
            folder=folder,
            files=run.store,
            attempt=number,
            runtime_overrides=run.evaluation.runtime_overrides(self.hosted.call),
            identity=self.identity,
            beside=run.beside,
        )
        image = next(iter(evaluation.images), settings.image)
        if not image:
            raise EvaluationError(
                "the task names no container image",
                hint="name one in its runtime section, or set the setting `image` for tasks that name none",
            )
        asked = resources_of(evaluation.runtime)
        request = TaskRequest(
            identity=self.identity,
            attempt=number,
            image=image,
            command=evaluation.command(),
            folder=folder,
            prefix=run.store.layout.attempt(self.hosted.call, self.shard, number),
            inputs=evaluation.stage_in,
            outputs=evaluation.output_request(),
            environment=evaluation.environment,
            resources=replace(asked, memory=memory) if memory else asked,
        )
        return _Prepared(request, evaluation, size_of(request.resources, settings), policy_of(evaluation.runtime))

    def _folder_name(self) -> str:
        """A short name for the shard, in which no value can make a path too long or strange."""
        parts = (self.run.dag_id, self.run.run_id, self.run.scope, self.hosted.call, self.shard)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]

    async def _attempt(self, prepared: _Prepared) -> Outputs | None:
        """Start a fresh attempt and wait for its end; None if it failed."""
        self._tell(prepared)
        async with self.hosted.ecs.slots.hold(self.hosted.limits()):
            # A host that goes away while the task starts must not leave a task that is in no ledger.
            start = Starting(prepared.request.prefix)
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

    async def _start(self, prepared: _Prepared, start: Starting) -> None:
        request, settings, ecs = prepared.request, self.hosted.run.settings, self.hosted.ecs
        spot = runs_on_spot(self.attempts, self.hosted.try_number, prepared.policy, settings)
        definition = task_definition(request.image, settings, gpu=prepared.size.gpu)
        found, arn, _ = await asyncio.gather(
            self._result(request.prefix), ecs.register_task_definition(definition), self._put_scripts(prepared)
        )
        arguments = run_task(request, prepared.size, settings, definition=arn, scope=self.run.scope, spot=spot)
        try:
            if found is not None:
                # A host that died before it could record the attempt has started it, and ECS may have forgotten it.
                task = StartedTask(TaskHandle("", settings.cluster), earlier=True)
            else:
                task = await ecs.run_task(
                    arguments,
                    capacity_timeout=settings.capacity_timeout,
                    on_wait=partial(self.log.warning, "waiting for capacity: %s"),
                    wanted=lambda: not (start.left or start.stop),
                )
        except AwsError:
            ecs.forget_task_definition(definition)
            raise
        memory = request.resources.memory if self._memory() else 0
        handle = task.handle
        # What an earlier try has started is that try's: its failure is no reason for this one to end.
        of_try = self.hosted.try_number - task.earlier
        self.attempts.append(Attempt(request.attempt, of_try, handle.arn, handle.cluster, time.time(), spot, memory))
        await in_thread(self.ledger.write_attempts, self.attempts)
        self._announce(prepared)
        self.log.info("attempt %d is ECS task %s%s", request.attempt, handle.arn, " on Spot capacity" if spot else "")
        self.log.info("its log is %s %s", settings.log_group, log_stream(handle.arn))
        if start.stop and handle.arn:
            await ecs.stop_task(handle, start.stop)

    def _announce(self, prepared: _Prepared) -> None:
        if self.hosted.audience is not None:
            self.hosted.audience.attempt(self.shard, self.attempts[-1], prepared.request)

    async def _put_scripts(self, prepared: _Prepared) -> None:
        """Write the attempt's scripts to S3; ``command.sh`` is for people, stage-in carries the command itself."""
        request, tool, put = prepared.request, self.hosted.run.settings.staging_tool, self.run.store.put
        scripts = {
            "command.sh": request.command,
            "stage-in.sh": stage_in_script(request, tool),
            "stage-out.sh": stage_out_script(request, tool, prepared.policy),
        }
        await asyncio.gather(
            *(
                in_thread(put, f"{request.prefix}{name}", text.encode(), "text/x-shellscript")
                for name, text in scripts.items()
            )
        )

    def _tell(self, prepared: _Prepared) -> None:
        """Tell what is about to run."""
        if not self.attempts:
            for name, value in self.inputs.items():
                self.log.info("input %s = %s", name, _short(value))
            ignored = ignored_attributes(prepared.evaluation.runtime)
            if ignored:
                self.log.info("runtime attributes that do nothing here: %s", ", ".join(ignored))
        request = prepared.request
        self.log.info("image %s", request.image)
        self.log.info("asks for %s; is given %s", describe(request.resources), prepared.size)
        self.log.info("the attempt is kept in %s", request.prefix)

    async def _wait(self, prepared: _Prepared) -> Outputs | None:
        """Wait for the end of the last attempt, record it, and give the outputs of a success."""
        attempt, prefix = self.attempts[-1], prepared.request.prefix
        soon = attempt.arn and attempt.kind is None and time.time() - attempt.started <= _SOON
        result = None if soon else await self._result(prefix)
        task = None
        if attempt.arn and (result is None or not prepared.policy.succeeded(result.exit_code)):
            # Only of a success is everything known without ECS.
            task = await self._stopped(attempt)
            result = await self._result(prefix)
        staging_log = "" if result else await in_thread(self._staging_log, prefix)
        status = classify(task, result, prepared.policy, staging_log=staging_log)
        outputs: Outputs | None = None
        if status.kind == "succeeded" and result is not None:
            outputs, status = await self._outputs(prepared, result, status)
        else:
            self._failure = await in_thread(self._error, prefix, status)
        self.attempts[-1] = attempt.ended(status)
        await in_thread(self.ledger.write_attempts, self.attempts)
        return outputs

    async def _stopped(self, attempt: Attempt) -> dict[str, Any] | None:
        """The task of an attempt when it has stopped; None if ECS does not know it."""
        settings = self.hosted.run.settings
        age = max(0.0, time.time() - attempt.started)
        return await poller(self.hosted.ecs, attempt.cluster).stopped(
            attempt.handle,
            Pace(settings.poll_fastest, settings.poll_slowest),
            age=age if age > _SOON else 0.0,
            on_change=lambda task: self.log.info("ECS task is %s", command_status(task)),
        )

    async def _result(self, prefix: str) -> TaskResult | None:
        return _read_result(await in_thread(self.run.store.get, f"{prefix}result.json"))

    async def _outputs(
        self, prepared: _Prepared, result: TaskResult, status: TaskStatus
    ) -> tuple[Outputs | None, TaskStatus]:
        """Evaluate the outputs; what fails in them counts as a failure of the command."""
        seconds = time.time() - self.attempts[-1].started
        self.log.info("the command succeeded with exit code %d after %.0f s", result.exit_code, seconds)
        for problem in result.problems:
            self.log.warning("%s", problem)
        try:
            evaluate = prepared.evaluation.outputs
            return await in_evaluation_thread(evaluate, result, prepared.request.prefix), status
        except EvaluationError as error:
            self._failure = error
            return None, TaskStatus("command_failed", result.exit_code, error.message, "command")

    def _staging_log(self, prefix: str) -> str:
        """What a staging container that failed has left; blocks."""
        logs = (self.run.store.tail(f"{prefix}{name}.log", _TAIL) for name in ("stage-in", "stage-out"))
        return "\n".join(log.decode(errors="replace").strip() for log in logs).strip()

    def _error(self, prefix: str, status: TaskStatus) -> CallError:
        """The error of an attempt that failed, with the last lines of its stderr; blocks."""
        stderr = self.run.store.tail(f"{prefix}stderr", _TAIL).decode(errors="replace")
        lines = stderr.splitlines()[-STDERR_LINES:]
        for line in lines:
            self.log.info("stderr: %s", line)
        message = status.reason
        if lines:
            message += "\nthe last lines of its stderr:\n" + "\n".join(f"  {line}" for line in lines)
        return CallError(
            message,
            kind=status.kind,
            exit_code=status.exit_code,
            stderr="\n".join(lines),
            position=self.run.plan.call_by_id[self.hosted.call].position,
            hint=f"everything of the attempt is in {prefix}",
        )


def _read_result(data: bytes | None) -> TaskResult | None:
    """A result, or None if there is none, or none that can be read.

    A file's name may be no UTF-8; then it reads with replacement characters, and the rest of the result counts.
    """
    try:
        return None if data is None else TaskResult.from_json(data.decode(errors="replace").encode())
    except msgspec.DecodeError:
        return None


def _short(value: Any, longest: int = 500) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
