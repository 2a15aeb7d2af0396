"""The ledger's decisions: when there is a fresh attempt, on what capacity, and after what pause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_wdl_ecs.ecs.resources import Policy
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.ecs.status import TaskStatus
from airflow_wdl_ecs.ledger import (
    Attempt,
    Ledger,
    Success,
    is_deliberate_rerun,
    may_try_again,
    pause_before,
    runs_on_spot,
)
from airflow_wdl_ecs.storage import Layout, RunStore

from .fake_aws import FakeS3

SETTINGS = EcsSettings(infrastructure_retries=2, out_of_memory_retries=1, spot_capacity_providers=("FARGATE_SPOT",))
KINDS = {
    "command": "command_failed",
    "memory": "out_of_memory",
    "interruption": "interrupted",
    "infrastructure": "lost",
    "none": "stopped_by_user",
}


def attempts(*budgets: str, try_number: int = 1, spot: bool = False) -> list[Attempt]:
    return [
        Attempt(n, try_number, f"arn:{n}", "c", 0.0, spot).ended(TaskStatus(KINDS[budget], 1, "why", budget))
        for n, budget in enumerate(budgets)
    ]


@pytest.mark.parametrize(
    ("budgets", "policy", "again"),
    [
        (["command"], Policy(), False),
        (["command"], Policy(max_retries=1), True),
        (["command", "command"], Policy(max_retries=1), False),
        (["command", "interruption", "command"], Policy(max_retries=2), True),
        (["memory"], Policy(), True),
        (["memory", "memory"], Policy(), False),
        (["memory", "memory"], Policy(max_retries=2), True),
        (["infrastructure"] * 2, Policy(), True),
        (["infrastructure"] * 3, Policy(), False),
        (["interruption"] * 3, Policy(), False),
        (["interruption"] * 3, Policy(preemptible=1), True),
        (["interruption", "command"], Policy(), False),
        (["none"], Policy(max_retries=9), False),
    ],
)
def test_each_kind_of_failure_has_its_own_budget(budgets, policy, again):
    assert may_try_again(attempts(*budgets), 1, policy, SETTINGS) is again


def test_a_new_try_has_its_budgets_whole():
    found = attempts("command", "command") + attempts("command", try_number=2)
    assert may_try_again(found, 2, Policy(max_retries=1), SETTINGS)


def test_spot_capacity_as_often_as_the_author_allows():
    assert not runs_on_spot([], 1, Policy(), SETTINGS)
    assert runs_on_spot([], 1, Policy(preemptible=1), SETTINGS)
    assert not runs_on_spot([], 1, Policy(preemptible=1), EcsSettings())
    lost = attempts("interruption", spot=True)
    assert not runs_on_spot(lost, 1, Policy(preemptible=1), SETTINGS)
    assert runs_on_spot(lost, 1, Policy(preemptible=2), SETTINGS)
    assert runs_on_spot(lost, 2, Policy(preemptible=1), SETTINGS)
    assert runs_on_spot(attempts("command", spot=True), 1, Policy(preemptible=1), SETTINGS)


def test_only_what_is_not_the_commands_is_paused_for():
    assert pause_before([], 1) == 0
    assert pause_before(attempts("command"), 1) == 0
    assert pause_before(attempts("interruption"), 1) == 0
    assert [pause_before(attempts(*["infrastructure"] * n), 1) for n in (1, 2, 3, 9)] == [2, 4, 8, 60]


def test_a_rerun_is_deliberate_if_nothing_had_failed():
    earlier, now = Success(1, 0, {}), Success(2, 1, {})
    assert is_deliberate_rerun([earlier, earlier], 2)
    assert not is_deliberate_rerun([earlier, None], 2)
    assert not is_deliberate_rerun([earlier, now], 2)
    assert not is_deliberate_rerun([earlier], 1)
    assert not is_deliberate_rerun([], 2)


def test_what_is_written_is_read():
    ledger = Ledger(RunStore(FakeS3(), Layout("s3://b", "d", "r")), "c", (1, 2))
    assert (ledger.success(), ledger.attempts()) == (None, [])
    written = [*attempts("command", "memory"), Attempt(2, 2, "arn", "c", 1.5, memory=4096)]
    ledger.write_attempts(written)
    ledger.write_success(Success(2, 2, {"x": [1, {"y": None}], "é": "s3://b/é"}))
    assert ledger.attempts() == written
    assert ledger.success() == Success(2, 2, {"x": [1, {"y": None}], "é": "s3://b/é"})
    ledger.clear_success(3)
    assert ledger.success() is None
    assert [found.superseded for found in ledger.attempts()] == [0, 0, 3]
    assert replace(written[0]).handle.arn == "arn:0"
