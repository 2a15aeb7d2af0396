"""How often the embedded Airflow's scheduler and triggerer look at their queues, since a person waits for a local run.

They look when another component wakes them (see ``wakeups``), and otherwise as seldom as will do. Airflow has settings
for none of this, so its loops are changed where they sleep.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from .airflow_home import AirflowHome
from .wakeups import Wakeup, wake_on_commit

QUICK_PACE = 0.25
"""Seconds after which a loop looks by itself when something has just happened in a run."""
SLOW_PACE = 0.5
"""The same when nothing has for `QUICK_AGE` seconds, or nothing runs."""
QUICK_AGE = 10.0
LEAST_PAUSE = 0.02
"""Seconds between two turns of the scheduler, however often it is woken; `REST` times the last turn, if that is more.
A turn looks at every task instance of a run, so one for each shard that ends would take what the shards need.
"""
REST = 2.0
LONGEST_PAUSE = 1.0

SCHEDULER, TRIGGERER, TRIGGERS = "scheduler", "triggerer", "triggers"
"""Who can be woken: two components, and the process of the triggerer in which the triggers run."""


def wake_others(home: AirflowHome, component: str) -> None:
    """Let this process wake the others that what it commits concerns.

    :param component: which process this is; it does not wake itself.
    """
    scheduler, triggerer = Wakeup(home.wakeup(SCHEDULER)), Wakeup(home.wakeup(TRIGGERER))
    wakes = {
        "INSERT INTO DAG_RUN": scheduler,
        "UPDATE DAG_RUN": scheduler,
        "UPDATE TASK_INSTANCE": scheduler,
        "INSERT INTO TRIGGER": triggerer,
        "DELETE FROM TRIGGER": triggerer,
    }
    own = {SCHEDULER: scheduler, TRIGGERER: triggerer}.get(component)
    wake_on_commit({change: wakeup for change, wakeup in wakes.items() if wakeup is not own})


def pace_scheduler(home: AirflowHome) -> None:
    """Change how the scheduler that this process is about to run sleeps, and what it makes of what happens too soon."""
    from airflow.executors.base_executor import BaseExecutor
    from airflow.jobs import scheduler_job_runner

    # Its loop sleeps by this name.
    vars(scheduler_job_runner)["time"] = _Clock(home)
    has_task = BaseExecutor.has_task

    def has_or_had(self: Any, task_instance: Any) -> bool:
        # A trigger may end before Airflow has heard of the end of the worker that deferred the task instance. It would
        # then take that for the end of the worker that goes on with it, and the task instance for killed.
        return has_task(self, task_instance) or (task_instance.state == "queued" and bool(task_instance.next_method))

    BaseExecutor.has_task = has_or_had  # type: ignore[method-assign]


def pace_triggerer(home: AirflowHome) -> None:
    """Change how both loops of the triggerer that this process is about to run wait for a second."""
    import anyio
    from airflow.jobs import triggerer_job_runner
    from airflow.jobs.triggerer_job_runner import TriggerRunner, TriggerRunnerSupervisor

    service_subprocess, run_trigger = TriggerRunnerSupervisor._service_subprocess, TriggerRunner.run_trigger
    register, handle_request = TriggerRunnerSupervisor._register_pipe_readers, TriggerRunnerSupervisor._handle_request
    wakeup, triggers = Wakeup(home.wakeup(TRIGGERER)), Wakeup(home.wakeup(TRIGGERS))
    clean_unused = TriggerRunnerSupervisor.clean_unused
    naps, logs, rest = _Naps(home), list[Any](), _Rest()
    cleaning = SimpleNamespace(due=True, last=0.0)

    def service_at_pace(self: Any, max_wait_time: float, *args: Any, **options: Any) -> Any:
        if self.creating_triggers or self.cancelling_triggers:
            triggers.send()
        rest.begin(min(max_wait_time, _pace(home)))
        woken = False
        # What comes from the subprocess is answered at once. Airflow does the rest of a turn each time, which asks the
        # database a dozen things; here only if there is something to do.
        while True:
            left = max(0.0, rest.left(woken or self.events or self.failed_triggers))
            with contextlib.suppress(OSError, ValueError):  # the selector may be closed at the end
                woken = wakeup in select.select([self.selector, wakeup], [], [], left)[0] or woken
            wakeup.clear()
            ended = service_subprocess(self, 0, *args, **options)
            if ended is not None or rest.left(woken or self.events or self.failed_triggers) <= 0:
                break
        rest.end()
        cleaning.due = cleaning.due or bool(self.events or self.failed_triggers)
        return ended

    def clean_at_pace(self: Any) -> None:
        # It writes, and whoever writes to SQLite waits for all others who do.
        if cleaning.due or time.monotonic() - cleaning.last > QUICK_PACE:
            clean_unused(self)
            cleaning.due, cleaning.last = False, time.monotonic()

    def register_and_keep(self: Any, *sockets: Any, **options: Any) -> None:
        register(self, *sockets, **options)
        logs[:] = [sockets[3]]  # after those of stdout, stderr and requests
        reader, on_close = self.selector.get_key(logs[0]).data
        self.selector.modify(logs[0], selectors.EVENT_READ, (_reads_what_is_there(reader), on_close))

    def handle_after_logs(self: Any, message: Any, *args: Any, **options: Any) -> None:
        if getattr(message, "finished", None):
            # Airflow closes the log of a trigger that has finished. Told of it at once, it has not read all of it yet.
            _read_all(self.selector, logs[0])
        handle_request(self, message, *args, **options)

    async def run_and_wake(self: Any, *args: Any, **options: Any) -> None:
        try:
            await run_trigger(self, *args, **options)
        finally:
            asyncio.get_running_loop().call_soon(naps.end)

    TriggerRunnerSupervisor._service_subprocess = service_at_pace  # type: ignore[method-assign]
    TriggerRunnerSupervisor.clean_unused = clean_at_pace  # type: ignore[method-assign]
    TriggerRunnerSupervisor._register_pipe_readers = register_and_keep  # type: ignore[method-assign]
    TriggerRunnerSupervisor._handle_request = handle_after_logs  # type: ignore[method-assign, assignment]
    TriggerRunner.run_trigger = run_and_wake  # type: ignore[method-assign]
    vars(triggerer_job_runner)["anyio"] = SimpleNamespace(Event=anyio.Event, move_on_after=naps.move_on_after)


class _Rest:
    """How long a loop rests that does its turn when there is something to do, and otherwise after some seconds."""

    def __init__(self) -> None:
        self._ended = time.monotonic()
        self._least = self._most = 0.0

    def begin(self, seconds: float) -> None:
        """A turn is over; the next one begins after so many seconds at the latest."""
        now = time.monotonic()
        pause = max(LEAST_PAUSE, min(REST * (now - self._ended), LONGEST_PAUSE))
        self._most = now + seconds
        self._least = min(now + pause, self._most)

    def left(self, needed: Any) -> float:
        """Seconds to rest if nothing happens; none or less if the next turn is to begin.

        :param needed: whether there is something to do: true, or not empty.
        """
        return (self._least if needed else self._most) - time.monotonic()

    def end(self) -> None:
        """The next turn begins."""
        self._ended = time.monotonic()


def _reads_what_is_there(reader: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A reader of a socket that does not wait: by the time that Airflow calls it, somebody else may have read all."""
    return lambda source: reader(source) if _has_some(source) else True


def _read_all(selector: selectors.BaseSelector, source: Any) -> None:
    """Have everything read that has come from a socket so far, by whom the selector knows for it.

    That it has been closed is left for Airflow to find.
    """
    found = selector.get_map().get(source)
    while found is not None and _has_some(source) and source.recv(1, socket.MSG_PEEK):
        found.data[0](source)


def _has_some(source: Any) -> bool:
    return bool(select.select([source], [], [], 0)[0])


def _pace(home: AirflowHome) -> float:
    try:
        quiet = time.time() - home.busy.stat().st_mtime
    except OSError:
        return SLOW_PACE
    return QUICK_PACE if quiet < QUICK_AGE else SLOW_PACE


class _Clock:
    """The module ``time``, except that a sleep ends when somebody wakes the scheduler, and is short during a run."""

    def __init__(self, home: AirflowHome) -> None:
        self._home = home
        self._wakeup = Wakeup(home.wakeup(SCHEDULER))
        self._woken = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Sleep, at most for ``seconds``."""
        turn = time.monotonic() - self._woken
        time.sleep(max(0.0, min(seconds, max(LEAST_PAUSE, min(REST * turn, LONGEST_PAUSE)))))
        self._wakeup.wait(min(seconds, _pace(self._home)) if self._home.busy.exists() else seconds)
        self._woken = time.monotonic()


class _Naps:
    """How the loop of the process in which triggers run sleeps: until it is woken, or a trigger has ended."""

    def __init__(self, home: AirflowHome) -> None:
        self._home = home
        self._wakeup = Wakeup(home.wakeup(TRIGGERS))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scope: Any = None
        self._woken = False

    @contextlib.contextmanager
    def move_on_after(self, seconds: float) -> Iterator[Any]:
        """As anyio has it, and it moves on when something is to be done."""
        import anyio

        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._wakeup, self._woke)
        limit, self._woken = 0.0 if self._woken else min(seconds, _pace(self._home)), False
        with anyio.move_on_after(limit) as self._scope:
            yield self._scope
        self._scope = None

    def end(self) -> None:
        """End the sleep, or the next one."""
        if self._scope is None:
            self._woken = True
        else:
            self._scope.cancel()

    def _woke(self) -> None:
        self._wakeup.clear()
        self.end()
