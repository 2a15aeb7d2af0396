"""What a new host or a new try keeps of what an earlier one has achieved, and what it must not keep."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_wdl_ecs.attempts import Attempt, digest_of
from airflow_wdl_ecs.errors import CallError
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.ledger import Ledger, Success, supersede_run
from airflow_wdl_ecs.lifecycle import stop_call
from airflow_wdl_ecs.storage import RunStore

from .fake_aws import FakeS3
from .test_lifecycle import World, task, until


@pytest.fixture
def world(embedded_aws) -> World:
    return World(embedded_aws)


SCATTER = """version 1.1
workflow w {
  input { Array[String] names }
  scatter (name in names) { call t { input: x = name } }
  output { Array[String] out = t.out }
}
""" + task('[ "~{x}" != bad ] || exit 3; echo "<~{x}>"').replace("version 1.1", "")


def without_success(world: World) -> None:
    key = f"{world.open().folder}calls/t/_/outputs.json".split("/", 3)[3]
    world.s3.delete_object(Bucket=world.bucket, Key=key)


@pytest.mark.local
@pytest.mark.parametrize("try_number", [1, 2])
def test_a_success_whose_host_died_before_it_could_record_it_is_kept(world, try_number):
    world.begin(task("date +%s%N"))
    first = world.done()
    without_success(world)
    assert world.done(try_number=try_number).outputs == first.outputs
    assert len(world.started()) == 1


@pytest.mark.local
def test_a_failure_that_nobody_was_told_of_is_told_and_not_tried_again(world):
    world.begin(task("echo ouch >&2; exit 4"))
    world.failure()
    again = world.failure()
    assert isinstance(again, CallError)
    assert (again.kind, again.exit_code) == ("command_failed", 4)
    assert "ouch" in str(again)
    assert len(world.started()) == 1
    # Airflow's next try is another matter.
    world.failure(try_number=2)
    assert len(world.started()) == 2


@pytest.mark.local
def test_a_failure_that_nobody_was_told_of_leaves_the_retries_that_are_left(world):
    world.begin(task("exit 4", runtime="maxRetries: 1"))
    world.failure()
    world.failure()
    assert len(world.started()) == 2


@pytest.mark.local
def test_a_cleared_success_stays_cleared_when_the_host_dies_before_it_runs_again(world):
    world.begin(task("date +%s%N"))
    first = world.done().outputs[()]
    Ledger(world.open().store, "t", ()).clear_success(2)
    assert world.done(try_number=2).outputs[()] != first
    assert len(world.started()) == 2


@pytest.mark.local
def test_shards_that_succeeded_with_other_inputs_run_again(world):
    world.begin(SCATTER, {"names": ["a", "bad", "c"]})
    outcome = world.done()
    assert sorted(outcome.outputs) == [(0,), (2,)]
    # The whole run is cleared, and begins again with another version of its inputs.
    world.begin(SCATTER, {"names": ["a", "good", "changed"]})
    again = world.done(try_number=2)
    assert again.outputs == {(0,): {"out": "<a>"}, (1,): {"out": "<good>"}, (2,): {"out": "<changed>"}}
    assert len(world.started()) == 5
    assert world.open().call_outputs("t", (2,)) == {"out": "<changed>"}


@pytest.mark.local
def test_an_attempt_that_was_never_recorded_is_not_taken_for_one_of_a_run_that_comes_again(world):
    wdl = task('echo "~{x}"')
    world.begin(wdl, {"x": "old"}).done()
    without_success(world)
    key = f"{world.open().folder}calls/t/_/attempts.json".split("/", 3)[3]
    world.s3.delete_object(Bucket=world.bucket, Key=key)
    world.begin(wdl, {"x": "new"})
    supersede_run(world.open().store)
    assert world.done().outputs == {(): {"out": "new"}}
    first, second = world.started()
    assert first["clientToken"] != second["clientToken"]
    assert [found["number"] for found in world.attempts()] == [0, 1]


@pytest.mark.local
def test_a_task_that_runs_with_other_inputs_is_stopped_and_replaced(world):
    wdl = task('echo "~{x}"; sleep ~{if x == "slow" then 60 else 0}')
    world.begin(wdl, {"x": "slow"})

    async def leave() -> None:
        host = asyncio.ensure_future(world.call())
        await until(world.attempts_there)
        host.cancel()
        await asyncio.gather(host, return_exceptions=True)

    world.attempts_there = lambda: Ledger(world.open().store, "t", ()).attempts()
    asyncio.run(leave())
    world.begin(wdl, {"x": "quick"})
    assert world.done(try_number=2).outputs == {(): {"out": "quick"}}
    assert len(world.ecs.asked_for("stop_task")) == 1


@pytest.mark.local
def test_a_call_that_is_stopped_while_its_task_starts_leaves_none_running(world):
    world.begin(task("sleep 60"))

    def slow(call: Any, **arguments: Any) -> Any:
        import time

        time.sleep(0.5)
        return call(**arguments)

    world.ecs.change["run_task"] = slow

    async def stop() -> None:
        host = asyncio.ensure_future(world.call())
        await until(world.started)
        host.cancel()
        await asyncio.gather(host, return_exceptions=True)
        await stop_call(world.open(), "t", [()], "cleared", last_try=1)

    asyncio.run(stop())
    (started,) = world.attempts()
    (stopped,) = world.ecs.asked_for("stop_task")[:1]
    assert stopped["task"] == started["arn"]


@pytest.mark.local
def test_a_call_that_is_stopped_while_it_waits_for_capacity_asks_no_more(world):
    world.begin(task("true"))
    world.ecs.change["run_task"] = lambda call, **arguments: {
        "tasks": [],
        "failures": [{"arn": "c", "reason": "RESOURCE:MEMORY"}],
    }

    async def stop() -> None:
        host = asyncio.ensure_future(world.call())
        await until(world.started)
        host.cancel()
        await asyncio.gather(host, return_exceptions=True)
        await asyncio.sleep(6)

    asyncio.run(stop())
    assert len(world.started()) == 1


@pytest.mark.local
def test_a_later_trys_task_is_left_alone(world):
    world.begin(task("sleep 60"))

    async def stop() -> None:
        host = asyncio.ensure_future(world.call(try_number=2))
        await until(lambda: Ledger(world.open().store, "t", ()).attempts())
        await stop_call(world.open(), "t", [()], "the first try was cleared", last_try=1)
        assert world.ecs.asked_for("stop_task") == []
        await stop_call(world.open(), "t", [()], "cleared", last_try=2)
        assert len(world.ecs.asked_for("stop_task")) >= 1
        await host

    asyncio.run(stop())


@pytest.mark.local
def test_a_later_trys_task_is_left_alone_while_it_starts(world):
    world.begin(task("true"))

    def slow(call: Any, **arguments: Any) -> Any:
        import time

        time.sleep(0.5)
        return call(**arguments)

    world.ecs.change["run_task"] = slow

    async def stop() -> None:
        host = asyncio.ensure_future(world.call(try_number=2))
        await until(world.started)
        await stop_call(world.open(), "t", [()], "the first try was cleared", last_try=1)
        await host

    asyncio.run(stop())
    assert world.ecs.asked_for("stop_task") == []
    assert len(world.started()) == 1


def test_results_are_told_apart_by_the_task_and_by_its_inputs():
    assert digest_of("t", {"a": 1, "b": [2]}) == digest_of("t", {"b": [2], "a": 1})
    assert digest_of("t", {"m": {"x": 1, "y": 2}}) != digest_of("t", {"m": {"y": 2, "x": 1}})
    assert len({digest_of("t", {"a": 1}), digest_of("t", {"a": 2}), digest_of("u", {"a": 1})}) == 3


def test_a_dag_run_that_comes_again_starts_from_nothing_and_keeps_the_files():
    s3 = FakeS3()
    store = RunStore(s3, Layout("s3://b", "d", "r"))
    other = RunStore(s3, Layout("s3://b", "d", "r2"))
    attempt = Attempt(0, 1, "arn", "c", 1.0, kind="succeeded")
    for place, call, shard in ((store, "a b", (0,)), (store, "a b", (1, 2)), (store, "c", ()), (other, "c", ())):
        Ledger(place, call, shard).write_attempts([attempt])
        Ledger(place, call, shard).write_success(Success(1, 0, {"x": 1}))
    store.put(f"{store.layout.attempt('c', (), 0)}work/outputs.json", b"a user's")
    store.put(f"{store.layout.attempt('never recorded', (3,), 1)}command.sh", b"true")
    store.write_outputs({"x": 1})
    epoch = store.epoch("c")
    assert supersede_run(store) == 4
    assert not store.exists(store.layout.named("outputs.json"))
    left = Ledger(store, "never recorded", (3,)).attempts()
    assert [(found.number, found.try_number, found.kind, found.superseded) for found in left] == [
        (0, 0, "lost", 0),
        (1, 0, "lost", 1),
    ]
    assert supersede_run(RunStore(s3, Layout("s3://b", "d", "new"))) == 0
    for call, shard in (("a b", (0,)), ("a b", (1, 2)), ("c", ())):
        ledger = Ledger(store, call, shard)
        assert ledger.success() is None
        assert ledger.attempts() == [replace(attempt, superseded=1)]
    assert store.epoch("c") != epoch
    assert store.get(f"{store.layout.attempt('c', (), 0)}work/outputs.json") == b"a user's"
    assert Ledger(other, "c", ()).success() is not None
    assert json.loads(s3.objects["b", "runs/d/r2/calls/c/_/attempts.json"])[0]["superseded"] == 0
