"""The end of an attempt: waiting for its ECS task, while its log is repeated, and judging how it has ended.

How a task has ended is known from its result in S3, from what ECS says of it, or from both; neither is enough for all
ends. What follows from an end, and how it is recorded, is for the ``shard``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .attempts import Attempt
from .aws import in_evaluation_thread, in_thread
from .clean import hint_if_cleaned
from .ecs.client import EcsClient
from .ecs.logs import LogsClient, LogSettings, LogTail, logs_client
from .ecs.poller import Pace, poller
from .ecs.request import COMMAND
from .ecs.status import TaskStatus, classify, command_status
from .errors import CallError, EvaluationError, WdlEcsError
from .preparation import Prepared
from .remains import last_words, result_of, staging_log, what_is_not_whole
from .run import Run
from .sensitive import Log
from .task import Outputs, TaskRequest, TaskResult

STDERR_LINES = 20
"""Lines of a failed command's stderr that its error carries."""

_SOON = 1.0
"""Seconds after its start within which a task cannot have ended."""


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt has ended.

    :param outputs: of one that has succeeded. :param failure: of one that has not, what is to be raised for it.
    """

    status: TaskStatus
    outputs: Outputs | None = None
    failure: WdlEcsError | None = None


class AttemptWatch:
    """Waits for the end of an attempt and judges it; ``tail.stop()`` is for whoever has made it.

    :param attempt: as it is recorded. :param prepared: what it was started with.
    """

    def __init__(self, run: Run, ecs: EcsClient, attempt: Attempt, prepared: Prepared, log: Log) -> None:
        self.run = run
        self.ecs = ecs
        self.attempt = attempt
        self.prepared = prepared
        self.log = log
        self.tail = self._tail()
        self._prefix = prepared.request.prefix

    async def wait(self) -> tuple[dict[str, Any] | None, TaskResult | None]:
        """The task as ECS describes it, None if it has not been asked or does not know it; and the attempt's result.

        :raises WdlEcsError: if neither can be known.
        """
        attempt, policy = self.attempt, self.prepared.policy
        soon = attempt.arn and attempt.kind is None and time.time() - attempt.started <= _SOON
        result = None if soon else await self._result()
        task = None
        if attempt.arn and (result is None or not policy.succeeded(result.exit_code)):
            # Only of a success is everything known without ECS.
            task = await self._stopped()
            result = await self._result()
            if task is None and result is None:
                # What ECS does not show may run all the same; nobody will wait for it any more.
                await self.ecs.stop_task(attempt.handle, "it was not to be found, and counts as lost")
        return task, result

    async def judge(self, task: dict[str, Any] | None, result: TaskResult | None) -> AttemptEnd:
        """How the attempt has ended, with the outputs of one that has succeeded.

        :param task: as `wait` gives it. :param result: likewise.
        :raises WdlEcsError: if S3 does not say what it has.
        """
        store, prefix, policy, tail = self.run.store, self._prefix, self.prepared.policy, self.tail
        if result is not None and policy.succeeded(result.exit_code):
            return await self._outputs(result)
        if task is not None or result is not None:
            await tail.finish()
        said = "" if result else await in_thread(staging_log, store, prefix)
        stderr = await in_thread(last_words, store, prefix, STDERR_LINES)
        status = classify(task, result, policy, staging_log=said, stderr="\n".join(stderr))
        if said and status.kind == "never_started":  # an input may be missing because somebody has cleaned the run
            status = replace(status, hint=status.hint or await in_thread(hint_if_cleaned, store))
        if not tail.told:
            for line in stderr:
                self.log.info("stderr: %s", line)
        return AttemptEnd(status, failure=self._failure(status, stderr))

    def _tail(self) -> LogTail:
        """What repeats the command's log in this one."""
        s, run, attempt = self.run.settings, self.run, self.attempt

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

    async def _stopped(self) -> dict[str, Any] | None:
        """The task when it has stopped; None if ECS does not know it."""
        attempt = self.attempt

        def on_change(task: Mapping[str, Any]) -> None:
            state = command_status(task)
            self.log.info("ECS task is %s, %.1f s after its start", state, time.time() - attempt.started)
            if state == "running":
                self.tail.start()

        settings = self.run.settings
        age = max(0.0, time.time() - attempt.started)
        return await poller(self.ecs, attempt.cluster).stopped(
            attempt.handle,
            Pace(settings.poll_fastest, settings.poll_slowest),
            age=age if age > _SOON else 0.0,
            on_change=on_change,
        )

    async def _result(self) -> TaskResult | None:
        return await in_thread(result_of, self.run.store, self._prefix)

    async def _outputs(self, result: TaskResult) -> AttemptEnd:
        """Evaluate the outputs, and see that they are whole; what fails in them counts as a failure of the command."""
        prefix, code = self._prefix, result.exit_code
        wrong, outputs, _ = await asyncio.gather(
            in_thread(what_is_not_whole, self.run.store, prefix, result),
            in_evaluation_thread(self.prepared.evaluation.outputs, result, prefix),
            self.tail.finish() if result.stdout_size or result.stderr_size else asyncio.sleep(0),
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
            return AttemptEnd(status, failure=self._failure(status, []))
        if isinstance(outputs, EvaluationError):
            # Without `set -e` what has gone wrong is often in the stderr of a command that "succeeded".
            stderr = await in_thread(last_words, self.run.store, prefix, STDERR_LINES) if result.stderr_size else []
            told = (outputs.hint, _in_words(stderr), _kept(self.prepared.request))
            outputs.hint = "\n".join(text for text in told if text)
            return AttemptEnd(TaskStatus("command_failed", code, outputs.message, "command"), failure=outputs)
        if isinstance(outputs, BaseException):
            raise outputs
        return AttemptEnd(TaskStatus("succeeded", code, "the command succeeded"), outputs)

    def _failure(self, status: TaskStatus, stderr: Sequence[str]) -> CallError:
        return failure_of_attempt(self.run, self.prepared.request, status, stderr)


def failure_of_attempt(run: Run, request: TaskRequest, status: TaskStatus, stderr: Sequence[str]) -> CallError:
    """The error of an attempt that has failed.

    :param stderr: the last lines of its stderr, which the error carries.
    """
    kept, said = _kept(request), _in_words(stderr)
    return CallError(
        f"{status.reason}\n{said}" if said else status.reason,
        kind=status.kind,
        exit_code=status.exit_code,
        stderr="\n".join(stderr),
        attempt=request.attempt,
        position=run.plan.call_by_id[request.identity.call].position,
        hint=f"{status.hint}\n{kept}" if status.hint else kept,
    )


def _in_words(stderr: Sequence[str]) -> str:
    return "\n".join(["the last lines of its stderr:", *(f"  {line}" for line in stderr)]) if stderr else ""


def _kept(request: TaskRequest) -> str:
    return f"everything of the attempt is in {request.prefix}"
