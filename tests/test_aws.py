"""The border to AWS clients: errors by who must act, and threads that survive a fork."""

from __future__ import annotations

import asyncio
import os

import pytest
from botocore.exceptions import NoCredentialsError, NoRegionError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from airflow_wdl_ecs.aws import aws_errors, in_thread, is_unanswered, patient, side_by_side
from airflow_wdl_ecs.errors import AwsError, SettingsError

from .fake_aws import refusal


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        (refusal("AccessDenied"), SettingsError, "needs permission for GetObject s3://b/k"),
        (refusal("403"), SettingsError, "needs permission"),
        (refusal("InvalidAccessKeyId"), SettingsError, "aws_conn_id"),
        (NoCredentialsError(), SettingsError, "aws_conn_id"),
        (NoRegionError(), SettingsError, "set region"),
        (refusal("NoSuchBucket"), SettingsError, "workspace"),
        (refusal("InternalError"), AwsError, None),
        (ReadTimeoutError(endpoint_url="https://s3"), AwsError, None),
    ],
)
def test_errors_say_who_must_act(error, kind, hint):
    with pytest.raises(kind, match="AWS refused GetObject s3://b/k") as caught, aws_errors("GetObject", "s3://b/k"):
        raise error
    assert caught.value.__cause__ is error
    assert hint is None or hint in caught.value.hint


def test_an_answer_that_is_not_awss_is_an_error_without_its_text():
    with (
        pytest.raises(AwsError, match="RunTask wdl-1 in its own way: invalid XML") as caught,
        aws_errors("RunTask", "wdl-1"),
    ):
        raise ResponseParserError("invalid XML:\nb'<html>page</html>'")
    assert "page" not in caught.value.message
    assert is_unanswered(caught.value)


def test_other_errors_pass():
    with pytest.raises(KeyError), aws_errors("GetObject"):
        raise KeyError("x")


def test_side_by_side_keeps_the_order():
    assert side_by_side(lambda n: n * 2, list(range(100))) == [n * 2 for n in range(100)]


def test_a_forked_process_has_threads_of_its_own():
    async def identity() -> int:
        return await in_thread(os.getpid)

    assert asyncio.run(identity()) == os.getpid()
    side_by_side(lambda n: n, list(range(64)))
    child = os.fork()
    if child == 0:
        try:
            found = asyncio.run(asyncio.wait_for(identity(), 10))
            os._exit(0 if found == os.getpid() else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "error",
    [
        refusal("SlowDown"),
        refusal("InternalError"),
        ReadTimeoutError(endpoint_url="s3"),
        ResponseParserError("invalid XML"),
    ],
)
def test_what_may_pass_is_tried_again(monkeypatch, error):
    slept: list[float] = []
    monkeypatch.setattr("airflow_wdl_ecs.aws.time.sleep", slept.append)
    failures = [error] * 4

    @patient
    def get(uri: str) -> str:
        with aws_errors("GetObject", uri):
            if failures:
                raise failures.pop()
        return uri

    assert get("s3://b/k") == "s3://b/k"
    assert len(slept) == 4
    assert slept[-1] > slept[0]


def test_what_will_not_pass_or_does_not_is_an_error(monkeypatch):
    monkeypatch.setattr("airflow_wdl_ecs.aws.PATIENCE", 0)
    asked: list[str] = []

    @patient
    def get(code: str) -> None:
        asked.append(code)
        with aws_errors("GetObject"):
            raise refusal(code)

    for code in ("AccessDenied", "NoSuchUpload", "InternalError"):
        with pytest.raises((AwsError, SettingsError), match=code):
            get(code)
    assert asked == ["AccessDenied", "NoSuchUpload", "InternalError"]


@pytest.mark.parametrize("code", ["SlowDown", "429", "BandwidthLimitExceeded"])
def test_throttling_is_waited_out_however_long_it_lasts(monkeypatch, code):
    now = [0.0]
    monkeypatch.setattr("airflow_wdl_ecs.aws.time.monotonic", lambda: now[0])
    monkeypatch.setattr("airflow_wdl_ecs.aws.time.sleep", lambda seconds: now.append(now.pop() + seconds))

    @patient
    def get() -> float:
        with aws_errors("GetObject"):
            if now[0] < 3600:
                raise refusal(code)
        return now[0]

    assert 3600 <= get() <= 3620


@pytest.mark.parametrize("code", ["504", "RequestTimeout", "ServiceUnavailableException"])
def test_failures_of_awss_own_pass(monkeypatch, code):
    monkeypatch.setattr("airflow_wdl_ecs.aws.time.sleep", lambda seconds: None)
    failures = [refusal(code)]

    @patient
    def get() -> bool:
        with aws_errors("GetObject"):
            if failures:
                raise failures.pop()
        return True

    assert get()
