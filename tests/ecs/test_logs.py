"""Following a log: what is told of it, how often it is looked at, and what does not come of its errors."""

from __future__ import annotations

import asyncio
from typing import Any

from botocore.exceptions import EndpointConnectionError

from airflow_wdl_ecs.ecs.logs import LAST_LINES, RATE, SLOWEST, LogsClient, LogSettings, LogTail, logs_client

from ..fake_aws import Time, refusal


class FakeLogs:
    """One stream that grows; a look may be answered by an error."""

    def __init__(self, *lines: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.errors: list[Exception] = []
        self.asked: list[dict[str, Any]] = []
        self.write(*lines)

    def write(self, *lines: str) -> None:
        for line in lines:
            self.events.append({"timestamp": 1000 * len(self.events), "message": line})

    def get_log_events(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments)
        if self.errors:
            raise self.errors.pop(0)
        limit = arguments["limit"]
        if not arguments["startFromHead"]:
            return {"events": self.events[-limit:]}
        begin = int(arguments.get("nextToken", "f/0")[2:])
        page = self.events[begin : begin + limit]
        return {"events": page, "nextForwardToken": f"f/{begin + len(page)}"}


class Followed:
    """A tail of a fake stream, on a clock that moves when it sleeps."""

    def __init__(self, logs: FakeLogs, settings: LogSettings | None = None) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.time = Time()
        self.at_sleep = lambda: None
        client = LogsClient(logs, clock=self.time.clock, sleep=self.time.sleep)

        async def give() -> LogsClient:
            return client

        async def sleep(seconds: float) -> None:
            await self.time.sleep(seconds)
            self.at_sleep()
            await asyncio.sleep(0)

        self.tail = LogTail(
            give,
            "/wdl",
            "wdl/command/1",
            settings or LogSettings(),
            tell=self.said.append,
            warn=self.warned.append,
            clock=self.time.clock,
            sleep=sleep,
        )

    def follow(self, sleeps: int, at_sleep: Any = lambda number: None) -> None:
        """Let it look so many times, then end it as a task that has stopped does."""

        async def run() -> None:
            done = asyncio.Event()
            number = 0

            def slept() -> None:
                nonlocal number
                number += 1
                at_sleep(number)
                if number == sleeps:
                    done.set()

            self.at_sleep = slept
            self.tail.start()
            self.tail.start()
            await asyncio.wait_for(done.wait(), 10)
            await self.tail.finish()

        asyncio.run(run())


def texts(lines: list[str]) -> list[str]:
    return [line.partition(" | ")[2] for line in lines]


def test_every_line_is_told_once_with_its_time():
    logs = FakeLogs("one", "two")
    followed = Followed(logs)
    followed.follow(3, lambda number: logs.write(f"three {number}"))
    assert followed.said[:2] == ["00:00:00Z | one", "00:00:01Z | two"]
    assert texts(followed.said)[2:5] == ["three 1", "three 2", "three 3"]
    assert len(set(followed.said)) == len(followed.said)
    assert followed.warned == []
    assert {asked["logStreamName"] for asked in logs.asked} == {"wdl/command/1"}


def test_what_comes_at_the_end_is_told_without_having_been_followed():
    followed = Followed(FakeLogs("only"))
    asyncio.run(followed.tail.finish())
    assert texts(followed.said) == ["only"]


def test_a_silent_log_is_looked_at_less_and_less_and_a_line_makes_it_young_again():
    logs = FakeLogs("one")
    followed = Followed(logs, LogSettings(interval=2))
    followed.follow(80, lambda number: logs.write("late") if number == 60 else None)
    slept = followed.time.slept
    assert slept[0] == 2
    assert slept[59] == SLOWEST
    assert sorted(slept[:60]) == slept[:60]
    assert slept[60] == 2
    assert min(slept) == 2


def test_a_long_log_is_cut_and_its_end_is_told_all_the_same():
    logs = FakeLogs(*(f"line {n}" for n in range(500)))
    followed = Followed(logs, LogSettings(lines=10))
    asyncio.run(followed.tail.finish())
    assert texts(followed.said) == [f"line {n}" for n in range(10)]
    (warning,) = followed.warned
    assert "10 lines" in warning
    assert "/wdl wdl/command/1" in warning
    logs.write("the last")
    asyncio.run(followed.tail.finish())
    assert texts(followed.said)[10:] == [f"line {n}" for n in range(501 - LAST_LINES, 500)] + ["the last"]


def test_without_a_limit_all_pages_are_told():
    followed = Followed(FakeLogs(*(str(n) for n in range(2500))), LogSettings(lines=0))
    asyncio.run(followed.tail.finish())
    assert texts(followed.said) == [str(n) for n in range(2500)]


def test_a_stream_that_is_not_there_yet_and_throttling_are_waited_out():
    logs = FakeLogs("one")
    logs.errors = [
        refusal("ResourceNotFoundException"),
        refusal("ThrottlingException"),
        refusal("ResourceNotFoundException"),
    ]
    followed = Followed(logs)
    followed.follow(5)
    assert texts(followed.said) == ["one"]
    assert followed.warned == []


def test_a_refusal_is_said_once_and_ends_the_following():
    logs = FakeLogs("one")
    logs.errors = [refusal("AccessDeniedException", "not authorized")] * 9
    followed = Followed(logs)

    async def run() -> None:
        followed.tail.start()
        await asyncio.sleep(0.2)
        await followed.tail.finish()

    asyncio.run(run())
    assert len(logs.asked) == 1
    (warning,) = followed.warned
    assert "not authorized" in warning
    assert followed.said == []


def test_a_connection_that_breaks_now_and_then_does_not_end_it():
    logs = FakeLogs("one")
    logs.errors = [EndpointConnectionError(endpoint_url="x")] * 4
    followed = Followed(logs)
    followed.follow(6)
    assert texts(followed.said) == ["one"]
    logs.errors = [EndpointConnectionError(endpoint_url="x")] * 9
    followed = Followed(logs)
    followed.follow(5)
    assert len(logs.errors) >= 3
    assert len(followed.warned) == 1


def test_a_client_that_cannot_be_made_is_said_and_no_more():
    said: list[str] = []

    async def fail() -> LogsClient:
        raise KeyError("logs")

    tail = LogTail(fail, "g", "s", LogSettings(), tell=said.append, warn=said.append)
    asyncio.run(tail.finish())
    assert len(said) == 1


def test_what_is_switched_off_asks_nothing():
    for settings, group in ((LogSettings(on=False), "g"), (LogSettings(), "")):
        logs = FakeLogs("one")

        async def give(logs: FakeLogs = logs) -> LogsClient:
            return logs_client(logs)

        said: list[str] = []
        tail = LogTail(give, group, "s", settings, tell=said.append, warn=said.append)

        async def run(tail: LogTail = tail) -> None:
            tail.start()
            await asyncio.sleep(0)
            await tail.finish()

        asyncio.run(run())
        assert (logs.asked, said) == ([], [])


def test_a_log_that_does_not_answer_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr("airflow_wdl_ecs.ecs.logs.FINISH_LIMIT", 0.1)
    said: list[str] = []

    async def never() -> LogsClient:
        await asyncio.sleep(60)
        raise AssertionError

    async def run() -> None:
        tail = LogTail(never, "g", "s", LogSettings(), tell=said.append, warn=said.append)
        tail.start()
        await asyncio.sleep(0.01)
        await asyncio.wait_for(tail.finish(), 5)

    asyncio.run(run())
    assert said == ["the end of the log took too long to read"]


def test_all_streams_together_stay_below_the_quota():
    logs, time = FakeLogs(), Time()

    async def run() -> float:
        client = LogsClient(logs, clock=time.clock, sleep=time.sleep)
        for _ in range(200):
            await client.events(logGroupName="g", logStreamName="s", limit=1, startFromHead=True)
        return time.now - 1000

    rate, burst = RATE
    assert asyncio.run(run()) >= (200 - burst) / rate - 0.01
    assert rate < 25
