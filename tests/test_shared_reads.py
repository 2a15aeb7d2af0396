"""`SharedReads`: one read for all who ask while another reads, and never an answer from before the question."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_wdl_ecs.shared_reads import SharedReads


def test_one_who_asks_alone_reads_each_time() -> None:
    reads, count = SharedReads(), iter(range(10))
    assert [reads.get("run.json", lambda: next(count)) for _ in range(3)] == [0, 1, 2]


def test_those_who_come_during_a_read_share_the_next_one() -> None:
    reads, started, go_on = SharedReads(), threading.Event(), threading.Event()
    values = iter(range(10))

    def slow() -> int:
        started.set()
        go_on.wait(10)
        return next(values)

    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(reads.get, "run.json", slow)
        started.wait(10)
        others = [pool.submit(reads.get, "run.json", lambda: next(values)) for _ in range(12)]
        other_key = pool.submit(reads.get, "division", lambda: "of its own")
        assert other_key.result(10) == "of its own"
        deadline = time.monotonic() + 10
        while pool._work_queue.qsize() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        go_on.set()
        assert first.result(10) == 0
        assert {other.result(10) for other in others} == {1}, "they asked after the first had begun to read"


def test_an_error_is_told_to_all_and_kept_for_nobody() -> None:
    reads = SharedReads()

    def failing() -> int:
        raise OSError("no answer")

    with pytest.raises(OSError, match="no answer"):
        reads.get("run.json", failing)
    assert reads.get("run.json", lambda: 7) == 7
    assert not reads._users
    assert not reads._reading
    assert not reads._next


def test_many_threads_and_keys() -> None:
    """No answer is older than its question."""
    reads, version = SharedReads(), [0]

    def ask(number: int) -> bool:
        version[0] += 1
        asked_at = version[0]
        return reads.get(number % 3, lambda: version[0]) >= asked_at

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(3000)))
