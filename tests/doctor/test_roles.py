"""The tasks' roles: whether they are there and trust ECS (on moto), and whether we may pass them (moto cannot say)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from airflow_wdl_ecs.doctor import roles
from airflow_wdl_ecs.doctor.account import Identity
from airflow_wdl_ecs.doctor.findings import Finding

from ..fake_aws import FakeEcs, refusal

ARN = "arn:aws:iam::123456789012:role/genomics/wdl-task"
USER = Identity("123456789012", "arn:aws:iam::123456789012:user/me")
SESSION = Identity("123456789012", "arn:aws:sts::123456789012:assumed-role/airflow/session")


def trust(service: str | list[str], action: str = "sts:AssumeRole", effect: str = "Allow") -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, "Principal": {"Service": service}, "Action": action}]}


@pytest.fixture
def iam(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("iam")


def looked(arn: str, iam: Any, identity: Identity | None = None) -> list[Finding]:
    return list(roles.role("task_role_arn", arn, iam, identity))


def verdicts(arn: str, iam: Any, identity: Identity | None = None) -> list[str]:
    return [finding.verdict for finding in looked(arn, iam, identity)]


def test_a_role_for_ecs_tasks(iam: Any) -> None:
    policy = json.dumps(trust(roles.TASKS))
    iam.create_role(RoleName="wdl-task", Path="/genomics/", AssumeRolePolicyDocument=policy)
    assert verdicts(ARN, iam) == ["ok", "unknown"]


def test_a_role_for_others(iam: Any) -> None:
    policy = json.dumps(trust("ec2.amazonaws.com"))
    iam.create_role(RoleName="wdl-task", Path="/genomics/", AssumeRolePolicyDocument=policy)
    (found,) = looked(ARN, iam, USER)
    assert found.verdict == "problem"
    assert "may not be assumed by ecs-tasks.amazonaws.com" in found.found
    assert "trust policy" in found.mend


def test_a_role_that_is_not_there(iam: Any) -> None:
    (found,) = looked(ARN, iam, USER)
    assert found.verdict == "problem"
    assert f"there is no role {ARN}" in found.found
    assert "[wdl_ecs] task_role_arn" in found.mend


@pytest.mark.parametrize(
    ("policy", "trusted"),
    [
        (trust(["ec2.amazonaws.com", roles.TASKS], "sts:*"), True),
        ({"Statement": trust(roles.TASKS)["Statement"][0]}, True),
        (trust(roles.TASKS, "sts:TagSession"), False),
        (trust(roles.TASKS, effect="Deny"), False),
        ({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}, False),
        ({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole"]}]}, True),
        ({}, False),
    ],
)
def test_trust_policies(policy: dict[str, Any], trusted: bool) -> None:
    assert roles.trusts(policy, roles.TASKS) is trusted


def test_what_cannot_be_a_role_of_the_deployment() -> None:
    iam = FakeEcs()
    assert "is no ARN of a role" in looked("wdl-task", iam)[0].found
    assert "arn:aws:iam::123456789012:user/me" in looked(USER.arn, iam)[0].found
    (found,) = looked(ARN.replace("123456789012", "210987654321"), iam, USER)
    assert "of account 210987654321, and we are in 123456789012" in found.found
    assert not iam.asked


def test_without_a_role_on_ec2() -> None:
    assert verdicts("", FakeEcs()) == ["ok"]


def test_iam_that_may_not_be_asked_is_no_problem() -> None:
    denied = refusal("AccessDenied", "not authorized to perform: iam:GetRole")
    iam = FakeEcs(get_role=[denied], simulate_principal_policy=[denied])
    assert verdicts(ARN, iam, USER) == ["unknown", "unknown"]
    assert looked(ARN, iam, USER)[0].mend == "iam:GetRole lets it be asked"
    unreachable = FakeEcs(get_role=[EndpointConnectionError(endpoint_url="https://iam.test")])
    assert "can be reached" in looked(ARN, unreachable)[0].mend
    assert verdicts(ARN, iam, SESSION) == ["unknown", "unknown"]


def role_of(RoleName: str) -> dict[str, Any]:  # noqa: N803
    return {"Role": {"Arn": f"arn:aws:iam::123456789012:role/x/{RoleName}", "AssumeRolePolicyDocument": TRUSTED}}


TRUSTED = trust(roles.TASKS)


@pytest.mark.parametrize(
    ("identity", "source"), [(USER, USER.arn), (SESSION, "arn:aws:iam::123456789012:role/x/airflow")]
)
@pytest.mark.parametrize(("decision", "verdict"), [("allowed", "ok"), ("implicitDeny", "problem")])
def test_whether_we_may_pass_it(identity: Identity, source: str, decision: str, verdict: str) -> None:
    answer = {"EvaluationResults": [{"EvalActionName": "iam:PassRole", "EvalDecision": decision}]}
    iam = FakeEcs(get_role=[role_of], simulate_principal_policy=[answer])
    found = looked(ARN, iam, identity)
    assert [finding.verdict for finding in found] == ["ok", verdict]
    assert found[-1].found.startswith(f"{source} may ")
    asked = iam.asked[-1][1]
    assert (asked["PolicySourceArn"], asked["ResourceArns"]) == (source, [ARN])
    assert asked["ContextEntries"][0]["ContextKeyValues"] == ["ecs-tasks.amazonaws.com"]


def test_the_root_user_may_pass_it() -> None:
    root = Identity("123456789012", "arn:aws:iam::123456789012:root")
    assert verdicts(ARN, FakeEcs(get_role=[role_of]), root) == ["ok", "ok"]


def test_the_role_with_which_volumes_are_made_is_for_another_service() -> None:
    iam = FakeEcs(get_role=[role_of])
    (found,) = roles.role("ebs_role_arn", ARN, iam, USER, roles.ECS)
    assert found.verdict == "problem"
    assert "may not be assumed by ecs.amazonaws.com" in found.found
    answer = {"EvaluationResults": [{"EvalActionName": "iam:PassRole", "EvalDecision": "implicitDeny"}]}
    trusting = {"Role": {"Arn": ARN, "AssumeRolePolicyDocument": trust(roles.ECS)}}
    iam = FakeEcs(get_role=[trusting], simulate_principal_policy=[answer])
    found, passing = roles.role("ebs_role_arn", ARN, iam, USER, roles.ECS)
    assert (found.verdict, passing.verdict) == ("ok", "problem")
    assert passing.mend.endswith("iam:PassedToService ecs.amazonaws.com")
    assert iam.asked[-1][1]["ContextEntries"][0]["ContextKeyValues"] == ["ecs.amazonaws.com"]
