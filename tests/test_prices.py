"""Files of prices: what is right, what is wrong and how that is said, and where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs import price_file
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import SettingsError
from airflow_wdl_ecs.price_file import load_prices, prices_or_none
from airflow_wdl_ecs.prices import MOST_BYTES, Price, packaged, packaged_text, read_prices

from .fake_aws import FakeS3

ONE = {"capacity": "FARGATE", "vcpu_hour": 0.05, "gb_hour": 0.005}
FILE = {"format": 1, "currency": "EUR", "date": "2026-01-31", "source": "our contract", "prices": [ONE]}


def file_with(**changes: Any) -> bytes:
    return json.dumps({**FILE, **changes}).encode()


def price_with(**changes: Any) -> bytes:
    return file_with(prices=[{**ONE, **changes}])


def test_the_packaged_list_is_right_and_says_that_nobody_has_checked_it() -> None:
    found = packaged()
    assert found.currency == "USD"
    assert "from memory and not checked" in found.source
    assert found.find("FARGATE", "us-east-1", "X86_64") == Price(
        capacity="FARGATE",
        region="us-east-1",
        architecture="X86_64",
        vcpu_hour=0.04048,
        gb_hour=0.004445,
        storage_gb_hour=0.000111,
    )
    assert found.find("FARGATE_SPOT", "us-east-1", "X86_64") is None
    assert read_prices(packaged_text().encode()) == found


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"\xff\xfe", "/p.json"),
        (file_with(format=2), "it is of format 2, and this version reads format 1"),
        (file_with(currency="euro"), "currency"),
        (file_with(date="yesterday"), "date"),
        (file_with(prizes=[]), "unknown field `prizes`"),
        (json.dumps({"format": 1}).encode(), "missing required field `currency`"),
        (price_with(vcpu_hours=1), "unknown field `vcpu_hours` - at `$.prices[0]`"),
        (price_with(vcpu_hour="0.05"), "Expected `float`, got `str` - at `$.prices[0].vcpu_hour`"),
        (price_with(vcpu_hour=None), "got `null`"),
        (price_with(gb_hour=-1), "Expected `float` >= 0"),
        (price_with(architecture="arm"), "prices[0]: architecture is X86_64, ARM64 or *, not arm"),
        (file_with(prices=[ONE, {**ONE, "region": "*"}]), "prices[1] is for the same as prices[0]: FARGATE, *, *"),
        (json.dumps({**FILE, "prices": [{**ONE, "gb_hour": 1e999}]}).encode(), "/p.json"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(data: bytes, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_prices(data, "/p.json")
    assert said in str(error.value)
    assert str(error.value).startswith("/p.json: ")
    assert "prices --packaged" in str(error.value)


def settings(file: str) -> EcsSettings:
    return EcsSettings(prices_file=file)


def test_a_file_may_be_local_or_in_s3(tmp_path: Path) -> None:
    s3 = FakeS3()
    s3.put_object(Bucket="b", Key="p.json", Body=file_with())
    (tmp_path / "p.json").write_bytes(file_with(currency="CHF"))
    clients = {"s3": s3}.__getitem__
    assert load_prices(settings("s3://b/p.json"), clients).currency == "EUR"
    assert load_prices(settings(str(tmp_path / "p.json")), clients).currency == "CHF"
    assert load_prices(settings(""), clients) is packaged()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("s3://b/none.json", "the file of prices s3://b/none.json is not there"),
        ("s3://forbidden/p.json", "AWS refused GetObject s3://forbidden/p.json: AccessDenied"),
        ("s3://b/large.json", "more than 1048576 bytes"),
        ("s3://", "no name"),
        ("/nowhere/p.json", "the file of prices /nowhere/p.json cannot be read: No such file or directory"),
        ("/", "cannot be read: Is a directory"),
        ("p.json", "prices_file must be an absolute path or an s3:// URI, not 'p.json'"),
        ("https://example.org/p.json", "prices_file must be an absolute path or an s3:// URI"),
    ],
)
def test_what_cannot_be_read_is_a_wrong_setting_and_no_reason_for_a_report_to_fail(file: str, said: str) -> None:
    s3 = FakeS3()
    s3.put_object(Bucket="b", Key="large.json", Body=b" " * (MOST_BYTES + 1))
    clients = {"s3": s3}.__getitem__
    with pytest.raises(SettingsError) as error:
        load_prices(settings(file), clients)
    assert said in str(error.value)
    price_file._kept.clear()
    found = prices_or_none(settings(file), clients)
    assert (found.prices, found.file) == ((), file)
    assert said in found.problem


def test_a_setting_of_another_kind_is_refused_before_a_run() -> None:
    with pytest.raises(SettingsError, match="prices_file must be an absolute path or an s3:// URI"):
        settings("p.json").check()


def test_a_process_reads_a_file_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    s3, now = FakeS3(), [1000.0]
    monkeypatch.setattr(price_file.time, "monotonic", lambda: now[0])
    price_file._kept.clear()
    s3.put_object(Bucket="b", Key="p.json", Body=file_with())
    clients = {"s3": s3}.__getitem__
    assert prices_or_none(settings("s3://b/p.json"), clients).currency == "EUR"
    s3.put_object(Bucket="b", Key="p.json", Body=file_with(currency="CHF"))
    assert prices_or_none(settings("s3://b/p.json"), clients).currency == "EUR"
    now[0] += price_file.KEPT + 1
    assert prices_or_none(settings("s3://b/p.json"), clients).currency == "CHF"
