"""Credentials, cluster and capacity: on moto, and where it lacks something, on a fake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from moto import mock_aws

from airflow_wdl_ecs.doctor import account
from airflow_wdl_ecs.doctor.account import Identity
from airflow_wdl_ecs.doctor.findings import Check, Finding, examine
from airflow_wdl_ecs.ecs.settings import EcsSettings

from ..fake_aws import FakeEcs, refusal

REGION = "eu-west-1"
SESSION = "arn:aws:sts::123456789012:assumed-role/airflow/session"


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.client("ecs", REGION)


def looked(found: Iterator[Finding]) -> Finding:
    (finding,) = found
    return finding


def of_cluster(name: str, ecs: Any) -> Finding:
    return looked(account.cluster(EcsSettings(cluster=name), REGION, account.describe_cluster(name, ecs)))


def test_an_identity_names_the_role_behind_a_session() -> None:
    assert Identity("123456789012", SESSION).principal == "arn:aws:iam::123456789012:role/airflow"
    assert Identity("123456789012", SESSION).role_name == "airflow"
    user = Identity("123456789012", "arn:aws:iam::123456789012:user/me")
    assert (user.principal, user.role_name) == (user.arn, "")


def test_credentials_that_are_taken(ecs: Any) -> None:
    found = looked(account.credentials(EcsSettings(), lambda name: boto3.client(name, REGION)))
    assert found.verdict == "ok"
    assert "account 123456789012, region eu-west-1" in found.found
    assert "testing" not in found.found


def test_credentials_that_are_not_taken_are_a_problem() -> None:
    sts = FakeEcs(get_caller_identity=[refusal("InvalidClientTokenId", "The security token is invalid")])
    check = Check("credentials", lambda: account.credentials(EcsSettings(), lambda name: sts), needed=False)
    (found,) = examine([check])
    assert found.verdict == "problem"
    assert "aws_conn_id" in found.mend
    assert account.known_identity(lambda name: sts) is None


def test_without_the_connection_it_is_said_whose_the_credentials_are(ecs: Any) -> None:
    found = looked(account.credentials(EcsSettings(), lambda name: boto3.client(name, REGION), lambda: False))
    assert found.verdict == "ok"
    assert found.found.endswith("(boto3's own chain: Airflow has no connection aws_default)")


def test_without_the_connection_and_credentials_either_can_be_made() -> None:
    sts = FakeEcs(get_caller_identity=[NoCredentialsError()])
    for name, mend in (("aws_default", "make the Airflow connection aws_default"), ("", "set [wdl_ecs] aws_conn_id")):
        settings = EcsSettings(aws_conn_id=name)
        found = looked(account.credentials(settings, lambda service: sts, lambda: False))
        assert found.verdict == "problem"
        assert "boto3's own chain" in found.found
        assert found.mend.startswith(mend)
        assert found.mend.endswith("or give this machine a role")


def test_a_connection_of_which_no_client_comes_is_a_problem() -> None:
    def clients(service: str) -> Any:
        raise ValueError("role_arn is no ARN")

    found = looked(account.credentials(EcsSettings(aws_conn_id="genomics"), clients))
    assert found.verdict == "problem"
    assert "the connection genomics: ValueError: role_arn is no ARN" in found.found


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (refusal("AccessDenied", operation="AssumeRole"), "AccessDenied"),
        (EndpointConnectionError(endpoint_url="https://sts"), "https://sts"),
    ],
)
def test_a_role_that_cannot_be_assumed_is_a_problem_since_no_call_can_run(error: Exception, says: str) -> None:
    def clients(service: str) -> Any:
        raise error

    found = looked(account.credentials(EcsSettings(aws_conn_id="genomics"), clients))
    assert found.verdict == "problem"
    assert "the connection genomics" in found.found
    assert says in found.found
    assert found.mend


def test_a_cluster_that_is_active(ecs: Any) -> None:
    arn = ecs.create_cluster(clusterName="genomics")["cluster"]["clusterArn"]
    assert of_cluster("genomics", ecs).verdict == "ok"
    assert of_cluster(arn, ecs).verdict == "ok"


def test_a_cluster_that_is_not_there(ecs: Any) -> None:
    found = of_cluster("genomics", ecs)
    assert found.verdict == "problem"
    assert "there is no cluster genomics in eu-west-1" in found.found
    assert "aws ecs create-cluster --region eu-west-1 --cluster-name genomics" in found.mend


def test_a_cluster_of_another_region(ecs: Any) -> None:
    found = of_cluster("arn:aws:ecs:us-east-1:123456789012:cluster/genomics", ecs)
    assert found.verdict == "problem"
    assert "is in us-east-1, and ECS is asked in eu-west-1" in found.found


@pytest.mark.parametrize(("status", "verdict"), [("ACTIVE", "ok"), ("INACTIVE", "problem"), ("FAILED", "problem")])
def test_the_clusters_status(status: str, verdict: str) -> None:
    assert looked(account.cluster(EcsSettings(cluster="c"), REGION, {"status": status})).verdict == verdict


def test_settings_without_a_cluster_leave_nothing_to_look_at() -> None:
    ecs = FakeEcs()
    assert looked(account.cluster(EcsSettings(), REGION, account.describe_cluster("", ecs))).verdict == "skipped"
    assert not ecs.asked


def provider(scaling: str, status: str = "ACTIVE") -> dict[str, Any]:
    group = {"autoScalingGroupArn": "arn", "managedScaling": {"status": scaling}}
    return {"capacityProviders": [{"name": "big", "status": status, "autoScalingGroupProvider": group}]}


@pytest.mark.parametrize(
    ("given", "cluster", "described", "verdict", "says"),
    [
        ({}, {}, None, "ok", "Fargate"),
        ({"capacity_providers": ("FARGATE:1:2",)}, {"capacityProviders": ["FARGATE"]}, None, "ok", "FARGATE"),
        (
            {"spot_capacity_providers": ("FARGATE_SPOT",)},
            {"capacityProviders": ["FARGATE"]},
            None,
            "problem",
            "has no capacity provider FARGATE_SPOT (it has: FARGATE)",
        ),
        ({"launch_type": "EC2"}, {"registeredContainerInstancesCount": 3}, None, "ok", "3 container instances"),
        ({"launch_type": "EC2"}, {}, None, "problem", "no container instance"),
        (
            {"launch_type": "EC2", "spot_capacity_providers": ("big",)},
            {"capacityProviders": ["big"]},
            provider("ENABLED"),
            "problem",
            "no container instance",
        ),
        (
            {"capacity_providers": ("big",)},
            {"capacityProviders": ["big"]},
            provider("ENABLED"),
            "ok",
            "more are started",
        ),
        ({"capacity_providers": ("big",)}, {"capacityProviders": ["big"]}, provider("DISABLED"), "problem", "is off"),
        (
            {"capacity_providers": ("big",)},
            {"capacityProviders": ["big"], "registeredContainerInstancesCount": 1},
            provider("DISABLED"),
            "ok",
            "1 container instances",
        ),
        (
            {"capacity_providers": ("big",)},
            {"capacityProviders": ["big"]},
            provider("ENABLED", "INACTIVE"),
            "problem",
            "big is INACTIVE",
        ),
    ],
)
def test_capacity(
    given: dict[str, Any], cluster: dict[str, Any], described: dict[str, Any] | None, verdict: str, says: str
) -> None:
    ecs = FakeEcs(describe_capacity_providers=[described])
    found = looked(account.capacity(EcsSettings(**given), ecs, cluster))
    assert (found.verdict, says in found.found) == (verdict, True), found
    assert bool(found.mend) == (verdict == "problem")


@pytest.mark.parametrize(
    ("answer", "providers", "verdict", "says"),
    [
        ({"containerInstanceArns": ["arn"]}, (), "ok", "instances fulfil"),
        ({"containerInstanceArns": []}, (), "problem", "no instance fulfils attribute:x == y"),
        ({"containerInstanceArns": []}, ("big",), "ok", "no instance fulfils attribute:x == y now"),
        (refusal("InvalidParameterException", "Invalid filter"), (), "problem", "Invalid filter"),
        (refusal("AccessDeniedException"), (), "unknown", "ListContainerInstances"),
    ],
)
def test_placement_constraints(answer: Any, providers: tuple[str, ...], verdict: str, says: str) -> None:
    ecs = FakeEcs(list_container_instances=[answer], describe_capacity_providers=[provider("ENABLED")])
    settings = EcsSettings(
        cluster="c",
        launch_type="EC2",
        capacity_providers=providers,
        placement_constraints=("distinctInstance", "attribute:x == y"),
    )
    cluster = {"registeredContainerInstancesCount": 2, "capacityProviders": list(providers)}
    check = Check("capacity", lambda: account.capacity(settings, ecs, cluster), needed=False)
    there, found = examine([check])
    assert there.verdict == "ok"
    assert (found.verdict, says in found.found) == (verdict, True), found
    assert bool(found.mend) == (verdict != "ok")
    (asked,) = [given for name, given in ecs.asked if name == "list_container_instances"]
    assert (asked["cluster"], asked["filter"]) == ("c", "attribute:x == y")
