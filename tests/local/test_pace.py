"""How the embedded Airflow's loops sleep: until they are woken, and not so often that they take what runs need."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from airflow_wdl_ecs.local import pace
from airflow_wdl_ecs.local.airflow_home import AirflowHome
from airflow_wdl_ecs.local.pace import SCHEDULER, TRIGGERS
from airflow_wdl_ecs.local.wakeups import Wakeup


@pytest.fixture
def home(tmp_path) -> AirflowHome:
    return AirflowHome(tmp_path)


def taken(do: Callable[[], object]) -> float:
    start = time.monotonic()
    do()
    return time.monotonic() - start


def test_the_scheduler_sleeps_until_it_is_woken(home):
    clock = pace._Clock(home)
    clock.sleep(0)
    threading.Timer(0.2, Wakeup(home.wakeup(SCHEDULER)).send).start()
    assert 0.1 < taken(lambda: clock.sleep(30)) < 20


def test_while_a_run_is_active_the_scheduler_looks_by_itself_as_well(home):
    clock = pace._Clock(home)
    clock.sleep(0)
    home.busy.touch()
    assert taken(lambda: clock.sleep(30)) < 20


def test_a_scheduler_that_is_woken_all_the_time_rests_for_longer_than_it_works(home):
    clock, wakeup = pace._Clock(home), Wakeup(home.wakeup(SCHEDULER))
    clock.sleep(0)
    time.sleep(0.2)  # a turn
    wakeup.send()
    assert taken(lambda: clock.sleep(30)) >= 0.2 * pace.REST


def test_its_clock_is_time_otherwise(home):
    assert pace._Clock(home).monotonic is time.monotonic


@pytest.mark.parametrize(
    ("state", "next_method", "had"),
    [("queued", "execute_complete", True), ("queued", None, False), ("running", "execute_complete", False)],
)
def test_a_worker_that_deferred_is_not_taken_for_the_one_that_goes_on(home, monkeypatch, state, next_method, had):
    """Whose end Airflow hears of when the trigger has ended already, and the task instance is queued again."""
    from airflow.executors.base_executor import BaseExecutor
    from airflow.jobs import scheduler_job_runner

    monkeypatch.setattr(BaseExecutor, "has_task", BaseExecutor.has_task)
    monkeypatch.setattr(scheduler_job_runner, "time", time)
    pace.pace_scheduler(home)
    executor = SimpleNamespace(queued_tasks={}, running=set())
    instance = SimpleNamespace(id="1", key="d/t", state=state, next_method=next_method)
    assert BaseExecutor.has_task(executor, instance) is had
    executor.running.add("d/t")
    assert BaseExecutor.has_task(executor, instance)


async def test_the_loop_of_triggers_moves_on_when_it_is_woken_or_a_trigger_has_ended(home):
    naps = pace._Naps(home)

    async def nap() -> float:
        start = time.monotonic()
        with naps.move_on_after(30):
            await asyncio.sleep(60)
        return time.monotonic() - start

    alone = await nap()
    assert pace.SLOW_PACE * 0.9 <= alone < 20, "nobody has woken it"
    asyncio.get_running_loop().call_later(0.05, Wakeup(home.wakeup(TRIGGERS)).send)
    assert await nap() < pace.SLOW_PACE * 0.9
    asyncio.get_running_loop().call_later(0.05, naps.end)
    assert await nap() < pace.SLOW_PACE * 0.9
    naps.end()  # while it did not sleep
    assert await nap() < pace.SLOW_PACE * 0.9
    assert await nap() >= pace.SLOW_PACE * 0.9, "once"


def test_what_has_been_said_is_read_before_its_log_is_closed_and_nobody_waits_for_more():
    """A triggerer's supervisor finds what is to be read before it reads, and what was read meanwhile is gone."""
    here, there = socket.socketpair()
    selector, read, closed = selectors.DefaultSelector(), [], []

    def reader(source: socket.socket) -> bool:
        data = source.recv(4)
        read.append(data)
        return bool(data)

    selector.register(here, selectors.EVENT_READ, (pace._reads_what_is_there(reader), closed.append))
    there.sendall(b"the last words")
    ready = selector.select(5)
    pace._read_all(selector, here)
    assert b"".join(read) == b"the last words"
    for key, _ in ready:
        assert key.data[0](key.fileobj) is True
    there.close()
    pace._read_all(selector, here)
    assert closed == []
    assert selector.get_key(here).data[0](here) is False, "that it has been closed is for Airflow to find"
    pace._read_all(selectors.DefaultSelector(), here)  # one that nobody reads any more
    here.close()


def test_a_loop_with_something_to_do_rests_for_longer_than_it_works_and_with_nothing_for_as_long_as_it_may():
    rest = pace._Rest()
    rest.begin(30.0)
    assert rest.left(False) > 20
    assert rest.left("something") <= pace.LEAST_PAUSE
    rest.end()
    time.sleep(0.1)  # a turn
    rest.begin(30.0)
    assert rest.left(True) > 0.1 * pace.REST - 0.05
    rest.end()
    rest.begin(0.0)
    assert rest.left(True) <= 0


class Supervised:
    """What the loop of a triggerer's supervisor looks at."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.events: list[object] = []
        self.failed_triggers: list[object] = []
        self.creating_triggers: list[object] = []
        self.cancelling_triggers: list[object] = []
        self.served: list[float] = []
        self.cleaned = 0


@pytest.fixture
def supervisor(home, monkeypatch) -> type:
    """Airflow's class at the pace of this package, over functions that take notes; put back at the end."""
    from airflow.jobs import triggerer_job_runner
    from airflow.jobs.triggerer_job_runner import TriggerRunner, TriggerRunnerSupervisor

    def clean(self: Supervised) -> None:
        self.cleaned += 1

    monkeypatch.setattr(
        TriggerRunnerSupervisor, "_service_subprocess", lambda self, wait, **_: self.served.append(wait)
    )
    monkeypatch.setattr(TriggerRunnerSupervisor, "clean_unused", clean)
    for name in ("_register_pipe_readers", "_handle_request"):
        monkeypatch.setattr(TriggerRunnerSupervisor, name, getattr(TriggerRunnerSupervisor, name))
    monkeypatch.setattr(TriggerRunner, "run_trigger", TriggerRunner.run_trigger)
    monkeypatch.setattr(triggerer_job_runner, "anyio", triggerer_job_runner.anyio)
    pace.pace_triggerer(home)
    return TriggerRunnerSupervisor


def test_the_subprocess_is_served_once_at_the_least_however_short_the_wait(supervisor):
    supervised = Supervised()
    supervisor._service_subprocess(supervised, 0)
    assert supervised.served == [0]


def test_what_comes_from_the_subprocess_is_answered_without_a_turn(supervisor):
    supervised, (here, there) = Supervised(), socket.socketpair()
    supervised.selector.register(here, selectors.EVENT_READ)
    there.send(b"x")  # nobody reads it, so there is always something
    supervisor._service_subprocess(supervised, 0.2)
    assert len(supervised.served) > 1
    supervised.events.append("an event")
    assert taken(lambda: supervisor._service_subprocess(supervised, 60)) < 20


def test_triggers_are_cleaned_up_after_an_event_and_otherwise_now_and_then(supervisor):
    supervised = Supervised()
    supervisor.clean_unused(supervised)
    supervisor.clean_unused(supervised)
    assert supervised.cleaned == 1
    supervised.events.append("an event")
    supervisor._service_subprocess(supervised, 0)
    supervisor.clean_unused(supervised)
    assert supervised.cleaned == 2
    time.sleep(pace.QUICK_PACE + 0.05)
    supervisor.clean_unused(supervised)
    assert supervised.cleaned == 3
