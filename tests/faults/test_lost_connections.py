"""A host's connections to AWS break off at every step of a call's life: it goes on, and nothing runs twice."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_wdl_ecs.lifecycle import run_call
from airflow_wdl_ecs.local.endpoint import Endpoint

from .embedded_airflow import until
from .table import CUTS, UNREACHABLE, Kill
from .wire import Wire
from .world import Said, World

pytestmark = [pytest.mark.local, pytest.mark.timeout(300)]

CASES = [
    pytest.param(cut, id=cut.step, marks=pytest.mark.faults if number % 4 == 2 else pytest.mark.faults_in_full)
    for number, cut in enumerate(CUTS)
]


@pytest.mark.parametrize("cut", CASES)
def test_the_host_goes_on(cut: Kill, embedded_aws: Endpoint, tmp_path: Path) -> None:
    world = World(embedded_aws, tmp_path)
    wire = Wire(embedded_aws.port)
    world.place = replace(world.place, proxy=wire.address)
    said = Said()
    try:
        world.begin()
        run = world.place.open()
        if cut.hold is None:
            embedded_aws.set_faults(latency={"ecs:DescribeTasks": 0.3})
        else:
            embedded_aws.set_faults(requests=[cut.hold])
            world.release()
        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(lambda: asyncio.run(run_call(run, "work", [()], try_number=1, log=said)))
            reached = world.times if cut.hold is None else embedded_aws.held
            until(lambda: reached() or ending.done(), what=lambda: said.lines)
            until(wire.connections, what=lambda: said.lines)
            wire.cut()
            embedded_aws.set_faults()
            world.release()
            time.sleep(UNREACHABLE)
            waits = not ending.done()
            wire.mend()
            assert waits, said.lines
            outcome = ending.result(240)
        assert outcome.failures == {}, said.lines
        outputs = outcome.outputs[()]
        assert outputs is not None
        assert outputs["out"] == "done"
        assert world.read(outputs["file"]) == b"kept\n"
        assert (world.times(), world.tasks_started(), world.running()) == (1, 1, []), said.lines
    finally:
        wire.cut()
        embedded_aws.set_faults()
        world.release()
        world.place = replace(world.place, proxy="")
        world.stop_all()
