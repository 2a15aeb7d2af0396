"""What ``prices`` shows and checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_wdl_ecs import host
from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.ecs.settings import EcsSettings

from ..fake_aws import FakeS3
from ..test_prices import file_with, price_with


@pytest.fixture(autouse=True)
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    s3 = FakeS3()
    settings = {"prices_file": "s3://b/of-settings.json"}
    monkeypatch.setattr(host, "resolve_settings", lambda given: EcsSettings(**(settings | given)))
    monkeypatch.setattr(host, "airflow_clients", lambda settings: {"s3": s3}.__getitem__)
    s3.put_object(Bucket="b", Key="of-settings.json", Body=file_with(source="the contract of 2026"))
    return s3


def test_the_prices_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["s3://b/of-settings.json: EUR, 2026-01-31", "the contract of 2026"]
    assert lines[3].split() == [
        "capacity", "region", "architecture", "vcpu_hour", "gb_hour", "storage_gb_hour", "ebs_gb_hour", "gpu_hour",
    ]  # fmt: skip
    assert lines[4].split() == ["FARGATE", "*", "*", "0.05", "0.005"]


def test_the_packaged_file_is_one_to_start_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "--packaged"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["prices"][0]["vcpu_hour"] == 0.04048
    (tmp_path / "own.json").write_text(text)
    assert main(["prices", str(tmp_path / "own.json")]) == 0
    assert "0.04048" in capsys.readouterr().out


def test_a_file_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.json").write_bytes(price_with(vcpu_hours=1))
    assert main(["prices", "own.json"]) == 2
    assert f"{tmp_path}/own.json: Object contains unknown field `vcpu_hours`" in capsys.readouterr().err
    assert main(["prices", "none.json"]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    assert main(["prices", "s3://b/none.json"]) == 2
    assert "s3://b/none.json is not there" in capsys.readouterr().err
