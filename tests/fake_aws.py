"""AWS clients without a socket: an S3 that is a dictionary, and an ECS that is told what to say."""

# ruff: noqa: N803 - boto3's argument names

from __future__ import annotations

import base64
import hashlib
import io
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError


def refusal(code: str, message: str = "", operation: str = "Operation") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message or code}}, operation)


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def sha256(data: bytes) -> str:
    """As S3 writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class FakeS3:
    """The operations of S3 that a run uses; ``calls`` lists them with their keys.

    ``failures`` are error codes that the next lists answer with, the last one first; ``undeletable`` is the one that
    answers for an object that is to be deleted among others. ``refuse`` says of a copy, or of a part of one, with which
    code it fails, and of ``lost`` that the answer to a completed upload is; ``about`` is what S3 says of an object
    besides, ``uploads`` what became of those in parts, ``asked`` the arguments of copies. There is no bucket
    ``missing``, and nothing may be done with the bucket ``forbidden``.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.shorten = 0
        self.failures: list[str] = []
        self.undeletable = ""
        self.about: dict[tuple[str, str], dict[str, Any]] = {}
        self.refuse: Callable[[str, dict[str, Any]], str | None] = lambda operation, arguments: None
        self.uploads: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> dict[str, Any]:
        self.calls.append(("put", Key))
        if Bucket in ("missing", "forbidden"):
            raise refusal("NoSuchBucket" if Bucket == "missing" else "AccessDenied")
        self.objects[Bucket, Key] = Body
        return {"ETag": etag(Body)}

    def copy_object(self, **arguments: Any) -> dict[str, Any]:
        data = self._copied("copy_object", arguments)
        self.objects[arguments["Bucket"], arguments["Key"]] = data
        assert arguments["ChecksumAlgorithm"] == "SHA256"
        return {"CopyObjectResult": {"ETag": etag(data), "ChecksumSHA256": sha256(data)}}

    def create_multipart_upload(self, **arguments: Any) -> dict[str, Any]:
        self._ask("create_multipart_upload", arguments)
        upload = f"upload-{len(self.uploads)}"
        self.uploads[upload] = {**arguments, "parts": {}, "state": "open"}
        return {"UploadId": upload}

    def upload_part_copy(self, *, UploadId: str, PartNumber: int, CopySourceRange: str, **arguments: Any) -> Any:
        data = self._copied("upload_part_copy", {**arguments, "PartNumber": PartNumber})
        first, last = map(int, CopySourceRange.removeprefix("bytes=").split("-"))
        assert last < len(data)
        part = self.uploads[UploadId]["parts"][PartNumber] = data[first : last + 1]
        return {"CopyPartResult": {"ETag": etag(part), "ChecksumSHA256": sha256(part)}}

    def upload_part(self, *, UploadId: str, PartNumber: int, Body: bytes, **arguments: Any) -> dict[str, Any]:
        self._ask("upload_part", arguments)
        self.uploads[UploadId]["parts"][PartNumber] = Body
        return {"ETag": etag(Body)}

    def complete_multipart_upload(
        self, *, UploadId: str, MultipartUpload: dict[str, Any], **arguments: Any
    ) -> dict[str, Any]:
        lost = self.refuse("lost", arguments)
        self._ask("complete_multipart_upload", arguments)
        upload = self.uploads[UploadId]
        if upload["state"] != "open":
            raise refusal("NoSuchUpload")
        parts = [upload["parts"][part["PartNumber"]] for part in MultipartUpload["Parts"]]
        assert [part["ETag"] for part in MultipartUpload["Parts"]] == [etag(part) for part in parts]
        upload["state"] = "complete"
        where = arguments["Bucket"], arguments["Key"]
        self.objects[where] = b"".join(parts)
        digest = sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
        about = {"ETag": f'"{hashlib.md5(digest.encode()).hexdigest()}-{len(parts)}"'}
        self.about[where] = {**about, "ChecksumSHA256": f"{digest}-{len(parts)}", "ChecksumType": "COMPOSITE"}
        if lost:
            raise refusal(lost)
        return self.about[where]

    def abort_multipart_upload(self, *, UploadId: str, **arguments: Any) -> None:
        self._ask("abort_multipart_upload", arguments)
        self.uploads[UploadId]["state"] = "aborted"

    def _copied(self, operation: str, arguments: dict[str, Any]) -> bytes:
        """The source of a copy, if it is as it is to be."""
        self._ask(operation, arguments)
        source = arguments["CopySource"]
        data = self._find(source["Bucket"], source["Key"], "NoSuchKey")
        said = self.about.get((source["Bucket"], source["Key"]), {}).get("ETag", etag(data))
        if arguments["CopySourceIfMatch"] != said:
            raise refusal("PreconditionFailed")
        return data

    def _ask(self, operation: str, arguments: dict[str, Any]) -> None:
        self.asked.append((operation, arguments))
        code = self.refuse(operation, arguments)
        if arguments["Bucket"] == "missing":
            code = "NoSuchBucket"
        elif arguments["Bucket"] == "forbidden":
            code = "AccessDenied"
        if code:
            raise refusal(code, operation=operation)

    def get_object(self, *, Bucket: str, Key: str, Range: str | None = None) -> dict[str, Any]:
        self.calls.append(("get", Key))
        data = self._find(Bucket, Key, "NoSuchKey")
        if Range is not None:
            if not data:
                raise refusal("InvalidRange")
            data = data[-int(Range.removeprefix("bytes=-")) :]
        return {"ContentLength": len(data), "Body": io.BytesIO(data[: len(data) - self.shorten])}

    def head_object(self, *, Bucket: str, Key: str, ChecksumMode: str = "") -> dict[str, Any]:
        self.calls.append(("head", Key))
        data = self._find(Bucket, Key, "404")
        about = self.about.get((Bucket, Key), {})
        if not ChecksumMode:
            about = {name: value for name, value in about.items() if not name.startswith("Checksum")}
        return {"ContentLength": len(data), "ETag": etag(data), **about}

    def delete_object(self, *, Bucket: str, Key: str) -> None:
        self.calls.append(("delete", Key))
        self.objects.pop((Bucket, Key), None)

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        keys = [item["Key"] for item in Delete["Objects"]]
        assert 0 < len(keys) <= 1000
        self.calls.append(("delete many", str(len(keys))))
        if self.undeletable:
            return {"Errors": [{"Key": keys[0], "Code": self.undeletable, "Message": "no"}]}
        for key in keys:
            self.objects.pop((Bucket, key), None)
        return {}

    def list_objects_v2(
        self, *, Bucket: str, Prefix: str, MaxKeys: int = 1000, Delimiter: str = "", ContinuationToken: str = "0"
    ) -> dict[str, Any]:
        self.calls.append(("list", Prefix))
        if self.failures:
            raise refusal(self.failures.pop())
        if Bucket in ("missing", "forbidden"):
            raise refusal("NoSuchBucket" if Bucket == "missing" else "AccessDenied")
        keys = sorted(key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix))
        if Delimiter:
            rests = [key[len(Prefix) :] for key in keys]
            folders = dict.fromkeys(rest.partition(Delimiter)[0] for rest in rests if Delimiter in rest)
            return {
                "CommonPrefixes": [{"Prefix": f"{Prefix}{name}{Delimiter}"} for name in folders],
                "Contents": [{"Key": f"{Prefix}{rest}"} for rest in rests if Delimiter not in rest],
            }
        at = int(ContinuationToken)
        page = keys[at : at + MaxKeys]
        more = {"NextContinuationToken": str(at + MaxKeys)} if at + MaxKeys < len(keys) else {}
        found = [
            {"Key": key, "Size": len(self.objects[Bucket, key]), "ETag": etag(self.objects[Bucket, key])}
            for key in page
        ]
        return {**({"Contents": found} if found else {}), **more}

    def generate_presigned_url(self, operation: str, *, Params: dict[str, str], ExpiresIn: int) -> str:
        assert operation == "get_object"
        self.calls.append(("presign", Params["Key"]))
        disposition = quote(Params["ResponseContentDisposition"])
        return (
            f"https://{Params['Bucket']}.s3.test/{quote(Params['Key'])}?expires={ExpiresIn}&disposition={disposition}"
        )

    def _find(self, bucket: str, key: str, absent: str) -> bytes:
        if bucket == "forbidden":
            raise refusal("AccessDenied")
        if (bucket, key) not in self.objects:
            raise refusal(absent)
        return self.objects[bucket, key]


class FakeEcs:
    """An ECS that gives, for each operation, the answers in ``script`` one after the other, the last for ever."""

    def __init__(self, **script: list[Any]) -> None:
        self.script = {name: deque(answers) for name, answers in script.items()}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def operation(**arguments: Any) -> Any:
            self.asked.append((name, arguments))
            answers = self.script[name]
            answer = answers[0] if len(answers) == 1 else answers.popleft()
            if isinstance(answer, Exception):
                raise answer
            return answer(**arguments) if callable(answer) else answer

        return operation

    def count(self, name: str) -> int:
        return sum(asked == name for asked, _ in self.asked)


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
