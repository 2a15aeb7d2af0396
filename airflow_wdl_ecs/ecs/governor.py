"""How fast ECS is asked, and how many of its tasks are in flight.

`TokenBucket` paces the calls of one API operation: it starts at the rate that AWS publishes, halves when AWS says
that it is too much, and comes back slowly. `Slots` counts ECS tasks in flight per cluster, run and call, because
Airflow asks no pool for a task instance that starts in the triggerer. Both belong to one event loop; neither knows
what is being counted or called.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

_SLOWEST = 1 / 32
_RECOVERY = 1.02
_NOTHING = 1e-6


class TokenBucket:
    """Lets through ``burst`` calls at once and ``rate`` calls a second after that, first come, first served."""

    def __init__(
        self, rate: float, burst: float, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._full_rate = rate
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._clock = clock
        self._sleep = sleep
        self._at = clock()
        self._slowed = self._at
        self._turn = asyncio.Lock()

    @property
    def rate(self) -> float:
        """Calls a second at present."""
        return self._rate

    async def take(self) -> float:
        """Wait for the right to make one call; gives when that was, for `throttled`."""
        # One after the other, so that whoever waits does so at the rate that there is when it is their turn.
        async with self._turn:
            self._refill()
            while self._tokens < 1 - _NOTHING:
                await self._sleep((1 - self._tokens) / self._rate)
                self._refill()
            self._tokens -= 1
            return self._at

    def throttled(self, taken: float) -> None:
        """AWS has refused a call because there were too many.

        Many calls are refused together for one reason: those that had been let through before the last slowing down
        say nothing about the rate since.

        :param taken: when the call was let through.
        """
        self._refill()
        self._tokens = min(self._tokens, 0.0)
        if taken >= self._slowed:
            self._rate = max(self._rate / 2, self._full_rate * _SLOWEST)
            self._slowed = self._at + _NOTHING

    def succeeded(self) -> None:
        """AWS has taken a call."""
        if self._rate < self._full_rate:
            self._refill()
            self._rate = min(self._rate * _RECOVERY, self._full_rate)

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


_Waiting = tuple[int, Mapping[str, int], "asyncio.Future[None]"]
"""When somebody came, as a number; what they want; and the future that they wait for."""


class Slots:
    """Counts what is in flight under each of several names, and keeps each below its limit.

    Thousands may wait, so each waits under one name that has no room for it, and is looked at when that has some.
    """

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._arrivals = count()
        self._waiting: defaultdict[str, defaultdict[int, list[_Waiting]]] = defaultdict(lambda: defaultdict(list))
        """Name -> limit -> who waits until fewer than that are in flight under it: a heap, who came first on top."""

    def held(self, name: str) -> int:
        """How many are in flight under a name."""
        return self._held[name]

    @asynccontextmanager
    async def hold(self, limits: Mapping[str, int], *, at_once: bool = False) -> AsyncIterator[None]:
        """Hold one slot under every name, for as long as the context lasts.

        :param limits: name -> how many at most; 0 for no limit.
        :param at_once: take the slots even if that is more than the limits, for what is already in flight.
        """
        full = None if at_once else self._full(limits)
        if full is None:
            self._held.update(limits.keys())
        else:
            await self._wait(limits, full)
        try:
            yield
        finally:
            self._release(limits)

    def _full(self, limits: Mapping[str, int]) -> str | None:
        """A name that has no room, if there is one."""
        return next((name for name, limit in limits.items() if 0 < limit <= self._held[name]), None)

    async def _wait(self, limits: Mapping[str, int], full: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting[full][limits[full]], (next(self._arrivals), limits, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release(limits)
            raise

    def _release(self, names: Mapping[str, int]) -> None:
        """Give slots back, and let in whoever waits for them and has room, in the order in which they came; one who has
        no room does not hold up the others.
        """
        self._held.subtract(names.keys())
        while open_to := [
            waiting
            for name in names
            if name in self._waiting
            for limit, waiting in self._waiting[name].items()
            if waiting and self._held[name] < limit
        ]:
            arrival, limits, future = heappop(min(open_to, key=lambda waiting: waiting[0][0]))
            full = self._full(limits)
            if future.done():
                continue
            if full is None:
                self._held.update(limits.keys())
                future.set_result(None)
            else:
                heappush(self._waiting[full][limits[full]], (arrival, limits, future))
        for name in names:
            if name in self._waiting and not any(self._waiting[name].values()):
                del self._waiting[name]
            if not self._held[name]:
                del self._held[name]
