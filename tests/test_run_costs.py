"""What a run on the embedded ECS has used, and which tags its ECS tasks have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from airflow_wdl_ecs.attempts import Attempt
from airflow_wdl_ecs.cost import billed
from airflow_wdl_ecs.ledger import Ledger, read_stop
from airflow_wdl_ecs.lifecycle import stop_call
from airflow_wdl_ecs.orphans import AirflowRun, find_tasks, stop_tasks
from airflow_wdl_ecs.report import RunReport
from airflow_wdl_ecs.report_reading import read_report
from airflow_wdl_ecs.run import begin_run
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .test_lifecycle import World, task, until

pytestmark = pytest.mark.local


@pytest.fixture
def world(embedded_aws: Any) -> World:
    return World(embedded_aws)


class Audience:
    """Remembers which attempts have ended."""

    def __init__(self) -> None:
        self.ended: list[int] = []

    def attempt(self, *_: Any) -> None: ...

    def attempt_ended(self, shard: Any, attempt: Attempt) -> None:
        assert attempt.kind is not None
        self.ended.append(attempt.number)


def report_of(world: World) -> RunReport:
    report = read_report(world.open().store)
    assert report is not None
    return report


def test_every_attempt_of_a_call_has_hours_from_ecss_own_times(world: World) -> None:
    world.begin(task("sleep 0.2; exit 3", runtime='cpu: 2 memory: "4 GiB" maxRetries: 1'))
    audience = Audience()
    world.failure(audience=audience)
    attempts = Ledger(world.open().store, "t", ()).attempts()
    assert len(attempts) == 2
    spans = [billed(attempt) for attempt in attempts]
    for attempt, span in zip(attempts, spans, strict=True):
        t = attempt.times
        assert t.pull_started is not None
        assert t.stopped is not None
        assert span is not None
        assert span.seconds >= t.stopped - t.pull_started
        assert not span.estimated
        assert attempt.architecture == "X86_64"
    cost = report_of(world).cost
    hours = sum(span.seconds for span in spans if span) / 3600
    assert (cost.tasks, cost.vcpu_hours, cost.gb_hours) == (2, pytest.approx(2 * hours), pytest.approx(4 * hours))
    assert (cost.amount, cost.unpriced) == (None, 2)
    assert audience.ended == [0, 1]


def test_an_attempt_is_counted_once_however_often_it_is_taken_up(world: World) -> None:
    world.begin(task("true"))
    audience = Audience()
    world.done(audience=audience)
    key = f"{world.open().folder}calls/t/_/outputs.json".split("/", 3)[3]
    world.s3.delete_object(Bucket=world.bucket, Key=key)
    world.done(audience=audience, try_number=2)
    assert audience.ended == [0]


def tags_of(world: World) -> Mapping[str, str]:
    (started,) = Ledger(world.open().store, "t", ()).attempts()
    (found,) = world.ecs.describe_tasks(cluster=started.cluster, tasks=[started.arn], include=["TAGS"])["tasks"]
    return {tag["key"]: tag["value"] for tag in found["tags"]}


def test_a_task_has_the_tags_of_the_deployment_the_run_and_the_call(world: World) -> None:
    world.settings = replace(world.settings, tags={"team": "a", "cost-centre": "42"})
    plan = compile_wdl(task("true"))
    options = {"wdl-tags": {"team": "b", "project": "p17"}}
    begin_run(world.settings, world.clients, plan, {}, dag_id="dag", run_id=world.run_id, options=options)
    assert world.done().failures == {}
    assert tags_of(world) == {
        "cost-centre": "42",
        "team": "b",
        "project": "p17",
        "wdl:dag": "dag",
        "wdl:run": world.run_id,
        "wdl:call": "t",
        "wdl:shard": "-",
        "aws:ecs:clusterName": world.settings.cluster,
    }


async def _stop_while_it_runs(world: World, stop: Any) -> None:
    """Stop a call's task as Airflow does with one that is marked as failed: nobody waits for its end."""
    host = asyncio.ensure_future(world.call())
    await until(lambda: "ECS task is running" in world.log)
    host.cancel()
    await asyncio.gather(host, return_exceptions=True)
    await stop()


def test_a_stopped_task_that_nobody_waits_for_has_used_something(world: World) -> None:
    world.begin(task("sleep 60", runtime="cpu: 2"))

    async def stop() -> None:
        await stop_call(world.open(), "t", [()], "marked as failed")

    asyncio.run(_stop_while_it_runs(world, stop))
    run = world.open()
    assert [attempt.kind for attempt in Ledger(run.store, "t", ()).attempts()] == [None]
    kept = read_stop(run.store, "t", (), 0)
    assert kept is not None
    assert kept.times["stopped"] >= kept.times["pull_started"]
    cost = report_of(world).cost
    assert (cost.tasks, cost.estimated, cost.running, cost.unknown) == (1, 1, 0, 0)
    assert cost.vcpu_hours >= 2 / 3600


def test_a_stopped_orphan_has_used_something(world: World) -> None:
    world.begin(task("sleep 60"))

    async def stop() -> None:
        tasks = await asyncio.to_thread(find_tasks, world.settings, world.clients, lambda *_: AirflowRun(None, {}))
        await asyncio.to_thread(stop_tasks, world.clients, [found for found in tasks if found.run_id == world.run_id])

    asyncio.run(_stop_while_it_runs(world, stop))
    assert (report_of(world).cost.tasks, report_of(world).cost.estimated) == (1, 1)


def test_a_stopped_orphan_that_is_in_no_ledger_has_used_something(world: World) -> None:
    world.begin(task("sleep 60", runtime='cpu: 2 memory: "4 GiB"'))
    run = world.open()

    async def stop() -> None:
        # Its host died just after RunTask.
        await asyncio.to_thread(run.store.delete, f"{run.store.layout.shard('t', ())}attempts.json")
        tasks = await asyncio.to_thread(find_tasks, world.settings, world.clients, lambda *_: AirflowRun(None, {}))
        await asyncio.to_thread(stop_tasks, world.clients, [found for found in tasks if found.run_id == world.run_id])

    asyncio.run(_stop_while_it_runs(world, stop))
    assert Ledger(run.store, "t", ()).attempts() == []
    kept = read_stop(run.store, "t", (), 0)
    assert kept is not None
    assert (kept.cpu, kept.memory_given, kept.architecture) == (2, 4096, "X86_64")
    cost = report_of(world).cost
    assert (cost.tasks, cost.estimated, cost.running, cost.unknown) == (1, 1, 0, 0)
    assert cost.gb_hours == pytest.approx(2 * cost.vcpu_hours)
    assert cost.vcpu_hours >= 2 / 3600
