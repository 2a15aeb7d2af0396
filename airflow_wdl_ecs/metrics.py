"""What ECS tasks have used and cost, as Airflow's metrics: for StatsD, Prometheus, OpenTelemetry or Datadog, as the
deployment has set Airflow up.

Each attempt is counted once, when the host that has waited for its end has recorded it; a host that dies between the
two counts nothing. What is not known is not sent. Nothing here fails or delays a call.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

from .attempts import Attempt
from .aws import in_thread
from .cost import capacity_of, cost_of
from .plan import Shard
from .price_file import prices_or_none
from .prices import Prices
from .run import Run
from .task import TaskRequest

PREFIX = "wdl_ecs"
PATIENCE = 5.0
"""Seconds that the end of a call waits for its metrics to be sent."""

_HOUR = 3600
_MICROS = 1_000_000


class Metric(NamedTuple):
    """A counter of Airflow's and what is added to it."""

    name: str
    amount: float
    tags: dict[str, str]


def metrics_of(attempt: Attempt, prices: Prices, *, dag_id: str, call: str) -> Iterator[Metric]:
    """The metrics of an attempt that has ended.

    ``wdl_ecs.attempts`` in any case. Where its hours are known, ``wdl_ecs.vcpu_seconds`` and
    ``wdl_ecs.memory_gb_seconds``; where it has such, ``wdl_ecs.storage_gb_seconds`` (Fargate's ephemeral storage beyond
    20 GiB), ``wdl_ecs.ebs_gb_seconds`` and ``wdl_ecs.gpu_seconds``. Where it has a price, ``wdl_ecs.cost_micros``, in
    millionths of the currency, which is one of its tags.
    """
    tags = {"dag_id": dag_id, "call": call, "capacity": capacity_of(attempt) or "unknown"}
    yield Metric(f"{PREFIX}.attempts", 1, {**tags, "outcome": str(attempt.kind)})
    cost = cost_of(attempt, prices)
    hours = {
        "vcpu_seconds": cost.vcpu_hours,
        "memory_gb_seconds": cost.gb_hours,
        "storage_gb_seconds": cost.storage_gb_hours,
        "ebs_gb_seconds": cost.ebs_gb_hours,
        "gpu_seconds": cost.gpu_hours,
    }
    for name, amount in hours.items():
        if amount:
            # Servers of StatsD differ in how many digits they read.
            yield Metric(f"{PREFIX}.{name}", round(amount * _HOUR, 3), tags)
    if cost.amount:
        yield Metric(f"{PREFIX}.cost_micros", round(cost.amount * _MICROS), {**tags, "currency": prices.currency})


class Metered:
    """A `shard.Audience` that counts attempts which have ended.

    :param tell: told of attempts that start. :param log: hears of what goes wrong, once.
    """

    def __init__(self, tell: Callable[[Shard, Attempt, TaskRequest], None], run: Run, call: str, log: Any) -> None:
        self._tell = tell
        self._run = run
        self._call = call
        self._log = log
        self._sending: set[asyncio.Future[None]] = set()
        self._failed = False

    def attempt(self, shard: Shard, attempt: Attempt, request: TaskRequest) -> None:
        """An attempt has started, or is taken up again."""
        self._tell(shard, attempt, request)

    def attempt_ended(self, shard: Shard, attempt: Attempt) -> None:
        """An attempt has ended."""
        sending = asyncio.ensure_future(in_thread(self._send, attempt))
        self._sending.add(sending)
        sending.add_done_callback(self._sent)

    async def settled(self) -> None:
        """Wait until what is being sent has been, but not long."""
        if self._sending:
            await asyncio.wait(set(self._sending), timeout=PATIENCE)

    def _send(self, attempt: Attempt) -> None:
        run = self._run
        prices = prices_or_none(run.settings, run.clients)
        counters = _airflow_metrics()
        for metric in metrics_of(attempt, prices, dag_id=run.dag_id, call=self._call):
            counters.incr(metric.name, count=metric.amount, tags=metric.tags)

    def _sent(self, sending: asyncio.Future[None]) -> None:
        self._sending.discard(sending)
        error = None if sending.cancelled() else sending.exception()
        if error is not None and not self._failed:
            self._failed = True
            self._log.warning("the metrics of an ECS task could not be sent: %r", error)


def _airflow_metrics() -> Any:
    """Airflow's metrics as this process has set them up.

    Airflow 3.3 has two copies: a triggerer sets up the one of its core, and a worker that of the task SDK. Airflow 3.1
    has one.
    """
    for name in ("airflow.sdk.observability.stats", "airflow.observability.stats"):
        try:
            found = import_module(name)
        except ImportError:
            continue
        copy = sys.modules.get(getattr(getattr(found, "incr", None), "__module__", ""))
        if getattr(copy, "_factory", None) is not None:
            return found
    from airflow.providers.common.compat.sdk import Stats

    return Stats
