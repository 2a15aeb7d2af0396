"""`WrittenLog`: a log whose lines are written in a thread, so that nobody who logs on an event loop waits for a reader.

What a triggerer's calls log goes through a socket to the process that supervises it, which takes a few KiB at a time,
between its other business. When many calls log at once the socket is full; a call that wrote to it itself would hold
up all the others, and Airflow would take the triggerer for dead. Lines that have to wait are written together, as one
record, which is also much shorter. This module knows neither calls nor Airflow.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import groupby
from queue import SimpleQueue
from typing import Any

LIMIT = 60.0
"""Seconds to wait for the last lines of a log to be written."""

_LONGEST = 200
"""Lines of one record at most."""

_TOGETHER = 0.02
"""Seconds to wait for what is told in the same breath: a record takes about as long with ten lines as with one."""

_SLOW = 0.02
"""Seconds that a record takes to be written from which on the reader is not keeping up."""


class WrittenLog:
    """A log whose lines are written in order, in a thread, in the context in which it was made.

    :param log: what they are written to; has ``info``, ``warning`` and ``error``, as a `logging.Logger`.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._context = copy_context()
        self._lock = threading.Lock()
        self._lines: list[tuple[str, str]] = []
        self._writing = False
        self._waiting: list[Callable[[], Any]] = []

    def info(self, message: str, *values: Any) -> None:
        """Tell what happens."""
        self._put("info", message, values)

    def warning(self, message: str, *values: Any) -> None:
        """Tell what a person may want to change."""
        self._put("warning", message, values)

    def error(self, message: str, *values: Any) -> None:
        """Tell of what an end comes."""
        self._put("error", message, values)

    async def written(self, limit: float = LIMIT) -> None:
        """Wait until every line that was told so far is written, or for ``limit`` seconds."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not done.done():
                done.set_result(None)

        with self._lock:
            if not self._writing:
                return
            self._waiting.append(partial(loop.call_soon_threadsafe, tell))
        _writer.hurry()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done, limit)

    def _put(self, level: str, message: str, values: tuple[Any, ...]) -> None:
        text = message % values if values else message
        with self._lock:
            self._lines.append((level, text))
            if self._writing:
                return
            self._writing = True
        _writer.ask(self)

    def write(self) -> None:
        """Write the lines that there are; for the writer's thread."""
        with self._lock:
            lines, self._lines = self._lines[:_LONGEST], self._lines[_LONGEST:]
        for level, together in groupby(lines, key=lambda line: line[0]):
            # Whatever a handler raises, it ends neither the thread nor the call.
            with suppress(Exception):
                self._context.run(getattr(self._log, level), "%s", "\n".join(text for _, text in together))
        with self._lock:
            if self._lines:
                _writer.ask(self)
                return
            self._writing = False
            waiting, self._waiting = self._waiting, []
        for tell in waiting:
            with suppress(RuntimeError):  # an event loop that has ended waits for nothing
                tell()


class _Writer:
    """The thread; a forked process has the parent's object without its thread, so it begins anew."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self._asked: SimpleQueue[WrittenLog] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._hurried = threading.Event()

    def hurry(self) -> None:
        """Somebody waits for lines to be written."""
        self._hurried.set()

    def ask(self, log: WrittenLog) -> None:
        """Have a log's lines written when it is its turn."""
        self._asked.put(log)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="wdl-ecs-log", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            log = self._asked.get()
            if self._asked.empty():
                self._hurried.wait(_TOGETHER)
                self._hurried.clear()
            began = time.monotonic()
            log.write()
            took = time.monotonic() - began
            if took > _SLOW:
                # Others write to the same reader, on the event loop: leave them room.
                time.sleep(min(took, 1.0))


_writer = _Writer()
