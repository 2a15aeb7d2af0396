"""The bucket and the log group: on moto, and refusals on a fake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from airflow_wdl_ecs.doctor import places
from airflow_wdl_ecs.doctor.findings import Check, Finding, examine
from airflow_wdl_ecs.ecs.settings import EcsSettings

from ..fake_aws import FakeS3, refusal

REGION = "eu-west-1"
SETTINGS = EcsSettings(workspace="s3://genomics/wdl", log_group="/wdl")


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield


def s3(region: str = REGION) -> Any:
    client = boto3.client("s3", region)
    client.create_bucket(Bucket="genomics", CreateBucketConfiguration={"LocationConstraint": region})
    return client


def of_bucket(client: Any, settings: EcsSettings = SETTINGS) -> Finding:
    (found,) = examine([Check("bucket", lambda: places.bucket(settings, client, REGION))])
    return found


def test_a_bucket_that_can_be_used_is_left_as_it_was() -> None:
    client = s3()
    found = of_bucket(client)
    assert found.verdict == "ok"
    assert "genomics in eu-west-1" in found.found
    assert "crosses" not in found.found
    assert client.list_objects_v2(Bucket="genomics")["KeyCount"] == 0


def test_a_bucket_of_another_region_is_said_to_cost() -> None:
    found = of_bucket(s3("eu-central-1"))
    assert found.verdict == "ok"
    assert "genomics in eu-central-1 (the tasks run in eu-west-1: every transfer crosses regions" in found.found
    assert "name a bucket of eu-west-1: [wdl_ecs] workspace" in found.mend


def test_a_bucket_that_is_not_there() -> None:
    found = of_bucket(boto3.client("s3", REGION))
    assert found.verdict == "problem"
    assert "there is no bucket genomics" in found.found
    assert "aws s3 mb s3://genomics --region eu-west-1" in found.mend


@pytest.mark.parametrize("workspace", ["", "s3://", "/data"])
def test_a_workspace_without_a_bucket(workspace: str) -> None:
    assert of_bucket(None, EcsSettings(workspace=workspace)).verdict == "skipped"


class Refusing(FakeS3):
    """An S3 that refuses one operation."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.operation = operation

    def head_bucket(self, **_: Any) -> dict[str, Any]:
        self.deny("head_bucket")
        return {"BucketRegion": REGION}

    def deny(self, operation: str) -> None:
        if operation == self.operation:
            raise refusal("AccessDenied")

    def put_object(self, **given: Any) -> dict[str, Any]:
        self.deny("put_object")
        return super().put_object(**given)

    def get_object(self, **given: Any) -> dict[str, Any]:
        self.deny("get_object")
        return super().get_object(**given)

    def list_objects_v2(self, **given: Any) -> dict[str, Any]:
        self.deny("list_objects_v2")
        return super().list_objects_v2(**given)

    def delete_object(self, **given: Any) -> None:
        self.deny("delete_object")
        super().delete_object(**given)


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        ("head_bucket", "HeadBucket"),
        ("put_object", "PutObject"),
        ("get_object", "GetObject"),
        ("list_objects_v2", "ListObjectsV2"),
        ("delete_object", "DeleteObject"),
    ],
)
def test_each_permission_that_is_missing_is_a_problem(operation: str, says: str) -> None:
    client = Refusing(operation)
    found = of_bucket(client)
    assert found.verdict == "problem"
    assert f"AWS refused {says}" in found.found
    assert "needs permission" in found.mend
    assert bool(client.objects) == (operation == "delete_object")


def of_logs(client: Any, settings: EcsSettings = SETTINGS) -> list[Finding]:
    check = Check("log group", lambda: places.log_group(settings, client, REGION), needed=False)
    return list(examine([check]))


def test_a_log_group_and_for_how_long_it_keeps() -> None:
    logs = boto3.client("logs", REGION)
    logs.create_log_group(logGroupName="/wdl")
    assert [(f.verdict, f.found) for f in of_logs(logs)] == [("ok", "/wdl in eu-west-1; its events are kept for ever")]
    logs.put_retention_policy(logGroupName="/wdl", retentionInDays=30)
    assert "kept for 30 days" in of_logs(logs)[0].found


def test_a_log_group_that_is_not_there() -> None:
    logs = boto3.client("logs", REGION)
    logs.create_log_group(logGroupName="/wdl-old")
    (found,) = of_logs(logs)
    assert found.verdict == "problem"
    assert "aws logs create-log-group --region eu-west-1 --log-group-name /wdl" in found.mend
    assert of_logs(logs, EcsSettings())[0].verdict == "skipped"


def test_logs_that_may_not_be_read_are_a_problem_only_where_they_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = boto3.client("logs", REGION)
    logs.create_log_group(logGroupName="/wdl")

    def deny(**given: Any) -> None:
        # A role needs to read no other streams than those of commands.
        assert given["logStreamName"].startswith("wdl/command/")
        raise refusal("AccessDeniedException")

    monkeypatch.setattr(logs, "get_log_events", deny)
    found = of_logs(logs)
    assert [f.verdict for f in found] == ["ok", "problem"]
    assert "logs:GetLogEvents" in found[1].mend
    assert [f.verdict for f in of_logs(logs, EcsSettings(log_group="/wdl", live_logs=False))] == ["ok"]


def test_log_groups_that_may_not_be_listed_are_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    class Denied:
        def get_paginator(self, name: str) -> Any:
            raise refusal("AccessDeniedException")

    assert [f.verdict for f in of_logs(Denied())] == ["unknown"]
