"""The secrets of private registries: on moto, and what it cannot say on a fake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from airflow_wdl_ecs.doctor import registries
from airflow_wdl_ecs.doctor.findings import Finding
from airflow_wdl_ecs.ecs.settings import EcsSettings

from ..fake_aws import FakeEcs, refusal

REGION = "eu-west-1"
REGISTRY = "registry.example.org"
ROLE = "arn:aws:iam::123456789012:role/wdl-execution"


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield


def deciding(decision: str) -> FakeEcs:
    """An IAM that decides so of every action."""
    answer = {"EvaluationResults": [{"EvalActionName": registries.READ, "EvalDecision": decision}]}
    return FakeEcs(simulate_principal_policy=[answer])


def looked(secret: str, iam: Any = None, manager: Any = None, role: str = ROLE) -> list[Finding]:
    made = {"iam": iam or deciding("allowed"), "secretsmanager": manager or boto3.client("secretsmanager", REGION)}
    settings = EcsSettings(execution_role_arn=role, registry_credentials={REGISTRY: secret})
    found = list(registries.secrets(settings, made.__getitem__))
    assert [f.found for f in found if f.verdict == "problem" and not f.mend] == []
    assert "hunter2" not in repr(found)
    return found


@pytest.fixture
def secret() -> str:
    text = '{"username": "me", "password": "hunter2"}'
    return str(boto3.client("secretsmanager", REGION).create_secret(Name="pull", SecretString=text)["ARN"])


@pytest.mark.parametrize("decision", ["allowed", "implicitDeny"])
def test_a_secret_that_is_there(secret: str, decision: str) -> None:
    iam = deciding(decision)
    found = looked("pull", iam)
    assert [f.verdict for f in found] == ["ok", "ok" if decision == "allowed" else "problem"]
    assert iam.asked[-1][1]["ResourceArns"] == [secret]
    assert iam.asked[-1][1]["PolicySourceArn"] == ROLE
    assert iam.asked[-1][1]["ActionNames"] == ["secretsmanager:GetSecretValue"]
    if decision != "allowed":
        assert f"no policy of {ROLE} lets it read {secret}" in found[1].found


def test_a_secret_that_is_not_there() -> None:
    (found,) = looked("pull")
    assert found.verdict == "problem"
    assert f"{REGISTRY}: there is no secret pull" in found.found
    assert "[wdl_ecs] registry_credentials" in found.mend


def test_a_secret_that_is_being_deleted(secret: str) -> None:
    boto3.client("secretsmanager", REGION).delete_secret(SecretId="pull")
    (found,) = looked(secret)
    assert found.verdict == "problem"
    assert f"restore-secret --secret-id {secret}" in found.mend


def test_what_may_not_be_asked_is_no_problem(secret: str) -> None:
    denied = refusal("AccessDeniedException", "not authorized")
    manager = FakeEcs(describe_secret=[denied])
    manager.meta = boto3.client("secretsmanager", REGION).meta  # type: ignore[attr-defined]
    (found,) = looked(secret, manager=manager)
    assert (found.verdict, found.mend) == ("unknown", "secretsmanager:DescribeSecret lets it be asked")
    found = looked(secret, FakeEcs(simulate_principal_policy=[denied]))[1]
    assert (found.verdict, "which a task will show" in found.found) == ("unknown", True)


def test_a_secret_of_another_region_is_not_looked_at() -> None:
    (found,) = looked("arn:aws:secretsmanager:us-east-1:123456789012:secret:pull-a1b2c3")
    assert (found.verdict, "is in another region" in found.found) == ("unknown", True)


def test_ecs_reads_secrets_with_the_execution_role() -> None:
    (found,) = looked("pull", role="")
    assert found.verdict == "problem"
    assert "[wdl_ecs] execution_role_arn" in found.mend
