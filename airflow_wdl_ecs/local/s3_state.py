"""Keeps moto's S3 objects in files, so that they survive a restart, do not fill the memory, and can be sent in ranges.

``<folder>/<bucket>/<id>`` holds an object's bytes and ``<id>.json`` what moto must be told to have the object again:
its key, ETag, metadata and time. The second is written when the request that made the object has been answered; an
object without it is one that was never acknowledged. Versions of objects, tags and access lists do not survive a
restart.

moto is reached through two of its classes, replaced by `StoredKey` and `StoredMultipart`.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moto.s3.models as moto_s3
from moto.s3.exceptions import EntityTooSmall, InvalidPart, MalformedXML
from moto.settings import S3_UPLOAD_PART_MIN_SIZE

from .account import ACCOUNT

PARTS = ".parts"
_CHUNK = 4 * 1024 * 1024
_DETAILS = ("_etag", "checksum_value", "checksum_type", "checksum_parts", "checksum_algorithm", "_storage_class")


@dataclass(frozen=True)
class Pieces:
    """The parts of a multipart upload, to be joined into one object without being read into memory."""

    paths: tuple[Path, ...]

    def join(self, target: Path) -> None:
        """Write the object to ``target`` and remove the parts."""
        first, *rest = self.paths
        first.replace(target)
        with target.open("ab") as stream:
            for path in rest:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, stream, _CHUNK)
                path.unlink()


class StoredKey(moto_s3.FakeKey):
    """moto's object, or part of an upload, whose bytes are in a file."""

    folder: Path
    path: Path | None = None

    @property
    def value(self) -> bytes:
        """All bytes of the object."""
        return self.path.read_bytes() if self.path else b""

    @value.setter
    def value(self, content: bytes | str | Pieces) -> None:
        if isinstance(content, str):
            content = content.encode()
        folder = self.folder / (self.bucket_name or PARTS)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / uuid.uuid4().hex
        if isinstance(content, Pieces):
            content.join(self.path)
            self.contentsize = self.path.stat().st_size
            return
        if self._etag is None:
            self._etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self.path.write_bytes(content)
        self.contentsize = len(content)

    @property
    def etag(self) -> str:
        """The quoted ETag, known since the object was made."""
        return f'"{self._etag}"'

    def dispose(self, garbage: bool = False) -> None:
        """Remove the files; only when moto says that the object is gone, not when Python lets go of it."""
        super().dispose(garbage=False)
        if not garbage and self.path is not None:
            self.path.unlink(missing_ok=True)
            _sidecar(self.path).unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_value_buffer", "lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.lock = threading.Lock()

    def save(self) -> None:
        """Write down what is needed to have this object again."""
        assert self.path is not None
        details = {name: getattr(self, name) for name in _DETAILS}
        record = {
            "key": self.name,
            "details": details,
            "metadata": {name: str(value) for name, value in self._metadata.items()},
            "last_modified": self.last_modified.isoformat(),
        }
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(record))
        partial.replace(_sidecar(self.path))

    def restore_from(self, path: Path, record: Mapping[str, Any]) -> None:
        """Become the object that was saved at ``path``."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.path = path
        self.contentsize = path.stat().st_size
        self.__dict__.update(record["details"])
        self._metadata.update(record["metadata"])
        self.last_modified = datetime.datetime.fromisoformat(record["last_modified"])


class StoredMultipart(moto_s3.FakeMultipart):
    """moto's upload, which joins its parts on disk."""

    def complete(self, body: Iterator[tuple[int, str]]) -> tuple[Any, str, tuple[str, str, int] | None]:
        """The object's content, ETag and checksum. :raises ServiceException: for parts that are unknown or too
        small.
        """
        algorithm, kind = (self.metadata.get(f"x-amz-checksum-{name}") for name in ("algorithm", "type"))
        parts: list[StoredKey] = []
        for number, etag in body:
            part = self.parts.get(number)
            if not isinstance(part, StoredKey) or part.etag.strip('"') != etag.strip('"'):
                raise InvalidPart
            parts.append(part)
        if not parts:
            raise MalformedXML
        if any(part.contentsize < S3_UPLOAD_PART_MIN_SIZE for part in parts[:-1]):
            raise EntityTooSmall
        checksum = moto_s3.MultipartChecksumBuilder(algorithm, kind) if algorithm else None
        if checksum:
            for part in parts:
                checksum.addPart(part.value)
        digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        digest = hashlib.md5(digests, usedforsecurity=False).hexdigest()
        pieces = Pieces(tuple(part.path for part in parts if part.path))
        for part in parts:
            part.path = None  # moto disposes of the parts before it makes the object
        return pieces, f"{digest}-{len(parts)}", checksum.build() if checksum else None


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


class ObjectFolder:
    """The S3 objects of this process, in ``folder``; one for a process, since moto is one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._backend = moto_s3.s3_backends[ACCOUNT]["aws"]

    def install(self, region: str) -> int:
        """Make moto keep its objects here, and tell it of those that are here. Returns how many those are."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        StoredKey.folder = self._folder
        moto_s3.FakeKey = StoredKey  # type: ignore[misc]
        moto_s3.FakeMultipart = StoredMultipart  # type: ignore[misc]
        shutil.rmtree(self._folder / PARTS, ignore_errors=True)
        count = 0
        for bucket in sorted(self._folder.iterdir()):
            if bucket.is_dir():
                self.ensure_bucket(bucket.name, region)
                count += self._load(bucket)
        return count

    def _load(self, bucket: Path) -> int:
        known = set()
        for sidecar in bucket.glob("*.json"):
            path = sidecar.with_suffix("")
            if not path.exists():
                sidecar.unlink()
                continue
            record = json.loads(sidecar.read_text())
            key = self._backend.put_object(bucket.name, record["key"], b"", disable_notification=True)
            assert isinstance(key, StoredKey)
            key.restore_from(path, record)
            known.add(path)
        for path in bucket.iterdir():
            if path not in known and path.suffix != ".json":
                path.unlink()
        return len(known)

    def ensure_bucket(self, name: str, region: str) -> None:
        """Create a bucket unless it is there."""
        (self._folder / name).mkdir(exist_ok=True)
        if name not in self._backend.buckets:
            self._backend.create_bucket(name, region)

    def is_plain(self, bucket: str) -> bool:
        """Whether a bucket is there, and does nothing with an object that it is given but keep it."""
        found = self._backend.buckets.get(bucket)
        return found is not None and not (
            found.is_versioned
            or found.encryption
            or found.object_lock_enabled
            or found.notification_configuration
            or found.logging
        )

    def put(
        self,
        bucket: str,
        name: str,
        body: bytes,
        metadata: Mapping[str, str],
        *,
        algorithm: str = "",
        checksum: str = "",
    ) -> StoredKey:
        """Make an object of a plain bucket (see `is_plain`), and write it down.

        :param algorithm: of its checksum, if it has one, as in ``x-amz-sdk-checksum-algorithm``.
        """
        key = self._backend.put_object(
            bucket, name, body, storage="STANDARD", checksum_value=checksum or None, disable_notification=True
        )
        assert isinstance(key, StoredKey)
        key.set_metadata(metadata)
        key.set_acl(self._backend.buckets[bucket].acl)
        if algorithm:
            key.checksum_algorithm = algorithm
        if key.arn in self._backend.tagger.tags:
            self._backend.tagger.delete_all_tags_for_resource(key.arn)
        self._save(key)
        return key

    def key(self, bucket: str, name: str) -> StoredKey | None:
        """An object of a bucket without versions, if it is there."""
        found = self._backend.buckets.get(bucket)
        if found is None or found.is_versioned:
            return None
        key = found.keys.get(name)
        return key if isinstance(key, StoredKey) else None

    def changed(self, bucket: str, name: str) -> None:
        """Write down what a request that has just been answered changed: a bucket, or an object."""
        if not name:
            if bucket in self._backend.buckets:
                (self._folder / bucket).mkdir(exist_ok=True)
            elif bucket:
                shutil.rmtree(self._folder / bucket, ignore_errors=True)
            return
        key = self.key(bucket, name)
        if key is not None:
            self._save(key)

    @staticmethod
    def _save(key: StoredKey) -> None:
        with contextlib.suppress(FileNotFoundError):  # replaced meanwhile by another request
            key.save()
