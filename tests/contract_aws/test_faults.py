"""The faults that AWS shows of itself: each is one clear error, that says what to do, or none at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from airflow_wdl_ecs.errors import AwsError, CallError, SettingsError, WdlEcsError

from .costs import planned
from .target import Target

pytestmark = [pytest.mark.contract, pytest.mark.local, pytest.mark.timeout(1200)]

OnlyOnAws = Callable[[str], None]

TASK = """
version 1.1
task work {
  input { Boolean really = true }
  command <<<
    COMMAND
  >>>
  output { String out = read_string(stdout()) }
  runtime { maxRetries: 0  RUNTIME }
}
"""


def task(command: str, runtime: str = "") -> str:
    return TASK.replace("COMMAND", command).replace("RUNTIME", runtime)


async def failure(target: Target, wdl: str, inputs: dict[str, Any] | None = None, **settings: Any) -> WdlEcsError:
    """The error with which a workflow fails."""
    with pytest.raises(WdlEcsError) as error:
        await target.run(wdl, inputs, **settings)
    return error.value


@planned(1)
async def test_a_command_that_fails(target: Target) -> None:
    error = await failure(target, task("echo 'no such gene' >&2; exit 7"))
    assert isinstance(error, CallError)
    assert (error.kind, error.exit_code) == ("command_failed", 7)
    assert "no such gene" in error.stderr


@planned(2)
async def test_an_image_that_is_not_there(target: Target) -> None:
    image = "public.ecr.aws/debian/debian:no-such-tag-of-the-contract"
    with target.embedded_does(
        tasks=[{"kind": "image_pull", "container": "command", "says": f"{image}: not found", "times": 2}]
    ):
        error = await failure(target, task("echo", f'docker: "{image}"'))
    assert isinstance(error, CallError)
    assert error.kind == "never_started"
    assert image in str(error)
    assert "check the image's name and tag" in str(error)


@planned(1)
async def test_a_command_that_takes_more_memory_than_there_is(target: Target) -> None:
    # tail keeps what has no line's end. On the embedded ECS a process may have what the machine has.
    wdl = task("if ~{really}; then tail /dev/zero; else sleep 60; fi", 'memory: "512 MiB"')
    with target.embedded_does(tasks=[{"kind": "out_of_memory", "after": 1.0}]):
        error = await failure(target, wdl, {"really": target.embedded is None})
    assert isinstance(error, CallError)
    assert error.kind == "out_of_memory"


@planned(1)
async def test_a_task_that_a_person_stops(target: Target) -> None:
    run = asyncio.create_task(target.run(task("sleep 240")))
    started = await target.running(run)
    ecs = target.client("ecs")
    stop = {"cluster": target.settings.cluster, "task": started.arn, "reason": "somebody at the console"}
    await asyncio.to_thread(lambda: ecs.stop_task(**stop))
    with pytest.raises(CallError) as error:
        await run
    assert error.value.kind == "stopped_by_user"
    assert "somebody at the console" in str(error.value)
    described = await asyncio.to_thread(target.describe, started.arn)
    assert (described["lastStatus"], described["stopCode"]) == ("STOPPED", "UserInitiated")


@planned(1)
async def test_a_cluster_that_is_not_there(target: Target) -> None:
    before = len(target.started)
    error = await failure(target, task("echo"), cluster="no-such-cluster-of-the-contract")
    assert isinstance(error, AwsError | SettingsError)
    assert "cluster" in str(error).lower()
    assert len(target.started) == before


@planned(1)
async def test_a_subnet_that_is_not_there(target: Target, only_on_aws: OnlyOnAws) -> None:
    only_on_aws("has no network of its own")
    error = await failure(target, task("echo"), subnets=["subnet-0badbadbadbadbad0"])
    assert isinstance(error, AwsError | SettingsError | CallError)
    assert "subnet" in str(error).lower()


@planned(1)
async def test_a_role_that_is_not_there(target: Target, only_on_aws: OnlyOnAws) -> None:
    only_on_aws("has no IAM")
    account = target.settings.task_role_arn.split(":")[4]
    wrong = f"arn:aws:iam::{account}:role/no-such-role-of-the-contract"
    error = await failure(target, task("echo"), task_role_arn=wrong)
    assert isinstance(error, AwsError | SettingsError | CallError)
    assert "role" in str(error).lower()


@planned(2)
async def test_a_log_group_that_is_not_there(target: Target) -> None:
    error = await failure(target, task("echo"), log_group="/no/such/group/of/the/contract")
    assert isinstance(error, CallError)
    assert error.kind == "never_started"
    assert "the log group that the setting log_group names must exist" in str(error)


MANY = """
version 1.1
task one {
  input { Int i }
  command <<< echo ~{i} >>>
  output { Int out = read_int(stdout()) }
}
workflow many {
  scatter (i in range(8)) { call one { input: i } }
  output { Array[Int] out = one.out }
}
"""


@planned(8)
async def test_of_many_tasks_at_once_none_is_lost_and_none_started_twice(target: Target) -> None:
    before = len(target.started)
    with target.embedded_does(throttle={"ecs:RunTask": 2.0}):
        found = await target.run(MANY)
    assert found["out"] == list(range(8))
    assert len(target.started) - before == 8
