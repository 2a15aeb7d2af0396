"""How a container's output becomes log events."""

from __future__ import annotations

import uuid

import pytest
from moto.logs.models import logs_backends

from airflow_wdl_ecs.local import awslogs
from airflow_wdl_ecs.local.account import ACCOUNT
from airflow_wdl_ecs.local.awslogs import LogStream
from airflow_wdl_ecs.local.containers import ContainerStartError


def new_stream(**more: str) -> LogStream:
    options = {"awslogs-group": f"/{uuid.uuid4().hex}", "awslogs-create-group": "true", **more}
    return LogStream(options, "us-east-1", "command", "0123")


def messages(stream: LogStream) -> list[str]:
    groups = logs_backends[ACCOUNT]["us-east-1"].groups
    return [event.message for event in groups[stream.group].streams[stream.name].events]


def test_lines_across_chunks() -> None:
    stream = new_stream()
    for chunk in (b"one\ntw", b"o\r\n\nth\xc3", b"\xb6\xff", b""):
        stream.write(chunk)
    assert messages(stream) == ["one", "two", "thö\ufffd"]


def test_a_long_line_becomes_several_events() -> None:
    stream = new_stream()
    stream.write(b"x" * (awslogs.MAX_EVENT + 5) + b"\n")
    assert [len(message) for message in messages(stream)] == [awslogs.MAX_EVENT, 5]


def test_the_name_of_the_stream() -> None:
    assert new_stream(**{"awslogs-stream-prefix": "p"}).name == "p/command/0123"


def test_too_much_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awslogs, "MAX_STREAM", 10)
    stream = new_stream()
    for _ in range(5):
        stream.write(b"1234\n")
    assert messages(stream)[:3] == ["1234"] * 3
    assert "left out" in messages(stream)[3]
    assert len(messages(stream)) == 4


def test_a_group_that_does_not_exist() -> None:
    with pytest.raises(ContainerStartError, match="ResourceInitializationError"):
        LogStream({"awslogs-group": "/none"}, "us-east-1", "command", "0123")
