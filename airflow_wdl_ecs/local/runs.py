"""DAG runs of the embedded Airflow, by Airflow's own Python interface: register a DAG, trigger it, look at it, stop it.

A DAG is written to the metadata database as the DAG processor would write it, so that nobody waits for a scan of the
folder; the workers read the same file. Only the service's own processes import this module.
"""

from __future__ import annotations

import getpass
import json
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow._shared.timezones import timezone
from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
from airflow.api.common.trigger_dag import trigger_dag
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dag import DagModel
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select

from ..errors import AuthorError
from ..layout import Layout
from ..report import Instance as TaskInstanceReport
from ..report import to_json
from ..report_reading import (
    layout_of,
    named_layout,
    read_about,
    read_not_begun,
    read_report,
    scopes,
    stderr_of_failures,
)
from ..runs_page import airflow_runs
from ..storage import RunStore
from .airflow_home import write_private
from .components import BUNDLE

ACTIVE = (DagRunState.QUEUED, DagRunState.RUNNING)
STDERR_BYTES = 16 * 1024
"""Of each failed shard's stderr, in a report."""
_registering = threading.Lock()


@dataclass(frozen=True)
class Instance:
    """A task instance as it is now.

    :param index: its map index, -1 outside mapped groups.
    :param state: Airflow's word for its state; empty if it has none yet.
    """

    task: str
    index: int
    state: str
    tries: int


@dataclass(frozen=True)
class Snapshot:
    """A DAG run as it is now."""

    state: str
    instances: tuple[Instance, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("success", "failed")


def register(folder: Path, dag_id: str, files: dict[str, str]) -> None:
    """Put a DAG file and what it reads into the DAG folder, and the DAG into the metadata database.

    :param files: file name -> text; the one named after the DAG defines it.
    :raises AuthorError: if the DAG file cannot be imported.
    """
    with _registering:
        changed = [_written(folder / name, text) for name, text in files.items()]
        if not any(changed) and _is_registered(dag_id):
            return
        path = folder / f"{dag_id}.py"
        bag = DagBag(dag_folder=path, bundle_path=folder, bundle_name=BUNDLE, collect_dags=False)
        bag.process_file(str(path), only_if_updated=False)
        if bag.import_errors or dag_id not in bag.dags:
            text = "\n".join(bag.import_errors.values()) or f"{path.name} defines no DAG {dag_id}"
            raise AuthorError(f"Airflow cannot read the DAG of the workflow: {text}")
        sync_bag_to_db(bag, BUNDLE, None)


def _written(path: Path, text: str) -> bool:
    """Write a file unless it has this text already; whether it was written."""
    if path.exists() and path.read_text() == text:
        return False
    write_private(path, text)
    return True


def _is_registered(dag_id: str) -> bool:
    with create_session() as session:
        return session.scalar(select(DagModel.dag_id).where(DagModel.dag_id == dag_id)) is not None


def trigger(dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
    """Create a run of a registered DAG."""
    trigger_dag(
        dag_id,
        run_id=run_id,
        conf=conf,
        # The scheduler asks SQLite for runs that may begin, and SQLite's clock has whole seconds.
        run_after=timezone.utcnow() - timedelta(seconds=1),
        triggered_by=DagRunTriggeredByType.CLI,
        triggering_user_name=re.sub(r"[^\w.@-]", "_", getpass.getuser()),
    )


def look(dag_id: str, run_id: str) -> Snapshot | None:
    """The run as it is now; None if there is no such run."""
    with create_session() as session:
        state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if state is None:
            return None
        rows = session.execute(
            select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state, TaskInstance.try_number)
            .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
            .order_by(TaskInstance.start_date, TaskInstance.task_id, TaskInstance.map_index)
        )
        instances = tuple(Instance(task, index, str(found or ""), tries) for task, index, found, tries in rows)
        return Snapshot(str(state), instances)


def errors_in_log(logs: Path, dag_id: str, run_id: str, instance: Instance) -> list[str]:
    """What a task instance logged as errors in its last try, each once and in order.

    :param logs: Airflow's base log folder.
    """
    folder = logs / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={instance.task}"
    if instance.index >= 0:
        folder /= f"map_index={instance.index}"
    found: dict[str, None] = {}
    for path in sorted(folder.glob(f"attempt={instance.tries}.log*")):
        for line in path.read_text(errors="replace").splitlines():
            for text in _errors_of(line):
                found[text] = None
    return list(found)


def _errors_of(line: str) -> list[str]:
    """The errors in one line of a task's log, which is JSON."""
    try:
        event = json.loads(line)
    except ValueError:
        return []
    if not isinstance(event, dict) or event.get("level") not in ("error", "critical"):
        return []
    details = event.get("error_detail") or [{}]
    # The first is what was raised; the others are what it was raised from.
    return [str(details[0].get("exc_value") or event.get("event", ""))]


def report(s3: Any, workspace: str, name: str | None, scope: str | None, logs: Path) -> dict[str, Any] | None:
    """What became of a run; None if there is no such run.

    Its ``report`` and the ``stderr`` of what failed in it, or why it has ``not_begun``.

    :param s3: a client of the embedded S3. :param workspace: where runs are in it.
    :param name: ``DAG_ID/RUN_ID``, or the run's folder; None for the latest of all.
    :param logs: Airflow's base log folder.
    """
    with create_session() as session:
        if name is None:
            listed = next(iter(airflow_runs.recent_runs(session, None, 1)), None)
        elif name.startswith(f"{workspace}/"):
            layout = layout_of(s3, name)
            listed, scope = airflow_runs.find_run(session, layout.dag_id, layout.run_id), layout.scope
        else:
            layout = named_layout(workspace, name)
            listed = airflow_runs.find_run(session, layout.dag_id, layout.run_id)
        if listed is None:
            return None
        told = airflow_runs.told_of(session, listed)
    store = RunStore(s3, Layout(workspace, listed.dag_id, listed.run_id, scope))
    within = scopes(store) if scope is None else []
    if within and read_about(store) is None:
        store = RunStore(s3, Layout(workspace, listed.dag_id, listed.run_id, within[0]))
    found = read_report(store, told)
    found = found or read_not_begun(store, told)
    told_already = {shard.call for shard in found.failures if shard.attempts} if found else set()
    # A log tells what has left no reason: an error before the run's folder was known, or outside of this package.
    reasons = {task.instance for task in found.tasks} if found else set()
    silent = [one for one in told.instances.values() if one.task_id not in told_already and one not in reasons]
    errors = _errors(logs, listed, silent)
    if found is None:
        return {"report": None, "not_begun": f"run {listed.run_id} of {listed.dag_id} has not begun\n{errors}".rstrip()}
    report = to_json(replace(found, error=errors))
    return {"report": report, "stderr": stderr_of_failures(store, found, STDERR_BYTES)}


def layout_here(s3: Any, workspace: str, name: str, scope: str | None) -> Layout | None:
    """Where a run of the embedded Airflow is; None if it has none of that name.

    :param name: ``DAG_ID/RUN_ID``, or the run's folder.
    """
    if name.startswith("s3://"):
        return layout_of(s3, name) if name.startswith(f"{workspace}/") else None
    layout = named_layout(workspace, name, scope)
    return None if state_of(layout.dag_id, layout.run_id) is None else layout


def state_of(dag_id: str, run_id: str) -> str | None:
    """The state of a run in Airflow's words; None if there is no such run."""
    found = look(dag_id, run_id)
    return found.state if found else None


def _errors(logs: Path, run: airflow_runs.ListedRun, instances: Iterable[TaskInstanceReport]) -> str:
    """What those of these task instances that failed have logged as errors."""
    lines = [
        f"task {found.task_id}: {error}"
        for found in instances
        if found.state == "failed"
        for error in errors_in_log(
            logs, run.dag_id, run.run_id, Instance(found.task_id, found.map_index, found.state, found.try_number)
        )
    ]
    return "\n".join(lines)


def stop(dag_id: str, run_id: str) -> bool:
    """Mark an active run as failed, so that Airflow ends what it runs; whether it was active."""
    with create_session() as session:
        state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if state not in ACTIVE:
            return False
        dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
        assert dag is not None
        set_dag_run_state_to_failed(dag=dag, run_id=run_id, commit=True, session=session)
        return True


def active() -> Sequence[tuple[str, str]]:
    """The DAG id and run id of every run that is queued or running, oldest first."""
    with create_session() as session:
        rows = session.execute(select(DagRun.dag_id, DagRun.run_id).where(DagRun.state.in_(ACTIVE)).order_by(DagRun.id))
        return [(dag_id, run_id) for dag_id, run_id in rows]
