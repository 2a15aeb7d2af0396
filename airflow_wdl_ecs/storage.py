"""How what a run keeps in S3 is read, written and listed.

`RunStore` reads and writes by the map of ``layout``, and is the `Files` that expressions see: this run's folder and
what the run was given, and nothing else. Plans and inputs never change once written, so a process keeps the last few;
the outputs of a call change only when someone clears the call, which changes the call's epoch. This module knows
neither WDL nor ECS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from .aws import ABSENT, aws_errors, error_code, patient
from .errors import AwsError, EvaluationError
from .granted import granted_to
from .layout import Layout, key_safe, split_uri
from .plan import Plan, Shard
from .recent import Recent
from .shared_reads import SharedReads
from .task import MAX_READ

PUBLISHED = "published.json"
OUTPUTS, REOPENED = "outputs.json", "reopened.json"
"""In a run's folder: the workflow's outputs, and word that calls have been run again since those were written."""


@dataclass(frozen=True)
class Version:
    """An object in S3 with these contents: its URI, its size in bytes, and its ETag without quotes."""

    uri: str
    size: int
    etag: str


_plans = Recent(16)
_inputs = Recent(64)
_outputs = Recent(4096)
_shared = SharedReads()


class RunStore:
    """Reads and writes one run's folder; the `Files` of its expressions. Every method blocks; any thread may call.

    :param s3: a boto3 S3 client.
    :param readable: URIs that expressions may read besides the run's folder: a file's own, or a prefix ending in ``/``.
    """

    def __init__(self, s3: Any, layout: Layout, readable: Iterable[str] = ()) -> None:
        self.layout = layout
        self._s3 = s3
        given = set(readable)
        self._readable_files = frozenset(uri for uri in given if not uri.endswith("/"))
        self._readable_folders = (layout.folder, *sorted(uri for uri in given if uri.endswith("/")))
        self._granted = granted_to(layout.folder)
        self._sizes = Recent(4096)
        self._written = Recent(4096)

    # Files: what expressions see.

    def read(self, uri: str) -> bytes:
        """The contents of a file; see `task.Files`."""
        self._allow(uri)
        data = self.get(uri, limit=MAX_READ)
        if data is None:
            raise EvaluationError(f"no such file: {uri}")
        return data

    def size(self, uri: str) -> int | None:
        """Bytes of a file, or of everything below a folder; see `task.Files`."""
        self._allow(uri)
        size: int | None = self._sizes.get(uri)
        if size is None:
            size = self._size(uri)
            if size is not None:
                self._sizes.put(uri, size)
        return size

    def list(self, uri: str) -> Iterator[tuple[str, int]]:
        """The files below a folder; see `task.Files`."""
        self._allow(uri if uri.endswith("/") else f"{uri}/")
        return self._list(uri if uri.endswith("/") else f"{uri}/")

    def write(self, data: bytes, name: str) -> str:
        """Keep what an expression wrote; see `task.Files`."""
        uri = self.layout.file(hashlib.sha256(data).hexdigest(), name)
        if not self._written.get(uri):
            self.put(uri, data)
            self._written.put(uri, True)
        return uri

    def check_readable(self, uri: str) -> None:
        """Refuse a file or folder that expressions of this run may not read.

        :raises EvaluationError: naming it.
        """
        self._allow(uri)

    def _allow(self, uri: str) -> None:
        folder = uri if uri.endswith("/") else f"{uri}/"
        if {".", ".."} & set(uri.split("/")):  # no way to somewhere else in S3, but in what copies from it
            raise EvaluationError(f"{uri!r} has a . or .. in its path")
        if uri in self._readable_files or any(
            uri.startswith(prefix) or folder == prefix for prefix in self._readable_folders
        ):
            return
        if self._granted.covers(uri):
            return
        raise EvaluationError(
            f"this run may not read {uri}",
            hint="expressions read the run's own files and its inputs; readable_prefixes allows more",
        )

    # The run's own things.

    @patient
    def get(self, uri: str, *, limit: int | None = None) -> bytes | None:
        """An object's bytes, or None if there is none.

        :raises EvaluationError: if it has more bytes than ``limit``.
        :raises AwsError: if fewer bytes arrived than the object has.
        """
        bucket, key = split_uri(uri)
        with aws_errors("GetObject", uri):
            try:
                response = self._s3.get_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error_code(error) in ABSENT:
                    return None
                raise
            size = response["ContentLength"]
            if limit is not None and size > limit:
                response["Body"].close()
                raise EvaluationError(f"{uri} has {size} bytes, and an expression may read {limit} at most")
            data: bytes = response["Body"].read()
        if len(data) != size:
            raise AwsError(
                f"{uri}: {len(data)} of {size} bytes arrived", code="IncompleteReadError", operation="GetObject"
            )
        return data

    @patient
    def tail(self, uri: str, size: int) -> bytes:
        """The last ``size`` bytes of an object; nothing if it is empty or not there."""
        bucket, key = split_uri(uri)
        with aws_errors("GetObject", uri):
            try:
                response = self._s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{size}")
            except ClientError as error:
                if error_code(error) in ABSENT | {"InvalidRange", "416"}:
                    return b""
                raise
            data: bytes = response["Body"].read()
        return data[-size:]

    @patient
    def put(self, uri: str, data: bytes, content_type: str = "binary/octet-stream") -> None:
        """Write an object."""
        bucket, key = split_uri(uri)
        with aws_errors("PutObject", uri):
            self._s3.put_object(Bucket=bucket, Key=key, Body=data, ContentType=content_type)

    @patient
    def delete(self, uri: str) -> None:
        """Delete an object, if it is there."""
        bucket, key = split_uri(uri)
        with aws_errors("DeleteObject", uri):
            self._s3.delete_object(Bucket=bucket, Key=key)

    def get_json(self, uri: str) -> Any:
        """An object's JSON value, or None if there is no such object."""
        data = self.get(uri)
        return None if data is None else json.loads(data)

    def shared_json(self, name: str) -> Any:
        """The JSON value of a thing of the run's own as it is now, read once for all threads that ask at a time; not to
        be changed.
        """
        uri = self.layout.named(name)
        return _shared.get(uri, lambda: self.get_json(uri))

    def put_json(self, uri: str, value: Any) -> None:
        """Write a value as JSON."""
        self.put(uri, json.dumps(value, indent=1, ensure_ascii=False).encode(), "application/json")

    def published(self) -> dict[str, Any] | None:
        """What has been published of the run (see ``publishing.Published``); None if nothing has."""
        found: dict[str, Any] | None = self.get_json(self.layout.named(PUBLISHED))
        return found

    # The end of a run, and what undoes it.

    def write_outputs(self, outputs: dict[str, Any]) -> None:
        """Write the outputs of the run, which ends by it."""
        self.put_json(self.layout.named(OUTPUTS), outputs)
        self._drop(REOPENED)

    def reopen(self) -> None:
        """Record that calls of the run are run again, so that the outputs that there may be are no end of it.

        They stay: whoever was given them may read them until there are others.
        """
        self.put_json(self.layout.named(REOPENED), {})

    def forget_outputs(self) -> None:
        """Let the run have no outputs: those that there may be are of another run in the same folder."""
        self._drop(OUTPUTS)

    def _drop(self, name: str) -> None:
        # A role that may not delete does for a run that nobody begins again.
        if self.exists(self.layout.named(name)):
            self.delete(self.layout.named(name))

    def exists(self, uri: str) -> bool:
        """Whether there is such a file, or anything below such a folder; no allow rule is asked."""
        return self._size(uri, any_will_do=True) is not None

    def _size(self, uri: str, *, any_will_do: bool = False) -> int | None:
        if uri.endswith("/"):
            sizes = (size for _, size in self._list(uri, page=1 if any_will_do else 1000))
            first = next(sizes, None)
            return first if first is None or any_will_do else first + sum(sizes)
        found = self.version(uri)
        return None if found is None else found.size

    @patient
    def version(self, uri: str) -> Version | None:
        """What tells an object from one with other contents, or None if there is none; no allow rule is asked."""
        bucket, key = split_uri(uri)
        with aws_errors("HeadObject", uri):
            try:
                head = self._s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error_code(error) in ABSENT:
                    return None
                raise
        return Version(uri, int(head["ContentLength"]), str(head.get("ETag", "")).strip('"'))

    def _list(self, uri: str, page: int = 1000) -> Iterator[tuple[str, int]]:
        return ((found.uri, found.size) for found in self.versions(uri, page))

    def versions(self, uri: str, page: int = 1000) -> Iterator[Version]:
        """The files below a folder as `version` has them, in order of their keys; no allow rule is asked.

        :param page: how many S3 is asked for at a time.
        """
        bucket, _ = split_uri(uri)
        for found in self._pages(uri, MaxKeys=page):
            for item in found.get("Contents", ()):
                # A key that ends in a slash is a console's marker of an empty folder, not a file.
                if not item["Key"].endswith("/"):
                    tag = str(item.get("ETag", "")).strip('"')
                    yield Version(f"s3://{bucket}/{item['Key']}", int(item["Size"]), tag)

    def folders(self, uri: str) -> tuple[str, ...]:
        """The names of the folders right below a folder, whatever is in them; no allow rule is asked."""
        return tuple(name[:-1] for name in self.names(uri) if name.endswith("/"))

    def names(self, uri: str) -> tuple[str, ...]:
        """The names of the files and folders right below a folder, those of folders with a slash, in order; no allow
        rule is asked.
        """
        _, prefix = split_uri(uri)
        found: set[str] = set()
        for page in self._pages(uri, Delimiter="/"):
            found.update(item["Prefix"] for item in page.get("CommonPrefixes", ()))
            found.update(item["Key"] for item in page.get("Contents", ()))
        return tuple(name[len(prefix) :] for name in sorted(found) if name != prefix)

    def _pages(self, uri: str, **more: Any) -> Iterator[dict[str, Any]]:
        """The pages of a list of what is below a URI; one that fails is asked for again, and those before it are not.

        :param more: arguments of ListObjectsV2.
        """
        while True:
            page = self._page(uri, **more)
            yield page
            if not page.get("NextContinuationToken"):
                return
            more["ContinuationToken"] = page["NextContinuationToken"]

    @patient
    def _page(self, uri: str, **more: Any) -> dict[str, Any]:
        bucket, prefix = split_uri(uri)
        with aws_errors("ListObjectsV2", uri):
            page: dict[str, Any] = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
            return page

    def link(self, uri: str, *, seconds: int, filename: str) -> str:
        """An address from which anybody can download an object for so long, under this name; no allow rule is asked."""
        bucket, key = split_uri(uri)
        # The name goes as UTF-8 alone (RFC 6266): no character of it can end the header or its quotes.
        disposition = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        with aws_errors("GetObject", uri):
            return str(
                self._s3.generate_presigned_url(
                    "get_object",
                    Params={"Bucket": bucket, "Key": key, "ResponseContentDisposition": disposition},
                    ExpiresIn=seconds,
                )
            )

    # How an outermost scatter was divided among mapped instances (see ``scatter``).

    def write_division(self, section: str, division: dict[str, Any]) -> None:
        """Write how a scatter's ``shards`` are divided, how many in a ``chunk``; their ``labels``, if alone."""
        self.put_json(self.layout.named(f"scatters/{key_safe(section)}.json"), division)

    def read_division(self, section: str) -> dict[str, Any] | None:
        """How a scatter's shards are divided, or None if that is not known."""
        division: dict[str, Any] | None = self.shared_json(f"scatters/{key_safe(section)}.json")
        return division

    # What does not change, or only with its epoch.

    def plan(self, digest: str) -> Plan:
        """The plan with this digest.

        :raises AwsError: if it is not there.
        """
        plan = _plans.get(digest)
        if plan is None:
            uri = self.layout.plan(digest)
            data = self.get(uri)
            if data is None:
                raise AwsError(f"the run's plan {uri} is not there", code="NoSuchKey", operation="GetObject")
            plan = Plan.from_json(data, where=uri)
            _plans.put(digest, plan)
        assert isinstance(plan, Plan)
        return plan

    def put_plan(self, plan: Plan) -> None:
        """Write a plan, unless it is there."""
        uri = self.layout.plan(plan.digest)
        if not self.exists(uri):
            self.put(uri, plan.to_json(), "application/json")
        _plans.put(plan.digest, plan)

    def inputs(self, digest: str) -> dict[str, Any]:
        """The run's bound inputs; ``digest`` is that of their JSON, as ``run.json`` gives it.

        :raises AwsError: if they are not there.
        """
        key = (self.layout.folder, digest)
        inputs = _inputs.get(key)
        if inputs is None:
            uri = self.layout.named("inputs.json")
            inputs = self.get_json(uri)
            if inputs is None:
                raise AwsError(f"the run's inputs {uri} are not there", code="NoSuchKey", operation="GetObject")
            _inputs.put(key, inputs)
        assert isinstance(inputs, dict)
        return inputs

    def begun_shards(self, call: str) -> frozenset[str]:
        """The shards of a call (see `shard_key`) of which there is anything; read once for all that ask at a time."""
        uri = self.layout.call(call)
        return _shared.get(("begun", uri), lambda: frozenset(self.folders(uri)))

    def epoch(self, call: str) -> str:
        """What changes when successes of a call are cleared; the outputs read under one epoch stay true in it."""
        return str(self.shared_json(f"calls/{key_safe(call)}/epoch.json") or "")

    def begin_epoch(self, call: str, epoch: str) -> None:
        """Make every process forget the outputs of a call that it has read."""
        self.put_json(f"{self.layout.call(call)}epoch.json", epoch)

    def call_outputs(self, call: str, shard: Shard, epoch: str) -> dict[str, Any] | None:
        """A shard's outputs, or None if it has not succeeded."""
        uri = f"{self.layout.shard(call, shard)}outputs.json"
        known = _outputs.get((uri, epoch))
        if known is None:
            ledger = self.get_json(uri)
            if ledger is None:
                return None
            known = ledger["outputs"], ledger.get("files", ())
            _outputs.put((uri, epoch), known)
        outputs, files = known
        # What a hit of the call cache refers to is in the folder of another run.
        self._granted.add(files)
        assert isinstance(outputs, dict)
        return outputs
