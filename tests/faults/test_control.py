"""What an Airflow user does to a run, and what becomes of its ECS tasks: stopped where it was meant, and only there.

Against real Airflow processes and the embedded ECS. The commands wait for a file of their own, so that nothing ends
before a test says so.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from .embedded_airflow import SOON, EmbeddedAirflow, WorkflowRun, until
from .table import TRIGGERER_KILLS
from .world import LONG

pytestmark = [pytest.mark.timeout(600)]
in_short, in_full = pytest.mark.faults, pytest.mark.faults_in_full

WDL = """
version 1.1
task work {
  input { String name  String marks }
  command <<<
    echo begun >> '~{marks}/~{name}'
    until [ -e '~{marks}/~{name}.go' ]; do sleep 0.1; done
    [ ! -e '~{marks}/~{name}.bad' ] || exit 3
    echo '~{name}'
    # LONG
  >>>
  output { String out = read_string(stdout()) }
}
workflow w {
  input { Array[String] names = ["a", "b"]  String marks }
  scatter (name in names) { call work { input: name, marks } }
  output { Array[String] out = work.out }
}
""".replace("LONG", LONG)
ONE = WDL[: WDL.index("workflow w")] + "workflow w { input { String marks } call work { input: name = 'a', marks } }"
HOSTS = {
    "triggerer": "",
    "worker then triggerer": 'call_args={"work": {"max_active_tis_per_dag": 8}}',
    "worker": 'call_args={"work": {"deferrable": False}}',
}
"""Who hosts a call, and the arguments of ``wdl_dag`` that have it so."""
EACH_HOST = [
    pytest.param("triggerer", marks=in_short),
    pytest.param("worker then triggerer", marks=in_full),
    pytest.param("worker", marks=in_short),
]
EACH_HOST_IN_FULL = [pytest.param(host, marks=in_full) for host in HOSTS]


def begun(airflow: EmbeddedAirflow, arguments: str = "") -> WorkflowRun:
    """A run whose two shards have begun."""
    run = airflow.run(WDL, arguments)
    until(lambda: run.started("a", "b"), what=run.instances)
    # Their commands may begin before the task instance of a host on a worker is deferred.
    until(lambda: all(run.instance("work", i)[0] in ("deferred", "running") for i in (0, 1)), what=run.instances)
    return run


def stopped(run: WorkflowRun, *shards: str) -> None:
    """Wait until the tasks of these shards, and no others, are being stopped."""
    until(lambda: not set(shards) & set(run.running()), SOON, run.tasks)


def outputs(run: WorkflowRun) -> object:
    found = run.airflow.service.ask("outputs", dag_id=run.dag_id, run_id=run.run_id)["outputs"]
    return next(iter(found.values()))


@pytest.mark.parametrize("host", EACH_HOST)
def test_marking_one_shard_failed_stops_its_task_alone(airflow: EmbeddedAirflow, host: str) -> None:
    run = begun(airflow, HOSTS[host])
    before = run.running()
    run.mark("failed", "work", 0)
    stopped(run, "0")
    assert run.running() == {"1": before["1"]}
    run.release("b")
    assert run.ended() == "failed"
    assert run.instance("work", 1)[0] == "success"
    assert (run.times("a"), run.times("b")) == (1, 1)


@pytest.mark.parametrize("host", [pytest.param("triggerer", marks=in_short), *EACH_HOST_IN_FULL[1:]])
def test_clearing_one_shard_that_runs_stops_its_task_and_runs_it_afresh(airflow: EmbeddedAirflow, host: str) -> None:
    run = begun(airflow, HOSTS[host])
    before = run.running()
    run.clear("work", 0)
    until(lambda: run.running().get("0") not in (None, before["0"]), what=run.tasks)
    assert run.running()["1"] == before["1"]
    run.release("a", "b")
    assert run.ended() == "success"
    assert outputs(run) == ["a", "b"]
    assert (run.times("a"), run.times("b")) == (2, 1)
    assert len(run.tasks()) == 3


@in_full
def test_retrying_one_shard_that_failed_runs_that_shard_alone(airflow: EmbeddedAirflow) -> None:
    run = begun(airflow)
    (run.marks / "b.bad").touch()
    run.release("a", "b")
    assert run.ended() == "failed"
    (run.marks / "b.bad").unlink()
    run.clear("work", 1, downstream=True)
    until(lambda: run.state == "success", what=run.instances)
    assert outputs(run) == ["a", "b"]
    assert (run.times("a"), run.times("b")) == (1, 2)


@in_full
def test_clearing_a_shard_that_succeeded_runs_it_again_alone(airflow: EmbeddedAirflow) -> None:
    run = begun(airflow)
    run.release("a", "b")
    assert run.ended() == "success"
    run.clear("work", 1, downstream=True)
    until(lambda: run.times("b") == 2 and run.state == "success", what=run.instances)
    assert run.times("a") == 1


@in_full
def test_marking_a_call_succeeded_stops_its_task(airflow: EmbeddedAirflow) -> None:
    run = begun(airflow)
    run.mark("success", "work", 0)
    stopped(run, "0")
    assert set(run.running()) == {"1"}
    run.release("b")
    run.ended()
    assert not run.running()


@in_full
@pytest.mark.parametrize("state", ["failed", "success"])
def test_marking_a_run_stops_all_its_tasks_and_no_other_runs(airflow: EmbeddedAirflow, state: str) -> None:
    run, other = begun(airflow), begun(airflow)
    run.mark_run(state)
    stopped(run, "0", "1")
    assert len(other.running()) == 2
    other.release("a", "b")
    assert other.ended() == "success"


@in_full
def test_the_timeout_of_a_dag_run_stops_its_tasks(airflow: EmbeddedAirflow) -> None:
    run = begun(airflow, "dagrun_timeout=timedelta(seconds=15)")
    assert run.ended() == "failed"
    stopped(run, "0", "1")
    assert run.instance("work", 0)[0] == "skipped"


@pytest.mark.parametrize("host", EACH_HOST_IN_FULL)
def test_the_execution_timeout_of_a_call_stops_its_tasks(airflow: EmbeddedAirflow, host: str) -> None:
    timeout = '"execution_timeout": timedelta(seconds=12)'
    arguments = HOSTS[host][:-2] + f", {timeout}}}}}" if HOSTS[host] else f'call_args={{"work": {{{timeout}}}}}'
    arguments = arguments.replace("}}}", "}}")
    run = airflow.run(WDL, arguments)
    until(lambda: run.started("a", "b") or run.state == "failed", what=run.instances)
    assert run.ended() == "failed"
    stopped(run, "0", "1")
    assert {task.stopped or task.stopping for task in run.tasks()} == {True}


@pytest.mark.parametrize("host", EACH_HOST_IN_FULL)
def test_a_retry_after_an_execution_timeout_runs_the_command_afresh(airflow: EmbeddedAirflow, host: str) -> None:
    more = HOSTS[host].removeprefix('call_args={"work": {').removesuffix("}}")
    limits = '"execution_timeout": timedelta(seconds=25), "retries": 1, "retry_delay": timedelta(seconds=1)'
    run = airflow.run(ONE, f'call_args={{"work": {{{limits}, {more}}}}}')
    until(lambda: run.times("a") == 2 or run.state == "failed", what=run.instances)
    run.release("a")
    assert run.ended() == "success"
    assert run.instance("work") == ("success", 2)
    assert len(run.tasks()) == 2
    assert not run.running()


@in_full
def test_a_pause_stops_nothing(airflow: EmbeddedAirflow) -> None:
    run = begun(airflow)
    before = run.running()
    run.pause(True)
    time.sleep(3)
    assert run.running() == before
    run.release("a", "b")
    run.await_state("work", 0, "success")
    run.await_state("work", 1, "success")
    run.pause(False)
    assert run.ended() == "success"
    assert len(run.tasks()) == 2


@pytest.mark.parametrize(
    ("component", "number"),
    [
        pytest.param("triggerer", signal.SIGKILL, marks=in_short),
        pytest.param("triggerer", signal.SIGTERM, marks=in_full),
        pytest.param("scheduler", signal.SIGKILL, marks=in_full),
        pytest.param("scheduler", signal.SIGTERM, marks=in_full),
    ],
)
def test_a_restart_stops_nothing(airflow: EmbeddedAirflow, component: str, number: signal.Signals) -> None:
    run = begun(airflow)
    before = run.running()
    airflow.kill(component, number)
    time.sleep(2)
    assert run.running() == before
    run.release("a", "b")
    assert run.ended() == "success"
    assert outputs(run) == ["a", "b"]
    assert len(run.tasks()) == 2
    assert (run.times("a"), run.times("b")) == (1, 1)


@in_full
def test_a_worker_that_is_killed_is_followed_by_one_that_goes_on(airflow: EmbeddedAirflow) -> None:
    run = begun(airflow, 'call_args={"work": {"deferrable": False, "retries": 1, "retry_delay": timedelta(seconds=1)}}')
    before = run.running()
    for pid in airflow.workers(run):
        os.kill(pid, signal.SIGKILL)
    until(lambda: run.instance("work", 0)[1] == run.instance("work", 1)[1] == 2, 300, run.instances)
    assert run.running() == before
    run.release("a", "b")
    assert run.ended() == "success"
    assert outputs(run) == ["a", "b"]
    assert len(run.tasks()) == 2
    assert (run.times("a"), run.times("b")) == (1, 1)


@in_full
@pytest.mark.parametrize("step", TRIGGERER_KILLS)
def test_a_triggerer_that_is_killed_at_a_step_is_followed_by_one_that_goes_on(
    airflow: EmbeddedAirflow, step: str
) -> None:
    airflow.aws.set_faults(requests=[TRIGGERER_KILLS[step]])
    try:
        run = airflow.run(ONE)
        run.release("a")
        until(airflow.aws.held, what=run.instances)
        airflow.kill("triggerer")
    finally:
        airflow.aws.set_faults()
    assert run.ended() == "success"
    assert run.times("a") == 1
    assert len(run.tasks()) == 1
    assert not run.running()


GUARDED = (
    WDL[: WDL.index("workflow w")]
    + "workflow w { input { String marks  Boolean wanted } if (wanted) { call work { input: name = 'a', marks } } }"
)


@in_full
@pytest.mark.parametrize("host", HOSTS)
def test_the_callback_of_a_call_that_is_skipped_is_called(airflow: EmbeddedAirflow, host: str, tmp_path: Path) -> None:
    called = tmp_path / "called"
    callback = f'"on_skipped_callback": lambda context: Path("{called}").write_text(context["ti"].task_id)'
    more = HOSTS[host].removeprefix('call_args={"work": {').removesuffix("}}")
    run = airflow.run(GUARDED, f'call_args={{"work": {{{callback}, {more}}}}}', wanted=False)
    assert run.ended() == "success"
    assert run.instance("work") == ("skipped", 1)
    until(called.exists, SOON)
    assert called.read_text() == "work"


@in_full
def test_orphans_of_a_run_that_ended_are_listed_and_stopped(airflow: EmbeddedAirflow) -> None:
    run = begun(airflow)
    listed = {task["arn"]: task for task in airflow.service.ask("orphans", stop=False, where={})["tasks"]}
    mine = [listed[arn] for arn in run.running().values()]
    assert [task["orphaned"] + task["unknown"] for task in mine] == ["", ""]
    # A triggerer that is down hears of nothing.
    pid = airflow.pid("triggerer")
    os.kill(pid, signal.SIGSTOP)
    try:
        for child in psutil.Process(pid).children(recursive=True):
            child.suspend()
        run.mark("failed", "work", 0)
        (zero, one) = run.running()["0"], run.running()["1"]
        listed = {task["arn"]: task for task in airflow.service.ask("orphans", stop=True, where={})["tasks"]}
        assert listed[zero]["orphaned"] == "its task instance has ended: failed"
        assert listed[one]["orphaned"] == ""
        stopped(run, "0")
        assert run.running() == {"1": one}
    finally:
        for child in psutil.Process(pid).children(recursive=True):
            child.resume()
        os.kill(pid, signal.SIGCONT)
    run.release("b")
    assert run.ended() == "failed"
