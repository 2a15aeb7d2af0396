"""The agent: runs admitted tasks' containers in dependency order, stops them in reverse, and keeps to the machine's
budget.

It lives in one event loop in a thread of its own. What it decides is in `task_state`; here it acts: starts and signals
processes through a container way, and replaces each task's frozen state, which any thread may read. It knows no API.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from .awslogs import LogStream, NoLog
from .containers import ContainerSpec, ContainerStartError, Way
from .process_records import ProcessRecords
from .processes import Process
from .task_state import (
    NEVER_STARTED,
    ContainerRules,
    ContainerState,
    Never,
    Ready,
    Stop,
    TaskState,
    Waiting,
    essential_exit,
    may_start,
    may_stop,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """What may run at once: ECS CPU units (1024 a core) and MiB over all tasks, and a number of tasks."""

    cpu: int
    memory: int
    tasks: int = 64


@dataclass(frozen=True)
class ContainerPlan:
    """A container as a task runs it: its specification, rules, and where its output goes (options of awslogs)."""

    spec: ContainerSpec
    rules: ContainerRules
    log_options: Mapping[str, str] | None = None


@dataclass
class AgentTask:
    """A task in the agent. ``state`` is replaced, never changed, and may be read from any thread.

    :param cpu: CPU units, :param memory: MiB that it takes of the budget.
    :param pull_failures: container -> why its image cannot be had.
    :ivar history: every state that the task has had.
    """

    id: str
    region: str
    folder: Path
    cpu: int
    memory: int
    plans: Mapping[str, ContainerPlan]
    state: TaskState
    pull_failures: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, ContainerRules] = field(init=False)
    running: dict[str, Process] = field(default_factory=dict)
    signalled: set[str] = field(default_factory=set)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    history: list[tuple[float, TaskState]] = field(default_factory=list)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "state" and "history" in self.__dict__:
            assert isinstance(value, TaskState)
            self.history.append((time.time(), value))

    def state_at(self, moment: float) -> TaskState:
        """The state that the task had at a time (seconds since the epoch); its first one before that."""
        return next((state for at, state in reversed(self.history) if at <= moment), self.history[0][1])

    def __post_init__(self) -> None:
        self.history.append((self.state.created_at, self.state))
        self.rules = {name: plan.rules for name, plan in self.plans.items()}


class Agent:
    """Runs tasks. Its public methods may be called from any thread.

    :param environment: what stands for the role: variables that every container sees before its own.
    """

    def __init__(
        self,
        way: Way,
        budget: Budget,
        environment: Mapping[str, str],
        records: ProcessRecords,
    ) -> None:
        self.way = way
        self.budget = budget
        self.environment = dict(environment)
        self._records = records
        self._queue: deque[AgentTask] = deque()
        self._active: dict[str, AgentTask] = {}
        self._closing: Stop | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._cleaners = ThreadPoolExecutor(max_workers=4, thread_name_prefix="clean")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agent", daemon=True)
        self._thread.start()

    # ---- what other threads call

    def submit(self, task: AgentTask) -> None:
        """Queue a task; it starts as soon as there is room."""
        self._idle.clear()
        self._loop.call_soon_threadsafe(self._enqueue, task)

    def stop(self, task: AgentTask, stop: Stop) -> None:
        """Ask a task to stop; does not wait. Of several reasons the first counts."""
        self._loop.call_soon_threadsafe(self._stop, task, stop)

    def lose(self, task: AgentTask, stop: Stop) -> None:
        """End a task at once, as the loss of its host does: nobody learns how its containers ended."""
        self._loop.call_soon_threadsafe(self._lose, task, stop)

    def kill_container(self, task: AgentTask, name: str, reason: str) -> None:
        """Kill a container as soon as it runs, for a reason that it will show."""
        self._loop.call_soon_threadsafe(self._kill_container, task, name, reason)

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Call one of these methods after ``delay`` seconds."""
        self._loop.call_soon_threadsafe(self._loop.call_later, delay, action)

    def counts(self) -> tuple[int, int]:
        """How many tasks run, and how many wait for room."""
        return len(self._active), len(self._queue)

    def close(self, timeout: float = 10.0) -> None:
        """Stop every task (SIGTERM, and SIGKILL when half the timeout has passed) and end the thread."""
        self._loop.call_soon_threadsafe(self._stop_all, Stop("TerminationNotice", "The embedded ECS is shutting down"))
        if not self._idle.wait(timeout / 2):
            self._loop.call_soon_threadsafe(self._kill_all)
            self._idle.wait(timeout / 2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout)
        self._cleaners.shutdown(wait=True)

    # ---- in the loop's thread

    def _enqueue(self, task: AgentTask) -> None:
        if self._closing is not None:
            self._stop(task, self._closing)
        elif task.state.stop is None:
            self._queue.append(task)
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._has_room(self._queue[0]):
            task = self._queue.popleft()
            self._active[task.id] = task
            now = time.time()
            task.state = replace(task.state, admitted=True, pull_started_at=now, pull_stopped_at=now)
            for name, reason in task.pull_failures.items():
                self._ended(task, name, ContainerState("STOPPED", None, reason))
            self._step(task)
        if not self._queue and not self._active:
            self._idle.set()

    def _has_room(self, task: AgentTask) -> bool:
        """A task that is larger than the whole machine runs alone."""
        if not self._active:
            return True
        cpu = sum(other.cpu for other in self._active.values()) + task.cpu
        memory = sum(other.memory for other in self._active.values()) + task.memory
        return len(self._active) < self.budget.tasks and cpu <= self.budget.cpu and memory <= self.budget.memory

    def _step(self, task: AgentTask) -> None:
        """Do everything that a task's state allows, until only time or a process can change it."""
        changed = True
        while changed and not task.state.finished:
            if task.state.stop is None:
                stop = essential_exit(task.rules, task.state)
                if stop is not None:
                    self._mark_stop(task, stop)
            changed = self._start_ready(task) if task.state.stop is None else self._stop_ready(task)
        if all(state.status == "STOPPED" for state in task.state.containers.values()):
            self._settle(task)

    def _start_ready(self, task: AgentTask) -> bool:
        changed = False
        for name, plan in task.plans.items():
            if task.state.containers[name].status != "PENDING":
                continue
            verdict = may_start(plan.rules, task.rules, task.state, time.time())
            if isinstance(verdict, Ready):
                self._start(task, plan)
                changed = True
            elif isinstance(verdict, Never):
                self._ended(task, name, ContainerState("STOPPED", NEVER_STARTED, verdict.reason))
                changed = True
            elif isinstance(verdict, Waiting) and verdict.until is not None:
                self._later(task, max(0.0, verdict.until - time.time()) + 0.01, lambda: self._step(task))
        return changed

    def _start(self, task: AgentTask, plan: ContainerPlan) -> None:
        spec, name = plan.spec, plan.rules.name
        try:
            stream = LogStream(plan.log_options, task.region, name, task.id) if plan.log_options else NoLog()
            launch = self.way.launch(replace(spec, environment={**self.environment, **spec.environment}))
            process = Process(launch, self._loop, stream.write, lambda code: self._exit(task, name, code))
        except ContainerStartError as error:
            self._ended(task, name, ContainerState("STOPPED", error.exit_code, error.reason))
            return
        except (OSError, ValueError) as error:  # ValueError: a zero byte in an argument or a variable
            self._ended(task, name, ContainerState("STOPPED", None, f"CannotCreateContainerError: {error}"))
            return
        task.running[name] = process
        self._records.add(process.pid, spec.id)
        task.state = task.state.with_container(name, ContainerState("RUNNING", started_at=time.time()))
        if task.state.started_at is None and all(s.status != "PENDING" for s in task.state.containers.values()):
            task.state = replace(task.state, started_at=time.time())

    def _exit(self, task: AgentTask, name: str, code: int) -> None:
        """A container's first process has ended. Whatever goes wrong here, the container is STOPPED afterwards."""
        process = task.running.pop(name)
        try:
            self.way.clean(task.plans[name].spec, process.pid)
            process.finish()
            self._records.remove(process.pid)
        except Exception:
            log.exception("Container %s of task %s could not be cleaned up", name, task.id)
        finally:
            before = task.state.containers[name]
            if before.status != "STOPPED":  # a lost host has said already how it ended
                failure = self.way.failure(task.plans[name].spec, code)
                ended = replace(before, status="STOPPED", exit_code=code)
                if failure is not None:
                    ended = ContainerState("STOPPED", failure.exit_code, failure.reason)
                self._ended(task, name, ended)
            self._step(task)

    def _ended(self, task: AgentTask, name: str, state: ContainerState) -> None:
        task.state = task.state.with_container(name, state)

    def _mark_stop(self, task: AgentTask, stop: Stop) -> None:
        task.state = replace(task.state, stop=stop, stopping_at=time.time())

    def _stop(self, task: AgentTask, stop: Stop) -> None:
        if task.state.stop is not None or task.state.finished:
            return
        self._mark_stop(task, stop)
        with contextlib.suppress(ValueError):
            self._queue.remove(task)
        self._step(task)

    def _stop_ready(self, task: AgentTask) -> bool:
        changed = False
        for name, plan in task.plans.items():
            state = task.state.containers[name]
            if state.status == "PENDING":
                self._ended(task, name, replace(state, status="STOPPED"))
                changed = True
            elif state.status == "RUNNING" and name not in task.signalled and may_stop(name, task.rules, task.state):
                task.signalled.add(name)
                self._send(task, name, signal.SIGTERM)
                self._later(task, plan.rules.stop_timeout, lambda name=name: self._send(task, name, signal.SIGKILL))  # type: ignore[misc]
        return changed

    def _send(self, task: AgentTask, name: str, number: signal.Signals) -> None:
        process = task.running.get(name)
        if process is not None:
            self.way.send(task.plans[name].spec, process.pid, process.read_info(), number)

    def _lose(self, task: AgentTask, stop: Stop) -> None:
        if task.state.finished:
            return
        self._stop(task, stop)
        for name, state in task.state.containers.items():
            if state.status == "RUNNING":
                self._ended(task, name, replace(state, status="STOPPED"))
        for name in list(task.running):
            self._send(task, name, signal.SIGKILL)

    def _kill_container(self, task: AgentTask, name: str, reason: str) -> None:
        state = task.state.containers.get(name)
        if state is None or state.status == "STOPPED":
            return
        if name not in task.running:
            self._later(task, 0.05, lambda: self._kill_container(task, name, reason))
            return
        task.state = task.state.with_container(name, replace(state, reason=reason))
        self._send(task, name, signal.SIGKILL)

    def _stop_all(self, stop: Stop) -> None:
        self._closing = stop
        for task in [*self._queue, *self._active.values()]:
            self._stop(task, stop)

    def _kill_all(self) -> None:
        for task in list(self._active.values()):
            for name in list(task.running):
                self._send(task, name, signal.SIGKILL)

    def _later(self, task: AgentTask, delay: float, action: Callable[[], None]) -> None:
        task.timers.append(self._loop.call_later(delay, action))

    def _settle(self, task: AgentTask) -> None:
        """All containers have stopped: clean up, say STOPPED, and let the next task in."""
        if task.state.finished or task.running:
            return
        now = time.time()
        for timer in task.timers:
            timer.cancel()
        task.timers.clear()
        self._cleaners.submit(self._clean, task)
        task.state = replace(task.state, finished=True, execution_stopped_at=now, stopped_at=now)
        self._active.pop(task.id, None)
        if not self._active:
            self.way.clean_idle()
        self._loop.call_soon(self._admit)

    def _clean(self, task: AgentTask) -> None:
        try:
            self.way.clean_task(task.folder, task.id)
        except Exception:
            log.exception("Task %s could not be cleaned up", task.id)
