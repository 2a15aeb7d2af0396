"""S3 of the embedded AWS: what survives a restart, large objects, ranges."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from airflow_wdl_ecs.local.endpoint import Endpoint, read_endpoint, start_server, stop_server

from .conftest import client_of

pytestmark = pytest.mark.local

MIB = 1024 * 1024


@pytest.mark.parametrize("key", ["plain.txt", "deep/er/äö +%&=?.txt", "a//b", "a"])
def test_an_object_comes_back_with_its_metadata(s3: Any, embedded_aws: Endpoint, key: str) -> None:
    body = os.urandom(1000)
    put = s3.put_object(Bucket="wdl", Key=key, Body=body, ContentType="text/x", Metadata={"who": "me"})
    got = s3.get_object(Bucket="wdl", Key=key)
    assert got["Body"].read() == body
    assert (got["ETag"], got["ContentType"], got["Metadata"]) == (put["ETag"], "text/x", {"who": "me"})
    assert got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    head = s3.head_object(Bucket="wdl", Key=key)
    assert (head["ContentLength"], head["ETag"], head["ContentType"]) == (1000, put["ETag"], "text/x")
    assert (head["Metadata"], head["LastModified"]) == ({"who": "me"}, got["LastModified"])
    s3.delete_object(Bucket="wdl", Key=key)
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="wdl", Key=key)


def test_the_head_of_an_object_tells_its_checksum_where_that_is_asked(s3: Any) -> None:
    put = s3.put_object(Bucket="wdl", Key="sum", Body=b"0123", ChecksumAlgorithm="SHA256")
    head = s3.head_object(Bucket="wdl", Key="sum", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == put["ChecksumSHA256"]
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="wdl", Key="no such")
    # A connection is as good after it as before.
    assert [s3.head_object(Bucket="wdl", Key="sum")["ContentLength"] for _ in range(5)] == [4] * 5


@pytest.mark.parametrize(
    ("header", "expected"),
    [("bytes=0-3", b"0123"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=5-99", b"56789")],
)
def test_ranges(s3: Any, header: str, expected: bytes) -> None:
    s3.put_object(Bucket="wdl", Key="range", Body=b"0123456789")
    got = s3.get_object(Bucket="wdl", Key="range", Range=header)
    assert got["Body"].read() == expected
    assert got["ContentLength"] == len(expected)
    assert got["ContentRange"].endswith("/10")


def test_a_range_outside_the_object_is_an_error(s3: Any) -> None:
    s3.put_object(Bucket="wdl", Key="range", Body=b"0123456789")
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket="wdl", Key="range", Range="bytes=10-")


def test_multipart_upload_and_ranged_download(s3: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(20 * MIB + 17))
    transfer = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_file(str(source), "wdl", "large", Config=transfer)
    assert s3.head_object(Bucket="wdl", Key="large")["ETag"].endswith('-5"')
    s3.download_file("wdl", "large", str(target), Config=transfer)
    assert source.read_bytes() == target.read_bytes()
    s3.copy_object(Bucket="wdl", Key="copy", CopySource={"Bucket": "wdl", "Key": "large"})
    s3.delete_object(Bucket="wdl", Key="large")
    assert s3.get_object(Bucket="wdl", Key="copy")["Body"].read() == source.read_bytes()


def test_s5cmd_moves_a_large_file(s3: Any, embedded_aws: Endpoint, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(12 * MIB))
    s5cmd = str(Path(sys.executable).parent / "s5cmd")
    environment = {**os.environ, **embedded_aws.environment()}
    for arguments in (
        ["--part-size", "5", str(source), "s3://wdl/s5"],
        ["--part-size", "5", "s3://wdl/s5", str(target)],
    ):
        subprocess.run([s5cmd, "cp", *arguments], env=environment, check=True, capture_output=True)
    assert source.read_bytes() == target.read_bytes()


def test_unsigned_and_foreign_requests_are_refused(embedded_aws: Endpoint, s3: Any) -> None:
    s3.put_object(Bucket="wdl", Key="secret", Body=b"x")
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": "wdl", "Key": "secret"})
    assert urllib.request.urlopen(presigned).read() == b"x"
    for url, headers in (
        (f"{embedded_aws.url}/wdl/secret", {}),
        (presigned.replace(embedded_aws.access_key, "AKIAAAAAAAAAAAAAAAAA"), {}),
        (presigned, {"Host": "evil.example"}),
        (f"{embedded_aws.url}/moto-api/reset", {}),
        (f"{embedded_aws.url}/_wdl/nonce", {}),
    ):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers))
        assert error.value.code == 403


def test_objects_survive_a_restart(tmp_path: Path) -> None:
    first = start_server(tmp_path, containers="plain")
    try:
        s3 = client_of(first, "s3")
        s3.create_bucket(Bucket="mine")
        s3.put_object(Bucket="mine", Key="a/b", Body=b"1" * 9, Metadata={"k": "v"}, ContentType="text/x")
        s3.put_object(Bucket="wdl", Key="gone", Body=b"2")
        s3.put_object(Bucket="wdl", Key="twice", Body=b"old")
        s3.put_object(Bucket="wdl", Key="twice", Body=b"new")
        s3.delete_objects(Bucket="wdl", Delete={"Objects": [{"Key": "gone"}]})
        before = s3.head_object(Bucket="mine", Key="a/b")
        assert stop_server(tmp_path)
        assert read_endpoint(tmp_path) is None
        second = start_server(tmp_path, containers="plain")
        assert (second.access_key, second.secret_key) == (first.access_key, first.secret_key)
        assert second.nonce != first.nonce
        s3 = client_of(second, "s3")
        after = s3.head_object(Bucket="mine", Key="a/b")
        for field in ("ETag", "ContentLength", "ContentType", "Metadata", "LastModified"):
            assert after[field] == before[field]
        assert [o["Key"] for o in s3.list_objects_v2(Bucket="wdl")["Contents"]] == ["twice"]
        assert s3.get_object(Bucket="wdl", Key="twice")["Body"].read() == b"new"
        assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["mine", "wdl"]
    finally:
        stop_server(tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"ContentType": "text/x", "Metadata": {"who": "me"}, "CacheControl": "no-store"},
        {"ChecksumAlgorithm": "SHA256"},
        {"Tagging": "a=b"},
        {"StorageClass": "STANDARD_IA"},
        {"ContentEncoding": "gzip"},
        {"ACL": "private"},
    ],
)
def test_a_plain_request_and_one_that_is_left_to_moto_make_the_same_object(s3: Any, more: dict[str, Any]) -> None:
    """A condition that is true makes a request one for moto."""
    body = os.urandom(100)
    for key, condition in (("plain", {}), ("moto", {"IfNoneMatch": "*"})):
        s3.delete_object(Bucket="wdl", Key=key)
        s3.put_object(Bucket="wdl", Key=key, Body=body, **more, **condition)
    found = []
    for key in ("plain", "moto"):
        head = s3.head_object(Bucket="wdl", Key=key, ChecksumMode="ENABLED")
        tags = s3.get_object_tagging(Bucket="wdl", Key=key)["TagSet"]
        acl = s3.get_object_acl(Bucket="wdl", Key=key)["Grants"]
        listed = s3.list_objects_v2(Bucket="wdl", Prefix=key)["Contents"][0]
        for moment in ("LastModified", "Key"):
            listed.pop(moment)
        head.pop("LastModified")
        head.pop("ResponseMetadata")
        found.append((head, tags, acl, listed, s3.get_object(Bucket="wdl", Key=key)["Body"].read()))
    assert found[0] == found[1]


def test_the_tags_of_an_object_end_with_it(s3: Any) -> None:
    s3.put_object(Bucket="wdl", Key="tagged", Body=b"1", Tagging="a=b")
    s3.put_object(Bucket="wdl", Key="tagged", Body=b"2")
    assert s3.get_object_tagging(Bucket="wdl", Key="tagged")["TagSet"] == []
    assert s3.get_object(Bucket="wdl", Key="tagged")["Body"].read() == b"2"
