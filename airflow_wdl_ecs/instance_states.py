"""What Airflow's database says of a task instance, asked from a triggerer.

The triggerer's supervisor answers one question after the other, some tens of milliseconds each. When a DAG run of
hundreds of calls is marked as failed, all their triggers ask at once, so those of one mapped task share a question.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult

TOGETHER = 0.1
"""Seconds for which a question waits for others that it can answer as well."""

_Task = tuple[str, str, str]
_waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Task, asyncio.Future[dict[str, Any]]]] = (
    WeakKeyDictionary()
)


async def state_of(instance: Any, limit: float) -> str | None:
    """The state of a task instance as it is now; None if it is gone or has none.

    :param instance: the trigger's ``task_instance``. :param limit: seconds to wait for the answer.
    :raises asyncio.TimeoutError: if there is none by then.
    """
    index = -1 if instance.map_index is None else instance.map_index
    of_loop = _waiting.setdefault(asyncio.get_running_loop(), {})
    task = (instance.dag_id, instance.run_id, instance.task_id)
    asked = of_loop.get(task)
    if asked is None:
        asked = of_loop[task] = asyncio.ensure_future(_ask(task, of_loop))
    # Shielded: others wait for it, too, and Airflow 3.1 takes the answer to a question that was given up for that to
    # the next one.
    states = await asyncio.wait_for(asyncio.shield(asked), limit)
    state = states.get(instance.task_id if index < 0 else f"{instance.task_id}_{index}")
    return None if state is None else str(getattr(state, "value", state))


async def _ask(task: _Task, waiting: dict[_Task, asyncio.Future[dict[str, Any]]]) -> dict[str, Any]:
    """The states of all instances of a task, mapped or not."""
    from airflow.sdk.execution_time import task_runner

    await asyncio.sleep(TOGETHER)
    # Who comes from now on asks anew: what they want to know may be newer than this answer.
    waiting.pop(task)
    dag_id, run_id, task_id = task
    answer = await task_runner.SUPERVISOR_COMMS.asend(
        GetTaskStates(dag_id=dag_id, run_ids=[run_id], task_ids=[task_id])
    )
    if not isinstance(answer, TaskStatesResult):
        raise TypeError(f"Airflow answered {answer!r}")
    return dict(answer.task_states.get(run_id, {}))
