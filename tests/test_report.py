"""What is told of a run, decided from its ledgers and from Airflow's states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_wdl_ecs.attempts import Attempt, Times
from airflow_wdl_ecs.reasons import Reason
from airflow_wdl_ecs.report import Instance, call_report, may_download, overall
from airflow_wdl_ecs.report_shards import attempt_report, counts, phases, shard_report, shard_state

from .fabricated_run import T0, attempt

SUCCEEDED, FAILED, PENDING = attempt(), attempt(kind="command_failed"), attempt(kind=None)
CLEARED = replace(SUCCEEDED, superseded=True)


@pytest.mark.parametrize(
    ("attempts", "airflow", "has_outputs", "state"),
    [
        # S3 alone.
        ([], None, False, "not_started"),
        ([], None, True, "skipped"),
        ([SUCCEEDED], None, False, "succeeded"),
        ([FAILED, SUCCEEDED], None, False, "succeeded"),
        ([FAILED], None, False, "failed"),
        ([FAILED, PENDING], None, False, "running"),
        ([CLEARED], None, False, "not_started"),
        # With what Airflow says.
        ([], "", False, "not_started"),
        ([], "scheduled", False, "waiting"),
        ([], "deferred", False, "running"),
        ([], "failed", False, "failed"),
        ([], "skipped", False, "skipped"),
        ([], "upstream_failed", False, "not_started"),
        ([], "success", False, "skipped"),
        ([FAILED], "up_for_retry", False, "waiting"),
        ([FAILED], "deferred", False, "running"),
        ([FAILED], "failed", False, "failed"),
        ([FAILED], "success", False, "succeeded"),
        ([PENDING], "failed", False, "failed"),
        ([PENDING], "deferred", False, "running"),
        ([SUCCEEDED], "deferred", False, "succeeded"),
        ([SUCCEEDED], "failed", False, "succeeded"),
        ([CLEARED], "queued", False, "waiting"),
        ([CLEARED], "deferred", False, "running"),
    ],
)
def test_states_of_shards(attempts: list[Attempt], airflow: str | None, has_outputs: bool, state: str) -> None:
    instance = None if airflow is None else Instance("work", -1, airflow, 1)
    assert shard_state(attempts, instance, run_has_outputs=has_outputs) == state


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({}, "not_started"),
        ({"succeeded": 3, "failed": 1, "running": 1}, "failed"),
        ({"succeeded": 3, "not_started": 1}, "running"),
        ({"succeeded": 3, "skipped": 1}, "succeeded"),
        ({"waiting": 1, "not_started": 3}, "waiting"),
        ({"skipped": 2}, "skipped"),
    ],
)
def test_the_state_of_many(counts: dict, state: str) -> None:
    assert overall(counts) == state


def test_nothing_is_under_way_in_a_run_that_is_over() -> None:
    assert overall({"not_started": 2, "succeeded": 398}, over=True) == "not_started"
    assert overall({"failed": 1, "not_started": 2, "succeeded": 3}, over=True) == "failed"
    assert overall({"succeeded": 3, "skipped": 1}, over=True) == "succeeded"
    shards = [
        shard_report("work", key, attempts, None, run_has_outputs=False)
        for key, attempts in (("0", [SUCCEEDED]), ("1", []))
    ]
    going_on = call_report("work", "work", "work", shards, scattered=True)
    assert (going_on.state, going_on.ended) == ("running", None)
    ended = call_report("work", "work", "work", shards, scattered=True, over=True)
    assert (ended.state, ended.ended) == ("not_started", T0 + 60)


def test_the_phases_of_an_attempt_that_ended() -> None:
    found = {phase.name: (phase.started - T0, phase.ended - T0) for phase in phases(SUCCEEDED)}
    assert found == {
        "queue": (0, 5),
        "wait": (5, 15),
        "pull": (15, 20),
        "stage_in": (20, 30),
        "command": (30, 50),
        "stage_out": (50, 60),
    }


def test_airflows_scheduling_is_queueing() -> None:
    assert phases(SUCCEEDED, scheduled=T0 - 30)[0].started == T0 - 30
    assert phases(SUCCEEDED, scheduled=T0 + 3)[0].started == T0


def test_a_running_attempt_is_in_its_last_phase() -> None:
    found = [(phase.name, phase.started - T0, phase.ended and phase.ended - T0) for phase in phases(PENDING)]
    assert found == [("queue", 0, 5), ("wait", 5, 6), ("running", 6, None)]


def test_what_is_not_known_is_left_out_and_clocks_may_differ() -> None:
    old = replace(SUCCEEDED, times=Times())
    assert phases(old) == ()
    assert attempt_report(old).ended is None
    assert [phase.name for phase in phases(old, ended_by=T0 + 70)] == ["running"]
    backwards = replace(SUCCEEDED, times=replace(SUCCEEDED.times, stage_in_ended=T0))
    (stage_in,) = [phase for phase in phases(backwards) if phase.name == "stage_in"]
    assert stage_in.ended == stage_in.started


def test_only_the_first_attempt_of_airflows_latest_try_has_waited_for_it() -> None:
    attempts = [FAILED, attempt(1, at=T0 + 100, try_number=2), attempt(2, at=T0 + 200, try_number=2)]
    instance = Instance("work", -1, "success", 2, scheduled=T0 + 70, ended=T0 + 300)
    report = shard_report("work", "0", attempts, instance, run_has_outputs=False, folder="s3://b/0/")
    assert [made.phases[0].started for made in report.attempts] == [T0, T0 + 70, T0 + 200]
    assert [made.folder for made in report.attempts] == ["s3://b/0/0/", "s3://b/0/1/", "s3://b/0/2/"]


def test_reasons_are_of_failures() -> None:
    def reason(attempts: list[Attempt], airflow: str) -> str:
        return shard_report("w", "_", attempts, Instance("w", -1, airflow, 1), run_has_outputs=False).reason

    assert reason([FAILED], "failed") == "the command failed with exit code 1"
    assert reason([FAILED], "deferred") == ""
    assert "before an ECS task was started" in reason([], "failed")
    assert "Airflow has it as failed" in reason([PENDING], "failed")


@pytest.mark.parametrize(
    ("attempts", "airflow", "own", "of_task", "state", "said"),
    [
        # In try 2 no ECS task was started; the reason of try 1 is none of try 2.
        ([], ("failed", 2), 2, None, "failed", "own 2"),
        ([], ("failed", 2), 1, None, "failed", "before an ECS task was started"),
        ([], ("failed", 2), None, 2, "failed", "of task 2"),
        ([FAILED], ("failed", 2), 2, None, "failed", "own 2"),
        ([FAILED], ("failed", 2), None, 2, "failed", "of task 2"),
        ([FAILED], ("failed", 1), None, 1, "failed", "exit code 1"),
        ([FAILED], ("failed", 1), 1, None, "failed", "own 1"),
        ([PENDING], ("failed", 1), 1, None, "failed", "own 1"),
        ([], ("up_for_retry", 1), 1, 1, "waiting", ""),
        ([], ("success", 2), 1, 1, "skipped", ""),
        ([replace(SUCCEEDED, try_number=2)], ("success", 2), 1, 1, "succeeded", ""),
        # S3 alone.
        ([], None, 1, None, "failed", "own 1"),
        ([], None, None, 1, "failed", "of task 1"),
        ([PENDING], None, 1, None, "failed", "own 1"),
        ([replace(PENDING, taken_up=2)], None, 1, None, "running", ""),
        ([replace(PENDING, try_number=2)], None, 1, None, "running", ""),
        ([replace(SUCCEEDED, try_number=2)], None, 1, 1, "succeeded", ""),
        ([replace(SUCCEEDED, superseded=3)], None, 1, None, "not_started", ""),
    ],
)
def test_a_reason_counts_for_its_own_try(attempts, airflow, own, of_task, state, said) -> None:
    instance = airflow and Instance("work", -1, *airflow)
    reasons = [made and Reason(made, f"{name} {made}", T0) for name, made in (("own", own), ("of task", of_task))]
    report = shard_report("work", "_", attempts, instance, run_has_outputs=False, own=reasons[0], of_task=reasons[1])
    assert (report.state, said in report.reason, bool(report.reason)) == (state, True, bool(said))


def test_without_airflow_a_run_with_outputs_has_no_failed_shard() -> None:
    assert not counts(None, [])
    report = shard_report("work", "_", [], None, run_has_outputs=True, own=Reason(1, "no", T0))
    assert (report.state, report.reason) == ("skipped", "")


def test_a_call_has_its_failures_first_and_the_median_of_its_times() -> None:
    shards = [
        shard_report("work", key, [made], None, run_has_outputs=False)
        for key, made in (("10", SUCCEEDED), ("2", SUCCEEDED), ("3", PENDING), ("11", FAILED))
    ]
    call = call_report("work", "work", "work", shards, scattered=True)
    assert [shard.key for shard in call.shards] == ["11", "3", "2", "10"]
    assert call.counts == {"failed": 1, "running": 1, "succeeded": 2}
    assert call.state == "failed"
    assert (call.seconds["command"], call.seconds["queue"], call.attempts) == (20, 5, 4)
    assert (call.started, call.ended) == (T0, None)


def test_a_hit_of_the_call_cache_has_waited_and_had_no_ecs_task() -> None:
    hit = replace(SUCCEEDED, arn="", cached="s3://b/0/", cache="hit: x", times=Times(taken_up=T0, stopped=T0 + 6))
    made = replace(SUCCEEDED, cache="miss: y")
    shards = [
        shard_report("work", key, attempts, None, run_has_outputs=False)
        for key, attempts in (("0", [hit]), ("1", [made]), ("2", [replace(hit, superseded=2), replace(made, number=1)]))
    ]
    call = call_report("work", "work", "work", shards, scattered=True)
    assert (call.state, call.counts, call.cached, call.attempts) == ("succeeded", {"succeeded": 3}, 1, 2)
    assert [shard.cache for shard in call.shards] == ["hit: x", "miss: y", "miss: y"]
    assert [(phase.name, phase.ended) for phase in call.shards[0].attempts[0].phases] == [("queue", T0 + 6)]
    assert call.ended == T0 + 60


FOLDER = "s3://b/ws/runs/d/r/"


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        (f"{FOLDER}calls/work/_/0/work/out.bam", True),
        ("s3://in/reads.fq", True),
        ("s3://refs/hg38/chr1.fa", True),
        (f"{FOLDER}files/ab/lines.txt", True),
        (f"{FOLDER}inputs.json", False),
        (f"{FOLDER}calls/", False),
        (f"{FOLDER}../other/x", False),
        ("s3://refs/hg38/../secret", False),
        ("s3://b/ws/runs/d/r2/x", False),
        ("s3://b/ws/runs/d/r", False),
        ("s3://in/reads.fq.bak", False),
        ("s3://refs/hg38", False),
        ("s3://refs/hg38b/x", False),
        ("https://refs/hg38/x", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_which_files_belong_to_a_run(uri: str, allowed: bool) -> None:
    assert may_download(uri, FOLDER, ["s3://in/reads.fq", "s3://refs/hg38/"]) == allowed
