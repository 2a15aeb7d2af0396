"""When there is a fresh attempt, on what capacity, and after what pause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_wdl_ecs.attempts import Attempt, Times
from airflow_wdl_ecs.ecs.attributes import Policy
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.ecs.status import TaskStatus
from airflow_wdl_ecs.retries import decision, may_try_again, pause_before, runs_on_spot

SETTINGS = EcsSettings(infrastructure_retries=2, out_of_memory_retries=1, spot_capacity_providers=("FARGATE_SPOT",))
KINDS = {
    "command": "command_failed",
    "memory": "out_of_memory",
    "interruption": "interrupted",
    "infrastructure": "lost",
    "capacity": "never_started",
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
    assert not runs_on_spot(attempts("capacity", spot=True), 1, Policy(preemptible=1), SETTINGS)


def test_only_what_is_not_the_commands_is_paused_for():
    assert pause_before([], 1) == 0
    assert pause_before(attempts("command"), 1) == 0
    assert pause_before(attempts("interruption"), 1) == 0
    assert [pause_before(attempts(*["infrastructure"] * n), 1) for n in (1, 2, 3, 9)] == [2, 4, 8, 60]


def lacking(*minutes: float, first: int = 0) -> list[Attempt]:
    """Attempts that failed for want of capacity, each submitted at a minute and given up 10 s later."""
    return [
        Attempt(
            first + n,
            1,
            f"arn:{n}",
            "c",
            1e6 + at * 60,
            times=Times(submitted=1e6 + at * 60, stopped=1e6 + at * 60 + 10),
        ).ended(TaskStatus("never_started", None, "Capacity is unavailable", "capacity"))
        for n, at in enumerate(minutes)
    ]


def test_capacity_is_waited_for_as_long_as_the_deployment_says():
    policy = Policy(max_retries=0)
    found = lacking(0, 1, 2, 30, 59)
    assert may_try_again(found, 1, policy, SETTINGS)
    assert decision(found, 1, policy, SETTINGS) == (
        "trying again: waiting for capacity for 3550 of 3600 s (capacity_timeout)"
    )
    assert not may_try_again(lacking(0, 1, 60), 1, policy, SETTINGS)
    assert decision(lacking(0, 60), 1, policy, SETTINGS).startswith("not trying again: waiting for capacity for 3610")
    # It costs nothing of the other budgets, and its own begins anew after an attempt that ran.
    mixed = [*lacking(0), *attempts("infrastructure"), *lacking(70, 71, first=2)]
    assert may_try_again(mixed, 1, policy, SETTINGS)
    assert may_try_again([*lacking(*range(50)), *attempts("infrastructure")], 1, policy, SETTINGS)


def test_capacity_is_asked_for_less_and_less_often():
    pauses = [pause_before(lacking(*range(n)), 1) for n in range(1, 12)]
    assert pauses[0] == 5
    assert pauses[-1] == 60
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("budgets", "policy", "said"),
    [
        (["none"], Policy(), "not trying again: it would end in the same way"),
        (["command"], Policy(), "not trying again: maxRetries allows 0 fresh attempts"),
        (["command"], Policy(max_retries=2), "trying again: 1 of 2 times (maxRetries)"),
        (["command"] * 3, Policy(max_retries=2), "not trying again: maxRetries allows 2 fresh attempts in one try"),
        (["infrastructure"], Policy(), "trying again: 1 of 2 times (infrastructure_retries)"),
        (
            ["interruption"],
            Policy(preemptible=1),
            "trying again: 1 of 3 times (preemptible and infrastructure_retries)",
        ),
    ],
)
def test_a_decision_says_why(budgets, policy, said):
    assert decision(attempts(*budgets), 1, policy, SETTINGS) == said


def test_more_memory_is_tried_only_if_there_is_more():
    found = [replace(attempts("memory")[0], memory_given=122880)]
    assert not may_try_again(found, 1, Policy(), SETTINGS)
    assert decision(found, 1, Policy(), SETTINGS) == (
        "not trying again: it cannot have more than 122880 MiB (out_of_memory_limit)"
    )
    capped = Policy(memory_limit=100000)
    assert decision(found, 1, capped, SETTINGS).endswith("it cannot have more than 122880 MiB (max_memory)")
    found = [replace(found[0], memory_given=2048)]
    assert decision(found, 1, Policy(), SETTINGS) == "trying again with 4096 MiB: 1 of 1 times (out_of_memory_retries)"
