"""What an attempt's record says of its times."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow_wdl_ecs.attempts import Attempt, Stop, Times
from airflow_wdl_ecs.task import TaskResult


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


def test_what_a_command_writes_of_ecss_times_is_not_believed():
    moment = datetime.fromtimestamp(1_750_000_000, timezone.utc)
    task = {"pullStartedAt": moment, "stoppedAt": moment}
    forged = {**dict.fromkeys(Times.__dataclass_fields__, 1_750_000_001.0), "command_ended": 1_750_000_002.0}
    known = Attempt(0, 1, "arn", "c", 1.0, times=Times(queued=0)).knowing(task, TaskResult(0, times=forged)).times
    assert (known.queued, known.slot, known.submitted, known.created, known.started) == (0, None, None, None, None)
    assert known.pull_started == known.stopped == known.gone == moment.timestamp()
    assert (known.stage_in_started, known.stage_out_ended, known.command_ended) == (
        1_750_000_001,
        1_750_000_001,
        1_750_000_002,
    )


def test_what_is_kept_of_a_task_that_was_told_to_stop():
    moment = datetime.fromtimestamp(3, timezone.utc)
    task = {
        "taskArn": "arn:9",
        "cpu": "2048",
        "memory": "4096",
        "ephemeralStorage": {"sizeInGiB": 50},
        "containers": [{"name": "command", "gpuIds": ["a", "b"]}, {"name": "stage-in"}],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "arm64"}, {"name": "else"}],
        "capacityProviderName": "FARGATE_SPOT",
        "launchType": "FARGATE",
        "pullStartedAt": moment,
    }
    assert Stop.of(task, 9.0) == Stop(
        {"pull_started": 3, "stopped": 9}, "arn:9", 2.0, 4096, 50, 2, "FARGATE_SPOT", "ARM64"
    )
    assert Stop.of({**task, "stoppingAt": moment}, 9.0).times["stopped"] == 3
    assert Stop.of({}, 9.0) == Stop({"stopped": 9})


def test_clocks_that_differ_give_no_negative_phase():
    assert Times(created=5, stage_in_started=4.8).phases() == {"start": 0.0}
