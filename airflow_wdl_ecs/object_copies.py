"""Copies objects within S3, which does it itself: no byte of them comes here.

An object of up to `LARGEST_COPY` bytes is copied by one CopyObject, of which S3 says the SHA-256 of all its bytes; a
larger one in parts by UploadPartCopy, of which it says the SHA-256 of each part and one of those (S3 user guide,
"Checking object integrity"). Copies and parts go side by side. This module knows neither a run nor a workflow.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from .aws import ABSENT, aws_errors, error_code, patient, side_by_side
from .errors import EvaluationError, SettingsError, WdlEcsError
from .layout import split_uri

MIB = 1024 * 1024
LARGEST_COPY = 5 * 1000 * MIB
"""Bytes of an object that one CopyObject takes: S3 says 5 GB."""
PART = 512 * MIB
"""Bytes of a part, at the least."""
MOST_PARTS = 10_000
"""Parts of an object (S3 user guide, "Amazon S3 multipart upload limits")."""

_ALGORITHMS = ("SHA256", "CRC64NVME", "SHA1", "CRC32C", "CRC32")
_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Checksum:
    """What S3 says of an object's bytes.

    :param algorithm: in S3's words, ``SHA256``. :param value: in hexadecimal.
    :param of: ``object``, or ``parts``: then it is the checksum of the parts' checksums.
    :param parts: how many parts, and :param part_size: the bytes of each but the last, where they are known.
    """

    algorithm: str
    value: str
    of: str = "object"
    parts: int | None = None
    part_size: int | None = None


@dataclass(frozen=True)
class Facts:
    """An object as S3 has it."""

    uri: str
    size: int
    etag: str
    checksum: Checksum | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Copied:
    """An object that has been copied.

    :param source_etag: the ETag of the source then. :param etag: that of the copy.
    """

    source: str
    source_etag: str
    target: str
    size: int
    etag: str
    checksum: Checksum | None


def look(s3: Any, uris: Sequence[str]) -> list[Facts]:
    """What S3 knows of objects, with their checksums, if it knows any.

    :raises EvaluationError: for one that is not there.
    """
    return _each(lambda uri: _facts(s3, uri), uris)


@patient
def _facts(s3: Any, uri: str) -> Facts:
    bucket, key = split_uri(uri)
    with aws_errors("HeadObject", uri):
        try:
            head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error_code(error) in ABSENT:
                raise EvaluationError(f"{uri} is not there") from error
            raise
    kept = {name: head[name] for name in _KEPT if head.get(name)}
    return Facts(uri, int(head["ContentLength"]), str(head["ETag"]).strip('"'), _checksum(head), kept)


def _checksum(said: Mapping[str, Any], part_size: int | None = None) -> Checksum | None:
    """The checksum in an answer of S3, the strongest that it has."""
    for algorithm in _ALGORITHMS:
        text = said.get(f"Checksum{algorithm}")
        if text:
            encoded, _, parts = str(text).partition("-")
            in_parts = bool(parts) or said.get("ChecksumType") == "COMPOSITE"
            value = base64.b64decode(encoded).hex()
            return Checksum(
                algorithm,
                value,
                "parts" if in_parts else "object",
                int(parts) if parts else None,
                part_size if in_parts else None,
            )
    return None


def copy_objects(
    s3: Any,
    wanted: Mapping[str, str],
    done: Mapping[str, Copied],
    on_copied: Callable[[Copied], object] = lambda copied: None,
) -> list[Copied]:
    """Copy objects, each unless it has been copied and is still there as it was.

    :param wanted: target URI -> source URI. A source that is its own target stays as it is.
    :param done: target -> what an earlier try has copied.
    :param on_copied: called in any thread for each that has been copied.
    :raises SettingsError: if S3 refuses it, with the URI and what to do.
    :raises EvaluationError: if a source is not there.
    """
    sources = {facts.uri: facts for facts in look(s3, list(dict.fromkeys(wanted.values())))}
    found: dict[str, Copied] = {}

    def finish(copied: Copied) -> None:
        found[copied.target] = copied
        on_copied(copied)

    def one(target: str) -> _Upload | None:
        source = sources[wanted[target]]
        before = done.get(target)
        if source.uri == target:
            found[target] = Copied(source.uri, source.etag, target, source.size, source.etag, source.checksum)
        elif before and before.source_etag == source.etag and _etag(s3, target) == before.etag:
            found[target] = before
        elif source.size > LARGEST_COPY:
            return _Upload.begin(s3, source, target)
        else:
            finish(_copy(s3, source, target))
        return None

    uploads: list[_Upload] = []
    try:
        _each(lambda target: uploads.append(upload) if (upload := one(target)) else None, list(wanted))
        _each(lambda part: part[0].copy_part(part[1]), [(upload, n) for upload in uploads for n in upload.numbers])
        _each(lambda upload: finish(upload.complete()), uploads)
    finally:
        for upload in uploads:
            upload.abort()
    return [found[target] for target in wanted]


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Call a function for every item, many at once, in order.

    After a failure what has not begun is left, and what has is waited for; the first failure is raised.
    """
    failed = threading.Event()

    def one(item: Item) -> Result | Exception | None:
        if failed.is_set():
            return None
        try:
            return function(item)
        except Exception as error:
            failed.set()
            return error

    try:
        results = side_by_side(one, list(items))
    except BaseException:
        failed.set()
        raise
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results  # type: ignore[return-value]  # without a failure there is a result of each


@patient
def _copy(s3: Any, source: Facts, target: str) -> Copied:
    bucket, key = split_uri(target)
    with _write_errors("CopyObject", source.uri, target):
        answer = s3.copy_object(
            Bucket=bucket,
            Key=key,
            CopySource=_copy_source(source.uri),
            CopySourceIfMatch=f'"{source.etag}"',
            ChecksumAlgorithm="SHA256",
            # Tags of the source are of the source; to copy them needs a permission of its own.
            TaggingDirective="REPLACE",
        )
    said = answer["CopyObjectResult"]
    return Copied(source.uri, source.etag, target, source.size, said["ETag"].strip('"'), _checksum(said))


def _copy_source(uri: str) -> dict[str, str]:
    bucket, key = split_uri(uri)
    return {"Bucket": bucket, "Key": key}


@patient
def _etag(s3: Any, uri: str) -> str | None:
    """The ETag of an object; None if it is not there, or if one may not look."""
    bucket, key = split_uri(uri)
    with suppress(SettingsError), aws_errors("HeadObject", uri):
        try:
            return str(s3.head_object(Bucket=bucket, Key=key)["ETag"]).strip('"')
        except ClientError as error:
            if error_code(error) not in ABSENT:
                raise
    return None


class _Upload:
    """An object that is copied in parts."""

    def __init__(self, s3: Any, source: Facts, target: str, upload_id: str) -> None:
        self._s3 = s3
        self._source = source
        self._target = target
        self._bucket, self._key = split_uri(target)
        self._id = upload_id
        self._parts: dict[int, dict[str, Any]] = {}
        self._open = True
        self._size = part_size(source.size)

    @property
    def numbers(self) -> range:
        """The numbers of the parts."""
        return range(1, -(-self._source.size // self._size) + 1)

    @classmethod
    @patient
    def begin(cls, s3: Any, source: Facts, target: str) -> _Upload:
        """Begin an upload. What CopyObject keeps of an object has to be given here."""
        bucket, key = split_uri(target)
        with _write_errors("CreateMultipartUpload", source.uri, target):
            answer = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256", **source.kept)
        return cls(s3, source, target, answer["UploadId"])

    @patient
    def copy_part(self, number: int) -> None:
        """Have one part copied."""
        first = (number - 1) * self._size
        last = min(first + self._size, self._source.size) - 1
        with _write_errors("UploadPartCopy", self._source.uri, self._target):
            answer = self._s3.upload_part_copy(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._id,
                PartNumber=number,
                CopySource=_copy_source(self._source.uri),
                CopySourceRange=f"bytes={first}-{last}",
                CopySourceIfMatch=f'"{self._source.etag}"',
            )
        said = answer["CopyPartResult"]
        self._parts[number] = {name: said[name] for name in ("ETag", "ChecksumSHA256") if said.get(name)}

    def complete(self) -> Copied:
        """Let the parts be one object."""
        parts = [{"PartNumber": number, **self._parts[number]} for number in self.numbers]
        said = self._completed(parts)
        self._open = False
        return Copied(
            self._source.uri,
            self._source.etag,
            self._target,
            self._source.size,
            str(said["ETag"]).strip('"'),
            _checksum(said, self._size),
        )

    @patient
    def _completed(self, parts: list[dict[str, Any]]) -> Mapping[str, Any]:
        with _write_errors("CompleteMultipartUpload", self._source.uri, self._target):
            try:
                answer: Mapping[str, Any] = self._s3.complete_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._id, MultipartUpload={"Parts": parts}
                )
                return answer
            except ClientError as error:
                if error_code(error) != "NoSuchUpload":
                    raise
                # Its answer was lost, and it has been asked for again.
                head: Mapping[str, Any] = self._s3.head_object(
                    Bucket=self._bucket, Key=self._key, ChecksumMode="ENABLED"
                )
                if head["ContentLength"] != self._source.size or not str(head["ETag"]).endswith(f'-{len(parts)}"'):
                    raise
                return head

    def abort(self) -> None:
        """Let go of the parts, unless they are an object by now; whatever hinders it, the failure before it counts."""
        if self._open:
            with suppress(WdlEcsError), aws_errors("AbortMultipartUpload", self._target):
                self._s3.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._id)


def part_size(size: int) -> int:
    """Bytes of each part of an object of so many bytes, whole MiB."""
    least = -(-size // MOST_PARTS)
    return max(PART, -(-least // MIB) * MIB)


@contextmanager
def _write_errors(operation: str, source: str, target: str) -> Iterator[None]:
    """As `aws_errors`, for what is written; a refusal says what it takes."""
    try:
        with aws_errors(operation, f"of {source} to {target}" if source else target):
            yield
    except SettingsError as error:
        raise refused(error, source, target) from error.__cause__


def refused(error: SettingsError, source: str, target: str) -> SettingsError:
    """What a deployer is told when something cannot be published.

    :param source: the URI of what is copied; empty if it is written from here.
    """
    bucket = split_uri(target)[0]
    cause = error.__cause__
    code = error_code(cause) if cause is not None else ""
    hint = error.hint
    if code == "NoSuchBucket":
        hint = f"make the bucket {bucket}, or change publish_to; then clear this task"
    elif code in ("AccessDenied", "403", "AllAccessDisabled"):
        reads = f"s3:GetObject on {source}, and " if source else ""
        hint = (
            f"the role or user of the AWS connection needs {reads}s3:PutObject and s3:AbortMultipartUpload on {target}"
            " (of an encrypted bucket also kms:GenerateDataKey and kms:Decrypt on its key); the parameter"
            " PublishBuckets of the CloudFormation template grants it. Then clear this task"
        )
    return SettingsError(f"cannot publish to the bucket {bucket}: {error.message}", hint=hint)
