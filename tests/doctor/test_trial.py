"""The real task of an examination, on the embedded AWS: what it finds, what it leaves, and that it is stopped."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from airflow_wdl_ecs.doctor import trial
from airflow_wdl_ecs.doctor.findings import Check, Finding, examine
from airflow_wdl_ecs.doctor.trial import Trial
from airflow_wdl_ecs.local.endpoint import Endpoint

from ..direct import DirectRunner
from ..faults.embedded_airflow import until

pytestmark = pytest.mark.local

SLEEPING = trial.SOURCE.replace(f"sleep {trial.SECONDS}", "sleep 100")
FAILING = trial.SOURCE.replace(f"sleep {trial.SECONDS}", "echo no such reference >&2; exit 3")
LYING = trial.SOURCE.replace("cat ~{letter}", "echo something else")


@pytest.fixture
def runner(embedded_aws: Endpoint) -> DirectRunner:
    return DirectRunner(embedded_aws, workspace=f"s3://{embedded_aws.bucket}/trial")


def of(runner: DirectRunner, **given: Any) -> Trial:
    return Trial(runner.settings, runner.client, logging.getLogger(__name__), **given)


def looked(found: Trial) -> list[Finding]:
    return list(examine([Check("task", found.findings)]))


def left(runner: DirectRunner) -> list[str]:
    """The keys that are left below the runs of the workspace; plans stay."""
    found = runner.client("s3").list_objects_v2(Bucket=runner.endpoint.bucket, Prefix="trial/runs/")
    return [item["Key"] for item in found.get("Contents", [])]


def running(runner: DirectRunner) -> list[str]:
    """The tasks that are to run."""
    arns: list[str] = runner.client("ecs").list_tasks(cluster=runner.endpoint.cluster)["taskArns"]
    return arns


def test_a_task_that_runs_tells_how_long_it_took_and_leaves_nothing(runner: DirectRunner) -> None:
    pull, task = looked(of(runner, image="debian:12"))
    assert (pull.check, pull.verdict) == ("image pull", "ok")
    assert pull.found.startswith("debian:12 and public.ecr.aws/aws-cli/")
    assert (task.check, task.verdict) == ("task", "ok")
    assert ", command 2." in task.found
    assert "staging out" in task.found
    assert left(runner) == []
    assert running(runner) == []


def test_without_an_image_of_its_own_the_staging_image_is_taken(embedded_aws: Endpoint) -> None:
    runner = DirectRunner(embedded_aws, workspace=f"s3://{embedded_aws.bucket}/trial", image="")
    (pull, _) = looked(of(runner))
    assert pull.found.startswith(f"{runner.settings.staging_image} and {runner.settings.staging_image}")


def test_an_image_that_cannot_be_pulled(runner: DirectRunner) -> None:
    try:
        runner.endpoint.set_faults(tasks=[{"kind": "image_pull", "says": "not found"}])
        pull, task = looked(of(runner, image="no.such/image:1"))
    finally:
        runner.endpoint.set_faults()
    assert (pull.check, pull.verdict, task.verdict) == ("image pull", "problem", "skipped")
    assert "CannotPull" in pull.found
    assert pull.mend
    assert left(runner) == []


def test_a_disk_may_be_asked_for(runner: DirectRunner) -> None:
    refuses = DirectRunner(runner.endpoint, workspace=runner.settings.workspace, max_disk=10)
    (task,) = looked(of(refuses, disk=11))
    assert task.verdict == "problem"
    assert "max_disk" in task.found + task.mend
    assert [finding.verdict for finding in looked(of(refuses, disk=10))] == ["ok", "ok"]


def test_a_command_that_fails(runner: DirectRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SOURCE", FAILING)
    pull, task = looked(of(runner))
    assert [pull.verdict, task.verdict] == ["ok", "problem"]
    assert "no such reference" in task.found
    assert f"its logs: {runner.settings.log_group}" in task.mend
    assert "s3://" not in task.mend
    assert left(runner) == []


def test_a_command_that_reads_something_else(runner: DirectRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SOURCE", LYING)
    assert [finding.verdict for finding in looked(of(runner))] == ["ok", "problem"]


def test_a_task_that_does_not_end_is_stopped(runner: DirectRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SOURCE", SLEEPING)
    (task,) = looked(of(runner, limit=4.0))
    assert task.verdict == "problem"
    assert "not ended after 4 s, and stopped; it was running" in task.found
    assert running(runner) == []
    assert left(runner) == []


def test_a_lack_of_capacity_is_told_and_not_only_that_nothing_has_ended(runner: DirectRunner) -> None:
    runner.endpoint.set_faults(run_task_failures=["Capacity is unavailable at this time"] * 500)
    try:
        (task,) = looked(of(runner, limit=8.0))
    finally:
        runner.endpoint.set_faults()
    assert task.verdict == "problem"
    assert "Capacity is unavailable at this time" in task.found
    assert left(runner) == []


def test_an_examination_leaves_nothing_in_the_call_cache(embedded_aws: Endpoint) -> None:
    cache = f"s3://{embedded_aws.bucket}/doctors-cache"
    runner = DirectRunner(
        embedded_aws, workspace=f"s3://{embedded_aws.bucket}/trial", call_cache="on", call_cache_prefix=cache
    )
    assert [finding.verdict for finding in looked(of(runner))] == ["ok", "ok"]
    found = runner.client("s3").list_objects_v2(Bucket=embedded_aws.bucket, Prefix="doctors-cache/")
    assert "Contents" not in found


async def test_whoever_stops_waiting_stops_the_task(runner: DirectRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SOURCE", SLEEPING)
    found = of(runner)
    run = await asyncio.to_thread(found._begin, trial.plan(), "x")
    waiting = asyncio.ensure_future(found._run(run))
    await asyncio.to_thread(until, lambda: running(runner))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert running(runner) == []


def test_a_run_that_cannot_begin_is_a_problem(runner: DirectRunner) -> None:
    found = Trial(
        DirectRunner(runner.endpoint, workspace="s3://no-such-bucket/wdl").settings, runner.client, logging.getLogger()
    )
    (task,) = looked(found)
    assert task.verdict == "problem"
    assert "NoSuchBucket" in task.found
