"""`SharedReads`: many threads that want the same answer at the same time, and one of them that asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

T = TypeVar("T")


class SharedReads:
    """Answers to those who ask while another asks: nobody gets one that was read before they asked.

    Whoever asks alone waits for nobody. Those who come while a read is on its way share the next one, since that one
    may have missed what they want to know of.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[Hashable, Future[Any]] = {}
        self._reading: dict[Hashable, threading.Lock] = {}
        self._users: dict[Hashable, int] = {}

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """What ``read`` gives, called after now by this thread or by another with the same key; its error, if any."""
        with self._lock:
            shared = self._next.get(key)
            reads = shared is None
            if shared is None:
                shared = self._next[key] = Future()
                self._users[key] = self._users.get(key, 0) + 1
                reading = self._reading.setdefault(key, threading.Lock())
        if reads:
            self._read(key, read, shared, reading)
        return cast(T, shared.result())

    def _read(self, key: Hashable, read: Callable[[], Any], shared: Future[Any], reading: threading.Lock) -> None:
        with reading:
            with self._lock:
                # Who comes from now on asks anew.
                del self._next[key]
            try:
                shared.set_result(read())
            except BaseException as error:
                shared.set_exception(error)
        with self._lock:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._reading[key]
