"""After the contract no task runs, and nothing of it is left, whatever has become of its tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_wdl_ecs.layout import split_uri
from airflow_wdl_ecs.local.endpoint import Endpoint

from .cleanup import remove_the_rest, stop_tasks
from .costs import Budget
from .target import Target, embedded_target
from .test_faults import task

pytestmark = pytest.mark.local


async def test_tasks_files_and_definitions_go(embedded_aws: Endpoint, tmp_path: Path) -> None:
    target = embedded_target(embedded_aws, Budget(1, "us-east-1"))
    given = target.put("text.txt", b"text")
    run = asyncio.create_task(target.run(task("sleep 300")))
    started = await target.running(run)
    # What a test that fails, or Ctrl-C, leaves: a task that nobody waits for.
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert target.describe(started.arn)["lastStatus"] != "STOPPED"

    assert await asyncio.to_thread(stop_tasks, target) == []
    described = target.describe(started.arn)
    assert (described["lastStatus"], described["stoppedReason"]) == ("STOPPED", "the contract's tests are over")

    assert keys(target)
    assert list(remove_the_rest(target)) == []
    assert keys(target) == []
    assert given.startswith(target.folder)
    assert target.definitions
    for definition in target.definitions:
        found = target.client("ecs").describe_task_definition(taskDefinition=definition)["taskDefinition"]
        assert found["status"] == "INACTIVE"


async def test_a_task_that_only_ecs_knows_is_stopped_too(embedded_aws: Endpoint) -> None:
    target = embedded_target(embedded_aws, Budget(1, "us-east-1"))
    run = asyncio.create_task(target.run(task("sleep 300")))
    started = await target.running(run)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    # As if RunTask's answer had been lost: what is known is only what was asked for.
    target.started.clear()
    assert await asyncio.to_thread(stop_tasks, target) == []
    assert target.describe(started.arn)["lastStatus"] == "STOPPED"


def test_what_may_not_be_removed_is_told(embedded_aws: Endpoint) -> None:
    target = embedded_target(embedded_aws, Budget(1, "us-east-1"))
    uri = target.put("text.txt", b"text")
    embedded_aws.set_faults(
        requests=[{"operation": "s3:DELETE", "kind": "error", "code": "AccessDenied", "status": 403, "times": None}]
    )
    try:
        assert list(remove_the_rest(target)) == [f"{target.folder} (AccessDenied)"]
    finally:
        embedded_aws.set_faults()
    assert target.read(uri) == b"text"


def keys(target: Target) -> list[str]:
    """What is in the workspace of this session."""
    bucket, _ = split_uri(target.folder)
    found = target.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())
    mine = (f"runs/{target.dag_id}/", *(f"plans/{plan}" for plan in target.plans))
    return [item["Key"] for item in found if any(part in item["Key"] for part in mine)]
