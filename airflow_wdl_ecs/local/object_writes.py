"""Answers plain PutObject requests in place of moto's HTTP layer, which takes four times as long for a small object.

Only what is plain: a body that is not sent in chunks, headers that say no more than its type, its metadata and its
checksum, and a bucket that has no versions, encryption or notifications. Everything else is moto's, and so is the
object.
"""

from __future__ import annotations

from typing import Any

from moto.s3.utils import metadata_from_headers
from werkzeug.datastructures import EnvironHeaders

from .s3_state import ObjectFolder

LARGEST = 8 * 1024 * 1024
"""Bytes of a body; of a larger one, moto's layer takes little of the time."""

_AMZ = "HTTP_X_AMZ_"
_PLAIN = frozenset({"DATE", "CONTENT_SHA256", "SDK_CHECKSUM_ALGORITHM", "SECURITY_TOKEN", "USER_AGENT"})
_PLAIN_BEGINNINGS = ("META_", "CHECKSUM_")
_UNLIKE = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_ORIGIN", "HTTP_TRANSFER_ENCODING", "HTTP_X_AMZ_TRAILER")


def is_plain_write(environ: dict[str, Any]) -> bool:
    """Whether a request may be answered here."""
    named = [name.removeprefix(_AMZ) for name in environ if name.startswith(_AMZ)]
    return (
        environ.get("REQUEST_METHOD") == "PUT"
        and environ.get("QUERY_STRING", "") in ("", "x-id=PutObject")
        and str(environ.get("CONTENT_LENGTH", "")).isdecimal()
        and int(environ["CONTENT_LENGTH"]) <= LARGEST
        and not any(name in environ for name in _UNLIKE)
        and "aws-chunked" not in environ.get("HTTP_CONTENT_ENCODING", "")
        and not environ.get("HTTP_X_AMZ_CONTENT_SHA256", "").startswith("STREAMING-")
        and all(name in _PLAIN or name.startswith(_PLAIN_BEGINNINGS) for name in named)
    )


def write_object(
    objects: ObjectFolder, bucket: str, name: str, environ: dict[str, Any]
) -> list[tuple[str, str]] | None:
    """Make the object of a plain request; the headers of the answer, or None, with nothing read, if moto is to answer.

    The object's files are written when this returns.
    """
    algorithm = environ.get("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", "")
    checksum = environ.get(f"{_AMZ}CHECKSUM_{algorithm.upper()}", "")
    if (algorithm and not checksum) or not objects.is_plain(bucket):
        return None
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    metadata = metadata_from_headers(dict(EnvironHeaders(environ)))
    key = objects.put(bucket, name, body, metadata, algorithm=algorithm, checksum=checksum)
    headers = [("ETag", key.etag), ("Last-Modified", key.last_modified_RFC1123), ("Content-Length", "0")]
    if checksum:
        headers.append((f"x-amz-checksum-{algorithm.lower()}", checksum))
    return headers
