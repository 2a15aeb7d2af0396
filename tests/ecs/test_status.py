"""What became of a task: DescribeTasks answers of real shapes, and what they are called."""

from __future__ import annotations

import pytest

from airflow_wdl_ecs.ecs.resources import Policy
from airflow_wdl_ecs.ecs.status import classify, command_status
from airflow_wdl_ecs.task import TaskResult

POLICY = Policy()
ESSENTIAL = "Essential container in task exited"


def task(
    stage_in=0, command=0, stage_out=0, *, code="EssentialContainerExited", said=ESSENTIAL, reasons=None, **fields
) -> dict:
    """A stopped task; an exit code of None is absent, as in the API."""
    containers = []
    for name, exit_code in (("stage-in", stage_in), ("command", command), ("stage-out", stage_out)):
        container = {"name": name, "lastStatus": "STOPPED"}
        if exit_code is not None:
            container["exitCode"] = exit_code
        if reasons and name in reasons:
            container["reason"] = reasons[name]
        containers.append(container)
    found = {"taskArn": "arn", "lastStatus": "STOPPED", "desiredStatus": "STOPPED", "containers": containers, **fields}
    return {**found, **({"stopCode": code} if code else {}), "stoppedReason": said}


OOM = "OutOfMemoryError: Container killed due to memory usage"
PULL = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
    "docker.io/library/nope:1: docker.io/library/nope:1: not found"
)
TIMEOUT = "CannotPullContainerError: ref pull has been retried 5 time(s): dial tcp 1.2.3.4:443: i/o timeout"
GRAPH = "dependency graph: container dependency not satisfied: stage-in SUCCESS"
UNREACHED = {"command": GRAPH, "stage-out": GRAPH}


@pytest.mark.parametrize(
    ("found", "result", "kind", "exit_code", "budget"),
    [
        pytest.param(task(), TaskResult(0), "succeeded", 0, "none", id="success"),
        pytest.param(None, TaskResult(0), "succeeded", 0, "none", id="success that ECS has forgotten"),
        pytest.param(
            task(code="UserInitiated", said="late"), TaskResult(0), "succeeded", 0, "none", id="stopped after success"
        ),
        pytest.param(task(command=2), TaskResult(2), "command_failed", 2, "command", id="failure"),
        pytest.param(None, TaskResult(2), "command_failed", 2, "command", id="failure that ECS has forgotten"),
        pytest.param(
            task(command=2, stage_out=1), None, "command_failed", 2, "command", id="failure, then stage-out's"
        ),
        pytest.param(
            task(command=143), TaskResult(143), "command_failed", 143, "command", id="143 of the command itself"
        ),
        pytest.param(
            task(command=137, reasons={"command": OOM}), TaskResult(137), "out_of_memory", 137, "memory", id="OOM"
        ),
        pytest.param(
            task(command=137, reasons={"command": OOM}),
            TaskResult(-1),
            "out_of_memory",
            137,
            "memory",
            id="OOM of PID 1",
        ),
        pytest.param(
            task(command=1, reasons={"command": OOM}), TaskResult(1), "out_of_memory", 1, "memory", id="OOM of a child"
        ),
        pytest.param(task(command=137), TaskResult(137), "out_of_memory", 137, "memory", id="killed by the kernel"),
        pytest.param(
            task(command=143, stage_out=143, code="UserInitiated", said="by me"),
            TaskResult(143),
            "stopped_by_user",
            143,
            "none",
            id="stopped, with a result",
        ),
        pytest.param(
            task(0, 137, 137, code="UserInitiated", said="x"),
            None,
            "stopped_by_user",
            137,
            "none",
            id="stopped and killed",
        ),
        pytest.param(
            task(None, None, None, code="UserInitiated", said="x"),
            None,
            "stopped_by_user",
            None,
            "none",
            id="stopped early",
        ),
        pytest.param(
            task(0, 143, 143, code="SpotInterruption", said="Your Spot Task was interrupted."),
            TaskResult(143),
            "interrupted",
            143,
            "interruption",
            id="Spot",
        ),
        pytest.param(
            task(0, None, None, code="TerminationNotice", said="x"),
            None,
            "interrupted",
            None,
            "interruption",
            id="notice",
        ),
        pytest.param(
            task(0, None, None, code=None, said="Host EC2 (instance i-0abc) terminated."),
            None,
            "interrupted",
            None,
            "interruption",
            id="host gone",
        ),
        pytest.param(
            task(None, None, None, code="TaskFailedToStart", said=PULL),
            None,
            "never_started",
            None,
            "none",
            id="no image",
        ),
        pytest.param(
            task(None, None, None, code="TaskFailedToStart", said=TIMEOUT),
            None,
            "never_started",
            None,
            "infrastructure",
            id="image not pulled in time",
        ),
        pytest.param(
            task(
                None,
                None,
                None,
                code="TaskFailedToStart",
                said="Capacity is unavailable at this time. Please try later",
            ),
            None,
            "never_started",
            None,
            "infrastructure",
            id="no capacity after RunTask",
        ),
        pytest.param(
            task(None, None, None, code="TaskFailedToStart", said="Task failed to start", reasons={"command": PULL}),
            None,
            "never_started",
            None,
            "none",
            id="the reason is the container's",
        ),
        pytest.param(
            task(0, 127, 0, reasons={"command": 'CannotStartContainerError: exec: "bash": executable file not found'}),
            TaskResult(-1),
            "never_started",
            None,
            "none",
            id="image without bash",
        ),
        pytest.param(
            task(1, 143, 143, reasons=UNREACHED), None, "never_started", None, "infrastructure", id="stage-in failed"
        ),
        pytest.param(
            task(1, 143, 143, code="TaskFailedToStart", reasons=UNREACHED),
            None,
            "never_started",
            None,
            "infrastructure",
            id="stage-in failed, the other stop code",
        ),
        pytest.param(task(0, 0, 1), None, "lost", 0, "infrastructure", id="stage-out failed"),
        pytest.param(
            task(0, 0, 137, reasons={"stage-out": OOM}),
            None,
            "out_of_memory",
            0,
            "memory",
            id="stage-out out of memory",
        ),
        pytest.param(None, None, "lost", None, "infrastructure", id="forgotten without a result"),
        pytest.param(None, TaskResult(-1), "command_failed", None, "command", id="killed, and forgotten"),
    ],
)
def test_ends_of_a_task(found, result, kind, exit_code, budget):
    status = classify(found, result, POLICY)
    assert (status.kind, status.exit_code, status.budget) == (kind, exit_code, budget)
    assert status.reason


def test_the_exit_codes_of_success_are_the_tasks():
    assert classify(task(command=3), TaskResult(3), Policy((0, 3))).kind == "succeeded"
    assert classify(task(command=3), TaskResult(3), Policy(None)).kind == "succeeded"
    assert classify(task(command=0), TaskResult(0), Policy((3,))).kind == "command_failed"
    # A command that was killed before it could leave an exit code is no success, whatever counts as one.
    assert classify(task(command=137), TaskResult(-1), Policy(None)).kind == "out_of_memory"


@pytest.mark.parametrize(
    ("log", "budget"),
    [
        ("fatal error: An error occurred (404) when calling the HeadObject operation: Key does not exist", "none"),
        ("An error occurred (AccessDenied) when calling GetObject", "none"),
        ("Connection was closed before we received a valid response", "infrastructure"),
    ],
)
def test_what_staging_said_decides_whether_it_is_tried_again(log, budget):
    status = classify(task(1, 143, 143, reasons=UNREACHED), None, POLICY, staging_log=log)
    assert (status.kind, status.budget) == ("never_started", budget)
    assert log in status.reason
    status = classify(task(0, 0, 1), None, POLICY, staging_log=log)
    assert (status.kind, status.budget) == ("lost", budget)
    assert log in status.reason


def test_a_task_is_called_by_what_its_command_does():
    def running(status, **containers):
        names = {"stage-in": "PENDING", "command": "PENDING", "stage-out": "PENDING", **containers}
        found = [{"name": name, "lastStatus": state} for name, state in names.items()]
        return command_status({"lastStatus": status, "containers": found})

    assert running("PROVISIONING") == "PROVISIONING"
    assert running("PENDING") == "PENDING"
    assert running("PENDING", **{"stage-in": "RUNNING"}) == "staging in"
    # The task itself says PENDING while its command runs.
    assert running("PENDING", **{"stage-in": "STOPPED", "command": "RUNNING"}) == "running"
    assert running("RUNNING", **{"command": "STOPPED", "stage-out": "RUNNING"}) == "staging out"
    assert running("STOPPED", **{"command": "STOPPED"}) == "STOPPED"
