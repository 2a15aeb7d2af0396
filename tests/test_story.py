"""What the log of a task instance tells: a short command whole, of a long one the ends, and how long what took."""

from __future__ import annotations

from typing import Any

from airflow_wdl_ecs.attempts import Attempt, Times
from airflow_wdl_ecs.ecs.resources import TaskSize
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.story import (
    COMMAND_ENDS,
    WHOLE_COMMAND,
    as_json,
    command_lines,
    durations,
    tell_inputs,
    tell_request,
)
from airflow_wdl_ecs.task import CallIdentity, Resources, TaskRequest


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *values: Any) -> None:
        self.lines.append(message % values)

    warning = info


def test_a_short_command_is_told_whole_with_the_numbers_of_the_script():
    assert list(command_lines("\n\nset -e\n\n  echo %s\n", "s3://b/command.sh")) == [
        "command:",
        "   3  set -e",
        "   4  ",
        "   5    echo %s",
    ]


def test_only_a_line_break_of_bash_ends_a_line():
    assert list(command_lines("echo a\rb\u2028c\n", "s3://b/command.sh")) == ["command:", "   1  echo a\rb\u2028c"]


def test_of_a_long_command_the_ends_are_told_and_where_the_rest_is():
    total = WHOLE_COMMAND + 1
    lines = list(command_lines("\n".join(f"line {n}" for n in range(1, total + 1)), "s3://b/command.sh"))
    assert len(lines) == 2 * COMMAND_ENDS + 2
    assert lines[1] == "   1  line 1"
    assert (
        lines[COMMAND_ENDS + 1]
        == f"     … {total - 2 * COMMAND_ENDS} lines more, all of which are in s3://b/command.sh"
    )
    assert lines[-1] == f"{total:4}  line {total}"
    assert lines[COMMAND_ENDS + 2].endswith(f"line {total - COMMAND_ENDS + 1}")


def test_an_empty_command_is_no_trouble():
    assert list(command_lines("\n  \n", "x")) == ["command:"]


def test_a_request_is_told_with_the_reason_of_its_size():
    said = Said()
    request = TaskRequest(
        CallIdentity("d", "r", "c"), 0, "debian:12", "echo 100%", "/wdl/x", "s3://b/p/", resources=Resources(1, 9000)
    )
    tell_request(said, request, TaskSize(2048, 9216), EcsSettings())
    assert said.lines == [
        "image debian:12",
        "asks for 1 vCPU, 9000 MiB; is given 2 vCPU, 9216 MiB (Fargate gives 2 vCPU with 4096 to 16384 MiB)",
        "command:",
        "   1  echo 100%",
        "the attempt is kept in s3://b/p/",
    ]


def test_inputs_are_told_as_json_and_attributes_of_other_engines_are_named():
    said = Said()
    tell_inputs(said, {"x": "100%", "y": ["a"]}, {"memory": 1, "zones": "here"})
    assert said.lines[:2] == ['input x = "100%"', 'input y = ["a"]']
    assert said.lines[2] == "runtime attributes that do nothing here: zones"
    assert as_json({"é": None}) == '{"é": null}'


def test_durations_are_one_line():
    times = Times(
        queued=0,
        slot=1,
        submitted=1.5,
        created=2,
        pull_started=5,
        pull_stopped=15,
        stage_in_started=20,
        stage_in_ended=22,
        command_started=23,
        command_ended=83.26,
        stage_out_ended=85,
    )
    assert durations(Attempt(0, 1, "arn", "c", 2, times=times)) == (
        "waited for a slot 1.0 s, submission 0.5 s, for ECS to take it 0.5 s, for its start 18.0 s (images 10.0 s), "
        "staging in 2.0 s, start of the command's container 1.0 s, command 60.3 s, staging out 1.7 s"
    )
    assert durations(Attempt(0, 1, "arn", "c", 2)) == ""
