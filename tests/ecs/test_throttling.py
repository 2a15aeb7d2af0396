"""A thousand calls on an ECS that allows so many requests a second and rejects the rest: none fails, none dawdles."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Any

import pytest

from airflow_wdl_ecs.ecs import client as client_module
from airflow_wdl_ecs.ecs.client import RATES, EcsClient
from airflow_wdl_ecs.ecs.request import TaskDefinition

from ..fake_aws import refusal

CALLS = 1000


class Simulated:
    """A clock that moves to the next moment at which somebody wakes when all have gone to sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._asleep, (self.now + seconds, next(self._order), future))
        await future

    async def drive(self, work: asyncio.Future[Any]) -> Any:
        while not work.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if self._asleep and not work.done():
                self.now, _, future = heapq.heappop(self._asleep)
                future.set_result(None)
        return work.result()


class LimitedEcs:
    """An ECS whose requests are paid for by a bucket of tokens for each operation, refilled by the clock.

    :param share: what is left of the published rates: others use the account, too.
    """

    def __init__(self, time: Simulated, share: float) -> None:
        self._time = time
        self._share = share
        self._tokens = {name: burst * share for name, (_, burst) in RATES.items()}
        self._at = dict.fromkeys(RATES, 0.0)
        self.taken: dict[str, list[float]] = {name: [] for name in RATES}
        self.rejected = dict.fromkeys(RATES, 0)
        self.started: dict[str, str] = {}

    def _pay(self, name: str) -> None:
        rate, burst = RATES[name]
        now = self._time.now
        tokens = min(burst * self._share, self._tokens[name] + (now - self._at[name]) * rate * self._share)
        self._at[name], self._tokens[name] = now, tokens
        if tokens < 1:
            self.rejected[name] += 1
            raise refusal("ThrottlingException", "Rate exceeded", name)
        self._tokens[name] -= 1
        self.taken[name].append(now)

    def run_task(self, *, clientToken: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._pay("run_task")
        assert clientToken not in self.started, "started twice"
        self.started[clientToken] = f"arn:{clientToken}"
        return {"tasks": [{"taskArn": self.started[clientToken]}], "failures": []}

    def describe_tasks(self, *, tasks: list[str], **_: Any) -> dict[str, Any]:
        self._pay("describe_tasks")
        return {"tasks": [{"taskArn": arn, "lastStatus": "STOPPED"} for arn in tasks]}

    def stop_task(self, **_: Any) -> dict[str, Any]:
        self._pay("stop_task")
        return {}

    def describe_task_definition(self, *, taskDefinition: str) -> dict[str, Any]:  # noqa: N803
        self._pay("describe_task_definition")
        raise refusal("ClientException", "Unable to describe task definition.")

    def register_task_definition(self, *, family: str) -> dict[str, Any]:
        self._pay("register_task_definition")
        return {"taskDefinition": {"taskDefinitionArn": f"arn:definition/{family}"}}


@pytest.fixture
def at_once(monkeypatch):
    """No threads, so that simulated time stands still while a request is made."""

    async def call(function, *args, **kwargs):
        return function(*args, **kwargs)

    monkeypatch.setattr(client_module, "in_ecs_thread", call)


@pytest.mark.parametrize(
    ("share", "dawdling"), [(1.0, 1.1), (0.5, 2.0), (0.1, 3.0)], ids=["published rates", "half of them", "a tenth"]
)
@pytest.mark.usefixtures("at_once")
def test_a_thousand_calls_all_succeed_near_the_rate_that_there_is(share, dawdling):
    time = Simulated()
    ecs = LimitedEcs(time, share)

    async def one(number: int, shared: EcsClient) -> str:
        definition = TaskDefinition(f"wdl-{number % 30}", {"family": f"wdl-{number % 30}"})
        arn = await shared.register_task_definition(definition)
        arguments = {"cluster": "c", "taskDefinition": arn, "clientToken": f"token-{number}"}
        started = await shared.run_task(arguments, capacity_timeout=0)
        described = await shared.describe_tasks("c", [started.handle.arn])
        assert described[started.handle.arn]["lastStatus"] == "STOPPED"
        await shared.stop_task(started.handle, "done")
        return started.handle.arn

    async def all_of_them() -> list[str]:
        shared = EcsClient(ecs, clock=time.clock, sleep=time.sleep)
        return await time.drive(asyncio.gather(*(one(number, shared) for number in range(CALLS))))

    arns = asyncio.run(all_of_them())
    assert sorted(arns) == sorted(f"arn:token-{number}" for number in range(CALLS))
    assert len(ecs.taken["run_task"]) == CALLS
    rate, burst = RATES["run_task"]
    needed = (CALLS - burst * share) / (rate * share) + 30 / (RATES["register_task_definition"][0] * share)
    took = ecs.taken["run_task"][-1]
    assert took <= needed * dawdling
    if share == 1.0:
        assert ecs.rejected["run_task"] <= CALLS / 100
    else:
        # It learns: most requests are not made in vain.
        assert 0 < ecs.rejected["run_task"] < CALLS


@pytest.mark.usefixtures("at_once")
def test_operations_do_not_slow_each_other_down():
    time = Simulated()
    ecs = LimitedEcs(time, 1.0)

    async def work() -> None:
        shared = EcsClient(ecs, clock=time.clock, sleep=time.sleep)
        slow = TaskDefinition("wdl-x", {"family": "wdl-x"})
        ecs._tokens["register_task_definition"] = -5.0
        registering = asyncio.ensure_future(shared.register_task_definition(slow))
        starts = [shared.run_task({"cluster": "c", "clientToken": str(n)}, capacity_timeout=0) for n in range(100)]
        await time.drive(asyncio.gather(*starts))
        assert time.now < 1.0
        await time.drive(registering)

    asyncio.run(work())
    assert ecs.rejected["register_task_definition"] > 0
