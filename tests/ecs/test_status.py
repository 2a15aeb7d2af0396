"""What became of a task: DescribeTasks answers of real shapes, and what they are called."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_wdl_ecs.ecs.attributes import Policy
from airflow_wdl_ecs.ecs.status import classify, command_status, ecs_times, launch_type
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
            "capacity",
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
        pytest.param(
            task(137, 143, 143, reasons={**UNREACHED, "stage-in": OOM}),
            None,
            "out_of_memory",
            None,
            "memory",
            id="stage-in out of memory",
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


IMAGE = "docker.io/biocontainers/bwa:9"
AUTH = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
OCI = (
    "ResourceInitializationError: failed to create new container runtime task: failed to create shim task: OCI runtime "
)


def early(said: str, *, container: str = "", code: str = "TaskFailedToStart", images: bool = True) -> dict:
    """A task of which nothing has run, with what ECS says of it, or of one of its containers."""
    found = task(None, None, None, code=code, said=said, reasons={"command": container} if container else None)
    for each in found["containers"]:
        if images:
            each["image"] = IMAGE if each["name"] == "command" else "public.ecr.aws/aws-cli/aws-cli:2"
    return found


@pytest.mark.parametrize(
    ("found", "budget", "words"),
    [
        pytest.param(
            early(
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
                f"{IMAGE}: {IMAGE}: not found"
            ),
            "none",
            (IMAGE, "check the image's name"),
            id="image not found",
        ),
        pytest.param(
            early(
                "Task failed to start",
                container="CannotPullContainerError: Error response from daemon: manifest for "
                f"{IMAGE} not found: manifest unknown: manifest unknown",
            ),
            "none",
            (IMAGE, "check the image's name"),
            id="image not found, on EC2",
        ),
        pytest.param(
            early(
                "CannotPullContainerError: pull access denied, repository does not exist or may require "
                "authorization: server message: insufficient_scope: authorization failed"
            ),
            "none",
            (IMAGE, "execution role"),
            id="a private image",
        ),
        pytest.param(
            early(
                "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref "
                "1.dkr.ecr.eu-west-1.amazonaws.com/x:1: unexpected status from HEAD request: 403 Forbidden"
            ),
            "none",
            ("403", "execution role"),
            id="ECR denies",
        ),
        pytest.param(
            early(
                "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not "
                "contain descriptor matching platform 'linux/amd64'."
            ),
            "none",
            (IMAGE, "cpu_architecture"),
            id="image of another architecture",
        ),
        pytest.param(
            early("CannotPullContainerError: failed to find a descriptor for platform {linux/amd64}"),
            "none",
            ("cpu_architecture",),
            id="image of another architecture, in other words",
        ),
        pytest.param(
            early(
                "CannotPullContainerError: Error response from daemon: no matching manifest for linux/arm64/v8 in the "
                "manifest list entries"
            ),
            "none",
            ("cpu_architecture",),
            id="image of another architecture, on EC2",
        ),
        pytest.param(
            early(
                "CannotPullContainerError: ref pull has been retried 1 time(s): failed to copy: httpReadSeeker: failed "
                "open: unexpected status code https://registry-1.docker.io/v2/library/debian/manifests/sha256:63d: "
                "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit."
            ),
            "capacity",
            ("Amazon ECR",),
            id="Docker Hub's rate limit",
        ),
        pytest.param(
            early(
                "CannotPullContainerError: inspect image has been retried 5 time(s): failed to resolve ref: Get "
                "https://registry-1.docker.io/v2/: dial tcp 3.2.1.0:443: i/o timeout"
            ),
            "infrastructure",
            ("NAT gateway",),
            id="no way to the registry",
        ),
        pytest.param(
            early("CannotPullContainerError: failed to register layer: write /x: no space left on device"),
            "none",
            ("disks",),
            id="image larger than the disk",
        ),
        pytest.param(
            early(
                f"{AUTH}unable to retrieve ecr registry auth: service call has been retried 3 time(s): RequestError: "
                'send request failed caused by: Post "https://api.ecr.us-east-2.amazonaws.com/": dial tcp 1.2.3.4:443: '
                "i/o timeout. Please check your task network configuration."
            ),
            "infrastructure",
            ("NAT gateway",),
            id="no way to ECR",
        ),
        pytest.param(
            early(
                f"{AUTH}unable to retrieve secrets from ssm: service call has been retried 5 time(s): "
                "RequestCanceled: request context canceled caused by: context deadline exceeded"
            ),
            "infrastructure",
            ("NAT gateway",),
            id="no way to SSM",
        ),
        pytest.param(
            early(
                f"{AUTH}unable to retrieve ecr registry auth: service call has been retried 1 time(s): "
                "AccessDeniedException: User: arn:aws:sts::1:assumed-role/exec/x is not authorized to perform: "
                "ecr:GetAuthorizationToken"
            ),
            "none",
            ("execution role",),
            id="the execution role may not",
        ),
        pytest.param(
            early(
                f"{AUTH}unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch "
                "secret: ResourceNotFoundException: Secrets Manager can't find the specified secret."
            ),
            "none",
            ("can't find",),
            id="no such secret",
        ),
        pytest.param(
            early(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
                "failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not "
                "exist."
            ),
            "none",
            ("log_group",),
            id="no log group",
        ),
        pytest.param(
            early(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
                "failed to create Cloudwatch log stream: ThrottlingException: Rate exceeded"
            ),
            "capacity",
            (),
            id="CloudWatch throttles",
        ),
        pytest.param(
            early(
                "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: Fail "
                'to resolve "fs-1.efs.eu-west-1.amazonaws.com"'
            ),
            "infrastructure",
            (),
            id="EFS",
        ),
        pytest.param(
            early("Timeout waiting for network interface provisioning to complete."),
            "infrastructure",
            (),
            id="network",
        ),
        pytest.param(
            early(
                "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment enabled "
                "in subnet 'subnet-1': InsufficientFreeAddressesInSubnet"
            ),
            "capacity",
            ("subnets",),
            id="addresses",
        ),
        pytest.param(
            early("Capacity is unavailable at this time. Please try again later or in a different availability zone"),
            "capacity",
            (),
            id="Fargate has no capacity",
        ),
        pytest.param(
            early("You've reached the limit on the number of vCPUs you can run concurrently"),
            "capacity",
            (),
            id="quota",
        ),
        pytest.param(early("RESOURCE:MEMORY"), "capacity", (), id="cluster full"),
        pytest.param(early("RESOURCE:ENI"), "capacity", (), id="no network interface left"),
        pytest.param(early("AGENT"), "capacity", (), id="agent disconnected"),
        pytest.param(
            early("ContainerRuntimeTimeoutError: Could not transition to running; timed out after waiting 1m", code=""),
            "infrastructure",
            (),
            id="container runtime timeout",
        ),
        pytest.param(
            early("DockerTimeoutError: Could not transition to created; timed out after waiting 4m0s"),
            "infrastructure",
            (),
            id="Docker timeout",
        ),
        pytest.param(
            task(
                0,
                None,
                None,
                reasons={
                    "command": f"CannotStartContainerError: {OCI}create failed: runc create failed: "
                    'unable to start container process: exec: "bash": executable file not found in $PATH'
                },
            ),
            "none",
            ("needs bash",),
            id="image without bash",
        ),
        pytest.param(
            task(
                0,
                127,
                0,
                reasons={
                    "command": "CannotStartContainerError: Error response from daemon: OCI runtime "
                    'create failed: container_linux.go:380: exec: "bash": stat bash: no such file or directory: unknown'
                },
            ),
            "none",
            ("needs bash",),
            id="image without bash, on EC2",
        ),
        pytest.param(
            task(
                0,
                1,
                0,
                reasons={
                    "command": "CannotStartContainerError: Error response from daemon: failed to create "
                    "task for container: exec /usr/bin/bash: exec format error"
                },
            ),
            "none",
            ("cpu_architecture",),
            id="exec format error",
        ),
        pytest.param(
            task(0, None, 0, reasons={"command": "CannotInspectContainerError: Could not transition to inspecting"}),
            "infrastructure",
            (),
            id="container lost",
        ),
    ],
)
def test_what_never_started_names_who_has_to_do_what(found, budget, words):
    status = classify(found, None, POLICY)
    assert (status.kind, status.exit_code, status.budget) == ("never_started", None, budget)
    for word in words:
        assert word in f"{status.reason}\n{status.hint}"


def test_only_the_image_that_could_not_be_pulled_is_named():
    said = f"CannotPullContainerError: failed to resolve ref {IMAGE}: not found"
    assert "aws-cli" not in classify(early(said), None, POLICY).reason
    assert "aws-cli" not in classify(early("Task failed to start", container=said), None, POLICY).reason
    assert "aws-cli" in classify(early("CannotPullContainerError: connection reset"), None, POLICY).reason


@pytest.mark.parametrize(
    "found",
    [
        task(0, 137, 137, code="SpotInterruption", said="Your Spot Task was interrupted."),
        task(0, None, None, code="TerminationNotice", said="Task stopped by a termination notice"),
        task(0, None, None, code=None, said="Host EC2 (instance i-0abc) terminated."),
        task(0, None, None, code=None, said="Host EC2 (instance i-0abc) stopped."),
        task(
            0,
            137,
            143,
            code="ServiceSchedulerInitiated",
            said="ECS is performing maintenance on the underlying infrastructure hosting the task.",
        ),
        task(0, None, None, code=None, said="Container instance deregistration forced by user"),
    ],
)
def test_capacity_that_is_taken_away_is_an_interruption(found):
    status = classify(found, None, POLICY)
    assert (status.kind, status.budget) == ("interrupted", "interruption")
    assert found["stoppedReason"] in status.reason


def test_fargate_may_say_of_the_task_that_memory_ran_out():
    said = "OutOfMemoryError: container killed due to memory usage"
    status = classify(task(0, None, 137, said=said), None, POLICY)
    assert (status.kind, status.budget) == ("out_of_memory", "memory")
    assert said in status.reason


def test_a_stage_that_was_short_of_memory_needs_more_whatever_else_it_said():
    log = "download failed: s3://b/k to /wdl/k Unable to connect"
    stage_in = classify(task(1, 143, 143, reasons={**UNREACHED, "stage-in": OOM}), None, POLICY, staging_log=log)
    stage_out = classify(task(0, 0, 1, reasons={"stage-out": OOM}), None, POLICY, staging_log=log)
    for status in (stage_in, stage_out):
        assert (status.kind, status.budget) == ("out_of_memory", "memory")
        assert log in status.reason
        assert "OutOfMemory" in status.reason
    status = classify(
        task(1, 143, 143, reasons=UNREACHED), None, POLICY, staging_log="fork: Cannot allocate memory (12)"
    )
    assert (status.kind, status.budget) == ("out_of_memory", "memory")


def test_a_full_disk_says_which_attribute_asks_for_more():
    full = "samtools sort: failed to create temporary file: No space left on device"
    status = classify(task(command=1), TaskResult(1), POLICY, stderr=full)
    assert (status.kind, status.budget) == ("command_failed", "command")
    assert "disks" in status.hint
    # Other words of a command's stderr are its own, and no word of the platform's.
    assert classify(task(command=1), TaskResult(1), POLICY, stderr="404 not found: dial tcp").hint == ""
    status = classify(task(1, 143, 143, reasons=UNREACHED), None, POLICY, staging_log=f"aws: {full}")
    assert (status.kind, status.budget) == ("never_started", "none")
    assert "disks" in status.hint
    status = classify(task(0, 0, 1), None, POLICY, staging_log=full)
    assert (status.kind, status.budget) == ("lost", "none")
    assert "disks" in status.hint


def test_a_bash_that_cannot_run_is_no_failure_of_the_command():
    """On Fargate an image for another architecture has no reason: its container just ends, with words in its log."""
    times = {"stage_in_started": 1.0, "stage_in_ended": 2.0, "stage_out_started": 3.0}
    status = classify(task(command=255), TaskResult(-1, times=times), POLICY)
    assert (status.kind, status.budget) == ("never_started", "none")
    assert "exit code 255" in status.reason
    assert "cpu_architecture" in status.hint
    # What began has been the command's own.
    began = {**times, "command_started": 2.5}
    assert classify(task(command=255), TaskResult(-1, times=began), POLICY).kind == "command_failed"


def test_what_ecs_says_of_times_and_capacity():
    moments = {
        name: datetime.fromtimestamp(at, timezone.utc)
        for name, at in (("createdAt", 1), ("pullStartedAt", 2), ("pullStoppedAt", 3), ("startedAt", 4))
    }
    found = task(**moments, stoppedAt=datetime.fromtimestamp(9, timezone.utc), launchType="FARGATE")
    begun = {"created": 1, "pull_started": 2, "pull_stopped": 3, "started": 4}
    assert ecs_times(found) == {**begun, "stopped": 9, "gone": 9}
    assert ecs_times(task()) == {}
    # The containers' end is the task's; what follows is the network's clearing away.
    ended = ecs_times({**found, "executionStoppedAt": datetime.fromtimestamp(7, timezone.utc)})
    assert (ended["stopped"], ended["gone"]) == (7, 9)
    assert launch_type(found) == "FARGATE"
    assert launch_type({**found, "capacityProviderName": "FARGATE_SPOT"}) == "FARGATE_SPOT"


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


def test_a_command_whose_time_was_over_says_which_attribute_gave_it_so_much():
    policy = Policy(success=None, time_limit=5400, time_source="time_minutes")
    times = {"command_started": 1.0, "time_over": 5401.0, "command_ended": 5402.0}
    status = classify(task(command=124), TaskResult(-1, times=times), policy)
    assert (status.kind, status.exit_code, status.budget) == ("command_failed", 124, "command")
    assert status.reason == "the command was stopped after 90 min, which is all that time_minutes gives"
    assert "time_minutes" in status.hint
    short = classify(None, TaskResult(-1, times=times), Policy(time_limit=45, time_source="the setting max_time"))
    assert short.reason == "the command was stopped after 45 s, which is all that the setting max_time gives"
    spot = classify(task(command=124, code="SpotInterruption"), TaskResult(-1, times=times), policy)
    assert spot.kind == "interrupted"


@pytest.mark.parametrize(
    ("said", "budget", "hint"),
    [
        (
            "ECS was unable to assume the configured ECS Infrastructure Role 'arn:aws:iam::1:role/i'. Please verify "
            "that the role being passed has the proper trust relationship with Amazon ECS",
            "infrastructure",
            "ebs_role_arn",
        ),
        ("failed to create the EBS volume: VolumeLimitExceeded: maximum volume storage exceeded", "capacity", ""),
    ],
)
def test_a_volume_that_could_not_be_made(said, budget, hint):
    stopped = task(None, None, None, code="TaskFailedToStart", said=said)
    status = classify(stopped, None, POLICY)
    assert (status.kind, status.budget) == ("never_started", budget)
    assert hint in status.hint


def test_a_stage_in_that_could_not_start_is_the_reason_and_not_the_command_that_waited_for_it():
    said = (
        "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed "
        "to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist."
    )
    graph = f"CannotStartContainerError: {GRAPH}"
    reasons = {"stage-in": said, "command": graph, "stage-out": graph}
    stopped = task(None, 143, 143, code="TaskFailedToStart", said=said, reasons=reasons)
    status = classify(stopped, None, POLICY)
    assert (status.kind, status.budget, status.exit_code) == ("never_started", "none", None)
    assert status.reason == f"ECS could not start the task: {said}"
    assert "log_group" in status.hint
