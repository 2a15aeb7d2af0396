"""Which ECS tasks nobody waits for: by the ledger, by Airflow's states, and on the embedded AWS."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from airflow_wdl_ecs import orphans
from airflow_wdl_ecs.airflow_states import ask_airflow
from airflow_wdl_ecs.attempts import Attempt
from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.commands import orphans as command
from airflow_wdl_ecs.ecs.request import PREFIX_VARIABLE
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import SettingsError
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.ledger import Ledger, read_stop
from airflow_wdl_ecs.lifecycle import run_call
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.orphans import AirflowRun, by_airflow, by_ledger, find_tasks, stop_tasks
from airflow_wdl_ecs.storage import RunStore

from .fake_aws import FakeEcs, FakeS3, refusal
from .faults.embedded_airflow import until
from .faults.world import Said, World

RUNNING = Attempt(0, 1, "arn:0", "c", 1.0)
ENDED = replace(RUNNING, kind="command_failed", exit_code=1)


@pytest.mark.parametrize(
    ("attempts", "succeeded", "number", "arn", "age", "why"),
    [
        ([], False, 0, "arn:0", 5, ""),
        ([], False, 0, "arn:0", 9999, ""),
        ([RUNNING], False, 0, "arn:0", 5, ""),
        ([RUNNING], False, 0, "arn:9", 5, ""),
        ([RUNNING], False, 0, "arn:9", 500, "recorded as another task"),
        ([replace(RUNNING, arn="")], False, 0, "arn:9", 500, ""),
        ([ENDED], False, 0, "arn:0", 5, "has ended: command_failed"),
        ([ENDED, replace(RUNNING, number=1, arn="arn:1")], False, 0, "arn:0", 5, "attempt 1 has taken its place"),
        ([ENDED, replace(RUNNING, number=1, arn="arn:1")], False, 1, "arn:1", 5, ""),
        ([ENDED], False, 1, "arn:1", 5, ""),
        ([RUNNING], True, 0, "arn:0", 5, "has succeeded"),
    ],
)
def test_what_the_ledger_knows(attempts, succeeded, number, arn, age, why):
    found = by_ledger(attempts, succeeded, number, arn, age)
    assert bool(found) == bool(why)
    assert why in found


@pytest.mark.parametrize(
    ("state", "instance", "why"),
    [
        (None, None, "no such DAG run"),
        ("failed", "deferred", "DAG run has ended: failed"),
        ("success", "success", "DAG run has ended: success"),
        ("running", "deferred", ""),
        ("running", "running", ""),
        ("running", "up_for_retry", ""),
        ("running", None, ""),
        ("running", "failed", "task instance has ended: failed"),
        ("running", "skipped", "task instance has ended: skipped"),
        ("queued", "scheduled", ""),
    ],
)
def test_what_airflow_knows(state, instance, why):
    found = by_airflow(AirflowRun(state, {("t", 3): instance, ("t", 4): "deferred"}), "t", 3)
    assert bool(found) == bool(why)
    assert why in found
    assert "no task instance t[5]" in by_airflow(AirflowRun("running", {("t", 3): "running"}), "t", 5)


@pytest.fixture
def world(embedded_aws: Endpoint, tmp_path: Path):
    world = World(embedded_aws, tmp_path)
    world.begin()
    yield world
    world.release()
    world.stop_all()


@pytest.fixture
def airflow_run(airflow_database: None):
    """Puts a DAG run and its task instances into Airflow's database, in place of those with its id."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import delete, insert, text

    def put(dag_id: str, run_id: str, state: str, instances: Mapping[tuple[str, int], str | None]) -> None:
        now = datetime.now(timezone.utc)
        mine = {"dag_id": dag_id, "run_id": run_id}
        common = {**mine, "pool": "default_pool", "max_tries": 0, "executor_config": {}}
        with create_session() as session:
            session.execute(text("PRAGMA foreign_keys=OFF"))  # there is no DAG behind it
            for model in (TaskInstance, DagRun):
                session.execute(delete(model).where(model.dag_id == dag_id, model.run_id == run_id))
            run = {**mine, "state": state, "run_type": "manual", "run_after": now, "log_template_id": None}
            session.execute(insert(DagRun.__table__).values(**run))
            for (task, index), now_in in instances.items():
                found = {**common, "id": uuid.uuid4(), "task_id": task, "map_index": index, "state": now_in}
                session.execute(insert(TaskInstance.__table__).values(**found))

    return put


def start(world: World) -> str:
    """Have the call's command run, and its host go away; the task's ARN."""

    async def begin() -> None:
        host = asyncio.ensure_future(run_call(world.place.open(), "work", [()], try_number=1, log=Said()))
        for _ in range(1000):
            if world.times():
                break
            await asyncio.sleep(0.05)
        host.cancel()
        await asyncio.gather(host, return_exceptions=True)

    asyncio.run(asyncio.wait_for(begin(), 60))
    (arn,) = world.running()
    return arn


@pytest.mark.local
def test_a_task_is_listed_with_its_run_and_stopped_only_as_an_orphan(world: World) -> None:
    arn = start(world)
    run = world.place.open()
    foreign = world.ecs.register_task_definition(
        family="foreign",
        memory="512",
        containerDefinitions=[{"name": "a", "image": "x", "entryPoint": ["sleep"], "command": ["60"]}],
    )["taskDefinition"]["taskDefinitionArn"]
    other = world.ecs.run_task(cluster=run.settings.cluster, taskDefinition=foreign, startedBy="wdl-someone-else")
    asked: list[tuple[str, str]] = []

    def ask(state: str | None, instance: str | None):
        def answer(dag_id: str, run_id: str) -> AirflowRun:
            asked.append((dag_id, run_id))
            return AirflowRun(state, {("work", -1): instance})

        return answer

    def found(answer):
        return next(task for task in find_tasks(run.settings, run.clients, answer) if task.arn == arn)

    owned = found(ask("running", "deferred"))
    assert (owned.orphaned, owned.unknown) == ("", "")
    assert (owned.dag_id, owned.run_id, owned.call, owned.shard, owned.attempt, owned.try_number) == (
        "dag",
        world.place.run_id,
        "work",
        "",
        0,
        1,
    )
    assert ("dag", world.place.run_id) in asked
    unknown = found(lambda dag_id, run_id: None)
    assert unknown.orphaned == ""
    assert "could not be asked" in unknown.unknown
    gone = found(ask(None, None))
    assert gone.orphaned == "Airflow has no such DAG run"
    ended = found(ask("running", "failed"))
    tasks = find_tasks(run.settings, run.clients, ask("running", "failed"))
    assert not any(task.arn == other["tasks"][0]["taskArn"] for task in tasks)
    stop_tasks(run.clients, [ended])
    until(lambda: not world.running(), 20)
    (stopped,) = world.tasks()
    assert stopped["stoppedReason"] == "orphan: its task instance has ended: failed"
    world.ecs.stop_task(cluster=run.settings.cluster, task=other["tasks"][0]["taskArn"])


@pytest.mark.local
def test_a_task_whose_place_another_has_taken_is_an_orphan_whatever_airflow_says(world: World) -> None:
    arn = start(world)
    run = world.place.open()
    ledger = Ledger(run.store, "work", ())
    attempts = ledger.attempts()
    ledger.write_attempts([*attempts, replace(attempts[0], number=1, arn="arn:other")])
    tasks = find_tasks(run.settings, run.clients, lambda dag_id, run_id: None)
    assert next(task.orphaned for task in tasks if task.arn == arn) == "attempt 1 has taken its place"


@pytest.mark.local
def test_a_run_that_cannot_be_read_makes_no_orphans(world: World) -> None:
    arn = start(world)
    run = world.place.open()
    about = run.store.get_json(f"{run.folder}run.json")

    def found() -> orphans.FoundTask:
        tasks = find_tasks(run.settings, run.clients, lambda dag_id, run_id: None)
        return next(task for task in tasks if task.arn == arn)

    for unlike in ({"format": 99}, {"plan": "gone"}, {"inputs": "gone"}):
        run.store.put_json(f"{run.folder}run.json", {**about, **unlike})
        if "inputs" in unlike:
            run.store.delete(f"{run.folder}inputs.json")
        task = found()
        assert (task.orphaned, task.dag_id, task.run_id) == ("", "dag", world.place.run_id)
        assert task.unknown.startswith("its run cannot be read: ")
    run.store.delete(f"{run.folder}run.json")
    assert found().orphaned == "its run's folder is gone"


def test_tasks_are_listed_page_by_page_and_throttling_is_waited_out(monkeypatch) -> None:
    monkeypatch.setattr("airflow_wdl_ecs.aws.time.sleep", lambda seconds: None)
    mine = {"startedBy": "wdl-1", "desiredStatus": "RUNNING"}
    throttled = refusal("ThrottlingException")
    ecs = FakeEcs(
        list_tasks=[throttled, {"taskArns": ["1"], "nextToken": "more"}, {"taskArns": []}],
        describe_tasks=[throttled, throttled, {"tasks": [mine, {**mine, "startedBy": "else"}]}],
    )
    assert list(orphans._running(EcsSettings(cluster="c"), ecs)) == [mine]
    assert [asked.get("nextToken") for name, asked in ecs.asked if name == "list_tasks"] == [None, None, "more"]


@pytest.mark.parametrize("place", ["x/0", "0.x/0", "_/x", "_/²", "²/0", "0..1/0", "/0", "_", "_/0/more"])
def test_a_task_that_names_no_attempt_is_none_of_ours(place: str) -> None:
    """Whoever may start tasks in the cluster may say what they like in them."""
    environment = [{"name": PREFIX_VARIABLE, "value": f"s3://bucket/wdl/runs/d/r/calls/t/{place}/"}]
    overrides = {"containerOverrides": [{"name": "stage-in", "environment": environment}]}
    task = {"taskArn": "arn:1", "startedBy": "wdl-1", "desiredStatus": "RUNNING", "overrides": overrides}
    ecs = FakeEcs(list_tasks=[{"taskArns": ["arn:1"]}], describe_tasks=[{"tasks": [task]}])
    settings = EcsSettings(cluster="c", workspace="s3://bucket/wdl")
    assert find_tasks(settings, lambda service: ecs, lambda dag_id, run_id: None) == []


def test_the_command_says_what_it_knows_and_what_not(monkeypatch, capsys) -> None:
    task = orphans.FoundTask("arn:1", "c", "d", "r", "align", "0.3", 2, 1, 61.0)
    found = [task, replace(task, arn="arn:2", orphaned="gone"), replace(task, arn="arn:3", unknown="nobody to ask")]
    monkeypatch.setattr(command.client, "running", lambda home: None)
    monkeypatch.setattr(command, "_of_deployment", lambda stop, where: found)
    options = type("Options", (), {"stop": False, "as_json": False, "cluster": None, "workspace": None})
    assert command.execute(options) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "arn:2  d/r align[0.3], attempt 2, 61 s old: gone",
        "arn:3  d/r align[0.3], attempt 2, 61 s old: unknown: nobody to ask",
    ]
    assert said.err == "3 ECS tasks, 1 orphaned, 1 of which it is not known\n"
    options.as_json = True
    command.execute(options)
    assert [listed["arn"] for listed in json.loads(capsys.readouterr().out)] == ["arn:2", "arn:3"]


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ([], ("of-settings", "s3://of/settings")),
        (["--cluster", "gpu"], ("gpu", "s3://of/settings")),
        (["--cluster", "gpu", "--workspace", "s3://own/runs"], ("gpu", "s3://own/runs")),
    ],
)
def test_the_cluster_and_workspace_of_a_dag_can_be_named(monkeypatch, capsys, words, where) -> None:
    monkeypatch.setenv("AIRFLOW__WDL_ECS__CLUSTER", "of-settings")
    monkeypatch.setenv("AIRFLOW__WDL_ECS__WORKSPACE", "s3://of/settings")
    monkeypatch.setenv("AIRFLOW__WDL_ECS__EXECUTION_ROLE_ARN", "arn:aws:iam::123456789012:role/execution")
    monkeypatch.setenv("AIRFLOW__WDL_ECS__LAUNCH_TYPE", "EC2")
    monkeypatch.setenv("AIRFLOW__WDL_ECS__LOG_GROUP", "/wdl")
    asked = []

    def find(settings, clients, ask):
        asked.append((settings.cluster, settings.workspace))
        return []

    monkeypatch.setattr(command.client, "running", lambda home: None)
    monkeypatch.setattr(orphans, "find_tasks", find)
    assert main(["orphans", *words]) == 0
    assert asked == [where]

    class Service:
        def ask(self, request, *, stop, where):
            asked.append((request, stop, where))
            return {"tasks": []}

    monkeypatch.setattr(command.client, "running", lambda home: Service())
    assert main(["orphans", *words, "--stop"]) == 0
    given = dict(zip(("cluster", "workspace"), where, strict=True))
    assert asked[1] == ("orphans", True, {name: value for name, value in given.items() if f"--{name}" in words})


def test_an_orphan_that_cannot_be_stopped_does_not_save_the_others(monkeypatch) -> None:
    monkeypatch.setattr("airflow_wdl_ecs.aws.time.sleep", lambda seconds: None)
    ecs = FakeEcs(stop_task=[refusal("ServerException"), {}, refusal("AccessDeniedException"), {}])
    task = orphans.FoundTask("arn:1", "c", "d", "r", "align", "", 0, 1, 61.0, "gone")
    with pytest.raises(SettingsError, match="StopTask arn:2") as caught:
        stop_tasks(lambda service: ecs, [replace(task, arn=f"arn:{number}") for number in (1, 2, 3)])
    assert [asked["task"] for _, asked in ecs.asked] == ["arn:1", "arn:1", "arn:2", "arn:3"]
    assert "2 of 3 orphans were stopped" in str(caught.value)


@pytest.mark.local
def test_a_deployments_orphans_by_its_own_database(
    world: World, airflow_on_embedded_aws: Endpoint, airflow_run, monkeypatch, tmp_path: Path
) -> None:
    """Without the embedded Airflow's service, Airflow's settings and database say what there is."""
    monkeypatch.setenv("AIRFLOW__WDL_ECS__WORKSPACE", world.place.settings["workspace"])
    monkeypatch.setenv("AIRFLOW_WDL_ECS_HOME", str(tmp_path / "none"))
    arn = start(world)

    def listed() -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "airflow_wdl_ecs", "orphans", "--stop", "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return {task["arn"]: task["orphaned"] for task in json.loads(done.stdout)}

    airflow_run("dag", world.place.run_id, "running", {("work", -1): "deferred"})
    assert arn not in listed()
    assert world.running() == [arn]
    airflow_run("dag", world.place.run_id, "running", {("work", -1): "failed"})
    assert listed()[arn] == "its task instance has ended: failed"
    until(lambda: not world.running(), 20)


def test_what_a_database_says_of_runs(airflow_run, monkeypatch) -> None:
    assert ask_airflow("nobody", "knows") == AirflowRun(None, {})
    airflow_run("asked", "r", "running", {("a", -1): "success", ("b", 0): None, ("b", 1): "deferred"})
    assert ask_airflow("asked", "r") == AirflowRun(
        "running", {("a", -1): "success", ("b", 0): None, ("b", 1): "deferred"}
    )

    def broken() -> None:
        raise OperationalError("SELECT", {}, Exception("no such table"))

    monkeypatch.setattr("airflow.utils.session.create_session", broken)
    assert ask_airflow("asked", "r") is None


@pytest.mark.parametrize(
    ("recorded", "kept"),
    [
        ([replace(RUNNING, arn="arn:9")], True),
        ([replace(RUNNING, arn="")], True),
        ([], True),
        ([RUNNING], False),
        ([ENDED, replace(RUNNING, number=1, arn="arn:1")], False),
        (None, False),
    ],
)
def test_what_is_kept_of_a_stopped_orphan(recorded: list[Attempt] | None, kept: bool) -> None:
    """Nothing in the attempt of another task, nor in a folder that is gone (None).

    :param recorded: the attempts in the ledger of the shard whose attempt 0 the orphan, arn:9, is.
    """
    s3 = FakeS3()
    store = RunStore(s3, Layout("s3://bucket/wdl", "d", "r", "alone"))
    prefix = store.layout.attempt("align", (0, 3), 0)
    if recorded is not None:
        store.put_json(store.layout.named("run.json"), {})
        Ledger(store, "align", (0, 3)).write_attempts(recorded)
    environment = [{"name": PREFIX_VARIABLE, "value": prefix}]
    overrides = {"containerOverrides": [{"name": "stage-in", "environment": environment}]}
    ecs = FakeEcs(stop_task=[{"task": {"taskArn": "arn:9", "overrides": overrides}}])
    task = orphans.FoundTask("arn:9", "c", "d", "r", "align", "0.3", 0, 1, 61.0, "gone")
    before = list(s3.objects)
    stop_tasks(lambda service: s3 if service == "s3" else ecs, [task])
    assert (read_stop(store, "align", (0, 3), 0) is not None) == kept
    assert kept or list(s3.objects) == before
