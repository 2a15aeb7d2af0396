"""What the tasks of a workflow read and write, for OpenLineage, where its Airflow provider is installed and in use.

Airflow tells the provider of a task instance that ends on a worker, and the provider asks the operator for its
datasets. Of one that ends in the triggerer, as calls do, Airflow tells nobody; so the trigger sends the events of its
call itself, under the run and job by which the provider knows the task instance. A dataset is a file in S3, named as
OpenLineage's naming specification says: namespace ``s3://bucket``, name the key. Nothing here may fail a call, and
nothing of the provider is imported unless it is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from .lifecycle import CallOutcome

PRODUCER = "https://pypi.org/project/airflow-wdl-ecs/"
OPERATOR = "airflow_wdl_ecs.operators.WdlEcsTaskOperator"
LIMIT = 10.0
"""Seconds that a call waits for an event to be sent."""

_log = logging.getLogger(__name__)

State = Literal["START", "COMPLETE", "FAIL"]


def files_in(value: Any) -> Iterator[str]:
    """The ``s3://`` URIs anywhere in a value."""
    if isinstance(value, str):
        if value.startswith("s3://"):
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from files_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from files_in(item)


def dataset_names(values: Iterable[Any]) -> list[tuple[str, str]]:
    """The namespace and name of each file in the values, once and in order."""
    found: dict[tuple[str, str], None] = {}
    for uri in (uri for value in values for uri in files_in(value)):
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if bucket and key:
            found[f"s3://{bucket}", key] = None
    return list(found)


def operator_lineage(inputs: Iterable[Any], outputs: Iterable[Any]) -> Any:
    """The files in an operator's inputs and outputs, as the provider takes them; None if nobody wants them."""
    if not _is_in_use():
        return None
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    return OperatorLineage(
        inputs=[InputDataset(namespace, name) for namespace, name in dataset_names(inputs)],
        outputs=[OutputDataset(namespace, name) for namespace, name in dataset_names(outputs)],
    )


def known_by(task_instance: Any) -> dict[str, Any] | None:
    """By what OpenLineage knows a task instance of Airflow's task runner, as JSON; None if nobody wants its events.

    It may ask Airflow for the DAG run, so it is for a thread.
    """
    if not _is_in_use():
        return None
    try:
        return _known_by(task_instance.get_template_context())
    except Exception:
        _log.warning("OpenLineage will not hear of this call", exc_info=True)
        return None


def _is_in_use() -> bool:
    """Whether OpenLineage's provider is there, and told where to send events: many have it and do not use it, and
    importing its client takes a task a tenth of a second.
    """
    try:
        if find_spec("airflow.providers.openlineage") is None:
            return False
    except ModuleNotFoundError:
        return False
    from airflow.providers.openlineage import conf

    return not conf.is_disabled()


def _known_by(context: Context) -> dict[str, Any] | None:
    from airflow.providers.openlineage import conf
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter

    instance, dag_run, task = context["ti"], context["dag_run"], context["task"]
    chosen = task.params.get("_selective_enable_ol")
    if OPERATOR in conf.disabled_operators() or (conf.selective_enable() and chosen is not True):
        return None
    date = dag_run.logical_date or dag_run.run_after
    index = instance.map_index
    return {
        "run": OpenLineageAdapter.build_task_instance_run_id(
            dag_id=instance.dag_id,
            task_id=instance.task_id,
            try_number=instance.try_number,
            logical_date=date,
            map_index=-1 if index is None else index,
        ),
        "job": f"{instance.dag_id}.{instance.task_id}",
        "parent_run": OpenLineageAdapter.build_dag_run_id(
            dag_id=instance.dag_id, logical_date=date, clear_number=getattr(dag_run, "clear_number", None) or 0
        ),
        "parent_job": instance.dag_id,
    }


async def tell_of_call(known: Mapping[str, Any] | None, outcome: CallOutcome | None, failure: str = "") -> None:
    """Send the event that a call has begun (without an outcome), has succeeded or has failed.

    :param known: as `known_by` gives it; without it nothing is sent. :param failure: why it failed, if it did.
    """
    if known is None:
        return
    state: State = "START" if outcome is None else "FAIL" if failure else "COMPLETE"

    def emit() -> None:
        _adapter().emit(call_event(known, state, outcome, failure))

    try:
        await asyncio.wait_for(asyncio.to_thread(emit), LIMIT)
    except Exception:
        _log.warning("could not tell OpenLineage of %s", known.get("job"), exc_info=True)


def call_event(known: Mapping[str, Any], state: State, outcome: CallOutcome | None, failure: str) -> Any:
    """An event of a call as OpenLineage's client has it."""
    from airflow.providers.openlineage import conf
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import error_message_run, job_type_job, parent_run

    facets: dict[str, Any] = {
        "parent": parent_run.ParentRunFacet(
            run=parent_run.Run(runId=known["parent_run"]),
            job=parent_run.Job(namespace=conf.namespace(), name=known["parent_job"]),
            producer=PRODUCER,
        )
    }
    if failure:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=failure, programmingLanguage="WDL", producer=PRODUCER
        )
    kind = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="AIRFLOW", jobType="TASK", producer=PRODUCER
    )
    lineage = operator_lineage(outcome.inputs.values() if outcome else (), outcome.outputs.values() if outcome else ())
    return RunEvent(
        eventType=RunState[state],
        eventTime=datetime.now(timezone.utc).isoformat(),
        run=Run(runId=known["run"], facets=facets),
        job=Job(namespace=conf.namespace(), name=known["job"], facets={"jobType": kind}),
        inputs=lineage.inputs,
        outputs=lineage.outputs,
        producer=PRODUCER,
    )


@cache
def _adapter() -> Any:
    """One client with its connections for the process."""
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter

    return OpenLineageAdapter()
