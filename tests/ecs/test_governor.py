"""Pace and limits, on a clock of their own."""

from __future__ import annotations

import asyncio

import pytest

from airflow_wdl_ecs.ecs.governor import Slots, TokenBucket

from ..fake_aws import Time


def test_a_burst_and_then_the_rate():
    time = Time()

    async def take() -> list[float]:
        bucket = TokenBucket(2, 3, clock=time.clock, sleep=time.sleep)
        moments = []
        for _ in range(7):
            await bucket.take()
            moments.append(time.now - 1000)
        return moments

    assert asyncio.run(take()) == pytest.approx([0, 0, 0, 0.5, 1, 1.5, 2])


def test_those_who_come_together_are_let_through_one_after_the_other():
    time = Time()

    async def take() -> None:
        bucket = TokenBucket(10, 1, clock=time.clock, sleep=time.sleep)
        await asyncio.gather(*(bucket.take() for _ in range(4)))

    asyncio.run(take())
    assert time.slept == pytest.approx([0.1, 0.1, 0.1])


def test_throttling_slows_down_and_success_brings_the_rate_back():
    time = Time()
    bucket = TokenBucket(40, 100, clock=time.clock)
    bucket.throttled(time.now)
    assert bucket.rate == 20
    for _ in range(20):
        time.now += 1
        bucket.throttled(time.now)
    assert bucket.rate == pytest.approx(40 / 32)
    for _ in range(1000):
        bucket.succeeded()
    assert bucket.rate == 40


def test_calls_that_were_refused_together_slow_down_once():
    time = Time()
    bucket = TokenBucket(40, 100, clock=time.clock)
    taken = time.now
    time.now += 1
    for _ in range(50):
        bucket.throttled(taken)
    assert bucket.rate == 20


def test_after_throttling_the_burst_is_gone():
    time = Time()

    async def wait() -> None:
        bucket = TokenBucket(10, 100, clock=time.clock, sleep=time.sleep)
        bucket.throttled(time.now)
        await bucket.take()

    asyncio.run(wait())
    assert time.slept == pytest.approx([0.2])


async def _hold(slots: Slots, limits: dict[str, int], peak: dict[str, int], seconds: float = 0.001) -> None:
    async with slots.hold(limits):
        for name in limits:
            peak[name] = max(peak.get(name, 0), slots.held(name))
        await asyncio.sleep(seconds)


def test_no_more_than_each_limit_are_in_flight_and_all_get_their_turn():
    async def run() -> dict[str, int]:
        slots, peak = Slots(), {}
        ones = [_hold(slots, {"cluster": 5, "run a": 3}, peak) for _ in range(20)]
        others = [_hold(slots, {"cluster": 5, "run b": 0}, peak) for _ in range(20)]
        await asyncio.gather(*ones, *others)
        assert slots.held("cluster") == slots.held("run a") == 0
        return peak

    peak = asyncio.run(run())
    assert peak["cluster"] == 5
    assert peak["run a"] <= 3


def test_one_who_has_no_room_does_not_hold_up_another_run():
    async def run() -> None:
        slots = Slots()
        async with slots.hold({"a": 1}):
            blocked = asyncio.ensure_future(_hold(slots, {"a": 1}, {}))
            await asyncio.sleep(0)
            await asyncio.wait_for(_hold(slots, {"b": 1}, {}), 1)
            assert not blocked.done()
        await asyncio.wait_for(blocked, 1)

    asyncio.run(run())


def test_what_is_already_in_flight_is_counted_without_waiting():
    async def run() -> None:
        slots = Slots()
        async with slots.hold({"a": 1}), slots.hold({"a": 1}, at_once=True):
            assert slots.held("a") == 2
        assert slots.held("a") == 0

    asyncio.run(run())


def test_one_who_gives_up_waiting_leaves_nothing_behind():
    async def run() -> None:
        slots = Slots()
        async with slots.hold({"a": 1}):
            waiting = [asyncio.ensure_future(_hold(slots, {"a": 1}, {})) for _ in range(2)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
        await asyncio.wait_for(waiting[1], 1)
        assert slots.held("a") == 0

    asyncio.run(run())
