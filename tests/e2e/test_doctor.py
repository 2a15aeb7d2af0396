"""``airflow-wdl-ecs doctor --local`` end to end: this machine, the service, and a real run through its Airflow."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import boto3
import pytest

from airflow_wdl_ecs.local.endpoint import read_endpoint

from .conftest import LIMIT, CommandLine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_the_embedded_default(cli: CommandLine) -> None:
    found = cli("doctor", "--local", "--json").json
    assert (found["examined"], found["healthy"]) == ("embedded", True)
    assert [(one["check"], one["verdict"]) for one in found["findings"]] == [
        ("installed", "ok"),
        ("containers", "ok"),
        ("disk", "ok"),
        ("service", "ok"),
        ("settings", "ok"),
        ("credentials", "ok"),
        ("cluster", "ok"),
        ("bucket", "ok"),
        ("log group", "ok"),
        ("run", "ok"),
    ]
    assert "a command of 2 s ran through Airflow in " in found["findings"][-1]["found"]
    assert ", command 2." in found["findings"][-1]["found"]
    assert list(cli.folder.iterdir()) == []


def test_without_a_run_and_for_people(cli: CommandLine) -> None:
    done = cli("doctor", "--local", "--no-task")
    assert done.status == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines()] == ["ok"] * 9
    assert "no problems" in done.err


def test_a_bucket_that_is_gone_is_found_through_the_service(cli: CommandLine, embedded_home: Path) -> None:
    cli("doctor", "--local", "--no-task")
    endpoint = read_endpoint(embedded_home / "aws")
    assert endpoint is not None
    done = None
    fault = {"operation": "s3:PUT", "kind": "error", "code": "AccessDenied", "status": 403, "key": "doctor"}
    try:
        endpoint.set_faults(requests=[{**fault, "times": None}])
        done = cli("doctor", "--local", "--json")
    finally:
        endpoint.set_faults()
    assert done.status == 1
    findings = json.loads(done.out)["findings"]
    assert [one["check"] for one in findings if one["verdict"] == "problem"] == ["bucket", "embedded AWS"]
    assert (findings[-1]["check"], findings[-1]["verdict"]) == ("run", "skipped")


def test_an_interruption_stops_the_run(cli: CommandLine, embedded_home: Path) -> None:
    process = cli.start("doctor", "--local")
    assert process.stderr is not None
    for line in process.stderr:
        if "call two_seconds: running" in line:
            break
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, said
    endpoint = read_endpoint(embedded_home / "aws")
    assert endpoint is not None
    ecs = boto3.client(
        "ecs",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
    )
    assert ecs.list_tasks(cluster=endpoint.cluster)["taskArns"] == []
