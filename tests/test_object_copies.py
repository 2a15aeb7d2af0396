"""Copies within S3: whole and in parts, again, and what is said when S3 refuses."""

from __future__ import annotations

import hashlib
import threading

import pytest

from airflow_wdl_ecs import object_copies
from airflow_wdl_ecs.errors import AwsError, EvaluationError, SettingsError
from airflow_wdl_ecs.object_copies import MIB, Checksum, copy_objects, look, part_size

from .fake_aws import FakeS3, sha256

SMALL, LARGE = b"ACGT", b"0123456789" * 3


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    monkeypatch.setattr(object_copies, "LARGEST_COPY", 20)
    monkeypatch.setattr(object_copies, "part_size", lambda size: 8)
    found = FakeS3()
    found.put_object(Bucket="run", Key="a", Body=SMALL)
    found.put_object(Bucket="run", Key="large", Body=LARGE)
    return found


def asked(s3: FakeS3, operation: str) -> list[dict]:
    return [arguments for name, arguments in s3.asked if name == operation]


def test_a_small_object_is_one_copy_whose_sha256_s3_says(s3: FakeS3) -> None:
    told = []
    (copied,) = copy_objects(s3, {"s3://lab/x/a": "s3://run/a"}, {}, told.append)
    assert s3.objects["lab", "x/a"] == SMALL
    assert (copied.source, copied.target, copied.size) == ("s3://run/a", "s3://lab/x/a", 4)
    assert copied.checksum == Checksum("SHA256", hashlib.sha256(SMALL).hexdigest())
    assert copied.etag == hashlib.md5(SMALL).hexdigest()
    assert told == [copied]
    (arguments,) = asked(s3, "copy_object")
    assert arguments["TaggingDirective"] == "REPLACE"
    # No byte comes here, and the target is not looked at.
    assert [call for call in s3.calls if call[0] != "put"] == [("head", "a")]


def test_a_large_object_is_copied_in_parts_with_what_s3_knows_of_it(s3: FakeS3) -> None:
    s3.about["run", "large"] = {"ContentType": "text/x", "Metadata": {"who": "me"}, "ETag": '"e-2"'}
    (copied,) = copy_objects(s3, {"s3://lab/x": "s3://run/large"}, {})
    assert s3.objects["lab", "x"] == LARGE
    (upload,) = s3.uploads.values()
    assert (upload["ContentType"], upload["Metadata"], upload["state"]) == ("text/x", {"who": "me"}, "complete")
    assert sorted(upload["parts"]) == [1, 2, 3, 4]
    digests = b"".join(hashlib.sha256(LARGE[at : at + 8]).digest() for at in (0, 8, 16, 24))
    assert copied.checksum == Checksum("SHA256", hashlib.sha256(digests).hexdigest(), "parts", 4, 8)
    assert copied.etag.endswith("-4")
    assert not asked(s3, "abort_multipart_upload")


@pytest.mark.parametrize("key", ["a", "large"])
def test_what_has_been_copied_and_is_there_is_not_copied_again(s3: FakeS3, key: str) -> None:
    wanted = {"s3://lab/x": f"s3://run/{key}"}
    (first,) = copy_objects(s3, wanted, {})
    s3.asked.clear()
    assert copy_objects(s3, wanted, {first.target: first}) == [first]
    assert s3.asked == []


@pytest.mark.parametrize("change", ["source", "target", "gone"])
def test_what_has_changed_since_is_copied_again(s3: FakeS3, change: str) -> None:
    wanted = {"s3://lab/x": "s3://run/a"}
    (first,) = copy_objects(s3, wanted, {})
    if change == "gone":
        s3.delete_object(Bucket="lab", Key="x")
    else:
        bucket, key = ("run", "a") if change == "source" else ("lab", "x")
        s3.put_object(Bucket=bucket, Key=key, Body=b"new")
    copy_objects(s3, wanted, {first.target: first})
    assert s3.objects["lab", "x"] == s3.objects["run", "a"]


def test_an_object_that_is_in_its_place_stays(s3: FakeS3) -> None:
    (copied,) = copy_objects(s3, {"s3://run/a": "s3://run/a"}, {})
    assert copied.etag == copied.source_etag
    assert s3.asked == []


def test_one_may_write_without_being_allowed_to_look(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"s3://lab/x": "s3://run/a"}
    (first,) = copy_objects(s3, wanted, {})
    found = s3._find
    monkeypatch.setattr(s3, "_find", lambda bucket, *more: found("forbidden" if bucket == "lab" else bucket, *more))
    assert copy_objects(s3, wanted, {first.target: first}) == [first]
    assert len(asked(s3, "copy_object")) == 2


def test_a_source_that_is_not_there_is_named(s3: FakeS3) -> None:
    with pytest.raises(EvaluationError, match="s3://run/no is not there"):
        copy_objects(s3, {"s3://lab/x": "s3://run/no"}, {})


@pytest.mark.parametrize("key", ["a", "large"])
def test_a_refusal_names_bucket_and_key_and_what_to_do(s3: FakeS3, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        copy_objects(s3, {"s3://forbidden/x": f"s3://run/{key}"}, {})
    told = str(caught.value)
    assert "cannot publish to the bucket forbidden" in told
    assert f"of s3://run/{key} to s3://forbidden/x: AccessDenied" in told
    assert f"s3:GetObject on s3://run/{key}, and s3:PutObject and s3:AbortMultipartUpload on s3://forbidden/x" in told
    assert "PublishBuckets" in told
    with pytest.raises(SettingsError, match="make the bucket missing, or change publish_to"):
        copy_objects(s3, {"s3://missing/x": f"s3://run/{key}"}, {})


def test_parts_that_fail_are_let_go_when_all_that_were_begun_have_ended(s3: FakeS3) -> None:
    s3.put_object(Bucket="run", Key="huge", Body=LARGE * 100)
    s3.refuse = lambda operation, arguments: "InvalidRequest" if arguments.get("PartNumber") == 2 else None
    copying = threading.Event()
    copied = s3._copied

    def noticed(operation: str, arguments: dict) -> bytes:
        assert all(upload["state"] == "open" for upload in s3.uploads.values()), "a part after the upload's end"
        copying.set()
        return copied(operation, arguments)

    s3._copied = noticed  # type: ignore[method-assign]
    with pytest.raises(AwsError, match="InvalidRequest"):
        copy_objects(s3, {"s3://lab/x": "s3://run/huge", "s3://lab/y": "s3://run/large"}, {})
    assert copying.is_set()
    assert {upload["state"] for upload in s3.uploads.values()} == {"aborted"}
    assert len(asked(s3, "upload_part_copy")) < 379
    assert ("lab", "x") not in s3.objects


def test_a_lost_answer_to_the_end_of_an_upload_is_no_failure(s3: FakeS3) -> None:
    lost = ["InternalError"]
    s3.refuse = lambda operation, arguments: lost.pop() if operation == "lost" and lost else None
    (copied,) = copy_objects(s3, {"s3://lab/x": "s3://run/large"}, {})
    assert s3.objects["lab", "x"] == LARGE
    assert copied.checksum is not None
    assert (copied.checksum.of, copied.checksum.parts) == ("parts", 4)


def test_throttling_is_waited_for(s3: FakeS3) -> None:
    slow = ["SlowDown", "SlowDown"]
    s3.refuse = lambda operation, arguments: slow.pop() if slow else None
    copy_objects(s3, {"s3://lab/x": "s3://run/a"}, {})
    assert s3.objects["lab", "x"] == SMALL


def test_a_source_that_changes_meanwhile_is_not_taken_for_what_it_was(s3: FakeS3) -> None:
    def changes(operation: str, arguments: dict) -> None:
        s3.objects["run", "a"] = b"other"

    s3.refuse = changes
    with pytest.raises(AwsError, match="PreconditionFailed"):
        copy_objects(s3, {"s3://lab/x": "s3://run/a"}, {})


def test_what_s3_knows_of_an_object_is_told_without_reading_it(s3: FakeS3) -> None:
    s3.about["run", "a"] = {"ChecksumCRC64NVME": "AAAAAAAAAAE=", "ChecksumType": "FULL_OBJECT"}
    s3.about["run", "large"] = {"ChecksumSHA256": f"{sha256(b'x')}-3", "ChecksumCRC32": "AAAAAQ=="}
    s3.put_object(Bucket="run", Key="none", Body=b"")
    a, large, none = look(s3, ["s3://run/a", "s3://run/large", "s3://run/none"])
    assert a.checksum == Checksum("CRC64NVME", "0000000000000001")
    assert large.checksum == Checksum("SHA256", hashlib.sha256(b"x").hexdigest(), "parts", 3)
    assert (none.checksum, none.size) == (None, 0)


@pytest.mark.parametrize("size", [1, 5_300_000_000, 5 * 1024**4, 50 * 1024**4])
def test_an_object_has_no_more_parts_than_s3_takes(size: int) -> None:
    part = part_size(size)
    assert part % MIB == 0
    assert -(-size // part) <= 10_000
    assert part >= 512 * MIB
