"""The agent's budget and its end, with real processes and no server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from airflow_wdl_ecs.local.agent import Agent, AgentTask, Budget, ContainerPlan
from airflow_wdl_ecs.local.containers import ContainerSpec
from airflow_wdl_ecs.local.plain import Plain
from airflow_wdl_ecs.local.process_records import ProcessRecords
from airflow_wdl_ecs.local.task_state import ContainerRules, ContainerState, Stop, TaskState, last_status


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    records = ProcessRecords(tmp_path / "processes")
    made = Agent(Plain(tmp_path / "c"), Budget(cpu=1024, memory=1000, tasks=3), {"ROLE": "r"}, records)
    yield made
    made.close()
    assert list((tmp_path / "processes").iterdir()) == []


def new_task(folder: Path, script: str = "sleep 60", cpu: int = 100, memory: int = 100) -> AgentTask:
    name = uuid.uuid4().hex
    spec = ContainerSpec(name, name, "a", "i", ("bash", "-c"), (script,), folder / name)
    return AgentTask(
        id=name,
        region="us-east-1",
        folder=folder / name,
        cpu=cpu,
        memory=memory,
        plans={"a": ContainerPlan(spec, ContainerRules("a", stop_timeout=1))},
        state=TaskState({"a": ContainerState()}, created_at=time.time()),
    )


def wait(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def statuses(*tasks: AgentTask) -> list[str]:
    return [last_status(task.state) for task in tasks]


@pytest.mark.parametrize(("cpu", "memory"), [(600, 1), (1, 600)])
def test_cpu_and_memory_are_shared_out(agent: Agent, tmp_path: Path, cpu: int, memory: int) -> None:
    first, second = (new_task(tmp_path, cpu=cpu, memory=memory) for _ in range(2))
    agent.submit(first)
    agent.submit(second)
    wait(lambda: statuses(first, second) == ["RUNNING", "PROVISIONING"])
    assert agent.counts() == (1, 1)
    agent.stop(first, Stop("UserInitiated", "x"))
    wait(lambda: statuses(first, second) == ["STOPPED", "RUNNING"])


def test_so_many_tasks_at_most_and_in_order(agent: Agent, tmp_path: Path) -> None:
    tasks = [new_task(tmp_path) for _ in range(5)]
    for task in tasks:
        agent.submit(task)
    wait(lambda: statuses(*tasks) == ["RUNNING"] * 3 + ["PROVISIONING"] * 2)
    agent.stop(tasks[1], Stop("UserInitiated", "x"))
    wait(lambda: statuses(*tasks) == ["RUNNING", "STOPPED", "RUNNING", "RUNNING", "PROVISIONING"])


def test_a_task_larger_than_the_machine_runs_alone(agent: Agent, tmp_path: Path) -> None:
    small, large = new_task(tmp_path, "sleep 0.3"), new_task(tmp_path, cpu=10**6, memory=10**6)
    agent.submit(small)
    agent.submit(large)
    wait(lambda: statuses(small, large) == ["RUNNING", "PROVISIONING"])
    wait(lambda: statuses(small, large) == ["STOPPED", "RUNNING"])


def test_many_tasks_that_fail_at_once_are_all_answered(agent: Agent, tmp_path: Path) -> None:
    """Each one's end lets the next one in; that must not nest."""
    blocker = new_task(tmp_path, "sleep 0.5", cpu=10**6)
    agent.submit(blocker)
    tasks = [new_task(tmp_path, "x\0y") for _ in range(1200)]
    for task in tasks:
        agent.submit(task)
    wait(lambda: all(task.state.finished for task in tasks))
    stop = tasks[0].state.stop
    assert stop is not None
    assert stop.code == "TaskFailedToStart"
    assert "null byte" in stop.reason


def test_the_role_is_before_the_containers_own(agent: Agent, tmp_path: Path) -> None:
    task = new_task(tmp_path, 'test "$ROLE" = r')
    agent.submit(task)
    wait(lambda: task.state.finished)
    assert task.state.containers["a"].exit_code == 0


def test_closing_kills_what_does_not_listen(tmp_path: Path) -> None:
    agent = Agent(Plain(tmp_path / "c"), Budget(10**4, 10**4), {}, ProcessRecords(tmp_path / "p"))
    task = new_task(tmp_path, "trap '' TERM; while :; do sleep 0.05; done")
    agent.submit(task)
    wait(lambda: statuses(task) == ["RUNNING"])
    (pid,) = [process.pid for process in task.running.values()]
    agent.close(timeout=1)
    assert task.state.finished
    assert not psutil.pid_exists(pid)
    assert task.state.stop == Stop("TerminationNotice", "The embedded ECS is shutting down")
