"""Copies within S3 against servers: the embedded S3, and moto's own, which answers as Amazon's as far as it goes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_wdl_ecs import object_copies
from airflow_wdl_ecs.errors import EvaluationError, SettingsError
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.object_copies import copy_objects, look

from .conftest import client_of

pytestmark = pytest.mark.local

MIB = 1024 * 1024
PART = 5 * MIB
"""S3 takes no smaller part, but the last."""


@pytest.fixture(scope="module")
def moto_s3() -> Iterator[Any]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
    finally:
        server.stop()


@pytest.fixture(params=["embedded", "moto"])
def s3(request: pytest.FixtureRequest, embedded_aws: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(object_copies, "LARGEST_COPY", 8 * MIB)
    monkeypatch.setattr(object_copies, "PART", PART)
    client = client_of(embedded_aws, "s3") if request.param == "embedded" else request.getfixturevalue("moto_s3")
    for bucket in ("copies-from", "copies-to"):
        client.create_bucket(Bucket=bucket)
    return client


@pytest.mark.parametrize("key", ["plain.txt", "deep/er/äö +%&=?.txt"])
def test_one_copy_has_the_bytes_the_type_and_the_sha256(s3: Any, key: str) -> None:
    body = os.urandom(1000)
    s3.put_object(Bucket="copies-from", Key=key, Body=body, ContentType="text/x", Metadata={"who": "me"})
    (copied,) = copy_objects(s3, {f"s3://copies-to/x/{key}": f"s3://copies-from/{key}"}, {})
    got = s3.get_object(Bucket="copies-to", Key=f"x/{key}")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["Metadata"]) == ("text/x", {"who": "me"})
    assert copied.checksum is not None
    assert (copied.checksum.algorithm, copied.checksum.of) == ("SHA256", "object")
    assert copied.checksum.value == hashlib.sha256(body).hexdigest()
    assert copied.etag == got["ETag"].strip('"')


def test_a_copy_in_parts_has_the_bytes_the_type_and_the_sha256_of_its_parts(s3: Any) -> None:
    body = os.urandom(2 * PART + 17)
    s3.put_object(Bucket="copies-from", Key="large", Body=body, ContentType="text/x", Metadata={"who": "me"})
    (copied,) = copy_objects(s3, {"s3://copies-to/large": "s3://copies-from/large"}, {})
    got = s3.get_object(Bucket="copies-to", Key="large")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["Metadata"]) == ("text/x", {"who": "me"})
    assert copied.etag == got["ETag"].strip('"')
    assert copied.etag.endswith("-3")
    assert s3.list_multipart_uploads(Bucket="copies-to").get("Uploads", []) == []
    if copied.checksum is not None:
        digests = b"".join(hashlib.sha256(body[at : at + PART]).digest() for at in range(0, len(body), PART))
        assert copied.checksum.value == hashlib.sha256(digests).hexdigest()
        assert (copied.checksum.of, copied.checksum.parts, copied.checksum.part_size) == ("parts", 3, PART)
    # Once more: it is there.
    assert copy_objects(s3, {copied.target: copied.source}, {copied.target: copied}) == [copied]


def test_parts_of_a_copy_that_fails_are_let_go(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put_object(Bucket="copies-from", Key="large", Body=os.urandom(2 * PART))

    def fails(part: Any, number: int) -> None:
        if number == 2:
            raise EvaluationError("no second part")
        copy_part(part, number)

    copy_part = object_copies._Upload.copy_part
    monkeypatch.setattr(object_copies._Upload, "copy_part", fails)
    with pytest.raises(EvaluationError, match="no second part"):
        copy_objects(s3, {"s3://copies-to/broken": "s3://copies-from/large"}, {})
    assert s3.list_multipart_uploads(Bucket="copies-to").get("Uploads", []) == []
    assert s3.list_objects_v2(Bucket="copies-to", Prefix="broken")["KeyCount"] == 0


def test_what_is_not_there_is_told(s3: Any) -> None:
    with pytest.raises(EvaluationError, match="s3://copies-from/no is not there"):
        look(s3, ["s3://copies-from/no"])
    s3.put_object(Bucket="copies-from", Key="a", Body=b"a")
    with pytest.raises(SettingsError, match="make the bucket no-such-bucket"):
        copy_objects(s3, {"s3://no-such-bucket/a": "s3://copies-from/a"}, {})
