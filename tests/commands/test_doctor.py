"""``airflow-wdl-ecs doctor``: which installation is examined, what is printed, and the exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest

from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.commands import doctor, embedded_doctor
from airflow_wdl_ecs.doctor.findings import Check, Finding, ok, problem, skipped, unknown
from airflow_wdl_ecs.doctor.places import DAG_ID
from airflow_wdl_ecs.local.endpoint import Endpoint

from ..airflow_home import settings_for
from ..direct import DirectRunner
from ..faults.embedded_airflow import until

ALL = [
    Check("good", lambda: [ok("as it should be")]),
    Check("bad", lambda: [problem("first\nsecond", "do this\nthen that")]),
    Check("dim", lambda: [unknown("AWS refused\x1b[2J")]),
    Check("later", lambda: [skipped("none is set")]),
]


def examined(monkeypatch: pytest.MonkeyPatch, checks: Sequence[Check]) -> None:
    monkeypatch.setattr(doctor, "_checks", lambda options: ("deployment", list(checks)))


def test_a_line_for_each_finding_and_below_a_problem_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    examined(monkeypatch, ALL)
    assert main(["doctor"]) == 1
    out, err = capfd.readouterr()
    assert [re.sub(r"  +", " | ", line) for line in out.splitlines()] == [
        "ok | good | as it should be",
        "problem | bad | first",
        " | second",
        " | mend: do this",
        " | then that",
        "could not be looked at | dim | AWS refused\\x1b[2J",
        "skipped | later | none is set",
    ]
    assert "1 problem, 2 not looked at" in err


def test_json_is_all_that_standard_output_gets(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def noisy() -> list[Finding]:
        os.write(1, b"a word of Airflow's\n")  # pytest has a standard output of its own
        return [ok("fine")]

    examined(monkeypatch, [*ALL, Check("noisy", noisy)])
    assert main(["doctor", "--json"]) == 1
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert (found["examined"], found["healthy"]) == ("deployment", False)
    assert [(one["check"], one["verdict"]) for one in found["findings"]] == [
        ("good", "ok"),
        ("bad", "problem"),
        ("dim", "unknown"),
        ("later", "skipped"),
        ("noisy", "ok"),
    ]
    assert "a word of Airflow's" in err


def test_what_could_not_be_looked_at_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    examined(monkeypatch, [check for check in ALL if check.name != "bad"])
    assert main(["doctor"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "cluster"], "expected NAME=VALUE"),
        (["--set", "clutser=x"], "there is no setting clutser; cluster?"),
        (["--set", "cpu=many"], "'many' is not a number"),
        (["--local", "--set", "cluster=x"], "--local"),
        (["--set", "max_cpu=3"], "Airflow's configuration has none"),
        (["--limit", "0"], "invalid seconds value"),
        (["--limit", "nan"], "invalid seconds value"),
        (["--disk", "0"], "invalid gib value"),
        (["--disk", "x"], "invalid gib value"),
    ],
)
def test_what_its_caller_must_change(words: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words]) == 2
    assert says in capfd.readouterr().err


def test_without_settings_of_a_deployment_the_embedded_default_is_examined(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embedded_doctor.EmbeddedDoctor, "checks", lambda self: [Check("machine", lambda: [ok("here")])])
    assert main(["doctor", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["examined"] == "embedded"
    assert "no [wdl_ecs] settings" in err
    monkeypatch.setenv("AIRFLOW__WDL_ECS__CLUSTER", "genomics")
    assert main(["doctor", "--local", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["examined"] == "embedded"


def test_settings_that_cannot_be_read_are_a_finding(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__WDL_ECS__CPU", "many")
    assert main(["doctor", "--json"]) == 1
    first, *others = json.loads(capfd.readouterr().out)["findings"]
    assert (first["check"], first["verdict"]) == ("settings", "problem")
    assert "'many' is not a number" in first["found"]
    assert {other["verdict"] for other in others} == {"skipped"}
    assert others[-1]["check"] == "task"


def made(endpoint: Endpoint) -> dict[str, str]:
    """A deployment on Fargate in the embedded AWS: the settings' values."""
    where: dict[str, Any] = {
        "endpoint_url": endpoint.url,
        "region_name": endpoint.region,
        "aws_access_key_id": endpoint.access_key,
        "aws_secret_access_key": endpoint.secret_key,
    }
    ec2, iam = boto3.client("ec2", **where), boto3.client("iam", **where)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    principal = {"Service": "ecs-tasks.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    name = f"wdl-task-{vpc}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    return {
        "launch_type": "FARGATE",
        "subnets": subnet,
        "assign_public_ip": "true",
        "task_role_arn": role,
        "execution_role_arn": role,
        "image": "debian:12-slim",
    }


def environment_of(endpoint: Endpoint, home: Path) -> dict[str, str]:
    """The variables of an Airflow with such a deployment."""
    settings = {f"AIRFLOW__WDL_ECS__{name.upper()}": value for name, value in made(endpoint).items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **settings_for(endpoint), **settings, "AIRFLOW_HOME": str(home)}


@pytest.mark.local
@pytest.mark.airflow
def test_a_deployment_by_the_settings_of_its_airflow(embedded_aws: Endpoint, tmp_path: Path) -> None:
    environment = environment_of(embedded_aws, tmp_path)

    def examine(*words: str) -> tuple[int, dict[str, Any], str]:
        command = [sys.executable, "-m", "airflow_wdl_ecs", "doctor", "--json", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.stdout, done.stderr
        assert embedded_aws.secret_key not in done.stdout + done.stderr
        assert embedded_aws.access_key not in done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout), done.stderr

    status, found, said = examine("--verbose")
    assert status == 0, found
    assert found["examined"] == "deployment"
    # Whether a role may be passed is what moto cannot say.
    assert [(one["check"], one["verdict"]) for one in found["findings"]] == [
        ("settings", "ok"),
        ("credentials", "ok"),
        ("cluster", "ok"),
        ("capacity", "ok"),
        ("task role", "ok"),
        ("task role", "unknown"),
        ("execution role", "ok"),
        ("execution role", "unknown"),
        ("network", "ok"),
        ("bucket", "ok"),
        ("log group", "ok"),
        ("image pull", "ok"),
        ("task", "ok"),
    ]
    assert "is ECS task arn:aws:ecs:" in said
    status, found, _ = examine("--set", "cluster=no-such-cluster", "--set", "assign_public_ip=false")
    assert status == 1
    verdicts = {one["check"]: one["verdict"] for one in found["findings"]}
    assert [name for name, verdict in verdicts.items() if verdict == "problem"] == ["cluster", "network"]
    assert [name for name, verdict in verdicts.items() if verdict == "skipped"] == ["capacity", "task"]


SLEEPING = """
import signal, sys
from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.doctor import trial
signal.signal(signal.SIGINT, signal.default_int_handler)
trial.SOURCE = trial.SOURCE.replace("sleep 2", "sleep 100")
sys.exit(main(["doctor"]))
"""


@pytest.mark.local
@pytest.mark.airflow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_stops_the_task_and_leaves_nothing(
    embedded_aws: Endpoint, tmp_path: Path, number: signal.Signals
) -> None:
    runner = DirectRunner(embedded_aws)
    command = [sys.executable, "-c", SLEEPING]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment_of(embedded_aws, tmp_path), **pipes)

    def tasks() -> list[str]:
        arns: list[str] = runner.client("ecs").list_tasks(cluster=embedded_aws.cluster)["taskArns"]
        return arns

    until(lambda: tasks() or process.poll() is not None)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert tasks() == []
    left = runner.client("s3").list_objects_v2(Bucket=embedded_aws.bucket, Prefix=f"tests/runs/{DAG_ID}/")
    assert left["KeyCount"] == 0
