"""`WdlEcsTaskTrigger`: hosts a call's lifecycle in the triggerer and ends the task instance itself.

The trigger is the task: it evaluates, submits, waits and reads the outputs, and no worker is woken to say "done". Its
keyword arguments are small JSON, the same for every shard; everything else is in the run's folder. A triggerer that
restarts runs it again, and the lifecycle re-attaches to the ECS task that is already there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from .errors import WdlEcsError
from .host import HostedCall, failure_of, instance_of, was_skipped, xcom_of

CLASSPATH = "airflow_wdl_ecs.triggers.WdlEcsTaskTrigger"


class WdlEcsTaskTrigger(BaseTrigger):
    """Runs one task instance of a WDL call to its end.

    :param call: the call's id in the plan.
    :param scatter: the outermost scatter around it, if the task instance is mapped over it.
    :param scope: part of the run's folder, for an operator outside a compiled DAG.
    :param settings: the DAG's explicit overrides of the settings, as JSON.
    :param instance: which task instance this is (``dag_id``, ``run_id``, ``try_number``, ``map_index``), where a
        worker has deferred to the trigger. One that starts in the triggerer is told by Airflow.
    """

    def __init__(
        self,
        call: str,
        scatter: str | None = None,
        scope: str | None = None,
        settings: dict[str, Any] | None = None,
        instance: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.call = call
        self.scatter = scatter
        self.scope = scope
        self.settings = settings or {}
        self.instance = instance
        self.timeout_after: datetime | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path, and keyword arguments that are plain JSON."""
        return CLASSPATH, {
            "call": self.call,
            "scatter": self.scatter,
            "scope": self.scope,
            "settings": self.settings,
            "instance": self.instance,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Run the call; yield the one event that ends the task instance."""
        try:
            yield await self._end()
        except asyncio.CancelledError:
            # Airflow cancels a trigger that has outlived its execution_timeout without calling on_kill.
            if self.timeout_after is not None and _aware(self.timeout_after) < datetime.now(timezone.utc):
                await self._stop("execution_timeout of the Airflow task")
            raise

    async def _end(self) -> TriggerEvent:
        try:
            outcome = await self._hosted().run(self.log)
        except WdlEcsError as error:
            self.log.error("%s", error)
            return TaskFailedEvent()
        except Exception:
            # A trigger that raises would wake a worker only to fail there, and hide the reason in another log.
            self.log.exception("call %s failed in a way that it should not", self.call)
            return TaskFailedEvent()
        failure = failure_of(outcome)
        if failure is not None:
            self.log.error("%s", failure)
            return TaskFailedEvent()
        if was_skipped(outcome):
            return TaskSkippedEvent()
        return TaskSuccessEvent(xcoms={"return_value": xcom_of(outcome)})

    async def on_kill(self) -> None:
        """Stop the ECS tasks: a user cleared or marked the task instance (Airflow 3.3 and later)."""
        await self._stop("cleared or marked by a user in Airflow")

    async def _stop(self, reason: str) -> None:
        try:
            await self._hosted().stop(reason)
        except WdlEcsError as error:
            self.log.error("could not stop the ECS tasks of call %s: %s", self.call, error)

    def _hosted(self) -> HostedCall:
        return HostedCall(
            **(self.instance or instance_of(self.task_instance)),
            call=self.call,
            scatter=self.scatter,
            scope=self.scope,
            settings=self.settings,
        )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
