"""What the embedded AWS does wrong on purpose, so that tests can see how a client bears it.

``PUT /_wdl/faults`` with a JSON object of `Faults` replaces all faults and ``GET`` shows what is left of them; the
header ``X-Wdl-Access-Key`` must hold the access key (`endpoint.Endpoint.set_faults` does it). An operation is named
as in ``/_wdl/stats`` (``ecs:DescribeTasks``, ``s3:GET``), or ``*`` for all. This module decides; the front and the
ECS do what it says.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Literal

import msgspec

FaultKind = Literal["spot", "host", "image_pull", "out_of_memory"]


class TaskFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens to a task.

    :param kind: ``spot`` (the task is interrupted: SIGTERM, then SIGKILL), ``host`` (its host is gone: no exit codes),
        ``image_pull`` (it never starts), ``out_of_memory`` (one container is killed, with ECS's reason).
    :param times: how many of the next tasks; meaningless with ``task``.
    :param after: seconds after RunTask, or after this request with ``task``.
    :param container: which container; for ``out_of_memory`` by default ``command``, for ``image_pull`` all.
    :param task: the ARN of a task that runs already; by default the next tasks are meant.
    """

    kind: FaultKind
    times: int = 1
    after: float = 0.0
    container: str | None = None
    task: str | None = None


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every fault at once.

    :param latency: operation -> seconds before it is answered.
    :param throttle: operation -> calls a second (and at once) beyond which it says ThrottlingException.
    :param run_task_failures: reasons that the next RunTask calls answer with, one call each, in place of a task; such
        as ``RESOURCE:MEMORY``, ``AGENT`` or ``Capacity is unavailable at this time``.
    :param missing_for: seconds after RunTask in which DescribeTasks and ListTasks do not know the task.
    :param stale_for: how many seconds old the states are that DescribeTasks tells.
    :param forget_after: seconds after which a stopped task is forgotten, in place of the server's own setting.
    :param tasks: what happens to tasks.
    """

    latency: dict[str, float] = {}
    throttle: dict[str, float] = {}
    run_task_failures: tuple[str, ...] = ()
    missing_for: float = 0.0
    stale_for: float = 0.0
    forget_after: float | None = None
    tasks: tuple[TaskFault, ...] = ()


class FaultDesk:
    """The faults that are in force. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults = Faults()
        self._tokens: dict[str, tuple[float, float]] = {}

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
        return faults

    def latency(self, operation: str) -> float:
        """Seconds to wait before answering."""
        latency = self._faults.latency
        return latency.get(operation, latency.get("*", 0.0))

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
