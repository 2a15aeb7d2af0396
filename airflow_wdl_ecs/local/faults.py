"""What the embedded AWS does wrong on purpose, so that tests can see how a client bears it.

``PUT /_wdl/faults`` with a JSON object of `Faults` replaces all faults and ``GET`` shows what is left of them; the
header ``X-Wdl-Access-Key`` must hold the access key (`endpoint.Endpoint.set_faults` does it). An operation is named
as in ``/_wdl/stats`` (``ecs:DescribeTasks``, ``s3:GET``), or ``*`` for all. ``GET /_wdl/held`` lists the requests that
are held, and replacing the faults lets them go. This module decides; the front and the ECS do what it says.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Literal

import msgspec

FaultKind = Literal["spot", "host", "image_pull", "out_of_memory", "kill"]
RequestFaultKind = Literal["error", "hold", "drop", "truncate"]


class TaskFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens to a task.

    :param kind: ``spot`` (the task is interrupted: SIGTERM, then SIGKILL), ``host`` (its host is gone: no exit codes),
        ``image_pull`` (it never starts), ``out_of_memory`` (one container is killed, with ECS's reason), ``kill`` (one
        container is killed, without a reason).
    :param times: how many of the next tasks; meaningless with ``task``.
    :param after: seconds after RunTask, or after this request with ``task``.
    :param container: which container; for ``image_pull`` all by default, for the others ``command``.
    :param task: the ARN of a task that runs already; by default the next tasks are meant.
    :param says: more of ECS's reason for ``image_pull``, such as ``not found``.
    """

    kind: FaultKind
    times: int = 1
    after: float = 0.0
    container: str | None = None
    task: str | None = None
    says: str = ""


class RequestFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens to a request, or to its answer.

    :param operation: such as ``ecs:RunTask`` or ``s3:PUT``; ``*`` for all. :param key: what the path with its query
        (S3: ``partNumber=``, ``list-type=2``) or the body (the others) has to contain.
    :param kind: ``error`` (it is refused), ``hold`` (it waits until the faults are replaced), ``drop`` (its connection
        is closed), ``truncate`` (its connection is closed after half of the answer's body).
    :param after: carry it out first, and then do this to its answer.
    :param abandon: a request that was held is not carried out, or not answered, and its connection is closed; as if
        the client had died in time.
    :param code: of an error. :param status: of an error, HTTP.
    :param skip: how many such requests pass first. :param times: how many are meant then; None for all.
    :param rate: the share of them, from 0 to 1, that are meant.
    """

    operation: str
    kind: RequestFaultKind
    key: str = ""
    after: bool = False
    abandon: bool = False
    code: str = "InternalFailure"
    status: int = 500
    skip: int = 0
    times: int | None = 1
    rate: float = 1.0


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every fault at once.

    :param latency: operation -> seconds before it is answered.
    :param throttle: operation -> calls a second (and at once) beyond which it says ThrottlingException.
    :param run_task_failures: reasons that the next RunTask calls answer with, one call each, in place of a task; such
        as ``RESOURCE:MEMORY``, ``AGENT`` or ``Capacity is unavailable at this time``.
    :param missing_for: seconds after RunTask in which DescribeTasks and ListTasks do not know the task.
    :param stale_for: how many seconds old the states are that DescribeTasks tells. :param stale_rate: the share of its
        answers, from 0 to 1, that are so old; below 1, states come again, and out of order.
    :param clock_skew: seconds by which ECS's clock is ahead of everybody else's.
    :param forget_after: seconds after which a stopped task is forgotten, in place of the server's own setting.
    :param tasks: what happens to tasks. :param requests: what happens to requests; of several the first that is meant.
    """

    latency: dict[str, float] = {}
    throttle: dict[str, float] = {}
    run_task_failures: tuple[str, ...] = ()
    missing_for: float = 0.0
    stale_for: float = 0.0
    stale_rate: float = 1.0
    forget_after: float | None = None
    clock_skew: float = 0.0
    tasks: tuple[TaskFault, ...] = ()
    requests: tuple[RequestFault, ...] = ()


class FaultDesk:
    """The faults that are in force. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults = Faults()
        self._tokens: dict[str, tuple[float, float]] = {}
        self._released = threading.Event()
        self._held: list[str] = []
        self._random = random.Random(0)  # noqa: S311 - the same faults in every run

    @property
    def now(self) -> Faults:
        """What is in force."""
        return self._faults

    def set(self, data: bytes) -> Faults:
        """Replace all faults. :raises msgspec.ValidationError: if ``data`` is no JSON of `Faults`."""
        faults = msgspec.json.decode(data, type=Faults)
        with self._lock:
            self._faults = faults
            self._tokens.clear()
            self._released.set()
            self._released = threading.Event()
            self._random.seed(0)
        return faults

    def take_request_fault(self, operation: str, key: str) -> RequestFault | None:
        """What is to happen to a request; it is used up by that.

        :param key: the path or the body.
        """
        with self._lock:
            for at, fault in enumerate(self._faults.requests):
                if fault.operation not in (operation, "*") or fault.key not in key or fault.times == 0:
                    continue
                if fault.skip:
                    self._replace(at, skip=fault.skip - 1)
                elif fault.rate >= 1 or self._random.random() < fault.rate:
                    self._replace(at, times=None if fault.times is None else fault.times - 1)
                    return fault
            return None

    def _replace(self, at: int, **changes: Any) -> None:
        requests = list(self._faults.requests)
        requests[at] = msgspec.structs.replace(requests[at], **changes)
        self._faults = msgspec.structs.replace(self._faults, requests=tuple(requests))

    def hold(self, what: str) -> None:
        """Wait until the faults are replaced."""
        with self._lock:
            released = self._released
            self._held.append(what)
        released.wait()
        with self._lock:
            self._held.remove(what)

    def held(self) -> list[str]:
        """The requests that wait."""
        with self._lock:
            return list(self._held)

    def latency(self, operation: str) -> float:
        """Seconds to wait before answering."""
        latency = self._faults.latency
        return latency.get(operation, latency.get("*", 0.0))

    def age_of_states(self) -> float:
        """How many seconds old the states of one answer are."""
        with self._lock:
            faults = self._faults
            stale = faults.stale_rate >= 1 or self._random.random() < faults.stale_rate
            return faults.stale_for if stale else 0.0

    def throttled(self, operation: str) -> bool:
        """Whether a call of the operation is one too many; a bucket of one second's calls."""
        rates = self._faults.throttle
        rate = rates.get(operation, rates.get("*"))
        if rate is None:
            return False
        with self._lock:
            now = time.monotonic()
            tokens, last = self._tokens.get(operation, (rate, now))
            tokens = min(rate, tokens + (now - last) * rate)
            self._tokens[operation] = (tokens - 1 if tokens >= 1 else tokens, now)
            return tokens < 1

    def take_run_task_failure(self) -> str | None:
        """The reason that this RunTask call fails with, if it is to fail; it is used up."""
        with self._lock:
            reasons = self._faults.run_task_failures
            if not reasons:
                return None
            self._faults = msgspec.structs.replace(self._faults, run_task_failures=reasons[1:])
            return reasons[0]

    def take_task_faults(self) -> list[TaskFault]:
        """What is to happen to the task that is being started; each is used up by one."""
        with self._lock:
            taken = [fault for fault in self._faults.tasks if fault.task is None]
            left: list[Any] = [
                msgspec.structs.replace(fault, times=fault.times - 1) for fault in taken if fault.times > 1
            ]
            self._faults = msgspec.structs.replace(self._faults, tasks=tuple(left))
            return taken
