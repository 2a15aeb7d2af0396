"""`WdlEcsTaskTrigger`: hosts a call's lifecycle in the triggerer and ends the task instance itself.

The trigger is the task: it evaluates, submits, waits and reads the outputs, and no worker is woken to say "done". Its
keyword arguments are small JSON, the same for every shard; everything else is in the run's folder. A triggerer that
restarts runs it again, and the lifecycle re-attaches to the ECS task that is already there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import datetime, timezone
from typing import Any

from airflow import __version__ as airflow_version
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from packaging.version import Version

from .errors import FINAL, WdlEcsError
from .host import HostedCall, failure_of, has_own_backend, instance_of, was_skipped, xcom_of
from .instance_states import state_of
from .lifecycle import CallOutcome
from .lineage import known_by, tell_of_call
from .log_writer import WrittenLog
from .sensitive import redact
from .shown import ShownCall

HAS_ON_KILL = hasattr(BaseTrigger, "on_kill")
"""Before Airflow 3.3 a trigger is cancelled in the same way whatever the reason."""

ASKS_FOR_RETRIES = Version(airflow_version) >= Version("3.3.1")
"""Before Airflow 3.3.1 a task instance that a trigger fails is not tried again, whatever its retries."""

ANSWER_LIMIT = 12.0
"""Seconds to wait for Airflow to say in which state a task instance is."""

CLEARED_LIMIT = 12.0
"""Seconds to wait for a sign of a later try; Airflow gives ``on_kill`` 30 altogether."""

CLASSPATH = "airflow_wdl_ecs.triggers.WdlEcsTaskTrigger"


class WdlEcsTaskTrigger(BaseTrigger):
    """Runs one task instance of a WDL call to its end.

    :param call: the call's id in the plan.
    :param scatter: the outermost scatter around it, if the task instance is mapped over it.
    :param scope: part of the run's folder, for an operator outside a compiled DAG.
    :param settings: the DAG's explicit overrides of the settings, as JSON.
    :param instance: which task instance this is (``dag_id``, ``run_id``, ``try_number``, ``map_index``), where a
        worker has deferred to the trigger. One that starts in the triggerer is told by Airflow.
    :param lineage: by what OpenLineage knows the task instance (see ``lineage.known_by``), where a worker has deferred.
    :param told_by_worker: the ends for which a worker is woken, to tell Airflow of them: ``skipped``, ``failed``, and
        ``final``, a failure that no retry mends.
    """

    def __init__(
        self,
        call: str,
        *,
        scatter: str | None = None,
        scope: str | None = None,
        settings: dict[str, Any] | None = None,
        instance: dict[str, Any] | None = None,
        lineage: dict[str, Any] | None = None,
        told_by_worker: Sequence[str] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.call = call
        self.scatter = scatter
        self.scope = scope
        self.settings = settings or {}
        self.instance = instance
        self.lineage = lineage
        self.told_by_worker = told_by_worker
        self.timeout_after: datetime | None = None
        self._settled = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path, and keyword arguments that are plain JSON."""
        return CLASSPATH, {
            "call": self.call,
            "scatter": self.scatter,
            "scope": self.scope,
            "settings": self.settings,
            "instance": self.instance,
            "lineage": self.lineage,
            "told_by_worker": list(self.told_by_worker),
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Run the call; yield the one event that ends the task instance."""
        try:
            yield await self._end()
        except asyncio.CancelledError as cancelled:
            # Airflow cancels a trigger that has outlived its execution_timeout without calling on_kill.
            if self.timeout_after is not None and _aware(self.timeout_after) < datetime.now(timezone.utc):
                await _to_its_end(self._stop("execution_timeout of the Airflow task"))
            elif not HAS_ON_KILL or cancelled.args:
                # With a reason it is somebody's doing, and on_kill is to follow. Airflow writes to the log first, and
                # cancels again every second: where hundreds of triggers write, that is sooner, and on_kill never comes.
                await _to_its_end(self._stop_if_meant())
            raise

    async def _end(self) -> TriggerEvent:
        log = WrittenLog(self.log)
        event = await self._event(log)
        # What comes after the event is in no log.
        await log.written()
        return event

    async def _event(self, log: WrittenLog) -> TriggerEvent:
        """Run the call to its end."""
        shown = ShownCall()
        known = self.lineage
        if self.instance is None:
            # Where a worker has deferred, Airflow has told OpenLineage that the task instance has begun.
            known = await asyncio.to_thread(known_by, self.task_instance)
            _forget_dag(self.task_instance)
            await tell_of_call(known, None)
        outcome, failure = await self._outcome(shown, log)
        reason = "" if failure is None else _reason(failure)
        await tell_of_call(known, outcome, reason)
        if failure is not None:
            log.error("%s", reason)
            end = "final" if isinstance(failure, FINAL) else "failed"
            # What a worker is told of stays in Airflow's database.
            return self._failed(end, redact(reason, outcome.secrets))
        if was_skipped(outcome):
            return TriggerEvent("skipped") if "skipped" in self.told_by_worker else TaskSkippedEvent()
        outputs = xcom_of(outcome, self.call, self.scope, whole=has_own_backend())
        if await self._hosted().push_outputs(outputs, log):
            return TaskSuccessEvent(xcoms=shown.xcoms)
        # The event goes past the backend into Airflow's database.
        return TaskSuccessEvent(xcoms={"return_value": xcom_of(outcome, self.call, self.scope), **shown.xcoms})

    def _failed(self, end: str, reason: str) -> TriggerEvent:
        if ASKS_FOR_RETRIES and end not in self.told_by_worker:
            return TaskFailedEvent()
        return TriggerEvent(f"{end}: {reason}")

    async def _outcome(self, shown: ShownCall, log: WrittenLog) -> tuple[CallOutcome, Exception | None]:
        """How the call ended, and why it failed if it did."""
        try:
            outcome = await self._hosted().run(log, shown)
        except WdlEcsError as error:
            return CallOutcome(), error
        except Exception as error:
            # A trigger that raises would wake a worker only to fail there, and hide the reason in another log.
            self.log.exception("call %s failed in a way that it should not", self.call)
            return CallOutcome(), error
        return outcome, failure_of(outcome)

    async def on_kill(self) -> None:
        """Stop the ECS tasks: a user cleared or marked the task instance (Airflow 3.3 and later)."""
        await _to_its_end(self._stop_if_meant())

    async def _stop_if_meant(self) -> None:
        """Stop the ECS tasks, unless this trigger ends only because another triggerer goes on with it.

        Airflow tells a trigger in the same way that its task instance was cleared, marked or timed out with its DAG
        run, and that it was given to another triggerer because this one had not been heard of for a while. Once it is
        known, it does nothing more.
        """
        if self._settled:
            return
        try:
            state = await state_of(self.task_instance, ANSWER_LIMIT)
            # A task instance that was cleared may be deferred again already, in its next try.
            if state == "deferred" and not await self._hosted().was_cleared(CLEARED_LIMIT):
                self.log.info("another triggerer goes on with call %s: its ECS tasks run on", self.call)
                self._settled = True
                return
        except Exception as error:
            self.log.warning(
                "it is not known whether call %s is still wanted (%s: %s): its ECS tasks run on; "
                "`airflow-wdl-ecs orphans` lists those that nobody waits for",
                self.call,
                type(error).__name__,
                error,
            )
            return
        self._settled = await self._stop("cleared or marked in Airflow, or its DAG run has ended")

    async def _stop(self, reason: str) -> bool:
        """Stop the ECS tasks; whether that is done."""
        try:
            await self._hosted().stop(reason)
            return True
        except WdlEcsError as error:
            self.log.error(
                "could not stop all ECS tasks of call %s: %s\n`airflow-wdl-ecs orphans --stop` stops those that run on",
                self.call,
                error,
            )
            return False

    def _hosted(self) -> HostedCall:
        return HostedCall(
            **(self.instance or instance_of(self.task_instance)),
            call=self.call,
            scatter=self.scatter,
            scope=self.scope,
            settings=self.settings,
        )


def _reason(failure: Exception) -> str:
    return str(failure) if isinstance(failure, WdlEcsError) else f"{type(failure).__name__}: {failure}"


def _forget_dag(task_instance: Any) -> None:
    """Let go of the DAG: Airflow reads one for each trigger, to render its fields, and keeps it as long as it waits."""
    context = getattr(task_instance, "_cached_template_context", None)
    if context is not None:
        # It is among the arguments of Airflow's coroutine, too.
        context.clear()
        task_instance._cached_template_context = None
    if hasattr(task_instance, "task"):
        task_instance.task = None


_stopping: set[asyncio.Future[object]] = set()


async def _to_its_end(stopping: Coroutine[Any, Any, object]) -> None:
    """Await something that must not be cut short by Airflow, which cancels a trigger anew every second until it ends.

    The end of the event loop ends it all the same.
    """
    task = asyncio.ensure_future(stopping)
    _stopping.add(task)  # a loop keeps no task alive that nobody refers to
    task.add_done_callback(_stopping.discard)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
