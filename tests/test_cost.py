"""Hours and amounts, worked by hand: 1 hour is 3600 s; prices are those of the list that comes with the package."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_wdl_ecs.attempts import Attempt, Times
from airflow_wdl_ecs.cost import NOTHING, Cost, Span, billed, cost_of, total
from airflow_wdl_ecs.prices import Prices, packaged, read_prices

from .fabricated_run import T0, attempt

EAST = "arn:aws:ecs:us-east-1:123456789012:task/genomics/0"


def on_fargate(times: Times, **fields: Any) -> Attempt:
    known: dict[str, Any] = {"arn": EAST, "architecture": "X86_64", "times": times}
    return attempt(**(known | fields))


def from_pull_to_stop(seconds: float, **fields: Any) -> Attempt:
    return on_fargate(Times(created=T0, pull_started=T0 + 10, stopped=T0 + 10 + seconds), **fields)


def prices(*entries: dict[str, Any]) -> Prices:
    about = {"format": 1, "currency": "EUR", "date": "2026-01-31", "source": "our contract"}
    return read_prices(json.dumps({**about, "prices": list(entries)}).encode(), "/etc/prices.json")


@pytest.mark.parametrize(
    ("times", "seconds", "estimated"),
    [
        # ECS has told everything: from the pull to the end.
        (Times(created=0, pull_started=10, pull_stopped=30, started=31, stopped=110), 100, False),
        # What begins is billed: a started second, and a minute at least.
        (Times(pull_started=10, stopped=110.001), 101, False),
        (Times(pull_started=10.25, stopped=110.25), 100, False),
        (Times(pull_started=10, stopped=69), 60, False),
        (Times(pull_started=10, stopped=70.5), 61, False),
        # A task is gone some seconds after its containers have stopped; both are billed.
        (Times(pull_started=10, stopped=110, gone=117), 107, False),
        # It was stopped during the pull: no image, no container.
        (Times(created=0, pull_started=10, stopped=25), 60, False),
        (Times(created=0, pull_started=10, stopped=100), 90, False),
        # It never got so far as to pull an image: no capacity, no network.
        (Times(created=0, stopped=500), 0, False),
        (Times(stopped=500), 0, False),
        # ECS has forgotten it: what the containers' clock says.
        (Times(stage_in_started=100, stage_in_ended=110, command_started=110, command_ended=200), 100, True),
        (Times(stage_in_started=100, stage_out_started=290, stage_out_ended=300), 200, True),
        (Times(created=90, pull_started=95, stage_out_ended=300), 205, True),
        (Times(stage_in_started=100, stopped=300), 200, True),
        # Clocks differ: no time is negative.
        (Times(pull_started=110, stopped=100), 60, False),
    ],
)
def test_for_how_long_a_fargate_task_is_billed(times: Times, seconds: int, estimated: bool) -> None:
    assert billed(on_fargate(times)) == Span(seconds, estimated)


@pytest.mark.parametrize(
    "times",
    [
        Times(),
        Times(created=0, pull_started=10),
        Times(stage_in_started=10),
        Times(stage_out_ended=300),
        Times(created=0),
    ],
)
def test_what_nobody_has_told_is_not_known(times: Times) -> None:
    assert billed(on_fargate(times)) is None
    assert cost_of(on_fargate(times), packaged()) == Cost(unknown=1)
    assert cost_of(on_fargate(times, kind=None), packaged()) == Cost(running=1)


def test_ec2_has_no_minute_and_no_free_disk() -> None:
    cost = cost_of(
        from_pull_to_stop(9, launch_type="EC2", cpu=4.0, memory_given=8192, disk=100, ebs=True, gpu=2), Prices()
    )
    assert cost == Cost(
        tasks=1,
        vcpu_hours=4 * 9 / 3600,
        gb_hours=8 * 9 / 3600,
        ebs_gb_hours=100 * 9 / 3600,
        gpu_hours=2 * 9 / 3600,
        unpriced=1,
        why=("no price for EC2 in us-east-1 (X86_64)",),
    )


def test_an_hour_of_two_vcpus_and_four_gb() -> None:
    # 2 vCPU-h * 0.04048 + 4 GB-h * 0.004445 = 0.08096 + 0.01778
    cost = cost_of(from_pull_to_stop(3600), packaged())
    assert (cost.vcpu_hours, cost.gb_hours, cost.storage_gb_hours, cost.unpriced) == (2, 4, 0, 0)
    assert cost.amount == pytest.approx(0.09874, rel=1e-12)


def test_the_smallest_fargate_task_costs_a_minute() -> None:
    # A quarter of a vCPU and half a GB for 3 s, billed as 60 s = 1/60 h:
    # 0.25/60 * 0.04048 + 0.5/60 * 0.004445 = 0.00016866667 + 0.00003704167
    cost = cost_of(from_pull_to_stop(3, cpu=0.25, memory_given=512), packaged())
    assert (cost.vcpu_hours, cost.gb_hours) == (0.25 / 60, 0.5 / 60)
    assert cost.amount == pytest.approx(0.00020570833333, rel=1e-9)


def test_disk_counts_beyond_twenty_gib() -> None:
    # 100 GiB for 1.5 h: 80 * 1.5 = 120 GB-h * 0.000111 = 0.01332;
    # 1 vCPU: 1.5 * 0.04048 = 0.06072; 2 GB: 3 * 0.004445 = 0.013335; together 0.087375
    cost = cost_of(from_pull_to_stop(5400, cpu=1.0, memory_given=2048, disk=100), packaged())
    assert cost.storage_gb_hours == 120
    assert cost.amount == pytest.approx(0.087375, rel=1e-12)
    assert cost_of(from_pull_to_stop(5400, disk=20), packaged()).storage_gb_hours == 0


def test_arm_has_its_own_price() -> None:
    # 2 * 0.03238 + 4 * 0.00356 = 0.06476 + 0.01424
    cost = cost_of(from_pull_to_stop(3600, architecture="ARM64"), packaged())
    assert cost.amount == pytest.approx(0.079, rel=1e-12)


def test_a_task_that_never_pulled_its_image_costs_nothing_whatever_the_prices() -> None:
    never = on_fargate(Times(created=T0, stopped=T0 + 500), kind="never_started")
    assert cost_of(never, Prices()) == Cost(tasks=1, amount=0.0)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"launch_type": "FARGATE_SPOT"}, "no price for FARGATE_SPOT in us-east-1 (X86_64)"),
        ({"launch_type": "EC2"}, "no price for EC2 in us-east-1 (X86_64)"),
        ({"launch_type": "gpu-fleet"}, "no price for gpu-fleet in us-east-1 (X86_64)"),
        ({"launch_type": "FARGATE:1:2, FARGATE_SPOT:4"}, "no price for FARGATE, FARGATE_SPOT in us-east-1 (X86_64)"),
        ({"launch_type": ""}, "no price for unknown capacity in us-east-1 (X86_64)"),
        ({"arn": EAST.replace("us-east-1", "eu-west-1")}, "no price for FARGATE in eu-west-1 (X86_64)"),
        ({"arn": ""}, "no price for FARGATE in an unknown region (X86_64)"),
        ({"architecture": ""}, "no price for FARGATE in us-east-1 (CPU architecture not recorded)"),
        ({"disk": 300, "ebs": True}, "no price for FARGATE in us-east-1 (X86_64): ebs_gb_hour is not in it"),
    ],
)
def test_what_has_no_price_has_hours_and_says_why(fields: dict[str, Any], why: str) -> None:
    cost = cost_of(from_pull_to_stop(3600, **fields), packaged())
    assert (cost.vcpu_hours, cost.amount, cost.unpriced, cost.why) == (2, None, 1, (why,))


def test_the_nearest_price_counts() -> None:
    found = prices(
        {"capacity": "EC2", "vcpu_hour": 1, "gb_hour": 0},
        {"capacity": "EC2", "region": "us-east-1", "vcpu_hour": 2, "gb_hour": 0},
        {"capacity": "EC2", "architecture": "ARM64", "vcpu_hour": 3, "gb_hour": 0},
        {"capacity": "fleet", "vcpu_hour": 4, "gb_hour": 0, "gpu_hour": 0.5, "ebs_gb_hour": 0.001},
    )

    def amount(**fields: Any) -> float | None:
        return cost_of(from_pull_to_stop(3600, **({"launch_type": "EC2"} | fields)), found).amount

    west = EAST.replace("us-east-1", "eu-west-1")
    assert amount() == 2 * 2
    assert amount(arn=west) == 2 * 1
    assert amount(arn=west, architecture="ARM64") == 2 * 3
    assert amount(architecture="ARM64") == 2 * 2, "the region comes first"
    assert amount(arn=west, architecture="") == 2 * 1
    assert amount(launch_type="another-fleet") == 2 * 2, "a capacity provider without a price of its own is of EC2"
    assert amount(launch_type="fleet:3", gpu=1, disk=100, ebs=True) == pytest.approx(2 * 4 + 0.5 + 0.1)
    assert amount(launch_type="FARGATE_SPOT") is None


def test_a_hit_of_the_call_cache_is_no_task_and_costs_nothing() -> None:
    hit = attempt(arn="", times=Times(taken_up=T0, stopped=T0 + 1), cached="s3://bucket/wdl/runs/other/0/")
    assert cost_of(hit, packaged()) == NOTHING
    unpriced = cost_of(from_pull_to_stop(3600, launch_type="FARGATE_SPOT"), packaged())
    assert total([cost_of(hit, packaged()), unpriced]) == unpriced


def test_all_attempts_count_and_what_has_no_price_stays_visible() -> None:
    failed = from_pull_to_stop(3600, kind="command_failed")
    spot = from_pull_to_stop(3600, kind="interrupted", launch_type="FARGATE_SPOT")
    forgotten = on_fargate(Times(), kind="lost")
    running = on_fargate(Times(), kind=None)
    adopted = on_fargate(Times(stage_in_started=T0, stage_out_ended=T0 + 1800))
    cost = total(cost_of(each, packaged()) for each in (failed, spot, spot, forgotten, running, adopted))
    assert (cost.tasks, cost.unknown, cost.running, cost.estimated, cost.unpriced) == (4, 1, 1, 1, 2)
    assert (cost.vcpu_hours, cost.gb_hours) == (7, 14)
    # An hour and a half of 2 vCPUs and 4 GB: 1.5 * 0.09874
    assert cost.amount == pytest.approx(0.14811, rel=1e-12)
    assert cost.why == ("no price for FARGATE_SPOT in us-east-1 (X86_64)",)
    assert total([]) == NOTHING
    assert total([Cost(tasks=1, unpriced=1), Cost(tasks=1, amount=0.0)]).amount == 0.0


def test_a_ledger_of_an_earlier_version_has_hours() -> None:
    old = replace(from_pull_to_stop(3600), architecture="", ebs=False)
    assert cost_of(old, packaged()).vcpu_hours == 2
