"""What the tests of commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_wdl_ecs import host
from airflow_wdl_ecs.ecs.settings import EcsSettings

from ..fabricated_run import WORKSPACE
from ..fake_aws import FakeS3


@pytest.fixture
def deployment_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeS3:
    """The S3 of the deployment that Airflow's settings name; this machine's embedded Airflow has run nothing."""
    s3 = FakeS3()
    monkeypatch.setenv("AIRFLOW_WDL_ECS_HOME", str(tmp_path))
    monkeypatch.setattr(host, "resolve_settings", lambda: EcsSettings(workspace=WORKSPACE))
    monkeypatch.setattr(host, "airflow_clients", lambda settings: {"s3": s3}.__getitem__)
    return s3
