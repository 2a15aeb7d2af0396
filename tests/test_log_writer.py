"""Lines that a thread writes: in order, whole, in their own context, and without holding up who tells them."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from airflow_wdl_ecs.log_writer import WrittenLog

WHOSE = ContextVar("whose", default="nobody")


class Reader:
    """A log that takes a while for each record, or none until it is let go."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.records: list[tuple[str, str, str]] = []
        self.go = threading.Event()
        self.go.set()
        self.seconds = seconds

    def _write(self, level: str, message: str, *values: object) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.go.wait(10)
        time.sleep(self.seconds)
        self.records.append((level, message % values, WHOSE.get()))

    def info(self, message: str, *values: object) -> None:
        self._write("info", message, *values)

    def warning(self, message: str, *values: object) -> None:
        self._write("warning", message, *values)

    def error(self, message: str, *values: object) -> None:
        self._write("error", message, *values)

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(level, line) for level, text, _ in self.records for line in text.split("\n")]


async def test_lines_are_written_in_order_and_together_while_the_reader_is_busy():
    reader = Reader()
    log = WrittenLog(reader)
    reader.go.clear()
    log.info("first")
    await asyncio.sleep(0.1)
    told = [("info", "first")]
    for number in range(300):
        log.info("line %d", number)
        told.append(("info", f"line {number}"))
    log.warning("100 %% of %s", "it")
    log.info("100 %")
    log.error("the end")
    told += [("warning", "100 % of it"), ("info", "100 %"), ("error", "the end")]
    reader.go.set()
    await log.written()
    assert reader.lines == told
    assert len(reader.records) == 6


async def test_a_reader_that_reads_nothing_holds_up_nobody():
    reader = Reader()
    reader.go.clear()
    log = WrittenLog(reader)
    began = time.monotonic()
    for _ in range(1000):
        log.info("x" * 1000)
        await asyncio.sleep(0)
    await log.written(limit=0.2)
    assert time.monotonic() - began < 5
    assert reader.records == []
    reader.go.set()
    await log.written()
    assert len(reader.lines) == 1000


async def test_each_log_is_written_in_the_context_in_which_it_was_made():
    reader = Reader(0.001)

    async def call(name: str) -> None:
        WHOSE.set(name)
        log = WrittenLog(reader)
        for number in range(20):
            log.info("%s", f"{name} {number}")
            await asyncio.sleep(0.001)
        await log.written()

    await asyncio.gather(*(asyncio.ensure_future(call(f"call {n}")) for n in range(5)))
    assert all(line.startswith(f"{whose} ") for _, text, whose in reader.records for line in text.split("\n"))
    for n in range(5):
        lines = [line for _, line in reader.lines if line.startswith(f"call {n} ")]
        assert lines == [f"call {n} {number}" for number in range(20)]


@pytest.mark.filterwarnings("error")
async def test_what_a_log_raises_ends_nothing():
    class Broken:
        def info(self, *_: object) -> None:
            raise OSError("disk full")

    log = WrittenLog(Broken())
    log.info("lost")
    await log.written()
    reader = Reader()
    log = WrittenLog(reader)
    log.info("kept")
    await log.written()
    assert reader.lines == [("info", "kept")]


async def test_there_is_nothing_to_wait_for_in_an_empty_log():
    await asyncio.wait_for(WrittenLog(Reader()).written(), 1)


async def test_what_is_told_in_one_breath_comes_in_one_record():
    reader = Reader()
    log = WrittenLog(reader)
    for number in range(10):
        log.info("line %d", number)
    await log.written()
    assert len(reader.lines) == 10
    assert len(reader.records) == 1


async def test_who_waits_for_the_lines_does_not_wait_for_more_of_them(monkeypatch):
    monkeypatch.setattr("airflow_wdl_ecs.log_writer._TOGETHER", 60.0)
    reader = Reader()
    log = WrittenLog(reader)
    log.info("the only one")
    await asyncio.wait_for(log.written(), 10)
    assert reader.lines == [("info", "the only one")]
