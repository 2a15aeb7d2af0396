"""The ledger's decisions: when there is a fresh attempt, on what capacity, and after what pause."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from airflow_wdl_ecs.ecs.attributes import Policy
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.ecs.status import TaskStatus
from airflow_wdl_ecs.ledger import (
    Attempt,
    Ledger,
    Success,
    Times,
    decision,
    is_deliberate_rerun,
    may_try_again,
    pause_before,
    runs_on_spot,
)
from airflow_wdl_ecs.storage import Layout, RunStore
from airflow_wdl_ecs.task import TaskResult

from .fabricated_run import GOLDEN
from .fake_aws import FakeS3

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


def test_an_attempt_learns_its_times_from_ecs_and_from_its_containers():
    attempt = Attempt(0, 1, "arn", "c", 1.0, times=Times(queued=0, slot=1, submitted=2), launch_type="EC2")
    moment = datetime.fromtimestamp(3, timezone.utc)
    task = {"createdAt": moment, "capacityProviderName": "spot", "launchType": "EC2"}
    result = TaskResult(0, times={"stage_in_started": 5, "command_started": 7.5, "command_ended": 9.5, "else": 1})
    known = attempt.knowing(task, result)
    assert known.times == Times(
        queued=0, slot=1, submitted=2, created=3, stage_in_started=5, command_started=7.5, command_ended=9.5
    )
    assert known.times.phases() == {"slot": 1, "submit": 1, "capacity": 1, "start": 2, "command": 2}
    assert known.launch_type == "spot"
    assert attempt.knowing(None, None) == attempt


def test_clocks_that_differ_give_no_negative_phase():
    assert Times(created=5, stage_in_started=4.8).phases() == {"start": 0.0}


def test_a_ledger_of_an_earlier_version_is_read():
    store = RunStore(FakeS3(), Layout("s3://b", "d", "r"))
    old = {"number": 0, "try_number": 1, "arn": "a", "cluster": "c", "started": 1.5, "kind": "lost", "budget": "none"}
    store.put_json(f"{store.layout.shard('c', ())}attempts.json", [old])
    assert Ledger(store, "c", ()).attempts() == [Attempt(0, 1, "a", "c", 1.5, kind="lost")]


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
    written = [*attempts("command", "memory"), Attempt(2, 2, "arn", "c", 1.5, memory=4096, times=Times(created=2.25))]
    ledger.write_attempts(written)
    ledger.write_success(Success(2, 2, {"x": [1, {"y": None}], "é": "s3://b/é"}))
    assert ledger.attempts() == written
    assert ledger.success() == Success(2, 2, {"x": [1, {"y": None}], "é": "s3://b/é"})
    ledger.clear_success(3)
    assert ledger.success() is None
    assert [found.superseded for found in ledger.attempts()] == [0, 0, 3]
    assert replace(written[0]).handle.arn == "arn:0"


FIRST_READERS = """
import random, sys, threading, time
from pathlib import Path
import msgspec._utils
from airflow_wdl_ecs.ledger import Ledger
from airflow_wdl_ecs.reasons import read_of_shard
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.storage import Layout, RunStore
from airflow_wdl_ecs.task import TaskResult

annotations = msgspec._utils.get_class_annotations

def slowly(of):
    time.sleep(random.random() / 20)
    return annotations(of)

class Store(RunStore):
    def get(self, uri, *, limit=None):
        return b'{"try_number": 1, "text": "", "at": 1}' if uri.endswith("failure.json") else ATTEMPTS

PLAN = Path(sys.argv[1]).read_bytes()
ATTEMPTS = b'[{"number": 0, "try_number": 1, "arn": "", "cluster": "", "started": 1, "times": {}}]'
msgspec._utils.get_class_annotations = slowly
store = Store(None, Layout("s3://b", "d", "r"))

def read(number):
    for _ in range(20):
        Ledger(store, "c", (number,)).attempts()
        read_of_shard(store, "c", (number,))
        TaskResult.from_json(b'{"exit_code": 0, "files": []}')
        Plan.from_json(PLAN)

threads = [threading.Thread(target=read, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_ledgers_can_be_read_by_many_threads_at_once_from_the_first() -> None:
    command = [sys.executable, "-c", FIRST_READERS, str(GOLDEN / "scatter" / "plan.json")]
    for _ in range(3):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
