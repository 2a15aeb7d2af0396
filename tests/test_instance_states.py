"""States of task instances, of which many are asked for at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import TaskStatesResult

from airflow_wdl_ecs.instance_states import state_of


def instance(index: int = -1, run: str = "r", task: str = "sort") -> SimpleNamespace:
    return SimpleNamespace(dag_id="d", run_id=run, task_id=task, map_index=index)


class Supervisor:
    """Answers one question after the other, each after a while, with the states of that time."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.asked = 0
        self.states: dict[str, str] = {}
        self._turn = asyncio.Lock()

    async def asend(self, question):
        self.asked += 1
        async with self._turn:
            await asyncio.sleep(self.seconds)
            found = {key: state for key, state in self.states.items() if key.startswith(question.task_ids[0])}
            return TaskStatesResult(task_states={question.run_ids[0]: found})


@pytest.fixture
def supervisor(monkeypatch) -> Supervisor:
    found = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    return found


async def test_the_instances_of_a_task_share_a_question(supervisor):
    supervisor.states = {f"sort_{n}": "failed" if n % 2 else "deferred" for n in range(500)}
    found = await asyncio.gather(*(state_of(instance(n), 2) for n in range(501)))
    assert found == [*("failed" if n % 2 else "deferred" for n in range(500)), None]
    assert supervisor.asked == 1


async def test_other_tasks_and_runs_have_questions_of_their_own(supervisor):
    supervisor.states = {"sort": "success", "merge": "failed"}
    asked = [instance(), instance(task="merge"), instance(run="other")]
    assert await asyncio.gather(*(state_of(each, 2) for each in asked)) == ["success", "failed", "success"]
    assert supervisor.asked == 3


async def test_who_asks_later_gets_a_later_answer(supervisor):
    supervisor.seconds = 0.3
    supervisor.states = {"sort": "deferred"}
    first = asyncio.ensure_future(state_of(instance(), 2))
    await asyncio.sleep(0.2)
    second = asyncio.ensure_future(state_of(instance(), 2))
    assert await first == "deferred"
    supervisor.states = {"sort": "failed"}
    assert await second == "failed"


async def test_an_answer_that_does_not_come_is_given_up_by_each_alone(supervisor):
    supervisor.seconds = 0.5
    supervisor.states = {"sort": "failed"}
    patient = asyncio.ensure_future(state_of(instance(), 5))
    with pytest.raises(asyncio.TimeoutError):
        await state_of(instance(), 0.2)
    assert await patient == "failed"
