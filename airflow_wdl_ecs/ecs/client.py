"""`EcsClient`: the ECS API as the call lifecycle uses it, asynchronous and paced.

Throttling never fails a call: the operation's bucket slows down and the request is made again. A connection that
breaks is tried again for some minutes, since a call may have run for hours. Every other refusal becomes an error of
this package. There is one `EcsClient` per boto3 client and event loop (`ecs_client`), and those of one account and
region share their buckets, as AWS counts, and the slots of tasks in flight: whatever connection a call has, and
however often its client is made anew. This module knows no call, no run and no S3.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from ..aws import THROTTLED, TRANSIENT, error_code, in_ecs_thread, mapped
from ..errors import AwsError, WdlEcsError
from ..task import TaskHandle
from .governor import Clock, Sleep, Slots, TokenBucket
from .request import TaskDefinition

RATES = {
    "run_task": (40.0, 100.0),
    "stop_task": (40.0, 100.0),
    "describe_tasks": (20.0, 100.0),
    "list_tasks": (20.0, 100.0),
    "describe_task_definition": (20.0, 50.0),
    "register_task_definition": (1.0, 20.0),
}
"""Calls a second and burst per operation (Amazon ECS API reference, "Request throttling")."""

PATIENCE = 600.0
"""Seconds for which a broken connection, or a failure of AWS's own, is tried again."""

DESCRIBE_AT_ONCE = 100
"""Tasks per DescribeTasks at most."""

_LONGEST_PAUSE = 20.0
_TOO_MANY = re.compile(r"too many concurrent|rate exceeded", re.IGNORECASE)
"""What ECS says of throttling under a code that may mean anything: of a definition that others register, say."""
_CAPACITY_PAUSES = (5.0, 60.0)
_CAPACITY = re.compile(
    r"RESOURCE|\bAGENT\b|capacity|limit on the number of (tasks|vcpus)|You've reached the limit|no container instances",
    re.IGNORECASE,
)
_ANSWERS = {
    "run_task": ("tasks", "failures"),
    "describe_tasks": ("tasks", "failures"),
    "list_tasks": ("taskArns",),
    "describe_task_definition": ("taskDefinition",),
    "register_task_definition": ("taskDefinition",),
}
"""What an answer has some of. botocore takes one that was cut short, which is no JSON, for one that has nothing."""

_OPERATIONS = {name: "".join(word.capitalize() for word in name.split("_")) for name in RATES}


@dataclass(frozen=True)
class StartedTask:
    """What RunTask has given.

    :param handle: the task. :param earlier: whether another RunTask of the same attempt, which differed from this one
        (an earlier try's), had started it.
    """

    handle: TaskHandle
    earlier: bool = False


class EcsClient:
    """The ECS operations of one boto3 client, on one event loop.

    :param client: a boto3 ECS client.
    """

    def __init__(self, client: Any, *, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep) -> None:
        self.counts: Counter[str] = Counter()
        """How often each operation was called, by boto3's name."""
        self.slots = Slots()
        """What is in flight in the account and region; before an answer has told which they are, see `ecs_client`."""
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._buckets = {
            name: TokenBucket(rate, burst, clock=clock, sleep=sleep) for name, (rate, burst) in RATES.items()
        }
        self._account = ""
        self._definitions: dict[str, asyncio.Future[str]] = {}

    def rate(self, operation: str) -> float:
        """Calls a second that an operation, by boto3's name, is paced to at present."""
        return self._buckets[operation].rate

    async def run_task(
        self,
        arguments: Mapping[str, Any],
        *,
        capacity_timeout: float,
        on_wait: Callable[[str], None] = lambda reason: None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> StartedTask:
        """Start one task, unless it was started before; while there is no capacity for it, ask again.

        :param arguments: RunTask's, with a clientToken, so that asking again cannot start a second task.
        :param capacity_timeout: seconds to go on asking.
        :param on_wait: told why, the first time that there is no capacity.
        :param wanted: whether to ask again at all.
        :raises AwsError: if ECS refuses; its ``code`` is ``CapacityError`` if there was no capacity for that long.
        :raises SettingsError: if a setting is to blame.
        """
        begun = self._clock()
        deadline = begun + capacity_timeout
        pause, longest = _CAPACITY_PAUSES
        told = False
        while True:
            started, reason = await self._run_task_once(arguments)
            if started is not None:
                return started
            left = deadline - self._clock()
            if left > 0 and wanted():
                if not told:
                    on_wait(reason)
                    told = True
                await self._sleep(min(pause, left))
            if left <= 0 or not wanted():
                raise AwsError(
                    f"no capacity for {self._clock() - begun:.0f} s: {reason}",
                    code="CapacityError",
                    operation="RunTask",
                    hint="capacity_timeout says for how long to go on asking",
                )
            pause = min(pause * 1.5, longest)

    async def _run_task_once(self, arguments: Mapping[str, Any]) -> tuple[StartedTask | None, str]:
        """The started task, or None and why there is no capacity for it."""
        try:
            response = await self._call("run_task", **arguments)
        except AwsError as error:
            for arn in _tasks_of_token(error):
                return StartedTask(TaskHandle(arn, str(arguments["cluster"])), earlier=True), ""
            if _CAPACITY.search(error.message) and error.code not in ("InvalidParameterException",):
                return None, error.message
            raise
        for task in response.get("tasks", ()):
            return StartedTask(TaskHandle(arn=task["taskArn"], cluster=str(arguments["cluster"]))), ""
        failures = response.get("failures") or [{"reason": "no task and no reason"}]
        reasons = "; ".join(
            dict.fromkeys(": ".join(filter(None, (f.get("reason"), f.get("detail")))) for f in failures)
        )
        if _CAPACITY.search(reasons):
            return None, reasons
        raise AwsError(
            f"ECS did not start the task: {reasons}", code=failures[0].get("reason", ""), operation="RunTask"
        )

    async def describe_tasks(self, cluster: str, arns: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Up to 100 tasks by their ARNs; None for one that ECS does not know."""
        response = await self._call("describe_tasks", cluster=cluster, tasks=list(arns))
        found: dict[str, dict[str, Any] | None] = dict.fromkeys(arns)
        found.update((task["taskArn"], task) for task in response.get("tasks", ()))
        return found

    async def stop_task(self, handle: TaskHandle, reason: str) -> dict[str, Any]:
        """Stop a task; one that ECS does not know, or that has ended, is as good as stopped.

        :return: the task as ECS has it then; empty if ECS does not know it.
        """
        try:
            # 1,024 characters of reason are taken; the console shows about this many.
            answer = await self._call("stop_task", cluster=handle.cluster, task=handle.arn, reason=reason[:255])
            return dict(answer.get("task") or {})
        except AwsError as error:
            if error.code not in ("InvalidParameterException", "ClientException"):
                raise
            if "not found" not in error.message and "not exist" not in error.message:
                raise
            return {}

    async def list_tasks(self, cluster: str, started_by: str) -> list[str]:
        """The ARNs of the tasks with this ``startedBy`` that are to run."""
        arns: list[str] = []
        token: dict[str, str] = {}
        while True:
            response = await self._call("list_tasks", cluster=cluster, startedBy=started_by, **token)
            arns += response.get("taskArns", ())
            if not response.get("nextToken"):
                return arns
            token = {"nextToken": response["nextToken"]}

    async def register_task_definition(self, definition: TaskDefinition) -> str:
        """The ARN of the definition, registered if it is not there; many may ask at once, and one looks."""
        future = self._definitions.get(definition.family)
        if future is None:
            future = asyncio.ensure_future(self._register(definition))
            self._definitions[definition.family] = future
        try:
            return await asyncio.shield(future)
        except Exception:
            self._definitions.pop(definition.family, None)
            raise

    def forget_task_definition(self, definition: TaskDefinition) -> None:
        """Look for a definition again when it is needed next: somebody has deregistered it."""
        self._definitions.pop(definition.family, None)

    async def _register(self, definition: TaskDefinition) -> str:
        try:
            found = await self._call("describe_task_definition", taskDefinition=definition.family)
            if found["taskDefinition"].get("status", "ACTIVE") == "ACTIVE":
                return str(found["taskDefinition"]["taskDefinitionArn"])
        except AwsError as error:
            # ECS says ClientException ("Unable to describe task definition") for a family that is not there.
            if error.code not in ("ClientException", "InvalidParameterException"):
                raise
        made = await self._call("register_task_definition", **definition.arguments)
        return str(made["taskDefinition"]["taskDefinitionArn"])

    async def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation at the pace of its bucket, again as long as that may help.

        :raises AwsError: or SettingsError, as `aws.mapped` decides.
        """
        bucket = self._buckets[name]
        pause, broken_since = 0.5, None
        while True:
            taken = await bucket.take()
            self.counts[name] += 1
            broken: WdlEcsError | None = None
            try:
                response: dict[str, Any] = await in_ecs_thread(getattr(self._client, name), **arguments)
            except (ClientError, BotoCoreError) as error:
                code = error_code(error)
                if code in THROTTLED or (code == "ClientException" and _TOO_MANY.search(str(error))):
                    bucket.throttled(taken)
                elif code in TRANSIENT or isinstance(error, HTTPClientError | ConnectionError):
                    broken = mapped(error, _OPERATIONS[name])
                    broken.__cause__ = error
                else:
                    raise mapped(error, _OPERATIONS[name]) from error
            else:
                bucket.succeeded()
                if name not in _ANSWERS or any(part in response for part in _ANSWERS[name]):
                    self._share(response)
                    return response
                what = _OPERATIONS[name]
                broken = AwsError(f"the answer to {what} was cut short", code="IncompleteReadError", operation=what)
            if broken is not None:
                broken_since = broken_since or self._clock()
                if self._clock() - broken_since > PATIENCE:
                    raise broken
            # Half of the pause is random, so that those who were refused together do not come back together.
            await self._sleep(pause * (0.5 + random.random() / 2))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _share(self, response: Mapping[str, Any]) -> None:
        """Use the buckets and slots of the account and region, once an answer has said which they are.

        Slots that are held go back to where they were taken.
        """
        if self._account or not (account := _account_of(response)):
            return
        self._account = account
        of_loop = _accounts.setdefault(asyncio.get_running_loop(), {})
        if account not in of_loop:
            presumed = any(self.slots is other.slots for other in of_loop.values())
            of_loop[account] = _Account(self._buckets, Slots() if presumed else self.slots)
        self._buckets, self.slots = of_loop[account].buckets, of_loop[account].slots

    @property
    def endpoint(self) -> str:
        """Where the boto3 client sends its requests: of AWS, one address for each region; empty if it does not say."""
        return str(getattr(getattr(self._client, "meta", None), "endpoint_url", ""))


@dataclass(frozen=True)
class _Account:
    """What all clients of one account and region share."""

    buckets: dict[str, TokenBucket]
    slots: Slots


_accounts: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Account]] = WeakKeyDictionary()


def _account_of(response: Mapping[str, Any]) -> str:
    """The partition, region and account (``arn:aws:ecs:us-east-1:123456789012``) of what an answer tells of."""
    arns = [
        response.get("taskDefinition", {}).get("taskDefinitionArn", ""),
        *(task.get("taskArn", "") for task in response.get("tasks", ())),
        *response.get("taskArns", ()),
    ]
    heads = (arn.split(":")[:5] for arn in arns)
    return next((":".join(head) for head in heads if len(head) == 5 and all(head)), "")


def _tasks_of_token(error: AwsError) -> list[str]:
    """The tasks that a RunTask with the same clientToken and other parameters has started (ConflictException)."""
    if error.code != "ConflictException" or not isinstance(error.__cause__, ClientError):
        return []
    response: dict[str, Any] = dict(error.__cause__.response)
    return [str(arn) for arn in response.get("resourceIds", ())]


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, EcsClient]] = WeakKeyDictionary()


def ecs_client(client: Any) -> EcsClient:
    """The `EcsClient` of a boto3 client on the running event loop: one for all who ask.

    A new one takes its slots from the latest with the same endpoint, since it is nearly always of the same account,
    with other credentials; if its first answer tells of another account, it goes on with that one's.
    """
    of_loop = _clients.setdefault(asyncio.get_running_loop(), {})
    # The EcsClient holds its boto3 client, so the id stays that client's own.
    found = of_loop.get(id(client))
    if found is None:
        found = EcsClient(client)
        before = [other for other in of_loop.values() if found.endpoint and other.endpoint == found.endpoint]
        if before:
            found.slots = before[-1].slots
        of_loop[id(client)] = found
    return found
