"""The WSGI application in front of moto: lets in only those who know the access key, answers what the embedded ECS runs
itself, counts calls, and hands everything else to moto.

Loopback is no authentication (any user of the machine and any web page's script may connect), hence the key and the
check of the Host header. This module knows HTTP and no tasks.
"""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

import msgspec

from .ecs_api import EcsApi
from .faults import FaultDesk, RequestFault
from .journal import KEPT, Journal
from .object_reads import is_plain, read_object
from .object_writes import is_plain_write, write_object
from .s3_state import ObjectFolder
from .validation import ApiError

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

MAX_BODIES = 512 * 1024 * 1024
"""Bytes of uploads that are handled at a time; more wait, since moto reads each into memory."""

REMEMBERED = 10_000
"""Requests that are remembered: the latest."""

ECS_TARGET = "AmazonEC2ContainerServiceV20141113."
KEY_HEADER = "HTTP_X_WDL_ACCESS_KEY"
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[^/]+/([^/]+)/([^/]+)/aws4_request")
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
    503: "Slow Down",
}


class Room:
    """So many bytes at a time: whoever wants more waits; what is larger than all has it alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def room_for(self, length: int) -> Iterator[None]:
        """Hold ``length`` bytes."""
        length = min(length, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= length)
            self._free -= length
        try:
            yield
        finally:
            with self._changed:
                self._free += length
                self._changed.notify_all()


class Front:
    """See the module.

    :param access_key: the only key that is let in.
    :param nonce: what ``/_wdl/nonce`` answers, so that a client knows which server it talks to.
    """

    def __init__(
        self,
        moto: Application,
        api: EcsApi,
        objects: ObjectFolder,
        faults: FaultDesk,
        journal: Journal,
        *,
        access_key: str,
        nonce: str,
    ) -> None:
        self._moto = moto
        self._api = api
        self._objects = objects
        self._faults = faults
        self._journal = journal
        self._access_key = access_key
        self._nonce = nonce
        self._hosts: frozenset[str] = frozenset()
        self._uploads = Room(MAX_BODIES)
        self._moto_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self._requests: deque[dict[str, str]] = deque(maxlen=REMEMBERED)

    def listen(self, port: int) -> None:
        """Say which port this is, and so which Host headers are ours."""
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ.get("HTTP_HOST") not in self._hosts:
            return _text(start_response, 403, "Unknown Host header.")
        path = environ.get("PATH_INFO", "")
        key, region, service = _credential(environ)
        if not hmac.compare_digest(key.encode(), self._access_key.encode()):
            error = ApiError("UnrecognizedClientException", "The access key is not valid.", 403)
            return _refuse(environ, service, error, start_response)
        if path.startswith("/_wdl/"):
            return self._own(path, environ, start_response)
        return self._aws(path, service, region, environ, start_response)

    def _aws(
        self, path: str, service: str, region: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        method = environ.get("REQUEST_METHOD", "")
        operation = f"{service}:{target.rpartition('.')[2] or method}"
        with self._count_lock:
            self.calls[operation] += 1
            self._requests.append(
                {
                    "operation": operation,
                    "path": path,
                    "query": environ.get("QUERY_STRING", ""),
                    "agent": environ.get("HTTP_USER_AGENT", ""),
                }
            )
        time.sleep(self._faults.latency(operation))
        if self._faults.throttled(operation):
            error = ApiError("ThrottlingException", "Rate exceeded", 503 if service == "s3" else 400)
            return _refuse(environ, service, error, start_response)
        if self._faults.now.requests:
            query = environ.get("QUERY_STRING", "")
            key = _body(environ).decode(errors="replace") if target else f"{path}?{query}" if query else path
            fault = self._faults.take_request_fault(operation, key)
            if fault is not None:
                what = f"{operation} {target or path}"
                return self._faulty(fault, what, service, environ, start_response)
        return self._handled(path, service, region, environ, start_response)

    def _faulty(
        self, fault: RequestFault, what: str, service: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Do to a request what a fault says."""
        path, region = environ.get("PATH_INFO", ""), _credential(environ)[1]
        answered: list[tuple[str, list[tuple[str, str]]]] = []

        def keep(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            answered.append((status, headers))

        def handle() -> bytes:
            answer = self._handled(path, service, region, environ, keep)
            try:
                return b"".join(answer)
            finally:
                getattr(answer, "close", lambda: None)()

        body = handle() if fault.after or fault.kind == "truncate" else None
        if fault.kind == "hold":
            self._faults.hold(what)
            if not fault.abandon:
                body = handle() if body is None else body
                start_response(*answered[-1])
                return [body]
        elif fault.kind == "error":
            return _refuse(environ, service, ApiError(fault.code, "An injected fault.", fault.status), start_response)
        if fault.kind == "truncate" and body is not None and answered[-1][0].startswith("2") and body:
            start_response(*answered[-1])
            return _half(body, environ)
        _close(environ)
        raise ConnectionAbortedError(what)

    def _handled(
        self, path: str, service: str, region: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        target, method = environ.get("HTTP_X_AMZ_TARGET", ""), environ.get("REQUEST_METHOD", "")
        if path.startswith("/moto-api"):
            return _text(start_response, 404, "Not here.")
        if target.startswith(ECS_TARGET):
            return self._ecs(target.removeprefix(ECS_TARGET), region, environ, start_response)
        if target in KEPT:
            return self._keep(target, region, environ, start_response)
        if service == "s3":
            return self._s3(method, path, environ, start_response)
        return self._moto(environ, start_response)

    def _s3(self, method: str, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        bucket, _, name = path.lstrip("/").encode("latin-1").decode("utf-8", "replace").partition("/")
        if is_plain(environ) and name:
            key = self._objects.key(bucket, name)
            answer = read_object(key, environ) if key else None
            if answer is not None:
                start_response(answer.status, list(answer.headers))
                return answer
        with self._uploads.room_for(int(environ.get("CONTENT_LENGTH") or 0)):
            if name and is_plain_write(environ):
                headers = write_object(self._objects, bucket, name, environ)
                if headers is not None:
                    start_response("200 OK", headers)
                    return []
            answered = self._moto(environ, start_response)
            if method in ("PUT", "POST", "DELETE"):
                self._objects.changed(bucket, name)
            return answered

    def _ecs(self, operation: str, region: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            answer = self._api.answer(operation, json.loads(body or b"{}"), region)
        except ApiError as error:
            return _error(start_response, error)
        if answer is not None:
            return _json(start_response, 200, answer)
        environ["wsgi.input"] = io.BytesIO(body)
        if ECS_TARGET + operation in KEPT:
            return self._keep(ECS_TARGET + operation, region, environ, start_response)
        with self._moto_lock:  # moto's ECS is not made for threads
            return list(self._moto(environ, start_response))

    def _keep(self, target: str, region: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        statuses: list[str] = []

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            statuses.append(status)
            return start_response(status, headers)

        with self._moto_lock:
            answer = list(self._moto(environ, start))
            if statuses[-1].startswith("200"):
                self._journal.add(target, region, body)
            return answer

    def _own(self, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if path == "/_wdl/nonce":
            return _json(start_response, 200, {"nonce": self._nonce})
        if path == "/_wdl/stats":
            return _json(start_response, 200, {"calls": dict(self.calls)})
        if path == "/_wdl/requests":
            with self._count_lock:
                return _json(start_response, 200, list(self._requests))
        if path == "/_wdl/held":
            return _json(start_response, 200, self._faults.held())
        if path == "/_wdl/faults":
            return self._set_faults(environ, start_response)
        return _text(start_response, 404, "Not here.")

    def _set_faults(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ.get("REQUEST_METHOD")
        try:
            if method == "PUT":
                faults = self._faults.set(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
                for fault in faults.tasks:
                    if fault.task is not None:
                        self._api.apply(fault)
            elif method == "DELETE":
                self._faults.set(b"{}")
        except (msgspec.DecodeError, ApiError) as error:
            return _text(start_response, 400, str(error))
        return _send(start_response, 200, "application/json", msgspec.json.encode(self._faults.now))


def _body(environ: Environ) -> bytes:
    """The body of a request, which can be read again."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _close(environ: Environ) -> None:
    """Close the connection of a request, as far as its client is concerned."""
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def _half(body: bytes, environ: Environ) -> Iterator[bytes]:
    """Half of a body, and then nothing."""
    yield body[: len(body) // 2]
    _close(environ)
    raise ConnectionAbortedError


def _credential(environ: Environ) -> tuple[str, str, str]:
    """Access key, region and service of a request: of its signature, its presigned query, or this package's own
    header.
    """
    if KEY_HEADER in environ:
        return environ[KEY_HEADER], "", "wdl"
    match = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    if match is None:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        if "AWSAccessKeyId" in query:  # presigned in the old way, which only S3 has
            return query["AWSAccessKeyId"][0], "", "s3"
        match = _CREDENTIAL.search(f"Credential={query.get('X-Amz-Credential', [''])[0]}")
    return (match.group(1), match.group(2), match.group(3)) if match else ("", "", "")


_S3_CODES = {"UnrecognizedClientException": "InvalidAccessKeyId", "ThrottlingException": "SlowDown"}


def _refuse(environ: Environ, service: str, error: ApiError, start_response: StartResponse) -> list[bytes]:
    """An error in the protocol of the service: JSON for those with a target header, XML for the others."""
    if "HTTP_X_AMZ_TARGET" in environ:
        return _error(start_response, error)
    code = _S3_CODES.get(error.code, error.code) if service == "s3" else error.code
    text = f"<Error><Code>{code}</Code><Message>{error.message}</Message></Error>"
    if service != "s3":
        text = f"<ErrorResponse>{text}</ErrorResponse>"
    return _send(start_response, error.status, "application/xml", text.encode())


def _json(start_response: StartResponse, status: int, value: Any) -> list[bytes]:
    return _send(start_response, status, "application/x-amz-json-1.1", json.dumps(value).encode())


def _text(start_response: StartResponse, status: int, text: str) -> list[bytes]:
    return _send(start_response, status, "text/plain", text.encode())


def _error(start_response: StartResponse, error: ApiError) -> list[bytes]:
    return _json(start_response, error.status, {"__type": error.code, "message": error.message, **error.members})


def _send(start_response: StartResponse, status: int, kind: str, body: bytes) -> list[bytes]:
    start_response(
        f"{status} {_REASONS.get(status, 'Error')}", [("Content-Type", kind), ("Content-Length", str(len(body)))]
    )
    return [body]
