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


def test_those_who_wait_are_let_in_in_the_order_in_which_they_came_whatever_they_waited_for():
    async def run() -> list[str]:
        slots, order = Slots(), []

        async def hold(name: str, limits: dict[str, int]) -> None:
            async with slots.hold(limits):
                order.append(name)
                await asyncio.sleep(0)

        async with slots.hold({"cluster": 1, "run a": 1}):
            waiting = [
                asyncio.ensure_future(hold(f"{run}{i}", {"cluster": 1, f"run {run}": 1}))
                for i in range(3)
                for run in ("a", "b")
            ]
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*waiting), 5)
        return order

    assert asyncio.run(run()) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_one_with_a_larger_limit_is_let_in_before_one_with_a_smaller_under_the_same_name():
    async def run() -> None:
        slots = Slots()
        async with slots.hold({"a": 3}), slots.hold({"a": 3}):
            async with slots.hold({"a": 3}):
                small, large = (asyncio.ensure_future(_hold(slots, {"a": limit}, {}, 60)) for limit in (1, 3))
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert slots.held("a") == 3, "the one with the larger limit has the place"
            large.cancel()
            await asyncio.gather(large, return_exceptions=True)
            assert not small.done()
        await asyncio.sleep(0)
        assert slots.held("a") == 1
        small.cancel()
        await asyncio.gather(small, return_exceptions=True)
        assert slots.held("a") == 0

    asyncio.run(run())


def test_whoever_waits_is_looked_at_only_when_there_may_be_room(monkeypatch):
    async def run() -> None:
        slots, looked = Slots(), []
        full = slots._full
        monkeypatch.setattr(slots, "_full", lambda limits: looked.append(limits) or full(limits))
        every = [_hold(slots, {"cluster": 10, f"call {i % 7}": 0}, {}, 0) for i in range(2000)]
        await asyncio.gather(*every)
        assert len(looked) < 2 * len(every)

    asyncio.run(run())
