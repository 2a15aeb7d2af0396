"""The input files of a run that are on the web: each is copied into the run's folder in S3, once, at its beginning.

All shards of all calls then have the one copy, by whichever tool they are staged, and what the server has afterwards
changes nothing. A file is streamed in parts of bounded size; a connection that breaks off is taken up where it was if
the server can do that. Who may start a run does not get what only Airflow's machines can reach: addresses that are not
public are asked only where the deployer names them. Everything blocks.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from .aws import aws_errors, patient
from .errors import InputsError, Problem, WdlEcsError
from .layout import split_uri
from .storage import RunStore
from .wdl.web import MustBePublic, NoUrlError, RefusedAddressError, is_web, open_url, shown

COPIES = "web.json"
"""What a run's folder has of its copies: digest of the URL -> where it is, its size and the server's ETag."""

AT_ONCE = 4
"""Files that are copied side by side; each takes memory for a part or two."""

PART = 16 * 1024 * 1024
"""Bytes of a part; the parts of what is very large are larger, since there are 10,000 at most (S3 user guide)."""

TRIES = 4
"""Times that a server is asked for what it has not given yet, for each piece that arrives."""

_SECONDS = 60
_LONGEST_NAME = 255
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


def copied(s3: Any, store: RunStore, urls: Iterable[str], *, named: Iterable[str] = ()) -> dict[str, str]:
    """Copy files of the web into the run's folder, unless they are there; where each is.

    :param urls: as the caller gave them.
    :param named: prefixes of URLs; what a prefix with a host names need not be where everybody can reach it.
    :raises InputsError: for every URL that no second try would give.
    :raises WdlEcsError: for a server that does not answer, or a connection that breaks off again and again.
    """
    wanted = sorted(set(urls))
    hosts = tuple(f"{prefix.rstrip('/')}/" for prefix in named if is_web(prefix) and not prefix.endswith("://"))
    where = _places(store, wanted)
    problems: list[Problem] = []
    known: dict[str, dict[str, Any]] = store.get_json(store.layout.named(COPIES)) or {}
    there = {url for url in wanted if _is_there(store, where[url], known.get(_digest(url)))}
    missing = [url for url in wanted if url not in there]
    errors: list[WdlEcsError] = []

    def public(url: str) -> bool:
        return not url.startswith(hosts)

    def copy(url: str) -> None:
        try:
            copy_of = _Source(url, public=public).copy_to(s3, where[url])
            known[_digest(url)] = {"uri": where[url], **copy_of}
        except InputsError as error:
            problems.extend(error.problems)
        except WdlEcsError as error:
            errors.append(error)

    if missing:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="wdl-ecs-web") as pool:
            list(pool.map(copy, missing))
        # Those that came are not fetched again by the next try.
        store.put_json(store.layout.named(COPIES), known)
    if problems:
        raise InputsError(sorted(problems, key=str))
    if errors:
        raise errors[0]
    return where


def _is_there(store: RunStore, uri: str, record: Mapping[str, Any] | None) -> bool:
    return record is not None and record.get("uri") == uri and store.size(uri) == record.get("size")


def _digest(url: str) -> str:
    """What stands for a URL in a record: what gives access to it may be in its query."""
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()


def _places(store: RunStore, urls: Sequence[str]) -> dict[str, str]:
    """Where the copies of files go: files of one folder of the web stand side by side, as an index and its data must.

    That goes for those with a query, too, which is each one's own where it gives access. So their place is by the
    queries of them all: a file that is named by another query is another file. Where the name is one for two of them,
    each has a place by itself.

    :raises InputsError: for those that have no name, or one that no file can have.
    """
    split: dict[str, _OfWeb] = {}
    problems: list[Problem] = []
    for url in urls:
        try:
            split[url] = _of_web(url)
        except InputsError as error:
            problems.extend(error.problems)
    if problems:
        raise InputsError(problems)
    asking = {url: found for url, found in split.items() if found.query}
    names = Counter((found.folder, found.name) for found in asking.values())
    queries: dict[str, list[str]] = {}
    for found in asking.values():
        if names[found.folder, found.name] == 1:
            queries.setdefault(found.folder, []).append(found.query)
    where = {}
    for url, found in split.items():
        alone = names[found.folder, found.name] > 1 or not found.query
        query = found.query if alone else "\n".join(sorted(queries[found.folder]))
        where[url] = store.layout.named(f"web/{_digest(f'{found.folder}?{query}')[:16]}/{found.name}")
    return where


class _OfWeb(NamedTuple):
    """A URL's folder with scheme and host, the file's name, and the query."""

    folder: str
    name: str
    query: str


def _of_web(url: str) -> _OfWeb:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        raise InputsError([Problem(f"no URL of a file: {shown(url)}")]) from None
    folder, _, last = parts.path.rpartition("/")
    name = urllib.parse.unquote(last)
    if not parts.hostname or name in ("", ".", "..") or "/" in name or not name.isprintable():
        raise InputsError([Problem(f"no URL of a file: {shown(url)}")])
    if len(name.encode(errors="surrogatepass")) > _LONGEST_NAME:
        raise InputsError([Problem(f"the name of the file is longer than {_LONGEST_NAME} bytes: {shown(url)}")])
    if parts.username or parts.password:
        raise InputsError(
            [Problem(f"a URL with a password in it would be shown in logs; copy the file to S3: {shown(url)}")]
        )
    return _OfWeb(f"{parts.scheme}://{parts.netloc}{folder}", name, parts.query)


class _BrokenOffError(Exception):
    """The connection has ended before the file has."""


class _Source:
    """A file of the web, read from its beginning to its end over as many connections as that takes.

    :param public: of its URL, or of one that it redirects to: whether that must be at a public address.
    """

    def __init__(self, url: str, *, public: MustBePublic) -> None:
        self.url = url
        self.public = public
        self.size: int | None = None
        self.etag = ""
        self._at = 0
        self._answer: Any = None

    def copy_to(self, s3: Any, uri: str) -> dict[str, Any]:
        """Copy it to S3; its size and ETag.

        :raises WdlEcsError: if it cannot be read or written.
        """
        parts = self._parts()
        try:
            first = next(parts, b"")
            if len(first) < PART:
                _put(s3, uri, first)
            else:
                _put_in_parts(s3, uri, _with_first(first, parts))
        finally:
            self._close()
        return {"size": self._at, "etag": self.etag}

    def _parts(self) -> Iterator[bytes]:
        """The contents in parts of `PART` bytes, later ones of more; the last one is shorter."""
        number = 0
        while True:
            wanted = PART * (1 + number // 1000)
            part = self._read(wanted)
            if part:
                yield part
            if len(part) < wanted:
                return
            number += 1

    def _read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end of the file."""
        found: list[bytes] = []
        missing, tries = size, 0
        while missing:
            try:
                piece = self._piece(min(missing, 1 << 20))
            except (_BrokenOffError, OSError, http.client.HTTPException) as error:
                self._close()
                tries += 1
                self._check_worth(error, tries)
                time.sleep(2 ** (tries - 1))
                continue
            if not piece:
                break
            tries = 0
            found.append(piece)
            missing -= len(piece)
        return b"".join(found)

    def _piece(self, size: int) -> bytes:
        if self._answer is None:
            self._open()
        piece: bytes = self._answer.read(size)
        if not piece and self.size is not None and self._at < self.size:
            raise _BrokenOffError(f"{self._at} of {self.size} bytes arrived")
        self._at += len(piece)
        return piece

    def _open(self) -> None:
        headers = {"Accept-Encoding": "identity", "User-Agent": "airflow-wdl-ecs"}
        if self._at:
            headers["Range"] = f"bytes={self._at}-"
            headers["If-Range"] = self.etag
        answer = self._answer = open_url(self.url, timeout=_SECONDS, public=self.public, headers=headers)
        if not self._at:
            length = answer.headers.get("Content-Length", "")
            self.size = int(length) if length.isdecimal() else None
            self.etag = answer.headers.get("ETag", "")
        elif answer.status != http.client.PARTIAL_CONTENT:
            raise _broken(self.url, "the file has changed while it was read")

    def _check_worth(self, error: Exception, tries: int) -> None:
        """Raise what an error means, unless it is worth to ask again.

        :raises InputsError: if it would be the same next time. :raises WdlEcsError: if it was asked often enough.
        """
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, Exception) else error
        said = f"cannot fetch {shown(self.url)}: {inner if isinstance(reason, Exception) else error}"
        if isinstance(inner, RefusedAddressError):
            raise InputsError(
                [Problem(said)], hint="where it is to be fetched from has to be in input_prefixes"
            ) from error
        if isinstance(inner, NoUrlError):
            raise InputsError([Problem(said)]) from error
        if isinstance(inner, ssl.SSLCertVerificationError):
            raise InputsError(
                [Problem(said)], hint="the server's certificate is not one that can be trusted"
            ) from error
        if isinstance(error, urllib.error.HTTPError) and error.code not in _TRANSIENT:
            raise InputsError([Problem(said)]) from error
        if self._at and (not self.etag or self.etag.startswith("W/")):
            raise _broken(self.url, f"{error} (the server cannot go on where it was)") from error
        if tries >= TRIES:
            raise _broken(self.url, str(inner)) from error

    def _close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None


def _broken(url: str, why: str) -> WdlEcsError:
    return WdlEcsError(f"cannot fetch {shown(url)}: {why}", hint="try again, or copy the file to S3")


def _with_first(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


@patient
def _put(s3: Any, uri: str, data: bytes) -> None:
    bucket, key = split_uri(uri)
    with aws_errors("PutObject", uri):
        s3.put_object(Bucket=bucket, Key=key, Body=data)


def _put_in_parts(s3: Any, uri: str, parts: Iterator[bytes]) -> None:
    where = _begin(s3, uri)
    done: list[dict[str, Any]] = []
    try:
        for number, part in enumerate(parts, 1):
            done.append({"PartNumber": number, "ETag": _put_part(s3, where, number, part)})
        with aws_errors("CompleteMultipartUpload", uri):
            s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    except BaseException:
        # What is left of it would cost money, and is not to be seen; whatever hinders that, the failure before counts.
        with suppress(WdlEcsError), aws_errors("AbortMultipartUpload", uri):
            s3.abort_multipart_upload(**where)
        raise


@patient
def _begin(s3: Any, uri: str) -> dict[str, str]:
    """Begin an upload in parts: what its other requests name it by."""
    bucket, key = split_uri(uri)
    with aws_errors("CreateMultipartUpload", uri):
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)
    return {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}


@patient
def _put_part(s3: Any, where: Mapping[str, Any], number: int, data: bytes) -> str:
    with aws_errors("UploadPart", f"s3://{where['Bucket']}/{where['Key']}"):
        return str(s3.upload_part(**where, PartNumber=number, Body=data)["ETag"])
