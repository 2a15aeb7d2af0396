"""What the package relies on while a task runs and after it: states, tokens, lists, logs, tags. One task for all."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_wdl_ecs.ecs.request import attempt_prefix, log_stream, started_by
from airflow_wdl_ecs.ecs.status import ecs_times

from .costs import planned
from .target import Started, Target

pytestmark = [pytest.mark.contract, pytest.mark.local, pytest.mark.timeout(1200), planned(1, once="watched")]

WDL = """
version 1.1
task watched {
  input { Int seconds }
  command <<<
    echo 'said on stdout'
    echo 'said on stderr' >&2
    sleep ~{seconds}
  >>>
  output { String out = read_string(stdout()) }
}
"""


@dataclass(frozen=True)
class Watched:
    """A task, as ECS told of it.

    :param running: DescribeTasks while the command ran; :param ended: after it.
    :param listed: ListTasks by startedBy while it ran, and :param listed_stopped: of stopped tasks, after it.
    :param again: the ARNs that the same RunTask gave once more.
    :param other: the error of another RunTask with the same token.
    """

    started: Started
    running: dict[str, Any]
    ended: dict[str, Any]
    listed: list[str]
    listed_stopped: list[str]
    again: list[str]
    other: ClientError | None


@pytest.fixture(scope="module")
def watched(target: Target) -> Watched:
    return asyncio.run(watch(target))


async def watch(target: Target) -> Watched:
    ecs, cluster = target.client("ecs"), target.settings.cluster
    # On AWS a minute is time enough to ask everything; the task ends when it is over.
    run = asyncio.create_task(target.run(WDL, {"seconds": 8 if target.embedded else 60}))
    started = await target.running(run)
    running = await asyncio.to_thread(target.describe, started.arn)
    own = {"cluster": cluster, "startedBy": started.request["startedBy"]}
    listed = (await asyncio.to_thread(lambda: ecs.list_tasks(**own)))["taskArns"]
    again = [task["taskArn"] for task in (await asyncio.to_thread(lambda: ecs.run_task(**started.request)))["tasks"]]
    other = None
    try:
        await asyncio.to_thread(lambda: ecs.run_task(**{**started.request, "startedBy": "another"}))
    except ClientError as error:
        other = error
    assert (await run)["out"] == "said on stdout"
    ended = await asyncio.to_thread(target.describe, started.arn)
    stopped = (await asyncio.to_thread(lambda: ecs.list_tasks(**own, desiredStatus="STOPPED")))["taskArns"]
    return Watched(started, running, ended, listed, stopped, again, other)


def containers(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in task["containers"]}


def test_the_commands_container_runs_while_stage_out_waits(watched: Watched) -> None:
    found = containers(watched.running)
    assert found["stage-in"]["exitCode"] == 0
    assert found["command"]["lastStatus"] == "RUNNING"
    assert "exitCode" not in found["command"]
    assert found["stage-out"]["lastStatus"] in ("PENDING", "CREATED")
    # The task's own state is the least of its containers', so nothing may be read from it.
    assert watched.running["lastStatus"] in ("PENDING", "ACTIVATING", "RUNNING")


def test_the_end(watched: Watched) -> None:
    assert watched.ended["lastStatus"] in ("DEPROVISIONING", "STOPPED")
    codes = {name: container.get("exitCode") for name, container in containers(watched.ended).items()}
    assert codes == {"stage-in": 0, "command": 0, "stage-out": 0}
    times = ecs_times(watched.ended)
    assert set(times) >= {"created", "pull_started", "pull_stopped", "stopped"}
    assert times["created"] <= times["pull_started"] <= times["pull_stopped"] <= times["stopped"]


def test_the_same_request_starts_no_second_task(watched: Watched) -> None:
    assert watched.again == [watched.started.arn]


def test_another_request_with_the_same_token_is_refused_and_names_the_task(watched: Watched) -> None:
    assert watched.other is not None
    answer = watched.other.response
    assert answer["Error"]["Code"] == "ConflictException"
    assert watched.started.arn in answer["resourceIds"]


def test_tasks_are_found_by_who_has_started_them(target: Target, watched: Watched) -> None:
    assert watched.started.request["startedBy"] == started_by(target.dag_id, run_of(target, watched), "watched")
    assert watched.listed == [watched.started.arn]
    assert watched.listed_stopped in ([watched.started.arn], [])


def test_the_request_can_be_read_from_the_task(target: Target, watched: Watched) -> None:
    folder = attempt_prefix(watched.running)
    assert folder is not None
    assert folder.startswith(f"{target.folder}{run_of(target, watched)}/")


def test_tags(target: Target, watched: Watched) -> None:
    found = {tag["key"]: tag["value"] for tag in watched.running["tags"]}
    # Those that ECS manages itself, which it was asked for.
    assert found.pop("aws:ecs:clusterName") == target.settings.cluster
    assert found == {
        "wdl:dag": target.dag_id,
        "wdl:run": run_of(target, watched),
        "wdl:call": "watched",
        "wdl:shard": "-",
        "wdl-contract": target.id,
    }


def test_the_commands_log_is_where_it_is_looked_for(target: Target, watched: Watched) -> None:
    where = {"logGroupName": target.settings.log_group, "logStreamName": log_stream(watched.started.arn)}
    deadline = time.monotonic() + target.patience
    lines: list[str] = []
    while len(lines) < 2 and time.monotonic() < deadline:
        events = target.client("logs").get_log_events(**where, startFromHead=True)["events"]
        lines = [event["message"] for event in events]
        time.sleep(0.2 if target.embedded else 2.0)
    assert {"said on stdout", "said on stderr"} <= set(lines)


def test_a_task_that_never_was_is_missing(target: Target, watched: Watched) -> None:
    arn = watched.started.arn[:-4] + "0000"
    answer = target.client("ecs").describe_tasks(cluster=target.settings.cluster, tasks=[arn])
    assert answer["tasks"] == []
    assert [(failure["arn"], failure["reason"]) for failure in answer["failures"]] == [(arn, "MISSING")]


def test_the_definition_is_the_one_that_was_asked_for(target: Target, watched: Watched) -> None:
    definition = target.client("ecs").describe_task_definition(taskDefinition=watched.ended["taskDefinitionArn"])
    found = definition["taskDefinition"]
    assert found["status"] == "ACTIVE"
    assert [container["name"] for container in found["containerDefinitions"]] == ["stage-in", "command", "stage-out"]
    assert [container["essential"] for container in found["containerDefinitions"]] == [False, False, True]
    depends = {container["name"]: container.get("dependsOn") for container in found["containerDefinitions"]}
    assert depends["command"] == [{"containerName": "stage-in", "condition": "SUCCESS"}]
    assert depends["stage-out"] == [{"containerName": "command", "condition": "COMPLETE"}]


def run_of(target: Target, watched: Watched) -> str:
    """The id of the run that has started the task."""
    folder = attempt_prefix(watched.running) or ""
    return folder.removeprefix(target.folder).partition("/")[0]
