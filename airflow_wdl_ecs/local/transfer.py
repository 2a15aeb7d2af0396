"""Files between this machine and the embedded S3.

An upload's key is made of where the file lies and of the size and time of all files that are uploaded from its folder:
files side by side stay side by side (an index beside its BAM), files of the same name stay apart, what has not changed
is not uploaded again, and what a run was given never changes under it.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..aws import aws_errors
from ..errors import AwsError, InputsError, Problem
from ..layout import split_uri

THREADS = 8
CHUNK = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A file to be put at a key; without a path, the mark of an empty folder."""

    path: Path | None
    key: str
    size: int = 0


def plan_uploads(paths: Iterable[str], bucket: str) -> tuple[dict[str, str], list[Upload]]:
    """Where local files and folders go.

    :param paths: absolute paths.
    :return: each path's URI (a folder's ends with ``/``), and what has to be there.
    :raises InputsError: for paths that cannot be read.
    """
    uris: dict[str, str] = {}
    uploads: list[Upload] = []
    problems: list[Problem] = []
    beside: dict[Path, list[Path]] = defaultdict(list)
    for text in sorted(set(paths)):
        path = Path(text)
        if path.is_dir():
            try:
                prefix, found = _folder_uploads(path)
            except OSError as error:
                problems.append(Problem(f"{error.filename}: {error.strerror}"))
                continue
            uploads += found
            uris[text] = f"s3://{bucket}/{prefix}"
        elif os.access(path, os.R_OK):
            beside[path.parent].append(path)
        else:
            problems.append(Problem(f"{path}: {'not readable' if path.exists() else 'no such file'}"))
    if problems:
        raise InputsError(problems)
    for folder, files in beside.items():
        sizes = {path: path.stat().st_size for path in files}
        prefix = f"uploads/{_digest(folder, files)}/"
        for path in files:
            uris[str(path)] = f"s3://{bucket}/{prefix}{path.name}"
            uploads.append(Upload(path, f"{prefix}{path.name}", sizes[path]))
    return uris, uploads


def _folder_uploads(folder: Path) -> tuple[str, list[Upload]]:
    files = sorted(_files_below(folder))
    prefix = f"uploads/{_digest(folder, files)}/{folder.name or 'root'}/"
    uploads = [Upload(path, prefix + path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]
    return prefix, uploads or [Upload(None, prefix)]


def _files_below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for parent, _, names in os.walk(folder, onerror=refuse, followlinks=False):
        for name in names:
            path = Path(parent, name)
            if path.is_file():
                yield path


def _digest(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256(f"{folder}\n".encode())
    for path in files:
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def upload(s3: Any, bucket: str, uploads: Sequence[Upload]) -> int:
    """Put what is not there yet; the number of bytes that were sent."""

    def put(wanted: Upload) -> int:
        if _is_there(s3, bucket, wanted):
            return 0
        with aws_errors("PutObject", f"s3://{bucket}/{wanted.key}"):
            if wanted.path is None:
                s3.put_object(Bucket=bucket, Key=wanted.key, Body=b"")
            else:
                with wanted.path.open("rb") as body:
                    s3.put_object(Bucket=bucket, Key=wanted.key, Body=body, ContentLength=wanted.size)
        return wanted.size

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(put, uploads))


def _is_there(s3: Any, bucket: str, wanted: Upload) -> bool:
    found = s3.list_objects_v2(Bucket=bucket, Prefix=wanted.key, MaxKeys=1).get("Contents", [])
    return any(item["Key"] == wanted.key and item["Size"] == wanted.size for item in found)


def download(s3: Any, targets: Mapping[str, str]) -> int:
    """Fetch files, and folders with all that is below them.

    :param targets: URI -> the local path where it is wanted; a folder's URI may end with ``/``.
    :return: the number of bytes.
    :raises AwsError: for a file that is not there, or did not arrive whole.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        wanted = [file for found in pool.map(lambda pair: _files_of(s3, *pair), targets.items()) for file in found]
        return sum(pool.map(lambda pair: _fetch(s3, *pair), wanted))


def _files_of(s3: Any, uri: str, target: str) -> list[tuple[str, Path]]:
    """What has to be fetched for a URI: the file itself, or all files of the folder, each with its path."""
    below = list(_below(s3, uri))
    if uri in below:
        return [(uri, Path(target))]
    folder = uri if uri.endswith("/") else f"{uri}/"
    files = [found for found in below if found.startswith(folder)]
    if not files and not uri.endswith("/"):
        raise AwsError(f"{uri} is not there", code="NoSuchKey", operation="GetObject")
    Path(target).mkdir(parents=True, exist_ok=True)
    return [(found, Path(target, found.removeprefix(folder))) for found in files]


def _below(s3: Any, uri: str) -> Iterator[str]:
    bucket, prefix = split_uri(uri)
    with aws_errors("ListObjectsV2", uri):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):
                    yield f"s3://{bucket}/{item['Key']}"


def _fetch(s3: Any, uri: str, target: Path) -> int:
    bucket, key = split_uri(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    size = 0
    with aws_errors("GetObject", uri):
        response = s3.get_object(Bucket=bucket, Key=key)
        with partial.open("wb") as file:
            for chunk in response["Body"].iter_chunks(CHUNK):
                size += file.write(chunk)
    if size != response["ContentLength"]:
        raise AwsError(f"{uri}: {size} of {response['ContentLength']} bytes arrived", operation="GetObject")
    partial.replace(target)
    return size
