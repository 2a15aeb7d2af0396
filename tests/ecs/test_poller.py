"""Waiting for tasks: how often, how many at once, and what counts as the end."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from airflow_wdl_ecs.ecs import poller as module
from airflow_wdl_ecs.ecs.client import EcsClient
from airflow_wdl_ecs.ecs.poller import Pace, Poller, has_stopped
from airflow_wdl_ecs.errors import SettingsError
from airflow_wdl_ecs.task import TaskHandle

from ..fake_aws import FakeEcs, refusal

FAST = Pace(0.01, 0.05)


def state(arn: str, status: str, command: str = "PENDING", desired: str = "RUNNING") -> dict:
    containers = [{"name": "command", "lastStatus": command}, {"name": "stage-out", "lastStatus": status}]
    return {"taskArn": arn, "lastStatus": status, "desiredStatus": desired, "containers": containers}


class Tasks:
    """Answers DescribeTasks: each task goes through its states, one per look."""

    def __init__(self, **states: list) -> None:
        self.states = states
        self.batches: list[list[str]] = []

    def __call__(self, *, cluster: str, tasks: list[str]) -> dict:
        self.batches.append(tasks)
        found = []
        for arn in tasks:
            states = self.states[arn]
            status = states[0] if len(states) == 1 else states.pop(0)
            if status is not None:
                found.append(state(arn, *(status if isinstance(status, tuple) else (status,))))
        return {"tasks": found, "failures": []}


def wait_for(tasks: Tasks, *arns: str, on_change=lambda task: None, pace: Pace = FAST) -> list:
    async def run():
        poller = Poller(EcsClient(FakeEcs(describe_tasks=[tasks])), "c")
        waits = (poller.stopped(TaskHandle(arn, "c"), pace, on_change=on_change) for arn in arns)
        return await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 10)

    return asyncio.run(run())


def test_each_is_told_in_the_context_of_who_waits():
    who = ContextVar("who", default="nobody")
    heard: dict[str, list[str]] = {"a": [], "b": []}
    asked: list[str] = []
    tasks = Tasks(a=["PENDING", "STOPPED"], b=["PENDING", "RUNNING", "STOPPED"])

    def describe(**arguments):
        asked.append(who.get())
        return tasks(**arguments)

    async def wait(poller: Poller, arn: str) -> None:
        who.set(arn)
        await poller.stopped(
            TaskHandle(arn, "c"), FAST, on_change=lambda task: heard[task["taskArn"]].append(who.get())
        )

    async def run() -> None:
        poller = Poller(EcsClient(FakeEcs(describe_tasks=[describe])), "c")
        await asyncio.wait_for(asyncio.gather(*(wait(poller, arn) for arn in heard)), 10)

    asyncio.run(run())
    assert heard == {"a": ["a"] * 2, "b": ["b"] * 3}
    assert set(asked) == {"nobody"}


def test_a_task_is_looked_at_until_it_has_stopped():
    seen = []
    tasks = Tasks(a=["PENDING", "PENDING", ("PENDING", "RUNNING"), ("RUNNING", "STOPPED"), "STOPPED"])
    (found,) = wait_for(tasks, "a", on_change=lambda task: seen.append(task["containers"][0]["lastStatus"]))
    assert found["lastStatus"] == "STOPPED"
    # One word per change, also of the command alone, whose task says PENDING while it runs.
    assert seen == ["PENDING", "RUNNING", "STOPPED", "PENDING"]


def test_many_tasks_are_looked_at_in_few_requests():
    arns = [f"t{n}" for n in range(250)]
    tasks = Tasks(**{arn: ["PENDING", "STOPPED"] for arn in arns})
    found = wait_for(tasks, *arns)
    assert [task["taskArn"] for task in found] == arns
    assert max(len(batch) for batch in tasks.batches) == 100
    assert len(tasks.batches) <= 8


def test_a_task_that_is_due_later_fills_up_the_request():
    async def run() -> Tasks:
        tasks = Tasks(young=["PENDING"] * 5 + ["STOPPED"], old=["RUNNING"] * 3 + ["STOPPED"])
        poller = Poller(EcsClient(FakeEcs(describe_tasks=[tasks])), "c")
        await asyncio.gather(
            poller.stopped(TaskHandle("young", "c"), FAST),
            poller.stopped(TaskHandle("old", "c"), Pace(60, 60), age=600),
        )
        return tasks

    # By itself, the old one's end would be seen after three minutes.
    async def soon() -> Tasks:
        return await asyncio.wait_for(run(), 5)

    assert {"young", "old"} in [set(batch) for batch in asyncio.run(soon()).batches]


def test_a_task_that_is_missing_at_first_is_waited_for():
    (found,) = wait_for(Tasks(a=[None, None, "PENDING", None, "STOPPED"]), "a")
    assert found["lastStatus"] == "STOPPED"


def test_a_task_that_stays_missing_is_lost(monkeypatch):
    monkeypatch.setattr(module, "MISSING_GRACE", 0.1)
    assert wait_for(Tasks(a=["PENDING", None], b=["PENDING"] * 20 + ["STOPPED"]), "a", "b")[0] is None


def test_states_that_come_late_do_not_undo_an_end():
    (found,) = wait_for(Tasks(a=["RUNNING", "PENDING", "RUNNING", "STOPPED", "RUNNING"]), "a")
    assert found["lastStatus"] == "STOPPED"


def test_the_end_of_all_containers_is_the_end():
    assert has_stopped(state("a", "STOPPED"))
    deprovisioning = state("a", "STOPPED", "STOPPED", desired="STOPPED") | {"lastStatus": "DEPROVISIONING"}
    assert has_stopped(deprovisioning)
    assert not has_stopped(state("a", "RUNNING", "STOPPED", desired="STOPPED"))
    # Containers of a task that is yet to start may be said to be stopped.
    assert not has_stopped(deprovisioning | {"desiredStatus": "RUNNING"})
    assert not has_stopped({"lastStatus": "DEPROVISIONING", "desiredStatus": "STOPPED", "containers": []})


def test_a_refusal_reaches_everyone_who_waits():
    async def run():
        poller = Poller(EcsClient(FakeEcs(describe_tasks=[refusal("ClusterNotFoundException")])), "c")
        waits = (poller.stopped(TaskHandle(arn, "c"), FAST) for arn in ("a", "b"))
        return await asyncio.gather(*waits, return_exceptions=True)

    assert [type(error) for error in asyncio.run(run())] == [SettingsError, SettingsError]


def test_a_listener_that_fails_fails_alone():
    def fail(task):
        if task["taskArn"] == "a":
            raise RuntimeError("oops")

    error, found = wait_for(Tasks(a=["RUNNING", "STOPPED"], b=["RUNNING", "STOPPED"]), "a", "b", on_change=fail)
    assert isinstance(error, RuntimeError)
    assert found["lastStatus"] == "STOPPED"


def test_who_stops_waiting_leaves_nothing_behind_and_the_poller_rests():
    async def run():
        fake = FakeEcs(describe_tasks=[Tasks(a=["RUNNING"], b=["RUNNING", "STOPPED"])])
        poller = Poller(EcsClient(fake), "c")
        waiting = asyncio.ensure_future(poller.stopped(TaskHandle("a", "c"), FAST))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0.1)
        before = fake.count("describe_tasks")
        await asyncio.sleep(0.2)
        assert fake.count("describe_tasks") == before
        return await asyncio.wait_for(poller.stopped(TaskHandle("b", "c"), FAST), 5)

    assert asyncio.run(run())["lastStatus"] == "STOPPED"


@pytest.mark.parametrize(("age", "interval"), [(0, 1), (5, 1), (50, 5), (600, 15)])
def test_the_older_a_task_the_longer_the_pause(age, interval):
    assert Pace(1, 15).interval(age) == interval
