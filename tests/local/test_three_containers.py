"""The task that every WDL call becomes: stage-in, command, stage-out over one volume, with real S3 and real logs."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from airflow_wdl_ecs.local.endpoint import Endpoint

from .conftest import Tasks, container, exit_codes, logged

pytestmark = pytest.mark.local


def three(root: str, stage_in: str, command: str, stage_out: str, **more: Any) -> list[dict[str, Any]]:
    mount = {"mountPoints": [{"sourceVolume": "work", "containerPath": root}], "logConfiguration": logged(), **more}
    return [
        container("stage-in", stage_in, essential=False, **mount),
        container(
            "command",
            command,
            essential=False,
            dependsOn=[{"containerName": "stage-in", "condition": "SUCCESS"}],
            **mount,
        ),
        container("stage-out", stage_out, dependsOn=[{"containerName": "command", "condition": "COMPLETE"}], **mount),
    ]


def test_stage_in_command_stage_out(embedded_aws: Endpoint, tasks: Tasks, s3: Any, logs: Any) -> None:
    bucket, root = embedded_aws.bucket, embedded_aws.container_root
    name = uuid.uuid4().hex
    folder = f"{root}/{name}"
    s3.put_object(Bucket=bucket, Key=f"{name}/in.txt", Body=b"hello\n")
    definition = tasks.register(
        *three(
            root,
            f"mkdir -p {folder} && s5cmd cp s3://{bucket}/{name}/in.txt {folder}/in.txt",
            f"cd {folder} && tr a-z A-Z < in.txt > out.txt && echo told && exit 3",
            f"s5cmd cp {folder}/out.txt s3://{bucket}/{name}/out.txt && rm -r {folder}",
        ),
        volumes=[{"name": "work"}],
    )
    arn = tasks.run(definition, startedBy="test")
    task = tasks.stopped(arn)
    assert exit_codes(task) == {"stage-in": 0, "command": 3, "stage-out": 0}
    assert task["stopCode"] == "EssentialContainerExited"
    assert s3.get_object(Bucket=bucket, Key=f"{name}/out.txt")["Body"].read() == b"HELLO\n"
    events = logs.get_log_events(logGroupName="/wdl", logStreamName=f"t/command/{arn.rsplit('/', 1)[1]}")["events"]
    assert [event["message"] for event in events] == ["told"]


def test_failed_stage_in_stops_the_rest_as_the_agent_does(embedded_aws: Endpoint, tasks: Tasks) -> None:
    definition = tasks.register(
        *three(embedded_aws.container_root, "exit 1", "true", "true"), volumes=[{"name": "work"}]
    )
    task = tasks.stopped(tasks.run(definition))
    assert exit_codes(task) == {"stage-in": 1, "command": 143, "stage-out": 143}
    assert "dependency graph: " in task["containers"][1]["reason"]
    assert task["stopCode"] in ("EssentialContainerExited", "TaskFailedToStart")


def test_task_is_pending_while_the_command_runs(embedded_aws: Endpoint, tasks: Tasks) -> None:
    definition = tasks.register(
        *three(embedded_aws.container_root, "true", "sleep 30", "true"), volumes=[{"name": "work"}]
    )
    arn = tasks.run(definition)
    task = tasks.until(arn, lambda task: task["containers"][1]["lastStatus"] == "RUNNING")
    assert task["lastStatus"] == "PENDING"
    assert "startedAt" not in task
    assert "exitCode" not in task["containers"][1]
    tasks.ecs.stop_task(cluster="wdl", task=arn, reason="enough")
    task = tasks.stopped(arn)
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "enough")
    assert exit_codes(task) == {"stage-in": 0, "command": 143, "stage-out": None}


def test_a_task_of_nothing_is_quick(embedded_aws: Endpoint, tasks: Tasks) -> None:
    definition = tasks.register(*three(embedded_aws.container_root, "true", "true", "true"), volumes=[{"name": "work"}])
    started = time.monotonic()
    tasks.stopped(tasks.run(definition))
    assert time.monotonic() - started < 3
