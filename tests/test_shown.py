"""What Airflow shows of a call: when its links are put, what they lead to, and that nothing of it fails a call."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
import weakref
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from airflow_wdl_ecs import shown as shown_module
from airflow_wdl_ecs.attempts import Attempt
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import CallError
from airflow_wdl_ecs.host import HostedCall
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.lifecycle import CallOutcome
from airflow_wdl_ecs.links import PAGE, CommandLogLink, EcsTaskLink, S3FolderLink, WdlRunLink
from airflow_wdl_ecs.shown import MOST_SHARDS, RENDERED, ShownCall, run_links
from airflow_wdl_ecs.task import CallIdentity, Resources, TaskRequest

LOG = logging.getLogger(__name__)


def run_of(console: bool = True, scatters: int = 0) -> SimpleNamespace:
    call = SimpleNamespace(section="s")
    layout = Layout("s3://bucket/wdl", "d", "r")
    return SimpleNamespace(
        dag_id="d",
        run_id="r",
        scope=None,
        folder=layout.folder,
        settings=EcsSettings.from_options({}, {"region": "eu-west-1", "log_group": "/wdl"}),
        console=console,
        plan=SimpleNamespace(call_by_id={"sort": call}, scatters=lambda section: ("x",) * scatters),
        store=SimpleNamespace(layout=layout),
        secrets=(),
    )


def attempt(number: int = 0, task: str = "1") -> Attempt:
    return Attempt(number, 1, f"arn:aws:ecs:eu-west-1:123456789012:task/c/{task}", "c", 0.0)


def request(shard=(), command: str = "sort") -> TaskRequest:
    return TaskRequest(
        CallIdentity("d", "r", "sort", shard),
        0,
        "debian:12",
        command,
        "/wdl/1",
        "s3://b/",
        resources=Resources(2, 4096),
    )


class Xcom:
    """Where links are put; it may be slow, or broken."""

    def __init__(self, seconds: float = 0, error: Exception | None = None) -> None:
        self.put: list[tuple[str, str]] = []
        self.asked = 0
        self.seconds = seconds
        self.error = error

    def __call__(self, key: str, value: str) -> None:
        self.asked += 1
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        self.put.append((key, value))


def begun(xcom, run=None, prefixes=((),), longest: int = 100, label: str = "") -> ShownCall:
    shown = ShownCall()
    shown.begin(run or run_of(), "sort", prefixes, put=xcom, log=LOG, longest=longest, label=label)
    return shown


@pytest.fixture
def at_once(monkeypatch):
    """Attempts count as long at once."""
    monkeypatch.setattr(shown_module, "AFTER", 0.01)


async def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_the_links_are_there_while_the_call_runs(at_once):
    xcom = Xcom()
    shown = begun(xcom)
    shown.attempt((), attempt(), request())
    await until(lambda: len(xcom.put) == 3)
    links = dict(xcom.put)
    assert "/clusters/c/tasks/1/" in links[EcsTaskLink.key]
    assert links[CommandLogLink.key].endswith("$252Fwdl/log-events/wdl$252Fcommand$252F1")
    assert parse_qs(urlsplit(links[S3FolderLink.key]).query)["prefix"] == ["wdl/runs/d/r/calls/sort/_/"]
    # The next attempt has another task and another log, and the same folder.
    shown.attempt((), attempt(1, "2"), request())
    await until(lambda: len(xcom.put) == 5)
    assert {key for key, _ in xcom.put[3:]} == {EcsTaskLink.key, CommandLogLink.key}
    shown.leave()


async def test_a_short_call_sends_no_message(monkeypatch):
    monkeypatch.setattr(shown_module, "AFTER", 0.2)
    xcom = Xcom()
    shown = begun(xcom)
    shown.attempt((), attempt(), request())
    await shown.ended(CallOutcome({(): {}}))
    shown.leave()
    await asyncio.sleep(0.4)
    assert xcom.put == []
    assert set(shown.xcoms) == {EcsTaskLink.key, CommandLogLink.key, S3FolderLink.key, RENDERED}


async def test_without_a_console_the_one_link_is_our_own_page(at_once):
    xcom = Xcom()
    shown = begun(xcom, run_of(False, scatters=2), prefixes=[(0, 3)])
    shown.attempt((0, 3), attempt(), request((0, 3)))
    await until(lambda: xcom.put)
    ((key, address),) = xcom.put
    assert key == EcsTaskLink.key
    assert urlsplit(address).path == PAGE
    assert parse_qs(urlsplit(address).query) == {"dag_id": ["d"], "run_id": ["r"], "call": ["sort"], "shard": ["0.3"]}
    shown.leave()


async def test_of_several_shards_the_first_that_failed_is_shown():
    xcom = Xcom()
    shown = begun(xcom, run_of(scatters=1), prefixes=[(0,), (1,), (2,)])
    for index in range(3):
        shown.attempt((index,), attempt(task=str(index)), request((index,)))
    await shown.ended(CallOutcome({(0,): {}}, {(1,): CallError("no"), (2,): CallError("no")}))
    shown.leave()
    links = dict(xcom.put)
    assert "/tasks/1/" in links[EcsTaskLink.key]
    assert parse_qs(urlsplit(links[S3FolderLink.key]).query)["prefix"] == ["wdl/runs/d/r/calls/sort/"]


async def test_of_several_shards_that_succeeded_our_own_page_shows_them_all():
    shown = begun(Xcom(), run_of(scatters=1), prefixes=[(0,), (1,)])
    for index in range(2):
        shown.attempt((index,), attempt(task=str(index)), request((index,)))
    await shown.ended(CallOutcome({(0,): {}, (1,): {}}))
    shown.leave()
    assert shown.links[EcsTaskLink.key].startswith(PAGE)
    assert CommandLogLink.key not in shown.links


async def test_xcoms_that_cannot_be_put_are_a_warning(at_once, caplog):
    xcom = Xcom(error=RuntimeError("supervisor has gone"))
    shown = begun(xcom)
    shown.attempt((), attempt(), request())
    await until(lambda: xcom.asked)
    await asyncio.sleep(0.05)
    shown.attempt((), attempt(1, "2"), request())
    await asyncio.sleep(0.1)
    await shown.ended(CallOutcome({}, {(): CallError("no")}))
    shown.leave()
    assert xcom.asked == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "supervisor has gone" in caplog.text


async def test_xcoms_that_hang_hold_up_no_call(monkeypatch, caplog):
    monkeypatch.setattr(shown_module, "_PATIENCE", 0.1)
    held = threading.Event()
    shown = begun(lambda key, value: held.wait(60))
    await shown.ended(CallOutcome({}, {(): CallError("no")}))
    shown.leave()
    held.set()
    assert "could not be put" in caplog.text


async def test_a_run_that_cannot_say_its_links_has_none(caplog):
    run = run_of()
    run.store = SimpleNamespace()
    shown = begun(Xcom(), run)
    await shown.ended(CallOutcome({(): {}}))
    shown.leave()
    assert shown.xcoms == {}
    assert "cannot be said" in caplog.text


async def test_many_calls_that_start_together_leave_the_triggerer_room(at_once):
    xcom = Xcom(seconds=0.02)
    calls = [begun(xcom, run_of(False)) for _ in range(10)]
    began = time.monotonic()
    for shown in calls:
        shown.attempt((), attempt(), request())
    await until(lambda: len(xcom.put) == 10)
    # One after the other, a quarter of the time at most.
    assert time.monotonic() - began > 9 * 4 * 0.02
    for shown in calls:
        shown.leave()


async def test_a_call_that_ends_meanwhile_waits_for_the_message_that_is_under_way(at_once):
    xcom = Xcom(seconds=0.3)
    shown = begun(xcom)
    shown.attempt((), attempt(), request())
    await until(lambda: xcom.asked)
    await shown.ended(CallOutcome({(): {}}))
    assert len(xcom.put) == 1
    await asyncio.sleep(0.4)
    assert xcom.asked == 1


async def test_the_messages_of_calls_that_go_away_spoil_none_of_others(at_once, monkeypatch):
    from airflow.jobs.triggerer_job_runner import TriggerCommsDecoder
    from airflow.sdk.execution_time import task_runner

    heard: list[str] = []
    ours, theirs = socket.socketpair()
    threading.Thread(target=answer, args=(theirs, heard), daemon=True).start()
    reader, writer = await asyncio.open_connection(sock=ours)
    comms = TriggerCommsDecoder(async_writer=writer, async_reader=reader, socket=None)
    if hasattr(comms, "start_reader"):
        await comms.start_reader()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    put = HostedCall("d", "r", "sort", 1, task_id="sort")._put_xcom
    gone = begun(put)
    gone.attempt((), attempt(), request())
    await until(lambda: heard)
    gone.leave()
    failed = begun(put)
    failed.attempt((), attempt(), request())
    await failed.ended(CallOutcome({}, {(): CallError("no")}))
    assert heard == [EcsTaskLink.key, EcsTaskLink.key, S3FolderLink.key, CommandLogLink.key]
    writer.close()


def answer(connection: socket.socket, heard: list[str]) -> None:
    """A triggerer's supervisor that takes its time."""
    with connection, connection.makefile("rwb") as stream:
        while head := stream.read(4):
            number, body, *_ = msgspec.msgpack.decode(stream.read(int.from_bytes(head, "big")))
            heard.append(body["key"])
            time.sleep(0.1)
            reply = msgspec.msgpack.encode([number, None, None])
            stream.write(len(reply).to_bytes(4, "big") + reply)
            stream.flush()


async def test_the_rendered_view_says_what_ran():
    shown = begun(None, label="NA1")
    shown.attempt((), attempt(), request(command="x" * 1000))
    await shown.ended(CallOutcome({(): {}}))
    shown.leave()
    assert shown.rendered == {
        "shard": "NA1",
        "image": "debian:12",
        "command": "x" * 100 + "… (1000 characters)",
        "asked": {"cpu": 2, "memory": 4096},
        "given": {},
    }


async def test_the_rendered_view_of_many_shards_stays_small():
    prefixes = [(index,) for index in range(MOST_SHARDS + 5)]
    shown = begun(None, run_of(scatters=1), prefixes=prefixes)
    for prefix in prefixes:
        shown.attempt(prefix, attempt(), request(prefix))
    await shown.ended(CallOutcome({prefix: {} for prefix in prefixes}))
    shown.leave()
    assert len(shown.rendered["shards"]) == MOST_SHARDS
    assert shown.rendered["shards"]["3"]["command"] == "sort"


async def test_of_many_shards_no_more_is_kept_than_is_shown():
    """Commands are long, and shards are many; whichever start first, the first of them all are shown."""
    shards = [(index,) for index in range(3 * MOST_SHARDS)]
    shown = begun(None, run_of(scatters=1), prefixes=shards)
    requests = [request(shard) for shard in shards]
    kept = [weakref.ref(one) for one in requests]
    for shard, one in zip(reversed(shards), reversed(requests), strict=True):
        shown.attempt(shard, attempt(), one)
    del requests, one
    gc.collect()
    assert sum(one() is not None for one in kept) <= MOST_SHARDS
    await shown.ended(CallOutcome({shard: {} for shard in shards}))
    shown.leave()
    assert list(shown.rendered["shards"]) == [str(index) for index in range(MOST_SHARDS)]


async def test_airflows_own_option_switches_the_rendered_view_off():
    shown = begun(None, longest=0)
    shown.attempt((), attempt(), request())
    await shown.ended(CallOutcome({(): {}}))
    shown.leave()
    assert RENDERED not in shown.xcoms


async def test_what_was_adopted_without_running_shows_no_task():
    shown = begun(None)
    await shown.ended(CallOutcome({(): {}}))
    shown.leave()
    assert shown.rendered == {}
    assert urlsplit(shown.links[EcsTaskLink.key]).path == PAGE


def test_a_run_has_its_folder_and_its_page(caplog):
    links = run_links(run_of(), LOG)
    assert parse_qs(urlsplit(links[S3FolderLink.key]).query)["prefix"] == ["wdl/runs/d/r/"]
    assert links[WdlRunLink.key] == f"{PAGE}?dag_id=d&run_id=r"
    assert set(run_links(run_of(False), LOG)) == {WdlRunLink.key}
    broken = run_of()
    del broken.settings
    assert set(run_links(broken, LOG)) == {WdlRunLink.key}
    assert "cannot be said" in caplog.text
