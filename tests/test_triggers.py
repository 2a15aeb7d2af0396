"""The trigger as the triggerer drives it, on the embedded AWS: the one event that ends the task, and what stops ECS."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import TaskStatesResult
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_wdl_ecs.host import airflow_clients, instance_of, resolve_settings
from airflow_wdl_ecs.links import PAGE, EcsTaskLink
from airflow_wdl_ecs.operators import STARTS_FROM_TRIGGER
from airflow_wdl_ecs.run import begin_run
from airflow_wdl_ecs.shown import RENDERED
from airflow_wdl_ecs.triggers import ASKS_FOR_RETRIES, CLASSPATH, HAS_ON_KILL, WdlEcsTaskTrigger
from airflow_wdl_ecs.wdl.lower import compile_wdl

pytestmark = [pytest.mark.local, pytest.mark.airflow]

WORKFLOW = """
version 1.0
workflow w {
    input { Boolean wanted = true  Int seconds = 0  Int code = 0 }
    if (wanted) { call work { input: seconds = seconds, code = code } }
    output { Int? answer = work.answer }
}
task work {
    input { Int seconds  Int code }
    command <<< echo working >&2; sleep ~{seconds}; echo 42; exit ~{code} >>>
    output { Int answer = read_int(stdout()) }
}
"""


@pytest.fixture
def begun(airflow_on_embedded_aws, request):
    """Begins a run of `WORKFLOW`; gives the trigger that the triggerer would make of its call."""

    def begin(try_number: int = 1, told_by_worker: Sequence[str] = (), **inputs) -> WdlEcsTaskTrigger:
        settings, run_id = resolve_settings(), request.node.name

        def in_worker() -> None:
            begin_run(settings, airflow_clients(settings), compile_wdl(WORKFLOW), inputs, dag_id="d", run_id=run_id)

        with ThreadPoolExecutor(1) as worker:
            worker.submit(in_worker).result()
        instance = {"dag_id": "d", "run_id": run_id, "try_number": try_number, "map_index": -1}
        trigger = WdlEcsTaskTrigger(
            "work", instance=None if STARTS_FROM_TRIGGER else instance, told_by_worker=told_by_worker
        )
        # The triggerer sets the task instance of every trigger that a task waits for.
        attribute = (
            "_task_instance" if isinstance(vars(BaseTrigger).get("task_instance"), property) else "task_instance"
        )
        setattr(trigger, attribute, SimpleNamespace(task_id="work", **instance))
        return trigger

    return begin


async def event_of(trigger: WdlEcsTaskTrigger):
    return [event async for event in trigger.run()]


def running(endpoint) -> list[str]:
    ecs = boto3.client(
        "ecs",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
    )
    return ecs.list_tasks(cluster=endpoint.cluster, desiredStatus="RUNNING")["taskArns"]


def says(monkeypatch, state: str | None) -> None:
    """Have Airflow's database say in which state the task instance is."""

    class Comms:
        async def asend(self, question):
            assert question.task_ids == ["work"]
            found = {} if state is None else {"work": state}
            return TaskStatesResult(task_states=dict.fromkeys(question.run_ids, found))

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)


def failed(event) -> bool:
    """Whether the event fails the task instance: by itself, or by way of a worker, which asks for retries."""
    return isinstance(event, TaskFailedEvent) if ASKS_FOR_RETRIES else event.payload.startswith(("failed: ", "final: "))


async def until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def test_what_crosses_to_the_triggerer_is_plain_json():
    trigger = WdlEcsTaskTrigger("a.b", scatter="scatter_x", settings={"cluster": "c"}, told_by_worker=["skipped"])
    path, arguments = trigger.serialize()
    assert path == CLASSPATH
    assert json.loads(json.dumps(arguments)) == arguments
    assert WdlEcsTaskTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("try_number", "max_tries", "retries", "expected"),
    [
        (1, 0, 0, None),
        (2, 1, 1, True),  # a retry
        (2, 2, 1, False),  # cleared after its first try
        (3, 2, 1, True),  # a retry after that
        (3, 2, 2, True),
        (4, 3, 0, False),
    ],
)
def test_a_worker_tells_a_retry_from_a_clear(try_number, max_tries, retries, expected):
    instance = SimpleNamespace(
        dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=try_number, max_tries=max_tries
    )
    assert instance_of(instance, retries).get("retried") is expected
    assert "retried" not in instance_of(instance)


async def test_a_call_that_succeeds_ends_its_task_with_its_outputs(begun):
    (event,) = await event_of(begun())
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms["return_value"] == {"answer": 42}


async def test_a_call_that_succeeds_says_what_ran_and_where_to_see_it(begun, request):
    (event,) = await event_of(begun(code=0))
    assert set(event.xcoms) == {"return_value", EcsTaskLink.key, RENDERED}
    page = urlsplit(event.xcoms[EcsTaskLink.key])
    assert page.path == PAGE
    assert parse_qs(page.query) == {"dag_id": ["d"], "run_id": [request.node.name], "call": ["work"], "shard": ["_"]}
    rendered = event.xcoms[RENDERED]
    assert rendered["image"] == "none"
    assert "sleep 0" in rendered["command"]
    assert json.loads(json.dumps(rendered)) == rendered


@pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="a trigger knows its task only where it starts it")
async def test_a_trigger_lets_go_of_the_dag_that_airflow_has_read_for_it(begun, request):
    trigger = begun()

    class Task:
        params: dict = {}  # noqa: RUF012

    task = Task()
    context = {"task": task, "dag": object()}
    instance = SimpleNamespace(
        **vars(trigger.task_instance), task=task, _cached_template_context=context, get_template_context=lambda: context
    )
    trigger._task_instance = instance
    gone = weakref.ref(task)
    del task
    assert isinstance((await event_of(trigger))[0], TaskSuccessEvent)
    instance.get_template_context = None
    gc.collect()
    assert gone() is None
    assert context == {}


async def test_a_command_that_fails_fails_its_task(begun):
    (event,) = await event_of(begun(code=3))
    assert failed(event)


async def test_a_false_condition_skips_its_task(begun, airflow_on_embedded_aws):
    before = airflow_on_embedded_aws.calls().get("ecs:RunTask", 0)
    (event,) = await event_of(begun(wanted=False))
    assert isinstance(event, TaskSkippedEvent)
    assert airflow_on_embedded_aws.calls().get("ecs:RunTask", 0) == before


@pytest.mark.parametrize(
    ("inputs", "payload"),
    [({"wanted": False}, "skipped"), ({"code": 3}, "failed: ")],
    ids=["skipped", "failed"],
)
async def test_a_worker_is_woken_for_the_ends_of_which_it_is_to_tell(begun, inputs, payload):
    (event,) = await event_of(begun(told_by_worker=["failed", "final", "skipped"], **inputs))
    assert type(event) is TriggerEvent
    assert event.payload.startswith(payload)
    assert ("the command failed with exit code 3" in event.payload) is ("code" in inputs)


def test_a_trigger_fails_a_task_itself_only_where_airflow_then_asks_for_retries():
    from airflow.models import trigger

    assert ("is_eligible_to_retry" in Path(trigger.__file__).read_text()) is ASKS_FOR_RETRIES


async def test_a_worker_fails_the_task_where_a_trigger_would_without_retries(begun, monkeypatch):
    monkeypatch.setattr("airflow_wdl_ecs.triggers.ASKS_FOR_RETRIES", False)
    (event,) = await event_of(begun(code=3))
    assert event.payload.startswith("failed: ")


async def test_no_worker_is_woken_for_a_success(begun):
    (event,) = await event_of(begun(told_by_worker=["failed", "final", "skipped"]))
    assert isinstance(event, TaskSuccessEvent)


@pytest.mark.parametrize("told_by_worker", [[], ["final"]])
async def test_a_failure_that_no_retry_mends_is_told_by_a_worker_where_there_are_retries(
    begun, monkeypatch, told_by_worker
):
    trigger = begun(told_by_worker=told_by_worker)
    monkeypatch.setenv("AIRFLOW__WDL_ECS__CPU", "many")
    (event,) = await event_of(trigger)
    if ASKS_FOR_RETRIES and not told_by_worker:
        assert isinstance(event, TaskFailedEvent)
    else:
        assert event.payload.startswith("final: ")
        assert "cpu" in event.payload


async def test_a_run_that_never_began_fails_the_task(airflow_on_embedded_aws):
    trigger = WdlEcsTaskTrigger("work", instance={"dag_id": "d", "run_id": "none", "try_number": 1, "map_index": -1})
    (event,) = await event_of(trigger)
    assert failed(event)


async def test_a_triggerer_that_goes_away_leaves_the_ecs_task_and_the_next_takes_it_up(begun, airflow_on_embedded_aws):
    endpoint = airflow_on_embedded_aws
    trigger = begun(seconds=3)
    first = asyncio.create_task(event_of(trigger))
    await until(lambda: running(endpoint))
    await asyncio.sleep(0.5)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    (arn,) = running(endpoint)
    started = endpoint.calls()["ecs:RunTask"]
    (event,) = await event_of(trigger)
    assert isinstance(event, TaskSuccessEvent)
    assert endpoint.calls()["ecs:RunTask"] == started
    assert arn not in running(endpoint)


async def kill(trigger: WdlEcsTaskTrigger, endpoint) -> None:
    """Run a trigger until its ECS task does, and end it as the triggerer does when its row is gone."""
    waiting = asyncio.create_task(event_of(trigger))
    await until(lambda: running(endpoint))
    await asyncio.sleep(0.5)
    waiting.cancel("user-action")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if HAS_ON_KILL:
        await trigger.on_kill()


@pytest.mark.parametrize("state", [None, "scheduled", "failed", "skipped", "success"])
async def test_a_user_who_clears_or_marks_the_task_stops_its_ecs_task(
    begun, airflow_on_embedded_aws, monkeypatch, state
):
    says(monkeypatch, state)
    await kill(begun(seconds=60), airflow_on_embedded_aws)
    await until(lambda: not running(airflow_on_embedded_aws), seconds=10)


async def test_a_trigger_that_another_triggerer_goes_on_with_stops_nothing(begun, airflow_on_embedded_aws, monkeypatch):
    monkeypatch.setattr("airflow_wdl_ecs.triggers.CLEARED_LIMIT", 1.0)
    says(monkeypatch, "deferred")
    trigger = begun(seconds=3)
    await kill(trigger, airflow_on_embedded_aws)
    (arn,) = running(airflow_on_embedded_aws)
    (event,) = await event_of(trigger)
    assert isinstance(event, TaskSuccessEvent)
    assert arn not in running(airflow_on_embedded_aws)


async def test_a_task_that_was_cleared_and_is_deferred_again_has_its_first_ecs_task_stopped(
    begun, airflow_on_embedded_aws, monkeypatch
):
    says(monkeypatch, "deferred")
    first = asyncio.create_task(event_of(begun(seconds=60)))
    await until(lambda: running(airflow_on_embedded_aws))
    await asyncio.sleep(0.5)
    (old,) = running(airflow_on_embedded_aws)
    second = asyncio.create_task(event_of(begun(seconds=60, try_number=2)))
    first.cancel("user-action")
    await asyncio.gather(first, return_exceptions=True)
    await begun(seconds=60).on_kill()
    # The second try goes on by itself, with a task of its own that the end of the first leaves alone.
    await until(lambda: old not in running(airflow_on_embedded_aws) and running(airflow_on_embedded_aws))
    await asyncio.sleep(1)
    assert len(running(airflow_on_embedded_aws)) == 1
    says(monkeypatch, "failed")
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await begun(seconds=60, try_number=2).on_kill()
    await until(lambda: not running(airflow_on_embedded_aws), seconds=10)


async def test_a_trigger_that_is_cancelled_again_and_again_stops_its_ecs_task_all_the_same(
    begun, airflow_on_embedded_aws, monkeypatch
):
    says(monkeypatch, "failed")
    trigger = begun(seconds=60)

    async def as_the_triggerer_runs_it() -> None:
        try:
            await event_of(trigger)
        except asyncio.CancelledError:
            await asyncio.wait_for(trigger.on_kill(), timeout=30)
            raise

    waiting = asyncio.create_task(as_the_triggerer_runs_it())
    await until(lambda: running(airflow_on_embedded_aws))
    await asyncio.sleep(0.5)
    for _ in range(50):
        waiting.cancel("user-action")
        await asyncio.sleep(0.01)
    await until(lambda: not running(airflow_on_embedded_aws), seconds=10)
    await asyncio.gather(waiting, return_exceptions=True)


async def test_an_ecs_task_is_stopped_although_airflow_never_comes_to_on_kill(
    begun, airflow_on_embedded_aws, monkeypatch
):
    """It writes to the log first, and where many triggers do, the next cancellation ends that."""
    says(monkeypatch, "failed")
    trigger, killed = begun(seconds=60), []

    async def as_a_busy_triggerer_runs_it() -> None:
        try:
            await event_of(trigger)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
            killed.append(trigger)

    waiting = asyncio.create_task(as_a_busy_triggerer_runs_it())
    await until(lambda: running(airflow_on_embedded_aws))
    await asyncio.sleep(0.5)
    while not waiting.done():
        waiting.cancel("user-action")
        await asyncio.sleep(0.05)
    assert killed == []
    await until(lambda: not running(airflow_on_embedded_aws), seconds=10)


async def test_nothing_is_stopped_while_airflow_does_not_answer(begun, airflow_on_embedded_aws, monkeypatch):
    class Comms:
        async def asend(self, question):
            await asyncio.sleep(60)

    monkeypatch.setattr("airflow_wdl_ecs.triggers.ANSWER_LIMIT", 0.2)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
    trigger = begun(seconds=60)
    await kill(trigger, airflow_on_embedded_aws)
    assert len(running(airflow_on_embedded_aws)) == 1
    says(monkeypatch, "failed")
    await trigger.on_kill()
    await until(lambda: not running(airflow_on_embedded_aws), seconds=10)


async def test_an_execution_timeout_stops_the_ecs_task(begun, airflow_on_embedded_aws):
    trigger = begun(seconds=60)
    waiting = asyncio.create_task(event_of(trigger))
    await until(lambda: running(airflow_on_embedded_aws))
    await asyncio.sleep(0.5)
    trigger.timeout_after = datetime.now(timezone.utc) - timedelta(seconds=1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: not running(airflow_on_embedded_aws), seconds=10)


async def test_a_new_try_keeps_what_an_earlier_one_achieved_and_a_cleared_success_runs_again(
    begun, airflow_on_embedded_aws
):
    await event_of(begun())
    started = airflow_on_embedded_aws.calls()["ecs:RunTask"]
    (event,) = await event_of(begun())
    assert isinstance(event, TaskSuccessEvent)
    assert airflow_on_embedded_aws.calls()["ecs:RunTask"] == started
    (event,) = await event_of(begun(try_number=2))
    assert isinstance(event, TaskSuccessEvent)
    assert airflow_on_embedded_aws.calls()["ecs:RunTask"] == started + 1
