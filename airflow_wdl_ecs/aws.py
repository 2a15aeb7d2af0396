"""The border to AWS clients: their errors become this package's, and their blocking calls get threads.

boto3 clients are thread-safe, so asynchronous code calls them in a bounded pool of threads of its own; the
interpreter's default pool is left to the host. This module imports botocore's exceptions and nothing else of AWS; which
clients there are, and with which credentials, is the host's business (`Clients`).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from .errors import AwsError, SettingsError, WdlEcsError

Clients = Callable[[str], Any]
"""AWS service name -> boto3 client. It may block, and gives the same client when asked again."""

T = TypeVar("T")
P = ParamSpec("P")

THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "429",
    }
)
"""Error codes with which AWS asks to be asked more slowly."""

TRANSIENT = frozenset(
    {"ServerException", "InternalError", "InternalFailure", "ServiceUnavailable", "500", "502", "503", "504"}
    | {"InternalServerError", "InternalServerException", "ServiceUnavailableException"}
    | {"RequestTimeout", "RequestTimeoutException", "GatewayTimeout"}
)
"""Error codes of AWS's own failures; the same request may succeed later."""

_BROKEN = frozenset(
    {"ConnectionClosedError", "ConnectTimeoutError", "EndpointConnectionError", "HTTPClientError"}
    | {"IncompleteReadError", "ProxyConnectionError", "ReadTimeoutError", "ResponseStreamingError"}
    | {"ResponseParserError"}
)
"""Names of the client's errors for a connection that breaks off, before or in an answer, or that others answer."""

ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
"""Error codes of S3 for an object that is not there."""

PATIENCE = 120.0
"""Seconds for which what blocks on S3 and fails is tried again: a call may have run for hours."""

BRIEFLY = 15.0
"""Seconds that are waited for what does not matter much."""

_LONGEST_PAUSE = 10.0

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation", "NotAuthorized"})
_CREDENTIALS = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch"}
    | {"UnrecognizedClientException", "InvalidSignatureException", "AuthFailure"}
)
_HINTS = {
    "ClusterNotFoundException": "cluster names no active ECS cluster in this region and account",
    "NoSuchBucket": "the bucket does not exist; check workspace and the URIs of the inputs",
    "PlatformUnknownException": "the Fargate platform version is unknown in this region",
    "PlatformTaskDefinitionIncompatibilityException": "the Fargate platform does not take this task definition",
    "UnsupportedFeatureException": "the region or account does not offer this",
}


class _Pools:
    """The pools of threads; a forked process has the parent's pools without their threads, so it makes its own."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.io = ThreadPoolExecutor(max_workers=32, thread_name_prefix="wdl-ecs-aws")
        self.ecs = ThreadPoolExecutor(max_workers=16, thread_name_prefix="wdl-ecs-ecs")
        self.evaluation = ThreadPoolExecutor(max_workers=4, thread_name_prefix="wdl-ecs-evaluation")


_pools = _Pools()


async def in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call something that blocks on AWS, in the pool of AWS calls."""
    return await asyncio.get_running_loop().run_in_executor(_pools.io, partial(function, *args, **kwargs))


async def briefly(function: Callable[..., object], *args: Any) -> None:
    """As `in_thread`, for what nobody waits for longer than `BRIEFLY`: after that its thread goes on without us."""
    with suppress(TimeoutError, asyncio.TimeoutError):
        await asyncio.wait_for(in_thread(function, *args), BRIEFLY)


async def in_ecs_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call something that blocks on ECS, in a pool of its own.

    What waits in its thread until S3 answers again must hold up neither the stopping of tasks nor the looking at them.
    """
    return await asyncio.get_running_loop().run_in_executor(_pools.ecs, partial(function, *args, **kwargs))


async def in_evaluation_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call something that computes (and may read from S3), in the small pool for evaluations.

    Few threads are enough, since they share one interpreter lock; and they cannot hold up the waiting for tasks.
    """
    return await asyncio.get_running_loop().run_in_executor(_pools.evaluation, partial(function, *args, **kwargs))


def side_by_side(function: Callable[[Any], T], items: list[Any]) -> list[T]:
    """Call a blocking function for every item, many at once, in order; for code that is not asynchronous."""
    return list(_pools.io.map(function, items))


def error_code(error: BaseException) -> str:
    """The error code of a client's error: the API's, or the exception's name where no API answered."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def was_denied(error: WdlEcsError) -> bool:
    """Whether an error of this package is AWS's word that we may not do that."""
    return error.__cause__ is not None and error_code(error.__cause__) in _DENIED


def is_unanswered(error: WdlEcsError) -> bool:
    """Whether an error of this package means that AWS has not said what it was asked: it denied it, or could not be
    reached.
    """
    return was_denied(error) or (error.__cause__ is not None and error_code(error.__cause__) in _BROKEN)


@contextmanager
def aws_errors(operation: str, what: str = "") -> Iterator[None]:
    """Turn errors of AWS clients into this package's.

    :param operation: the API operation, such as ``RunTask``. :param what: its object, such as an S3 URI.
    :raises SettingsError: where a setting, a role or a connection is to blame.
    :raises AwsError: for everything else, with the API's code.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise mapped(error, operation, what) from error
    except ResponseParserError as error:
        # A proxy's page, for example; botocore quotes all of it.
        said = str(error).partition("\n")[0].rstrip(":")
        text = f"AWS did not answer {f'{operation} {what}'.strip()} in its own way: {said}"
        raise AwsError(text, code=error_code(error), operation=operation) from error


def patient(function: Callable[P, T]) -> Callable[P, T]:
    """Call a function again as long as AWS asks to be asked more slowly, and for a while if AWS fails by itself or the
    connection breaks off.

    It has to be one that may be carried out twice, and that maps its errors by `aws_errors`.
    """

    @wraps(function)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        deadline, pause = time.monotonic() + PATIENCE, 0.2
        while True:
            try:
                return function(*args, **kwargs)
            except AwsError as error:
                lasting = error.code not in TRANSIENT | _BROKEN or time.monotonic() > deadline
                if _impatient.get() or (lasting and error.code not in THROTTLED):
                    raise
            time.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)

    return again


_impatient: ContextVar[bool] = ContextVar("impatient", default=False)


@contextmanager
def impatient() -> Iterator[None]:
    """Within it, in this thread, nothing that is `patient` is tried again: for what nobody is to wait for."""
    before = _impatient.set(True)
    try:
        yield
    finally:
        _impatient.reset(before)


def on_bad_credentials(client: Any, do: Callable[[], None]) -> None:
    """Have something done whenever AWS does not take a boto3 client's credentials, or there are none.

    :param do: called in the thread of the request, before its error is raised.
    """

    def answered(parsed: dict[str, Any], **_: Any) -> None:
        if parsed.get("Error", {}).get("Code") in _CREDENTIALS:
            do()

    def failed(exception: Exception, **_: Any) -> None:
        if isinstance(exception, NoCredentialsError | PartialCredentialsError):
            do()

    client.meta.events.register("after-call", answered)
    client.meta.events.register("after-call-error", failed)


def mapped(error: ClientError | BotoCoreError, operation: str, what: str = "") -> WdlEcsError:
    """The error of this package that stands for a client's error."""
    code = error_code(error)
    said = str(error.response.get("Error", {}).get("Message", "")) if isinstance(error, ClientError) else str(error)
    subject = f"{operation} {what}".strip()
    text = f"AWS refused {subject}: {code}: {said}"
    if code in _DENIED:
        return SettingsError(text, hint=f"the role or user of the AWS connection needs permission for {subject}")
    if code in _CREDENTIALS or isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return SettingsError(text, hint="check the Airflow connection that aws_conn_id names")
    if isinstance(error, NoRegionError):
        return SettingsError(text, hint="set region, or give the AWS connection a region")
    if code in _HINTS:
        return SettingsError(text, hint=_HINTS[code])
    return AwsError(text, code=code, operation=operation)
