"""AWS does what it does now and then, while the host of a call lives: the call ends right, and runs no oftener."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.ecs import client, poller
from airflow_wdl_ecs.lifecycle import CallOutcome, run_call
from airflow_wdl_ecs.local.endpoint import Endpoint

from .embedded_airflow import until
from .table import AWS_FAULTS, PAGE, AwsFault, page
from .world import Said, World

pytestmark = [pytest.mark.local, pytest.mark.timeout(300)]

CASES = [
    pytest.param(fault, id=fault.name, marks=pytest.mark.faults if fault.short else pytest.mark.faults_in_full)
    for fault in AWS_FAULTS
]


@pytest.mark.parametrize("fault", CASES)
def test_a_call_bears_it(
    fault: AwsFault, embedded_aws: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CAPACITY_PAUSES", (0.5, 1.0))
    monkeypatch.setattr(poller, "MISSING_GRACE", 5.0)
    world = World(embedded_aws, tmp_path, **fault.settings)
    said = Said()
    try:
        world.begin(runtime=fault.runtime, more=fault.more)
        with ThreadPoolExecutor(1) as pool:
            run = world.place.open()
            embedded_aws.set_faults(**fault.faults)
            ending = pool.submit(lambda: asyncio.run(run_call(run, "work", [()], try_number=1, log=said)))
            if fault.when_running:
                until(lambda: world.times() or ending.done(), what=lambda: said.lines)
                (arn,) = world.running()
                embedded_aws.set_faults(tasks=[{**fault.when_running, "task": arn}])
                until(lambda: arn not in world.running(), what=lambda: said.lines)
            world.release()
            outcome = ending.result(240)
        assert fault.when_running or world.spared(fault.faults) == []
        embedded_aws.set_faults()
        check(world, fault, outcome, said)
    finally:
        embedded_aws.set_faults()
        world.release()
        world.stop_all()


def check(world: World, fault: AwsFault, outcome: CallOutcome, said: Any) -> None:
    assert {shard: str(error) for shard, error in outcome.failures.items()} == {}, said.lines
    outputs = outcome.outputs[()]
    assert outputs is not None
    assert outputs["out"] == "done"
    assert world.read(outputs["file"]) == b"kept\n" + bytes(fault.more)
    assert (world.times(), world.tasks_started()) == (fault.commands, fault.tasks), said.lines
    assert world.running() == []


@pytest.mark.faults
def test_the_page_of_promises_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "write it with: pytest tests/faults --write-promises"
