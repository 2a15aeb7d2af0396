"""`WdlEcsTaskOperator`: one call of a WDL workflow as an Airflow task, or one WDL task on its own in any DAG.

It turns Airflow's context into the values that ``run`` and ``lifecycle`` take, and their errors into Airflow's; what a
call does is not decided here.

A DAG file imports this module, so what runs a call (miniwdl, boto3) is imported only when an operator executes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version
from airflow.configuration import conf
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowSkipException
from airflow.triggers.base import StartTriggerArgs
from packaging.version import Version

from .errors import AuthorError
from .layout import scope_of
from .lineage import known_by, operator_lineage
from .links import CALL_LINKS, EcsTaskLink, run_page
from .plan import Plan
from .task_context import airflow_errors, begin_run_of, keeping_reason, secrets_given, settings_overrides
from .templates import TemplatedInputs, as_given, read_texts
from .xcom_reading import read_outputs

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from .ecs.settings import EcsSettings
    from .host import HostedCall
    from .lifecycle import CallOutcome
    from .shown import ShownCall
    from .storage import RunStore

SHARD_LABEL = "{{ task.shard_label(ti) }}"
"""The `map_index_template` of a call in a scatter. A worker renders it; Airflow has no way for a triggerer to."""

KILLED = "the Airflow task was killed"
TRIGGER = "airflow_wdl_ecs.triggers.WdlEcsTaskTrigger"
STARTS_FROM_TRIGGER = Version(airflow_version) >= Version("3.3.0")
"""Airflow's triggerer hands a start_from_trigger task instance, mapped or not, its run-time context from 3.3 on."""


@cache
def _triggerers_have_queues() -> bool:
    return bool(conf.getboolean("triggerer", "queues_enabled", fallback=False))


class WdlEcsTaskOperator(TemplatedInputs):
    """Runs one WDL task on Amazon ECS, with the user's own image and files in S3.

    In a compiled DAG it is one call of the workflow. In a DAG of your own it stands alone, beside any other operator::

        align = WdlEcsTaskOperator(
            task_id="align", wdl="align.wdl", task="bwa_mem", inputs={"reads": "s3://bucket/{{ ds }}/reads.fq"}
        )

    Its XCom is the task's outputs, name -> value, files as ``s3://`` URIs; of large ones see `read_outputs`.

    :param wdl: the WDL source (a path, URL or text) or a compiled `Plan`; for use on its own.
    :param task: which task of ``wdl``, if it has several.
    :param inputs: the task's inputs, by name (templated, see ``templates``).
    :param call: in a compiled DAG, the call's id; then ``wdl``, ``task`` and ``inputs`` are not given.
    :param scatter: in a compiled DAG, the outermost scatter around the call.
    :param scope: in a task group of a workflow, what tells its folder from others of the DAG run.
    :param settings: overrides of the deployment's settings.
    :param deferrable: wait in the triggerer (the default), or in the worker.
    """

    template_fields: tuple[str, ...] = ("inputs",)
    template_fields_renderers = {  # noqa: RUF012  # as Airflow declares it
        "inputs": "json",
        "command": "bash",
        "asked": "json",
        "given": "json",
        "shards": "json",
    }
    operator_extra_links = CALL_LINKS
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        wdl: str | Path | Plan | None = None,
        task: str | None = None,
        inputs: Mapping[str, Any] | XComArg | None = None,
        call: str | None = None,
        scatter: str | None = None,
        scope: str | None = None,
        settings: EcsSettings | Mapping[str, Any] | None = None,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        if scatter is not None:
            kwargs.setdefault("map_index_template", SHARD_LABEL)
        super().__init__(**kwargs)
        if (wdl is None) == (call is None):
            raise ValueError("WdlEcsTaskOperator needs either wdl= (on its own) or call= (in a compiled DAG)")
        self.wdl = wdl
        self.task = task
        self.inputs = as_given(inputs)
        self.call = call
        self.scatter = scatter
        self.scope = scope
        self.settings = settings_overrides(settings)
        self.deferrable = deferrable
        self._running: HostedCall | None = None
        self._lineage: Any = None
        self._waiting: asyncio.Task[Any] | None = None
        self._killed = False
        self._labels: dict[tuple[str, int], str] = {}
        self.shown_links: dict[str, str] = {}
        if deferrable and (self.outlets or self._post_execute_hook is not None):
            raise AuthorError(
                f"{self.task_id}: Airflow leaves out outlets and post_execute of a task that ends in the triggerer",
                hint="give it deferrable=False as well, so that it keeps its worker to the end",
            )
        if self._can_start_in_triggerer():
            self.start_from_trigger = True
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=TRIGGER,
                trigger_kwargs=self._trigger_kwargs(call, scope),
                next_method="execute_complete",
                timeout=self.execution_timeout,
            )

    def _can_start_in_triggerer(self) -> bool:
        """What Airflow does only for an instance that starts on a worker: limits, and what runs before ``execute``.

        Only a trigger that a worker defers to is for the triggerers of the task's queue, where they have queues.
        """
        limited = (
            _triggerers_have_queues()
            or self.pool != "default_pool"
            or self.max_active_tis_per_dag is not None
            or self.max_active_tis_per_dagrun is not None
            or self.has_on_execute_callback
            or self._pre_execute_hook is not None
        )
        return STARTS_FROM_TRIGGER and self.deferrable and self.call is not None and not limited

    def _trigger_kwargs(self, call: str | None, scope: str | None) -> dict[str, Any]:
        kwargs = {"call": call, "scatter": self.scatter, "scope": scope, "settings": self.settings}
        told = self._told_by_worker()
        return {**kwargs, "told_by_worker": told} if told else kwargs

    def _told_by_worker(self) -> list[str]:
        """The ends of a call that Airflow treats as this operator asks only if a worker tells it of them.

        A trigger's event can neither forbid a retry nor lead to a retry policy, an e-mail or ``on_skipped_callback``.
        """
        mailed = self.email and (self.email_on_failure or self.email_on_retry)
        failed = bool(mailed) or getattr(self, "retry_policy", None) is not None
        asked = {"failed": failed, "final": failed or bool(self.retries), "skipped": self.has_on_skipped_callback}
        return [end for end, wanted in asked.items() if wanted]

    def execute(self, context: Context) -> Any:
        """Run the call to its end here, or hand it to the triggerer."""
        with airflow_errors():
            call, scope = self._which(context)
            if self.wdl is not None:
                self._begin(context, scope)
        instance = context["ti"]
        self.shown_links = {EcsTaskLink.key: run_page(instance.dag_id, instance.run_id, call=call, scope=scope)}
        if self.deferrable:
            from .host import instance_of
            from .triggers import WdlEcsTaskTrigger

            self.defer(
                trigger=WdlEcsTaskTrigger(
                    **self._trigger_kwargs(call, scope),
                    instance=instance_of(instance, self.retries),
                    lineage=known_by(instance),
                ),
                method_name="execute_complete",
                timeout=self.execution_timeout,
            )
        return self._run_here(context, call, scope)

    def _begin(self, context: Context, scope: str | None) -> None:
        """Begin the run of an operator on its own."""

        def secrets(settings: EcsSettings, store: RunStore) -> tuple[str, ...]:
            return secrets_given(self._plan, self.inputs)(settings, store)

        with keeping_reason(context, self.settings, scope, secrets):
            self.inputs = read_outputs(self.inputs, self.settings)
            begin_run_of(self._plan, read_texts(self._plan, self.inputs), context, self.settings, scope)

    def _run_here(self, context: Context, call: str, scope: str | None) -> Any:
        from .host import HostedCall, failure_of, has_own_backend, instance_of, was_skipped, xcom_of

        self._running = HostedCall(
            **instance_of(context["ti"], self.retries),
            call=call,
            scatter=self.scatter,
            scope=scope,
            settings=self.settings,
        )
        with airflow_errors():
            outcome = asyncio.run(self._host(self._running))
            self._running = None
            self._lineage = operator_lineage(outcome.inputs.values(), outcome.outputs.values())
            failure = failure_of(outcome)
            if failure is not None:
                raise failure
        if was_skipped(outcome):
            raise AirflowSkipException(f"the condition around call {call} is false")
        return xcom_of(outcome, call, scope, whole=has_own_backend())

    def _which(self, context: Context) -> tuple[str, str | None]:
        """The call's id, and what tells this task instance's folder from others of the run, on its own."""
        if self.call is not None:
            return self.call, self.scope
        return self._plan.calls[0].id, scope_of(self.task_id, context["ti"].map_index)

    @cached_property
    def _plan(self) -> Plan:
        if isinstance(self.wdl, Plan):
            plan = self.wdl
        else:
            from .wdl.lower import compile_wdl

            assert self.wdl is not None
            plan = compile_wdl(self.wdl, task=self.task)
        if len(plan.calls) != 1 or len(plan.sections) != 1:
            raise AuthorError(
                f"{plan.name} is a workflow, and WdlEcsTaskOperator runs one task",
                hint="name the task with task=, or use wdl_dag for the workflow",
            )
        return plan

    def execute_complete(self, context: Context, event: str | None = None) -> Any:
        """Give the outputs of a call that its trigger has ended, where Airflow still asks a worker for them.

        A triggerer ends the task instance by the trigger's own event, but for the ends of which a worker is to tell.
        ``dag.test()`` takes the event's state as a payload instead, and resumes here; the run's folder has the outputs.

        :param event: ``success``, ``skipped``, ``failed`` or, if no retry would help, ``final``; of the last two the
            reason may follow after a colon.
        """
        with airflow_errors():
            call, scope = self._which(context)
        end, _, reason = (event or "").partition(": ")
        if end == "skipped":
            raise AirflowSkipException(f"the condition around call {call} is false")
        if end != "success":
            failure = AirflowFailException if end == "final" else AirflowException
            raise failure(reason or f"call {call} failed; the trigger's log above says why")
        return self._run_here(context, call, scope)

    async def _host(self, call: HostedCall) -> CallOutcome:
        """Run the call; when `on_kill` cancels it, stop its ECS tasks."""
        from .shown import ShownCall

        self._waiting = asyncio.current_task()
        shown = ShownCall()
        try:
            outcome = await call.run(self.log, shown)
            self._show(shown)
            return outcome
        except asyncio.CancelledError:
            if not self._killed:
                raise
            await call.stop(KILLED)
            raise AirflowException(f"call {call.call}: {KILLED}") from None

    def _show(self, shown: ShownCall) -> None:
        """Leave what Airflow's worker pushes when the task has ended: the links, and what ran as rendered fields."""
        self.shown_links = {**self.shown_links, **shown.links}
        for name, value in shown.rendered.items():
            setattr(self, name, value)
        self.template_fields = (*self.template_fields, *shown.rendered)
        self.overwrite_rtif_after_execution = bool(shown.rendered)

    def shard_label(self, task_instance: Any) -> str:
        """What the scatter calls the shards of a task instance, for `SHARD_LABEL`: its index, where that is not known.

        Airflow fails a task whose label cannot be rendered, so this raises nothing.
        """
        index, instance = task_instance.map_index, (task_instance.run_id, task_instance.map_index)
        if instance in self._labels:
            # Airflow renders it before the task has run and after, and the list is long.
            return self._labels[instance]
        try:
            shards = next(
                task
                for task in self.dag.tasks
                if getattr(task, "section", None) == self.scatter and getattr(task, "scope", None) == self.scope
            )
            labels = task_instance.xcom_pull(task_ids=shards.task_id, map_indexes=-1)
            self._labels[instance] = str(labels[index])
            return self._labels[instance]
        except Exception as error:
            self.log.warning("the label of shard %s is not known: %r", index, error)
            return str(index)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """The files that the call read and wrote, for the OpenLineage provider; a trigger tells of its calls itself."""
        return self._lineage

    def on_kill(self) -> None:
        """Stop the ECS tasks when Airflow kills the worker's process of this task instance.

        Airflow calls this in a signal's handler, in the thread whose event loop runs the call: then the loop itself
        stops them as soon as the handler has returned.
        """
        call, waiting = self._running, self._waiting
        if call is None or self._killed:
            return
        self._killed = True
        loop = waiting.get_loop() if waiting is not None else None
        if waiting is not None and loop is not None and loop.is_running():
            loop.call_soon_threadsafe(waiting.cancel)
        else:
            asyncio.run(call.stop(KILLED))
