"""The border to AWS clients: their errors become this package's, and their blocking calls get threads.

boto3 clients are thread-safe, so asynchronous code calls them in a bounded pool of threads of its own; the
interpreter's default pool is left to the host. This module imports botocore's exceptions and nothing else of AWS; which
clients there are, and with which credentials, is the host's business (`Clients`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from .errors import AwsError, SettingsError, WdlEcsError

Clients = Callable[[str], Any]
"""AWS service name -> boto3 client. It may block, and gives the same client when asked again."""

T = TypeVar("T")

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
    }
)
"""Error codes with which AWS asks to be asked more slowly."""

TRANSIENT = frozenset(
    {"ServerException", "InternalError", "InternalFailure", "ServiceUnavailable", "500", "502", "503"}
)
"""Error codes of AWS's own failures; the same request may succeed later."""

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
        self.evaluation = ThreadPoolExecutor(max_workers=4, thread_name_prefix="wdl-ecs-evaluation")


_pools = _Pools()


async def in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call something that blocks on AWS, in the pool of AWS calls."""
    return await asyncio.get_running_loop().run_in_executor(_pools.io, partial(function, *args, **kwargs))


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
