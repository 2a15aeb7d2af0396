"""What a call fails of that only the deployer can mend: it says so, spends no retry, and the next try goes on."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_wdl_ecs.ecs import client
from airflow_wdl_ecs.lifecycle import CallOutcome, run_call
from airflow_wdl_ecs.local.endpoint import Endpoint

from .embedded_airflow import until
from .table import FAILED_CALLS, FailedCall
from .world import Said, World

pytestmark = [pytest.mark.local, pytest.mark.timeout(300)]

CASES = [
    pytest.param(fault, id=fault.name, marks=pytest.mark.faults if fault.short else pytest.mark.faults_in_full)
    for fault in FAILED_CALLS
]


@pytest.mark.parametrize("fault", CASES)
def test_the_next_try_goes_on(
    fault: FailedCall, embedded_aws: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CAPACITY_PAUSES", (0.5, 1.0))
    world = World(embedded_aws, tmp_path, **fault.settings)
    said = Said()

    def run(try_number: int) -> Future[CallOutcome]:
        opened = world.place.open()
        return pool.submit(lambda: asyncio.run(run_call(opened, "work", [()], try_number=try_number, log=said)))

    try:
        # A retry that was spent would have the command run again.
        world.begin(runtime="maxRetries: 2")
        with ThreadPoolExecutor(1) as pool:
            if not fault.when_running:
                embedded_aws.set_faults(**fault.faults)
            first = run(1)
            if fault.when_running:
                until(lambda: world.times() or first.done(), what=lambda: said.lines)
                embedded_aws.set_faults(**fault.faults)
            (error,) = first.result(120).failures.values()
            assert type(error).__name__ == fault.error
            for part in fault.says:
                assert part in str(error)
            embedded_aws.set_faults()
            assert (world.times(), len(world.running())) == ((1, 1) if fault.when_running else (0, 0))
            world.release()
            outcome = run(2).result(120)
        assert outcome.failures == {}, said.lines
        assert outcome.outputs[()] == {"out": "done", "file": outcome.outputs[()]["file"]}
        assert (world.times(), world.tasks_started(), world.running()) == (1, fault.tasks, [])
    finally:
        embedded_aws.set_faults()
        world.release()
        world.stop_all()
