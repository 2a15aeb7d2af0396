"""Airflow's own processes are killed, or it is told to delete what runs: the run ends right, and nothing runs twice.

Against real Airflow processes and the embedded ECS, as ``test_control``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import psutil
import pytest

from .embedded_airflow import EmbeddedAirflow, WorkflowRun, until
from .table import SCHEDULER_KILLS, WORKER_KILLS, WORKERS_AT_ONCE, SchedulerKill, WorkerKill
from .test_control import ONE, begun, outputs, stopped

pytestmark = [pytest.mark.timeout(900), pytest.mark.faults_in_full]

ON_A_WORKER = 'call_args={"%s": {"deferrable": False, "retries": %d, "retry_delay": timedelta(seconds=1)}}'
TOGETHER = [WORKER_KILLS[at : at + WORKERS_AT_ONCE] for at in range(0, len(WORKER_KILLS), WORKERS_AT_ONCE)]


def kill_worker(run: WorkflowRun, kill: WorkerKill) -> None:
    """Kill the local executor's worker that runs a run's task instance, and the instance's own process."""
    (process,) = [psutil.Process(pid) for pid in run.airflow.workers(run)]
    worker = process.parent()
    assert worker is not None
    assert "LocalExecutor" in " ".join(worker.cmdline())
    for victim in (worker, process) if kill.with_process else (worker,):
        os.kill(victim.pid, signal.SIGKILL)


@pytest.mark.parametrize("kills", TOGETHER, ids=["; ".join(kill.what for kill in kills) for kills in TOGETHER])
def test_workers_that_are_killed_are_missed_and_followed(airflow: EmbeddedAirflow, kills: Sequence[WorkerKill]) -> None:
    # A call's name tells its requests from the others'.
    calls = [f"work{number}" for number in range(len(kills))]
    holds = [hold for kill, call in zip(kills, calls, strict=True) if (hold := kill.hold_in(call))]
    airflow.aws.set_faults(requests=holds)
    try:
        runs = [
            airflow.run(ONE.replace("call work", f"call work as {call}"), ON_A_WORKER % (call, kill.retries))
            for kill, call in zip(kills, calls, strict=True)
        ]
        for kill, run in zip(kills, runs, strict=True):
            if kill.late:
                run.release("a")
            if not kill.hold or kill.late:
                until(lambda run=run: run.started("a"), what=run.instances)
        until(lambda: len(airflow.aws.held()) == len(holds), what=airflow.aws.held)
        for run in runs:
            until(lambda run=run: len(airflow.workers(run)) == 1, what=run.instances)
        before = [run.running() for run in runs]
        for kill, run in zip(kills, runs, strict=True):
            kill_worker(run, kill)
    finally:
        airflow.aws.set_faults()
    for kill, call, run in zip(kills, calls, runs, strict=True):
        ends = {("running", 2), ("success", 2)} if kill.retries else {("failed", 1)}
        until(lambda run=run, call=call, ends=ends: run.instance(call) in ends, 400, run.instances)
    for kill, run, tasks in zip(kills, runs, before, strict=True):
        # What no worker has asked for before it was killed, the next one does.
        assert kill.late or not tasks or run.running() == tasks
    for kill, run in zip(kills, runs, strict=True):
        if kill.retries:
            run.release("a")
            assert run.ended() == "success"
            assert outputs(run) == "a"
        else:
            assert run.ended() == "failed"
            airflow.service.ask("orphans", stop=True, where={})
            stopped(run, "_")
        assert len(run.tasks()) == 1
        assert not run.running()
        assert run.times("a") == 1


@pytest.mark.parametrize("kill", [pytest.param(kill, id=kill.step) for kill in SCHEDULER_KILLS])
def test_a_scheduler_that_is_killed_at_a_step_is_followed_by_one_that_goes_on(
    airflow: EmbeddedAirflow, kill: SchedulerKill
) -> None:
    if kill.hold is not None:
        airflow.aws.set_faults(requests=[kill.hold])
    try:
        run = airflow.run(ONE, kill.arguments)
        if kill.hold is not None:
            run.release("a")
            until(airflow.aws.held, what=run.instances)
        else:
            until(lambda: run.started("a"), what=run.instances)
        airflow.kill("scheduler")
    finally:
        airflow.aws.set_faults()
    run.release("a")
    assert run.ended(400) == "success"
    assert outputs(run) == "a"
    assert run.times("a") == 1
    assert len(run.tasks()) == 1
    assert not run.running()


def heard_of(airflow: EmbeddedAirflow, run: WorkflowRun, task: str) -> bool:
    """Whether the scheduler has heard of its executor that a task instance has ended."""
    key = f"task instance TaskInstanceKey(dag_id='{run.dag_id}', task_id='{task}', run_id='{run.run_id}'"
    return f"Received executor event with state success for {key}" in (airflow.home.logs / "scheduler.log").read_text()


def test_a_dag_run_is_deleted_once_it_has_ended_and_one_with_its_id_begins_anew(airflow: EmbeddedAirflow) -> None:
    run = begun(airflow)
    with pytest.raises(AssertionError, match="409"):
        run.delete()
    assert set(run.running()) == {"0", "1"}
    run.mark_run("failed")
    stopped(run, "0", "1")
    # Airflow takes its executor's late word of a deleted task instance for one of that with the same name.
    until(lambda: all(heard_of(airflow, run, task) for task in ("inputs", "scatter_name.shards")))
    run.delete()
    run.release("a", "b")
    again = airflow.run_again(run)
    assert again.ended() == "success"
    assert outputs(again) == ["a", "b"]
    assert (run.times("a"), run.times("b")) == (2, 2)
    assert not again.running()
