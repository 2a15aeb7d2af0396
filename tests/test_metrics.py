"""Metrics of attempts: which there are, what is left out, and that each attempt is counted once."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from airflow_wdl_ecs import metrics
from airflow_wdl_ecs.attempts import Attempt, Times
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.metrics import Metered, Metric, metrics_of
from airflow_wdl_ecs.prices import Prices, packaged

from .fabricated_run import T0
from .test_cost import from_pull_to_stop, on_fargate


def found(attempt: Attempt, prices: Prices) -> list[Metric]:
    return list(metrics_of(attempt, prices, dag_id="d", call="align.sort"))


def test_an_attempt_with_a_price_has_all_of_them() -> None:
    # 2 vCPUs, 4 GB and 30 GiB beyond 20 for 100 s: 200 vCPU-s, 400 GB-s, 3000 GB-s of storage;
    # 200 / 3600 * 0.04048 + 400 / 3600 * 0.004445 + 3000 / 3600 * 0.000111 = 0.0028353 USD
    tags = {"dag_id": "d", "call": "align.sort", "capacity": "FARGATE"}
    assert found(from_pull_to_stop(100, disk=50), packaged()) == [
        Metric("wdl_ecs.attempts", 1, {**tags, "outcome": "succeeded"}),
        Metric("wdl_ecs.vcpu_seconds", 200, tags),
        Metric("wdl_ecs.memory_gb_seconds", 400, tags),
        Metric("wdl_ecs.storage_gb_seconds", 3000, tags),
        Metric("wdl_ecs.cost_micros", 2835, {**tags, "currency": "USD"}),
    ]


@pytest.mark.parametrize(
    ("attempt", "names"),
    [
        (from_pull_to_stop(100, kind="interrupted", launch_type="FARGATE_SPOT"), {"vcpu_seconds", "memory_gb_seconds"}),
        (from_pull_to_stop(9, launch_type="EC2", gpu=1, disk=9, ebs=True),
         {"vcpu_seconds", "memory_gb_seconds", "gpu_seconds", "ebs_gb_seconds"}),
        (on_fargate(Times(), kind="lost"), set()),
        (on_fargate(Times(created=T0, stopped=T0 + 9), kind="never_started"), set()),
    ],
)  # fmt: skip
def test_what_is_not_known_or_not_there_is_not_sent(attempt: Attempt, names: set[str]) -> None:
    sent = found(attempt, packaged())
    assert {metric.name for metric in sent} == {f"wdl_ecs.{name}" for name in {"attempts", *names}}
    assert sent[0].tags["outcome"] == attempt.kind


class Counters:
    """What stands in for Airflow's metrics."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, float]] = []

    def incr(self, stat: str, count: float, *, tags: dict[str, str]) -> None:
        if tags["call"] == "breaks":
            raise OSError("no such host")
        self.sent.append((stat, count))


def metered(counters: Counters, monkeypatch: pytest.MonkeyPatch, call: str = "work") -> Metered:
    monkeypatch.setattr(metrics, "_airflow_metrics", lambda: counters)
    run: Any = SimpleNamespace(settings=EcsSettings(), clients={}.__getitem__, dag_id="d")
    told: list[Any] = []
    return Metered(lambda *what: told.append(what), run, call, logging.getLogger(__name__))


async def test_metrics_are_sent_beside_the_call_and_waited_for_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = Counters()
    audience = metered(counters, monkeypatch)
    audience.attempt_ended((), from_pull_to_stop(3600))
    assert counters.sent == [], "a call does not wait"
    await audience.settled()
    assert ("wdl_ecs.vcpu_seconds", 7200) in counters.sent
    await audience.settled()


async def test_what_goes_wrong_is_said_once_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    audience = metered(Counters(), monkeypatch, "breaks")
    for _ in range(3):
        audience.attempt_ended((), from_pull_to_stop(3600))
    await audience.settled()
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == [
        "the metrics of an ECS task could not be sent: OSError('no such host')"
    ]


@pytest.mark.parametrize("set_up", ["airflow.sdk.observability.stats", "airflow.observability.stats"])
def test_the_copy_of_airflows_metrics_that_the_process_has_set_up(set_up: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("airflow.sdk.observability.stats", "airflow.observability.stats"):
        module, inner = ModuleType(name), ModuleType(f"inner of {name}")
        inner.__dict__["_factory"] = object() if name == set_up else None

        def incr() -> None: ...

        incr.__module__ = inner.__name__
        module.__dict__["incr"] = incr
        monkeypatch.setitem(sys.modules, inner.__name__, inner)
        monkeypatch.setitem(sys.modules, name, module)
    assert metrics._airflow_metrics() is sys.modules[set_up]


def test_airflow_has_metrics_also_where_nobody_has_set_them_up() -> None:
    assert callable(metrics._airflow_metrics().incr)
