"""Answers plain GetObject requests from files, whole or in ranges, in place of moto, which reads whole objects into
memory; and plain HeadObject requests, of which some tools send one before each download, in less time than moto takes.

Only what is plain: no query, no conditions but ``If-Match``, one range, and no checksum asked of HeadObject. Everything
else is moto's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .s3_state import StoredKey

_CHUNK = 1024 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE")
_NOT_OF_HEAD = ("HTTP_RANGE", "HTTP_IF_MATCH", "HTTP_X_AMZ_CHECKSUM_MODE")


@dataclass(frozen=True)
class ObjectRead:
    """An answer: status, headers, and which bytes of which open file."""

    status: str
    headers: tuple[tuple[str, str], ...]
    stream: BinaryIO
    start: int
    length: int

    def __iter__(self) -> Iterator[bytes]:
        self.stream.seek(self.start)
        left = self.length
        while left and (chunk := self.stream.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        """Called by the WSGI server when the answer is sent."""
        self.stream.close()


def is_plain(environ: dict[str, str]) -> bool:
    """Whether a request may be answered here."""
    query = environ.get("QUERY_STRING", "")
    unlike = _CONDITIONS if environ.get("REQUEST_METHOD") == "GET" else (*_CONDITIONS, *_NOT_OF_HEAD)
    return (
        environ.get("REQUEST_METHOD") in ("GET", "HEAD")
        and query in ("", "x-id=GetObject")
        and not any(condition in environ for condition in unlike)
    )


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and number of bytes of a Range header (RFC 9110, section 14.1.2); None if it is not one satisfiable
    range.
    """
    if header is None:
        return 0, size
    match = _RANGE.fullmatch(header)
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        length = min(int(last), size)
        return (size - length, length) if length else None
    end = min(int(last), size - 1) if last else size - 1
    return (int(first), end - int(first) + 1) if int(first) <= end else None


def read_object(key: StoredKey, environ: dict[str, str]) -> ObjectRead | None:
    """The answer to a plain request for an object, or None if moto is to answer."""
    wanted = byte_range(environ.get("HTTP_RANGE"), key.contentsize)
    if wanted is None or environ.get("HTTP_IF_MATCH", key.etag).strip('"') != key.etag.strip('"'):
        return None
    start, length = wanted
    try:
        stream = Path(str(key.path)).open("rb")  # noqa: SIM115 - closed when the answer is sent
    except FileNotFoundError:
        return None
    headers = [
        ("ETag", key.etag),
        ("Last-Modified", key.last_modified_RFC1123),
        ("Accept-Ranges", "bytes"),
        ("Content-Length", str(length)),
        ("x-amz-version-id", "null"),
    ]
    headers += [(name, str(value)) for name, value in key.metadata.items()]
    if "HTTP_RANGE" in environ:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{key.contentsize}"))
    status = "206 Partial Content" if "HTTP_RANGE" in environ else "200 OK"
    return ObjectRead(status, tuple(headers), stream, start, 0 if environ["REQUEST_METHOD"] == "HEAD" else length)
