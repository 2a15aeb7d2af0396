"""`LogTail`: repeats what a container writes to CloudWatch Logs while it runs.

It reads a stream from its head, often while lines come and seldom while none do, at a pace that all streams of the
process share and that stays below AWS's quota. Nothing about logs may fail or hold up a task: what goes wrong is said
once, and the following ends. It knows neither calls nor S3; who starts it says where the lines go.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from botocore.exceptions import BotoCoreError, ClientError

from ..aws import THROTTLED, error_code, in_thread
from .governor import Clock, Sleep, TokenBucket
from .poller import Pace

RATE = (20.0, 20.0)
"""GetLogEvents a second, and at once: AWS allows an account 25 in a region (CloudWatch Logs user guide, "Quotas"), and
others read logs too."""

SLOWEST = 30.0
"""Seconds between two looks at a stream that has long been silent."""

LAST_LINES = 20
"""Lines from the end of a stream that are told in any case."""

FINISH_LIMIT = 3.0
"""Seconds that the last look at a stream may take."""

_PAGE = 1000
_MISTAKES = 5
"""Failures one after the other, none of them a refusal, after which a stream is left alone."""

_NOT_YET = "ResourceNotFoundException"
"""The stream is made with its first line."""


@dataclass(frozen=True)
class LogSettings:
    """How a stream is followed: whether at all, seconds between two looks, and lines to tell (0: no limit)."""

    on: bool = True
    interval: float = 2.0
    lines: int = 1000


class LogsClient:
    """GetLogEvents of one boto3 client, on one event loop, at one pace for all."""

    def __init__(self, client: Any, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self._client = client
        self._bucket = TokenBucket(*RATE, clock=clock, sleep=sleep)

    async def events(self, **arguments: Any) -> Mapping[str, Any]:
        """GetLogEvents' answer; an empty one when there is no stream yet or AWS asks to be asked more slowly.

        :raises ClientError: or BotoCoreError for everything else.
        """
        taken = await self._bucket.take()
        try:
            answer: Mapping[str, Any] = await in_thread(self._client.get_log_events, **arguments)
        except ClientError as error:
            if error_code(error) in THROTTLED:
                self._bucket.throttled(taken)
            elif error_code(error) != _NOT_YET:
                raise
            return {}
        self._bucket.succeeded()
        return answer


class LogTail:
    """One stream, from its head; every line is told once.

    :param client: gives the `LogsClient`; asked when there is something to read.
    :param tell: told each line. :param warn: told what went wrong, or what is left out.
    """

    def __init__(
        self,
        client: Callable[[], Awaitable[LogsClient]],
        group: str,
        stream: str,
        settings: LogSettings,
        *,
        tell: Callable[[str], None],
        warn: Callable[[str], None],
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.told = 0
        self._client = client
        self._where = {"logGroupName": group, "logStreamName": stream}
        self._settings = settings
        self._tell = tell
        self._warn = warn
        self._clock = clock
        self._sleep = sleep
        self._left = settings.lines or None
        self._token: str | None = None
        self._latest = 0
        self._untold: deque[str] = deque(maxlen=LAST_LINES)
        self._over = not (settings.on and group)
        self._mistakes = 0
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the stream from now on, unless it is being followed."""
        if not self._over and self._following is None:
            self._following = asyncio.ensure_future(self._follow())

    async def finish(self) -> None:
        """Tell what has not been told; takes `FINISH_LIMIT` at most."""
        self.stop()
        if self._following is not None:
            await asyncio.wait([self._following])
        try:
            await asyncio.wait_for(self._rest(), FINISH_LIMIT)
        except asyncio.TimeoutError:
            self._warn("the end of the log took too long to read")

    def stop(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self) -> None:
        pace = Pace(self._settings.interval, max(SLOWEST, self._settings.interval))
        since = self._clock()
        while not self._over:
            # First a pause: what ends soon is read once, at its end.
            await self._sleep(pace.interval(self._clock() - since))
            told = self.told
            await self._look()
            if self.told > told:
                since = self._clock()

    async def _look(self) -> None:
        """Tell what has come since the last look."""
        more = True
        while more and not self._over:
            token = {"nextToken": self._token} if self._token else {}
            answer = await self._get(limit=_PAGE, startFromHead=True, **token)
            events = answer.get("events", ())
            self._token = answer.get("nextForwardToken", self._token)
            for event in events:
                self._say(event)
            more = len(events) >= _PAGE

    async def _rest(self) -> None:
        if not self._over:
            await self._look()
        elif self._left == 0:
            answer = await self._get(limit=LAST_LINES, startFromHead=False)
            self._untold.extend(_text(event) for event in answer.get("events", ()) if event["timestamp"] > self._latest)
            for line in self._untold:
                self._tell(line)
            self._untold.clear()

    def _say(self, event: Mapping[str, Any]) -> None:
        self._latest = max(self._latest, event["timestamp"])
        if self._left == 0:
            self._untold.append(_text(event))
            return
        self._tell(_text(event))
        self.told += 1
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._over = True
                group, stream = self._where.values()
                self._warn(
                    f"no more than {self.told} lines of a log are repeated here (live_logs_lines): "
                    f"the rest is in {group} {stream}"
                )

    async def _get(self, **arguments: Any) -> Mapping[str, Any]:
        try:
            client = await self._client()
            answer = await client.events(**self._where, **arguments)
        except Exception as error:
            refused = isinstance(error, ClientError) or not isinstance(error, BotoCoreError)
            self._mistakes += 1
            if refused or self._mistakes >= _MISTAKES:
                self._over = True
                self._warn(f"the log cannot be followed, which does no harm to the task: {error}")
            return {}
        self._mistakes = 0
        return answer


def _text(event: Mapping[str, Any]) -> str:
    """A line of a log, with its time (UTC) to the second."""
    line = str(event["message"]).rstrip("\r\n")
    return f"{time.strftime('%H:%M:%S', time.gmtime(event['timestamp'] / 1000))}Z | {line}"


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, LogsClient]] = WeakKeyDictionary()


def logs_client(client: Any) -> LogsClient:
    """The `LogsClient` of a boto3 client on the running event loop: one for all who ask."""
    of_loop = _clients.setdefault(asyncio.get_running_loop(), {})
    # The LogsClient holds its boto3 client, so the id stays that client's own.
    return of_loop.setdefault(id(client), LogsClient(client))
