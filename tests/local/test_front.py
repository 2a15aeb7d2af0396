"""Who is let in, and how much at a time; with applications in place of moto."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.local.front import Room

from .conftest import client_of


def test_room_is_shared_and_given_back() -> None:
    room = Room(10)
    order: list[str] = []

    def second() -> None:
        with room.room_for(6):
            order.append("second")

    with room.room_for(6):
        thread = threading.Thread(target=second)
        thread.start()
        with room.room_for(4):
            time.sleep(0.1)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_what_is_larger_than_all_has_the_room_alone() -> None:
    room = Room(10)
    with room.room_for(1000):
        pass
    with room.room_for(10):
        pass


@pytest.mark.local
@pytest.mark.parametrize("service", ["ecs", "s3", "logs", "sts"])
def test_another_access_key_is_refused(embedded_aws: Endpoint, service: str) -> None:
    from dataclasses import replace

    client: Any = client_of(replace(embedded_aws, access_key="AKIAAAAAAAAAAAAAAAAA"), service)
    calls = {"ecs": "list_clusters", "s3": "list_buckets", "logs": "describe_log_groups", "sts": "get_caller_identity"}
    with pytest.raises(ClientError) as error:
        getattr(client, calls[service])()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert getattr(client_of(embedded_aws, service), calls[service])()


@pytest.mark.local
def test_requests_are_remembered_in_order_with_who_asked(embedded_aws: Endpoint) -> None:
    s3 = client_of(embedded_aws, "s3")
    s3.put_object(Bucket=embedded_aws.bucket, Key="remembered/a b", Body=b"x")
    s3.list_objects_v2(Bucket=embedded_aws.bucket, Prefix="remembered/")
    put, listed = embedded_aws.requests()[-2:]
    assert (put["operation"], put["path"]) == ("s3:PUT", f"/{embedded_aws.bucket}/remembered/a b")
    assert listed["operation"] == "s3:GET"
    assert "prefix=remembered%2F" in listed["query"]
    assert "Boto3" in listed["agent"]
    assert "exec-env" not in listed["agent"]
