"""`Poller`: waits for many ECS tasks with few DescribeTasks.

One DescribeTasks takes up to 100 tasks, so whenever one task is due to be looked at, the request is filled up with
those that are due next. Young tasks are looked at often, old ones seldom. One poller serves one cluster of one
`EcsClient`; it runs only while somebody waits. It knows neither why a task runs nor what its end means.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from ..task import TaskHandle
from .client import DESCRIBE_AT_ONCE, EcsClient
from .governor import Clock
from .request import COMMAND

MISSING_GRACE = 60.0
"""Seconds from its start for which a task may be unknown: the API is eventually consistent."""

_MISSED = 3
"""Looks, one after the other, at which a task that is older than that is unknown before it counts as lost."""

_GROWTH = 0.1
"""The pause between two looks, as a share of the task's age."""

OnChange = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Pace:
    """Seconds between two looks at a task: at the least, and at the most."""

    fastest: float = 1.0
    slowest: float = 15.0

    def interval(self, age: float) -> float:
        """Seconds to the next look at a task of this age."""
        return min(max(age * _GROWTH, self.fastest), self.slowest)


@dataclass(eq=False)
class _Watch:
    pace: Pace
    since: float
    due: float
    future: asyncio.Future[dict[str, Any] | None]
    on_change: OnChange
    seen: Any = None
    missed: int = 0
    context: Context = field(default_factory=copy_context)
    """That of who waits: a triggerer knows by it to whose log a line belongs."""


class Poller:
    """Waits for the tasks of one cluster."""

    def __init__(self, ecs: EcsClient, cluster: str, *, clock: Clock = time.monotonic) -> None:
        self._ecs = ecs
        self._cluster = cluster
        self._clock = clock
        self._watches: dict[str, list[_Watch]] = {}
        self._changed = asyncio.Event()
        self._next = 0.0
        self._loop: asyncio.Task[None] | None = None

    async def stopped(
        self, handle: TaskHandle, pace: Pace, *, age: float = 0.0, on_change: OnChange = lambda task: None
    ) -> dict[str, Any] | None:
        """Wait until a task has stopped, and give it as DescribeTasks does; None if ECS does not know it.

        A task counts as stopped as soon as all its containers have: what follows (the network interface is taken
        away) says nothing new and takes some time on Fargate.

        :param age: seconds that the task is known to have run already.
        :param on_change: told of every state in which the task, or its command, is seen for the first time; called in
            the context (``contextvars``) of who waits.
        """
        now = self._clock()
        future: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        first = now + pace.fastest if age == 0 else now
        watch = _Watch(pace, now - age, first, future, on_change)
        self._watches.setdefault(handle.arn, []).append(watch)
        if first < self._next:
            self._changed.set()
        if self._loop is None or self._loop.done():
            # In nobody's context: it goes on after who has started it.
            self._loop = Context().run(asyncio.ensure_future, self._run())
        try:
            return await future
        finally:
            self._forget(handle.arn, watch)

    def _forget(self, arn: str, watch: _Watch) -> None:
        watches = self._watches.get(arn, [])
        if watch in watches:
            watches.remove(watch)
        if not watches:
            self._watches.pop(arn, None)

    async def _run(self) -> None:
        while self._watches:
            now = self._clock()
            due = sorted((min(watch.due for watch in watches), arn) for arn, watches in self._watches.items())
            late = sum(at <= now for at, _ in due)
            if late:
                # Whole requests: the last one is filled up with those that are due next.
                wanted = [arn for _, arn in due[: -(-late // DESCRIBE_AT_ONCE) * DESCRIBE_AT_ONCE]]
                batches = [wanted[at : at + DESCRIBE_AT_ONCE] for at in range(0, len(wanted), DESCRIBE_AT_ONCE)]
                await asyncio.gather(*(self._look(batch) for batch in batches))
                continue
            self._changed.clear()
            self._next = due[0][0]
            try:
                await asyncio.wait_for(self._changed.wait(), self._next - now)
            except asyncio.TimeoutError:
                continue

    async def _look(self, arns: list[str]) -> None:
        try:
            tasks = await self._ecs.describe_tasks(self._cluster, arns)
        except Exception as error:
            for watch in (watch for arn in arns for watch in self._watches.get(arn, ())):
                if not watch.future.done():
                    watch.future.set_exception(error)
            for arn in arns:
                self._watches.pop(arn, None)
            return
        now = self._clock()
        for arn in arns:
            for watch in list(self._watches.get(arn, ())):
                try:
                    self._tell(watch, tasks[arn], now)
                except Exception as error:
                    # What one listener does must not end the waiting of all.
                    watch.future.set_exception(error)
                if watch.future.done():
                    self._forget(arn, watch)

    def _tell(self, watch: _Watch, task: dict[str, Any] | None, now: float) -> None:
        watch.due = now + watch.pace.interval(now - watch.since)
        if watch.future.done():
            return
        if task is None:
            watch.missed += 1
            if watch.missed >= _MISSED and now - watch.since >= MISSING_GRACE:
                watch.future.set_result(None)
            return
        watch.missed = 0
        state = _state(task)
        if state != watch.seen:
            watch.seen = state
            watch.context.run(watch.on_change, task)
        if has_stopped(task):
            watch.future.set_result(task)


def has_stopped(task: Mapping[str, Any]) -> bool:
    """Whether nothing of a task runs any more, and nothing will."""
    if task.get("lastStatus") == "STOPPED":
        return True
    containers = task.get("containers", ())
    return (
        task.get("desiredStatus") == "STOPPED"
        and bool(containers)
        and all(container.get("lastStatus") == "STOPPED" for container in containers)
    )


def _state(task: Mapping[str, Any]) -> tuple[str, str]:
    command: Mapping[str, Any] = next((c for c in task.get("containers", ()) if c.get("name") == COMMAND), {})
    return str(task.get("lastStatus")), str(command.get("lastStatus"))


_pollers: WeakKeyDictionary[EcsClient, dict[str, Poller]] = WeakKeyDictionary()


def poller(ecs: EcsClient, cluster: str) -> Poller:
    """The poller of a cluster: one for all who ask."""
    of_client = _pollers.setdefault(ecs, {})
    return of_client.setdefault(cluster, Poller(ecs, cluster))
