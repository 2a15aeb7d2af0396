"""What ``clean`` says and does, on a deployment's S3."""

from __future__ import annotations

import json

import pytest

from airflow_wdl_ecs import airflow_states
from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.orphans import AirflowRun

from ..fabricated_run import WORKSPACE, FabricatedRun, attempt
from ..fake_aws import FakeS3

NAME = "samples/manual__2026-01-01T00:00:00+00:00"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, deployment_s3: FakeS3) -> FabricatedRun:
    """A run of a deployment that has succeeded."""
    s3 = deployment_s3
    monkeypatch.setattr(airflow_states, "ask_airflow", lambda *_: AirflowRun("success", {}))
    run = FabricatedRun(s3)
    run.shard("work", (0, 0), attempt(), **{"work/big": "x" * 3 * 1024 * 1024, "work/out": "y"})
    run.finish(out=f"{run.layout.attempt('work', (0, 0), 0)}work/out")
    return run


@pytest.mark.parametrize("name", [NAME, f"{WORKSPACE}/runs/samples/manual__2026-01-01T00=3A00=3A00=2B00=3A00/"])
def test_what_is_deleted_is_said_and_gone(run: FabricatedRun, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["clean", name, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out == "work  1 file, 3.0 MiB\n"
    assert said.err == "1 file, 3.0 MiB to be deleted; 1 file, 1 bytes kept for outputs\n"
    assert run.store.exists(f"{run.layout.attempt('work', (0, 0), 0)}work/big")
    assert main(["clean", name]) == 0
    assert capsys.readouterr().err == "1 file, 3.0 MiB deleted; 1 file, 1 bytes kept for outputs\n"
    assert not run.store.exists(f"{run.layout.attempt('work', (0, 0), 0)}work/big")
    assert run.store.exists(f"{run.layout.attempt('work', (0, 0), 0)}work/out")


def test_it_is_said_to_programs(run: FabricatedRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", NAME, "-n", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["files"], found["bytes"], found["deleted"], found["folder"]) == (1, 3 << 20, False, run.layout.folder)
    assert found["of"] == [{"name": "work", "files": 1, "bytes": 3 << 20}]
    assert found["kept"] == {"name": "kept", "files": 1, "bytes": 1}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["samples/never"], 1, "there is no run in s3://bucket/wdl/runs/samples/never/"),
        ([NAME, "--task", "align"], 1, "is named by --task"),
        (["s3://bucket/elsewhere/"], 1, "there is no run in s3://bucket/elsewhere/"),
        (["samples"], 2, "give DAG_ID/RUN_ID"),
        (["samples/"], 2, "give DAG_ID/RUN_ID"),
    ],
)
def test_what_is_no_run_is_said(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    assert main(["clean", *words]) == status
    assert said in capsys.readouterr().err


def test_a_run_that_runs_is_left_alone(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_states, "ask_airflow", lambda *_: AirflowRun("running", {}))
    assert main(["clean", NAME]) == 1
    assert "has not ended: it is running" in capsys.readouterr().err
    monkeypatch.setattr(airflow_states, "ask_airflow", lambda *_: None)
    assert main(["clean", NAME]) == 1
    assert "--ended" in capsys.readouterr().err
    assert main(["clean", NAME, "--ended"]) == 0
