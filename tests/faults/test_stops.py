"""A call is stopped while AWS fails: what can be stopped is, what cannot is told, and ``orphans`` stops it later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_wdl_ecs.errors import WdlEcsError
from airflow_wdl_ecs.lifecycle import run_call, stop_call
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.orphans import AirflowRun, find_tasks, stop_tasks

from .embedded_airflow import until
from .table import STOP_FAULTS, StopFault
from .world import Said, World

pytestmark = [pytest.mark.local, pytest.mark.timeout(300)]

CASES = [
    pytest.param(fault, id=fault.name, marks=pytest.mark.faults if fault.short else pytest.mark.faults_in_full)
    for fault in STOP_FAULTS
]


@pytest.mark.parametrize("fault", CASES)
def test_a_call_is_stopped(fault: StopFault, embedded_aws: Endpoint, tmp_path: Path) -> None:
    world = World(embedded_aws, tmp_path)
    try:
        world.begin()
        opened = world.place.open()

        async def stop() -> str:
            host = asyncio.ensure_future(run_call(opened, "work", [()], try_number=1, log=Said()))
            while not world.times():
                assert not host.done()
                await asyncio.sleep(0.05)
            host.cancel()
            await asyncio.gather(host, return_exceptions=True)
            embedded_aws.set_faults(**fault.faults)
            try:
                await asyncio.wait_for(stop_call(opened, "work", [()], "cleared"), 120)
            except WdlEcsError as error:
                return str(error)
            return ""

        told = asyncio.run(stop())
        assert world.spared(fault.faults) == []
        embedded_aws.set_faults()
        assert bool(told) == bool(fault.says)
        for part in fault.says:
            assert part in told
        assert bool(world.running()) == fault.runs_on
        found = find_tasks(opened.settings, opened.clients, lambda *_: AirflowRun("running", {("work", -1): "failed"}))
        mine = [task for task in found if task.run_id == world.place.run_id]
        assert [task.orphaned for task in mine] == ["its task instance has ended: failed"] * fault.runs_on
        stop_tasks(opened.clients, mine)
        until(lambda: not world.running(), 30)
        assert (world.times(), world.tasks_started()) == (1, 1)
    finally:
        embedded_aws.set_faults()
        world.release()
        world.stop_all()
