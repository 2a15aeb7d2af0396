"""The life of a call: from its bound inputs to its outputs, by one ECS task per shard and attempt.

`run_call` runs a set of shards side by side. Each looks into its ledger first: a success is adopted, a task that
still runs is waited for; only then is a fresh attempt evaluated, staged and started. Cancelling it stops nothing,
since a host that restarts goes on where this one was; stopping is `stop_call`. It knows neither Airflow nor boto3.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from .aws import in_evaluation_thread, in_thread
from .ecs.client import EcsClient, ecs_client
from .ecs.poller import Pace, poller
from .ecs.request import attempt_prefix, log_stream, run_task, started_by, task_definition
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
from .ecs.staging import run_script, stage_in_script, stage_out_script
from .ecs.status import TaskStatus, classify, command_status
from .errors import AwsError, CallError, EvaluationError, WdlEcsError
from .ledger import Attempt, Ledger, Success, is_deliberate_rerun, may_try_again, pause_before, runs_on_spot
from .plan import Shard
from .run import Run
from .storage import shard_key
from .task import CallIdentity, Outputs, TaskHandle, TaskRequest, TaskResult

if TYPE_CHECKING:
    from .wdl.task_evaluation import TaskEvaluation

STDERR_LINES = 20
"""Lines of a failed command's stderr that its error carries."""

_TAIL = 16 * 1024
_SOON = 1.0
"""Seconds after its start within which a task cannot have ended."""

T = TypeVar("T")


class Log(Protocol):
    """What the lifecycle tells its story to; a `logging.Logger` is one."""

    def info(self, message: str, *values: Any) -> Any:
        """Tell what happens."""

    def warning(self, message: str, *values: Any) -> Any:
        """Tell what a person may want to change."""


@dataclass(frozen=True)
class CallOutcome:
    """How a set of shards of a call ended.

    :param outputs: of each shard that succeeded; None for one whose guard was false.
    :param failures: of each shard that failed.
    """

    outputs: dict[Shard, Outputs | None] = field(default_factory=dict)
    failures: dict[Shard, WdlEcsError] = field(default_factory=dict)


async def run_call(
    run: Run,
    call: str,
    prefixes: Sequence[Shard],
    *,
    try_number: int,
    log: Log,
    fresh: bool | None = None,
) -> CallOutcome:
    """Run every shard of a call that begins with one of the prefixes, to its end.

    :param prefixes: ``[()]`` for all shards of the call.
    :param try_number: Airflow's, from 1. What an earlier try has achieved is kept.
    :param fresh: whether to run again what has succeeded in an earlier try; None to do so if all of it has, since
        there is no other reason for a new try.
    :raises WdlEcsError: if it cannot be said which shards there are; the failures of shards are in the outcome.
    """
    ecs = ecs_client(await in_thread(run.clients, "ecs"))
    evaluation = await in_evaluation_thread(lambda: run.evaluation)
    found = [await in_evaluation_thread(evaluation.shards, call, prefix) for prefix in prefixes]
    shards = [shard for some in found for shard in some]
    hosted = _HostedCall(run, call, try_number, ecs, log)
    outcome = CallOutcome()
    inputs = await _settle(
        outcome, shards, call, lambda shard: in_evaluation_thread(evaluation.call_inputs, call, shard)
    )
    for shard in (shard for shard, bound in inputs.items() if bound is None):
        _story(log, shard).info("skipped: a condition around the call is false")
        outcome.outputs[shard] = None
    bound = {shard: given for shard, given in inputs.items() if given is not None}
    successes = await _settle(
        outcome, list(bound), call, lambda shard: in_thread(Ledger(run.store, call, shard).success)
    )
    if is_deliberate_rerun(list(successes.values()), try_number) if fresh is None else fresh:
        successes = await hosted.forget(successes)
    ended = await _settle(
        outcome, list(successes), call, lambda shard: hosted.shard(shard, bound[shard], successes[shard])
    )
    outcome.outputs.update(ended)
    return outcome


async def stop_call(run: Run, call: str, prefixes: Sequence[Shard], reason: str) -> None:
    """Stop every ECS task that runs for the shards of a call that begin with one of the prefixes.

    :param reason: shown in the ECS console and in the call's error.
    """
    ecs = ecs_client(await in_thread(run.clients, "ecs"))
    cluster, layout = run.settings.cluster, run.store.layout
    folders = tuple(layout.shard(call, prefix) if prefix else layout.call(call) for prefix in prefixes)
    arns = await ecs.list_tasks(cluster, started_by(run.dag_id, run.run_id, call, run.scope))
    stopping: set[str] = set()
    for at in range(0, len(arns), 100):
        tasks = await ecs.describe_tasks(cluster, arns[at : at + 100])
        for arn, task in tasks.items():
            where = attempt_prefix(task) if task else None
            # A shard's folder is .../0/ and an inner one's .../0.3/, so the prefix is compared without its slash.
            if where and any(where.startswith((folder, f"{folder[:-1]}.")) for folder in folders):
                stopping.add(arn)
    await asyncio.gather(*(ecs.stop_task(TaskHandle(arn, cluster), reason) for arn in sorted(stopping)))


@dataclass(frozen=True)
class _Prepared:
    """An attempt that is ready to be staged and started."""

    request: TaskRequest
    evaluation: TaskEvaluation
    size: TaskSize
    policy: Policy


class _HostedCall:
    """One call in one try, on this event loop."""

    def __init__(self, run: Run, call: str, try_number: int, ecs: EcsClient, log: Log) -> None:
        self.run = run
        self.call = call
        self.try_number = try_number
        self.ecs = ecs
        self.log = log
        self.settings = run.settings
        self.task = run.plan.tasks[run.plan.call_by_id[call].task]
        self.overrides = run.evaluation.runtime_overrides(call)
        self._instance = uuid.uuid4().hex

    async def forget(self, successes: Mapping[Shard, Success | None]) -> dict[Shard, Success | None]:
        """Forget the successes of earlier tries, here and in every process."""
        earlier = [s for s, success in successes.items() if success and success.try_number < self.try_number]
        await asyncio.gather(*(in_thread(Ledger(self.run.store, self.call, shard).clear_success) for shard in earlier))
        await in_thread(self.run.store.begin_epoch, self.call, uuid.uuid4().hex)
        self.log.info("%s had succeeded and was cleared: running it again", self.call)
        return {shard: None if shard in earlier else success for shard, success in successes.items()}

    async def shard(self, shard: Shard, inputs: Mapping[str, Any], success: Success | None) -> Outputs:
        """Run one shard to its outputs.

        :raises WdlEcsError: if it failed.
        """
        story = _story(self.log, shard)
        if success is not None:
            story.info("succeeded in try %d, attempt %d: its outputs are kept", success.try_number, success.attempt)
            return success.outputs
        return await _ShardRun(self, shard, inputs, story).to_the_end()

    def limits(self) -> dict[str, int]:
        """The names under which a task of this call is counted, and how many may be in flight under each."""
        s = self.settings
        return {
            f"cluster {s.cluster}": s.max_tasks,
            f"run {self.run.folder}": s.max_tasks_per_run,
            f"call {self._instance}": s.max_tasks_per_call,
        }


class _ShardRun:
    """One shard of a call in one try: attempt after attempt, until one succeeds or none is left."""

    def __init__(self, hosted: _HostedCall, shard: Shard, inputs: Mapping[str, Any], story: Log) -> None:
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
        """Go on with the attempt whose end is not known, if there is one."""
        if not self.attempts or self.attempts[-1].kind is not None:
            return None
        last = self.attempts[-1]
        self.log.info("taking up attempt %d, ECS task %s", last.number, last.arn)
        prepared = await self._prepare(last.number, last.memory)
        async with self.hosted.ecs.slots.hold(self.hosted.limits(), at_once=True):
            outputs = await self._wait(prepared)
        if outputs is None and last.try_number != self.hosted.try_number:
            # How an earlier try ended is no reason for this one to end.
            self._failure = None
        return outputs

    def _again(self) -> bool:
        settings, last = self.hosted.settings, self.attempts[-1]
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
            return more_memory(self._size, self.hosted.settings.out_of_memory_factor, self.hosted.settings)
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

        run, settings = self.run, self.hosted.settings
        folder = f"{settings.container_root.rstrip('/')}/{self._folder_name()}-{number}"
        evaluation = TaskEvaluation(
            self.hosted.task,
            self.inputs,
            folder=folder,
            files=run.store,
            attempt=number,
            runtime_overrides=self.hosted.overrides,
            identity=self.identity,
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
            try:
                await asyncio.shield(self._start(prepared))
            except AwsError as error:
                raise CallError(
                    f"ECS did not start the task: {error.message}", kind="never_started", hint=error.hint
                ) from error
            return await self._wait(prepared)

    async def _start(self, prepared: _Prepared) -> None:
        request, settings, ecs = prepared.request, self.hosted.settings, self.hosted.ecs
        spot = runs_on_spot(self.attempts, self.hosted.try_number, prepared.policy, settings)
        definition = task_definition(request.image, settings, gpu=prepared.size.gpu)
        arn, _ = await asyncio.gather(ecs.register_task_definition(definition), in_thread(self._put_scripts, prepared))
        arguments = run_task(request, prepared.size, settings, definition=arn, scope=self.run.scope, spot=spot)
        try:
            handle = await ecs.run_task(
                arguments,
                capacity_timeout=settings.capacity_timeout,
                on_wait=partial(self.log.warning, "waiting for capacity: %s"),
            )
        except AwsError:
            ecs.forget_task_definition(definition)
            raise
        memory = request.resources.memory if self._memory() else 0
        self.attempts.append(
            Attempt(request.attempt, self.hosted.try_number, handle.arn, handle.cluster, time.time(), spot, memory)
        )
        await in_thread(self.ledger.write_attempts, self.attempts)
        self.log.info("attempt %d is ECS task %s%s", request.attempt, handle.arn, " on Spot capacity" if spot else "")
        self.log.info("its log is %s %s", settings.log_group, log_stream(handle.arn))

    def _put_scripts(self, prepared: _Prepared) -> None:
        """Write the attempt's scripts to S3: blocks."""
        request, tool = prepared.request, self.hosted.settings.staging_tool
        scripts = {
            "command.sh": request.command,
            "run.sh": run_script(request),
            "stage-in.sh": stage_in_script(request, tool),
            "stage-out.sh": stage_out_script(request, tool, prepared.policy),
        }
        for name, text in scripts.items():
            self.run.store.put(f"{request.prefix}{name}", text.encode(), "text/x-shellscript")

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
        result = await self._result(prefix) if time.time() - attempt.started > _SOON else None
        task = None
        if result is None or not prepared.policy.succeeded(result.exit_code):
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
        settings = self.hosted.settings
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


async def _settle(
    outcome: CallOutcome, shards: Sequence[Shard], call: str, step: Callable[[Shard], Any]
) -> dict[Shard, Any]:
    """Do a step for every shard side by side; what fails of it goes into the outcome, and its siblings go on.

    :raises Exception: what is no error of this package, after all have ended.
    """
    results = await asyncio.gather(*(step(shard) for shard in shards), return_exceptions=True)
    done: dict[Shard, Any] = {}
    unexpected: BaseException | None = None
    for shard, result in zip(shards, results, strict=True):
        if isinstance(result, WdlEcsError):
            result.call = result.call or call
            result.shard = result.shard if result.shard is not None else shard
            outcome.failures[shard] = result
        elif isinstance(result, BaseException):
            unexpected = unexpected or result
        else:
            done[shard] = result
    if unexpected is not None:
        raise unexpected
    return done


def _story(log: Log, shard: Shard) -> Log:
    return _ShardLog(log, shard_key(shard)) if shard else log


class _ShardLog:
    """A log whose lines say of which shard they are."""

    def __init__(self, log: Log, name: str) -> None:
        self._log = log
        self._name = name

    def info(self, message: str, *values: Any) -> None:
        self._log.info(f"[%s] {message}", self._name, *values)

    def warning(self, message: str, *values: Any) -> None:
        self._log.warning(f"[%s] {message}", self._name, *values)


def _read_result(data: bytes | None) -> TaskResult | None:
    """A result, or None if there is none, or none that can be read."""
    try:
        return None if data is None else TaskResult.from_json(data)
    except msgspec.DecodeError:
        return None


def _short(value: Any, longest: int = 500) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
