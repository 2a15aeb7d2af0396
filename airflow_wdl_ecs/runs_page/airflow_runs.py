"""What Airflow's metadata database says of runs of WDL workflows: read only, by Airflow's own models.

Used where Airflow's database is at hand: in the API server, and by the service of the embedded Airflow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.models.dag import DagTag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, exists, or_, select, true
from sqlalchemy.orm import Session

from ..layout import Layout
from ..report import Instance
from ..report_reading import Told

INPUTS_OPERATOR = "WdlInputsOperator"
OPERATORS = (INPUTS_OPERATOR, "WdlEcsTaskOperator")
"""The operators by which a run of a WDL workflow is known."""
TAG = "wdl"
"""The tag of a compiled workflow's DAG."""
RECENT = 2000
"""The latest runs of all DAGs in which those of DAGs without the tag are looked for."""


@dataclass(frozen=True)
class ListedRun:
    """A DAG run as a list shows it; moments in seconds since the epoch."""

    dag_id: str
    run_id: str
    state: str
    started: float | None
    ended: float | None


def recent_runs(session: Session, dag_ids: Iterable[str] | None, limit: int) -> list[ListedRun]:
    """The latest DAG runs that have a WDL workflow or task in them, latest first.

    :param dag_ids: of these DAGs alone; None for all.
    """
    among = true() if dag_ids is None else DagRun.dag_id.in_(list(dag_ids))
    latest = select(DagRun.id).where(among).order_by(DagRun.id.desc()).limit(RECENT).subquery()
    has_wdl = exists().where(
        TaskInstance.dag_id == DagRun.dag_id,
        TaskInstance.run_id == DagRun.run_id,
        TaskInstance.operator.in_(OPERATORS),
    )
    tagged = DagRun.dag_id.in_(select(DagTag.dag_id).where(DagTag.name == TAG))
    of_wdl = or_(tagged, and_(DagRun.id.in_(select(latest.c.id)), has_wdl))
    found = session.scalars(select(DagRun).where(among, of_wdl).order_by(DagRun.id.desc()).limit(limit))
    return [_listed(run) for run in found]


def find_run(session: Session, dag_id: str, run_id: str) -> ListedRun | None:
    """A DAG run; None if there is no such run."""
    run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return None if run is None else _listed(run)


def told_of(session: Session, run: ListedRun) -> Told:
    """What Airflow says of a run's task instances."""
    columns = (
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance.state,
        TaskInstance.try_number,
        TaskInstance.scheduled_dttm,
        TaskInstance.queued_dttm,
        TaskInstance.start_date,
        TaskInstance.end_date,
    )
    rows = session.execute(select(*columns).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id))
    instances = {
        (task, index): Instance(
            # One that starts in the triggerer is neither scheduled nor queued: it starts when it is handed over.
            task,
            index,
            str(state or ""),
            tries or 0,
            _seconds(scheduled or queued or started),
            _seconds(ended),
        )
        for task, index, state, tries, scheduled, queued, started, ended in rows
    }
    return Told(run.state, instances)


def has_wdl(session: Session, run: ListedRun) -> bool:
    """Whether a task of a run is one of this package's."""
    found = select(TaskInstance.task_id).where(
        TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id, TaskInstance.operator.in_(OPERATORS)
    )
    return session.scalar(found.limit(1)) is not None


def layout_of_run(session: Session, run: ListedRun, workspace: str) -> Layout:
    """Where a run keeps everything: as its ``inputs`` task has said, else in the deployment's workspace.

    A DAG may have a workspace of its own. What the XCom says is believed only if it is a folder of this very run.
    """
    default = Layout(workspace, run.dag_id, run.run_id)
    inputs = select(TaskInstance.task_id).where(
        TaskInstance.dag_id == run.dag_id,
        TaskInstance.run_id == run.run_id,
        TaskInstance.operator == INPUTS_OPERATOR,
    )
    said = session.scalar(
        select(XComModel.value).where(
            XComModel.dag_id == run.dag_id,
            XComModel.run_id == run.run_id,
            XComModel.key == "return_value",
            XComModel.task_id.in_(inputs),
        )
    )
    folder = _folder(said)
    inside = Layout("", run.dag_id, run.run_id).folder
    return Layout(folder.removesuffix(inside), run.dag_id, run.run_id) if folder.endswith(inside) else default


def _folder(said: Any) -> str:
    """The folder in an XCom, which comes as a value or as JSON text; empty if it says none."""
    try:
        found = json.loads(said) if isinstance(said, str) else said
    except ValueError:
        return ""
    folder = found.get("folder") if isinstance(found, dict) else None
    return folder if isinstance(folder, str) and folder.startswith("s3://") else ""


def _listed(run: DagRun) -> ListedRun:
    return ListedRun(run.dag_id, run.run_id, str(run.state), _seconds(run.start_date), _seconds(run.end_date))


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
