"""ECS tasks that no run waits for any more: which they are, why, and how they are stopped.

A task says in its overrides to which attempt of which shard it belongs; the shard's ledger says whether that attempt
is still the one that counts, and Airflow whether anybody still hosts the shard. Only tasks of this package are looked
at, of one cluster and one workspace. Where Airflow cannot be asked, that is said, and only what the ledgers know
makes an orphan. This module knows neither Airflow nor how its states are asked for (`AskAirflow`); all of it blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .attempts import Attempt, Stop
from .aws import Clients, aws_errors, impatient, patient
from .ecs.client import DESCRIBE_AT_ONCE
from .ecs.request import STARTED_BY, attempt_prefix, attempt_try
from .ecs.settings import EcsSettings
from .errors import AuthorError, AwsError, WdlEcsError
from .layout import Layout, instance_of_scope, name_of, shard_of
from .ledger import Ledger, keep_stop
from .plan import Shard
from .run import Run, open_run
from .storage import RunStore

YOUNG = 120.0
"""Seconds for which a task may be in no ledger, since its host is just recording it."""

ENDED_RUN = frozenset({"success", "failed"})
ENDED_INSTANCE = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True)
class AirflowRun:
    """A DAG run as Airflow has it.

    :param state: None if there is no such run. :param instances: task id and map index -> state.
    """

    state: str | None
    instances: Mapping[tuple[str, int], str | None]


AskAirflow = Callable[[str, str], AirflowRun | None]
"""DAG id, run id -> the DAG run; None if Airflow cannot be asked."""


@dataclass(frozen=True)
class FoundTask:
    """An ECS task of a run that has not stopped.

    :param orphaned: why nobody waits for it; empty if somebody does, or if that is not known.
    :param unknown: why it is not known whether anybody does; empty if it is.
    """

    arn: str
    cluster: str
    dag_id: str
    run_id: str
    call: str
    shard: str
    attempt: int
    try_number: int
    age: float
    orphaned: str = ""
    unknown: str = ""


@dataclass(frozen=True)
class _Attempted:
    """What an attempt's folder says of it: ``<run>/calls/<call>/<shard>/<attempt>/``."""

    run: str
    call: str
    shard: Shard
    number: int


def find_tasks(settings: EcsSettings, clients: Clients, ask: AskAirflow) -> list[FoundTask]:
    """Every ECS task of the cluster that belongs to the workspace and has not stopped, oldest first.

    :raises WdlEcsError: if AWS cannot be asked.
    """
    judge = _Judge(settings, clients, ask)
    found = [judge.found(task) for task in _running(settings, clients("ecs"))]
    return sorted((task for task in found if task is not None), key=lambda task: -task.age)


def stop_tasks(clients: Clients, tasks: Sequence[FoundTask]) -> None:
    """Stop tasks; one that has stopped meanwhile is as good.

    :raises WdlEcsError: if one cannot be stopped, when the others are.
    """
    ecs, store = clients("ecs"), RunStore(clients("s3"), Layout("", "", ""))
    failed: list[WdlEcsError] = []
    for task in tasks:
        try:
            _keep(store, _stop(ecs, task))
        except WdlEcsError as error:
            failed.append(error)
    if failed:
        first, done = failed[0], f"{len(tasks) - len(failed)} of {len(tasks)} orphans were stopped"
        first.hint = f"{first.hint}\n{done}" if first.hint else done
        raise first


@patient
def _stop(ecs: Any, task: FoundTask) -> Mapping[str, Any]:
    """Stop a task; gives it as ECS has it then."""
    with aws_errors("StopTask", task.arn):
        answer = ecs.stop_task(cluster=task.cluster, task=task.arn, reason=f"orphan: {task.orphaned}"[:255])
    stopped: Mapping[str, Any] = answer.get("task") or {}
    return stopped


def _keep(store: RunStore, task: Mapping[str, Any]) -> None:
    """Keep what ECS says of a task that was stopped, for the costs of its run, if that is possible: if there is the run
    still, and no other task is recorded as the attempt.
    """
    prefix = attempt_prefix(task) or ""
    attempted = _attempted(prefix)
    if attempted is None:
        return
    with suppress(WdlEcsError), impatient():
        if store.get_json(f"{attempted.run}run.json") is None:
            return
        attempts = Ledger.in_folder(store, prefix.removesuffix(f"{attempted.number}/")).attempts()
        recorded = next((attempt.arn for attempt in attempts if attempt.number == attempted.number), "")
        if recorded in ("", str(task.get("taskArn"))):
            keep_stop(store, prefix, Stop.of(task, time.time()))


def _running(settings: EcsSettings, ecs: Any) -> Iterator[Mapping[str, Any]]:
    """The tasks of this package in the cluster that are to run."""
    token: dict[str, str] = {}
    while True:
        page = _page(ecs, cluster=settings.cluster, maxResults=DESCRIBE_AT_ONCE, **token)
        if page["taskArns"]:
            for task in _described(ecs, settings.cluster, page["taskArns"]):
                started_by = str(task.get("startedBy") or "")
                if started_by.startswith(STARTED_BY) and task.get("desiredStatus") != "STOPPED":
                    yield task
        if not page.get("nextToken"):
            return
        token = {"nextToken": page["nextToken"]}


@patient
def _page(ecs: Any, **arguments: Any) -> Mapping[str, Any]:
    with aws_errors("ListTasks", arguments["cluster"]):
        page: Mapping[str, Any] = ecs.list_tasks(**arguments)
        return page


@patient
def _described(ecs: Any, cluster: str, arns: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    with aws_errors("DescribeTasks", cluster):
        tasks: Sequence[Mapping[str, Any]] = ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
        return tasks


class _Judge:
    """Says of tasks what is known; what it reads of runs, it reads once."""

    def __init__(self, settings: EcsSettings, clients: Clients, ask: AskAirflow) -> None:
        self._settings = settings
        self._clients = clients
        self._ask = ask
        self._runs: dict[str, Run | WdlEcsError | None] = {}
        self._airflow: dict[tuple[str, str], AirflowRun | None] = {}

    def found(self, task: Mapping[str, Any]) -> FoundTask | None:
        """A task with what is known of it; None if it is another workspace's."""
        folder = attempt_prefix(task) or ""
        runs = f"{self._settings.workspace.rstrip('/')}/runs/"
        attempted = _attempted(folder)
        if not folder.startswith(runs) or attempted is None:
            return None
        run = self._run(attempted.run)
        dag_id, run_id = _named(attempted.run.removeprefix(runs))
        age = time.time() - task["createdAt"].timestamp() if task.get("createdAt") else 0.0
        arn = str(task["taskArn"])
        if isinstance(run, Run):
            dag_id, run_id = run.dag_id, run.run_id
            orphaned, unknown = self._verdict(run, attempted, arn, age)
        elif run is None:
            orphaned, unknown = "its run's folder is gone", ""
        else:
            orphaned, unknown = "", f"its run cannot be read: {run.message}"
        return FoundTask(
            arn=arn,
            cluster=self._settings.cluster,
            dag_id=dag_id,
            run_id=run_id,
            call=attempted.call,
            shard=".".join(map(str, attempted.shard)),
            attempt=attempted.number,
            try_number=attempt_try(task),
            age=age,
            orphaned=orphaned,
            unknown=unknown,
        )

    def _verdict(self, run: Run, attempted: _Attempted, arn: str, age: float) -> tuple[str, str]:
        ledger = Ledger(run.store, attempted.call, attempted.shard)
        told = by_ledger(ledger.attempts(), ledger.success() is not None, attempted.number, arn, age)
        if told:
            return told, ""
        key = (run.dag_id, run.run_id)
        if key not in self._airflow:
            self._airflow[key] = self._ask(*key)
        airflow = self._airflow[key]
        if airflow is None:
            return "", "Airflow could not be asked for the state of its DAG run"
        return by_airflow(airflow, *self._instance(run, attempted, airflow)), ""

    def _instance(self, run: Run, attempted: _Attempted, airflow: AirflowRun) -> tuple[str, int]:
        """The task id and map index of the instance that runs a shard."""
        call = run.plan.call_by_id.get(attempted.call)
        scope = run.scope
        if scope is not None and not any(task == f"{scope}.{attempted.call}" for task, _ in airflow.instances):
            # An operator on its own.
            return instance_of_scope(scope)
        task = attempted.call if scope is None else f"{scope}.{attempted.call}"
        scatters = run.plan.scatters(call.section) if call else ()
        division = run.store.read_division(scatters[0].id) if scatters else None
        return task, attempted.shard[0] // division["chunk"] if division else -1

    def _run(self, folder: str) -> Run | WdlEcsError | None:
        """The run of a folder; None if there is none, and why it cannot be read, if there is one."""
        if folder not in self._runs:
            about = RunStore(self._clients("s3"), _nowhere(self._settings)).get_json(f"{folder}run.json")
            try:
                self._runs[folder] = about and open_run(
                    self._settings, self._clients, about["dag_id"], about["run_id"], scope=about.get("scope")
                )
            except (AuthorError, AwsError) as error:
                if isinstance(error, AwsError) and error.code != "NoSuchKey":
                    raise
                # Of another version, or with a part that is gone: its tasks may be waited for all the same.
                self._runs[folder] = error
        return self._runs[folder]


def by_ledger(attempts: Sequence[Attempt], succeeded: bool, number: int, arn: str, age: float) -> str:
    """Why the shard's ledger makes a task an orphan; empty if it does not."""
    if succeeded:
        return "its shard has succeeded"
    recorded = next((attempt for attempt in attempts if attempt.number == number), None)
    if attempts and attempts[-1].number > number:
        return f"attempt {attempts[-1].number} has taken its place"
    if recorded is None:
        return ""
    if recorded.arn and recorded.arn != arn and age > YOUNG:
        return f"its attempt is recorded as another task, {recorded.arn}"
    if recorded.kind is not None and recorded.arn == arn:
        return f"its attempt has ended: {recorded.kind}"
    return ""


def by_airflow(run: AirflowRun, task: str, index: int) -> str:
    """Why Airflow's states make a task an orphan; empty if they do not."""
    if run.state is None:
        return "Airflow has no such DAG run"
    if run.state in ENDED_RUN:
        return f"its DAG run has ended: {run.state}"
    if (task, index) not in run.instances:
        return f"Airflow has no task instance {task}" + (f"[{index}]" if index >= 0 else "")
    state = run.instances[task, index]
    return f"its task instance has ended: {state}" if state in ENDED_INSTANCE else ""


def _attempted(folder: str) -> _Attempted | None:
    """What the folder of an attempt says of it; None if it is none, which whoever may start tasks can name."""
    run, calls, rest = folder.rpartition("/calls/")
    parts = rest.strip("/").split("/")
    if not calls or len(parts) != 3 or not parts[2].isdecimal():
        return None
    try:
        return _Attempted(f"{run}/", name_of(parts[0]) or parts[0], shard_of(parts[1]), int(parts[2]))
    except ValueError:
        return None


def _named(path: str) -> tuple[str, str]:
    """DAG id and run id of a run's folder below ``runs/``."""
    dag, run, *_ = [*path.split("/"), "", ""]
    return name_of(dag) or dag, name_of(run) or run


def _nowhere(settings: EcsSettings) -> Layout:
    return Layout(settings.workspace, "", "")
