"""AWS clients without a socket: an S3 that is a dictionary, and an ECS that is told what to say."""

# ruff: noqa: N803 - boto3's argument names

from __future__ import annotations

import hashlib
import io
from collections import deque
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError


def refusal(code: str, message: str = "", operation: str = "Operation") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message or code}}, operation)


class FakeS3:
    """The operations of S3 that a run uses; ``calls`` lists them with their keys.

    ``failures`` are error codes that the next lists answer with, the last one first; ``undeletable`` is the one that
    answers for an object that is to be deleted among others.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.shorten = 0
        self.failures: list[str] = []
        self.undeletable = ""
        self.uploads: dict[str, dict[int, bytes]] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> dict[str, Any]:
        self.calls.append(("put", Key))
        self.objects[Bucket, Key] = Body
        return {"ETag": hashlib.md5(Body).hexdigest()}

    def get_object(self, *, Bucket: str, Key: str, Range: str | None = None) -> dict[str, Any]:
        self.calls.append(("get", Key))
        data = self._find(Bucket, Key, "NoSuchKey")
        if Range is not None:
            if not data:
                raise refusal("InvalidRange")
            data = data[-int(Range.removeprefix("bytes=-")) :]
        return {"ContentLength": len(data), "Body": io.BytesIO(data[: len(data) - self.shorten])}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self.calls.append(("head", Key))
        return {"ContentLength": len(self._find(Bucket, Key, "404"))}

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

    def create_multipart_upload(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self.uploads[f"upload {Key}"] = {}
        return {"UploadId": f"upload {Key}"}

    def upload_part(self, *, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: bytes) -> dict[str, Any]:
        self.uploads[UploadId][PartNumber] = Body
        return {"ETag": f"part {PartNumber}"}

    def complete_multipart_upload(
        self, *, Bucket: str, Key: str, UploadId: str, MultipartUpload: dict[str, Any]
    ) -> None:
        parts = self.uploads.pop(UploadId)
        assert MultipartUpload["Parts"] == [{"PartNumber": n, "ETag": f"part {n}"} for n in sorted(parts)]
        self.objects[Bucket, Key] = b"".join(parts[number] for number in sorted(parts))

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> None:
        self.calls.append(("abort", Key))
        self.uploads.pop(UploadId)

    def list_objects_v2(
        self, *, Bucket: str, Prefix: str, MaxKeys: int = 1000, Delimiter: str = "", ContinuationToken: str = "0"
    ) -> dict[str, Any]:
        self.calls.append(("list", Prefix))
        if self.failures:
            raise refusal(self.failures.pop())
        keys = sorted(key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix))
        if Delimiter:
            rests = [key[len(Prefix) :] for key in keys]
            folders = dict.fromkeys(rest.partition(Delimiter)[0] for rest in rests if Delimiter in rest)
            return {"CommonPrefixes": [{"Prefix": f"{Prefix}{name}{Delimiter}"} for name in folders]}
        at = int(ContinuationToken)
        page = keys[at : at + MaxKeys]
        more = {"NextContinuationToken": str(at + MaxKeys)} if at + MaxKeys < len(keys) else {}
        found = [{"Key": key, "Size": len(self.objects[Bucket, key])} for key in page]
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
