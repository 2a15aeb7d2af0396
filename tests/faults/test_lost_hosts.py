"""The host of a call is killed at every step of the call's life: the next one goes on, and nothing runs twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_wdl_ecs.local.endpoint import Endpoint

from .embedded_airflow import until
from .host import HostProcess
from .table import KILLS, NEXT, Kill
from .world import World

pytestmark = [pytest.mark.local, pytest.mark.timeout(300)]

CASES = [
    pytest.param(
        kill,
        who,
        id=f"{kill.step}, {who}",
        marks=[pytest.mark.faults] if kill.short and NEXT[who] == 1 + number % 2 else [pytest.mark.faults_in_full],
    )
    for number, kill in enumerate(KILLS)
    for who in NEXT
    if not (kill.fails and NEXT[who] == 2)
]


@pytest.fixture
def world(embedded_aws: Endpoint, tmp_path: Path):
    world = World(embedded_aws, tmp_path)
    yield world
    embedded_aws.set_faults()
    world.stop_all()


@pytest.mark.parametrize(("kill", "who"), CASES)
def test_the_next_host_goes_on(world: World, kill: Kill, who) -> None:
    world.begin(fails=kill.fails)
    if kill.hold is not None:
        world.endpoint.set_faults(requests=[kill.hold])
        world.release()
    first = HostProcess(world.place, "work", 1, world.folder / "first.json")
    if kill.hold is None:
        until(world.times)
    else:
        until(world.endpoint.held, what=lambda: [log.read_text() for log in world.folder.glob("*.log")])
    first.kill()
    world.endpoint.set_faults()
    world.release()
    if kill.forgotten:
        world.forget()
    second = HostProcess(world.place, "work", NEXT[who], world.folder / "second.json").ended(120)
    if kill.fails:
        assert "exit code 3" in str(second["failure"])
    else:
        assert second == {"outputs": {"out": "done", "file": second["outputs"]["file"]}, "failure": None}
        assert world.read(second["outputs"]["file"]) == b"kept\n"
    assert world.times() == kill.commands
    assert world.tasks_started() == 1
    assert world.running() == []


@pytest.mark.faults_in_full
def test_two_hosts_at_once_start_one_task(world: World) -> None:
    world.begin()
    hosts = [HostProcess(world.place, "work", 1, world.folder / f"{number}.json") for number in range(2)]
    until(world.times)
    world.release()
    first, second = (host.ended(120) for host in hosts)
    assert first == second
    assert (world.times(), world.tasks_started(), world.running()) == (1, 1, [])
