"""How fast ECS is asked, and how many of its tasks are in flight.

`TokenBucket` paces the calls of one API operation: it starts at the rate that AWS publishes, halves when AWS says
that it is too much, and comes back slowly. `Slots` counts ECS tasks in flight per cluster, run and call, because
Airflow asks no pool for a task instance that starts in the triggerer. Both belong to one event loop; neither knows
what is being counted or called.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

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


class Slots:
    """Counts what is in flight under each of several names, and keeps each below its limit."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._waiting: deque[tuple[Mapping[str, int], asyncio.Future[None]]] = deque()

    def held(self, name: str) -> int:
        """How many are in flight under a name."""
        return self._held[name]

    @asynccontextmanager
    async def hold(self, limits: Mapping[str, int], *, at_once: bool = False) -> AsyncIterator[None]:
        """Hold one slot under every name, for as long as the context lasts.

        :param limits: name -> how many at most; 0 for no limit.
        :param at_once: take the slots even if that is more than the limits, for what is already in flight.
        """
        if at_once or (not self._blocked(limits) and self._free(limits)):
            self._held.update(limits.keys())
        else:
            await self._wait(limits)
        try:
            yield
        finally:
            self._held.subtract(limits.keys())
            self._let_in()

    def _free(self, limits: Mapping[str, int]) -> bool:
        return all(limit <= 0 or self._held[name] < limit for name, limit in limits.items())

    def _blocked(self, limits: Mapping[str, int]) -> bool:
        """Whether somebody who came before waits for one of the same names."""
        return any(not future.done() and limits.keys() == names.keys() for names, future in self._waiting)

    async def _wait(self, limits: Mapping[str, int]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((limits, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._held.subtract(limits.keys())
                self._let_in()
            raise

    def _let_in(self) -> None:
        """Let in everyone who waits and has room, in order; one who has no room does not hold up the others."""
        left: deque[tuple[Mapping[str, int], asyncio.Future[None]]] = deque()
        while self._waiting:
            limits, future = self._waiting.popleft()
            if future.done():
                continue
            if self._free(limits):
                self._held.update(limits.keys())
                future.set_result(None)
            else:
                left.append((limits, future))
        self._waiting = left
