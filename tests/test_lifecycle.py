"""The life of a call, on the embedded ECS and S3; what real ECS does now and then is put between the two."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_wdl_ecs import lifecycle
from airflow_wdl_ecs.ecs import poller
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import CallError, EvaluationError
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.ledger import Success
from airflow_wdl_ecs.lifecycle import CallOutcome, run_call, stop_call
from airflow_wdl_ecs.reasons import read_of_shard
from airflow_wdl_ecs.report_reading import read_report
from airflow_wdl_ecs.run import begin_run, finish_run, open_run
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .fake_aws import FakeS3, refusal

pytestmark = pytest.mark.local
_numbers = itertools.count()

TASK = """version 1.1
task t {
  input { String x = "" File? f }
  command <<<
COMMAND
  >>>
  output { OUTPUTS }
  runtime { docker: "debian:12" RUNTIME }
}
"""


def task(command: str, outputs: str = "String out = read_string(stdout())", runtime: str = "") -> str:
    return TASK.replace("COMMAND", command).replace("OUTPUTS", outputs).replace("RUNTIME", runtime)


class Said:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *values: Any) -> None:
        self.lines.append(message % values)

    warning = info

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)


class Meddler:
    """A boto3 client whose answers are changed on their way: ``change[operation](call, **arguments)``."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.meta = client.meta
        self.change: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def operation(**arguments: Any) -> Any:
            self.asked.append((name, arguments))
            call = getattr(self.client, name)
            return self.change[name](call, **arguments) if name in self.change else call(**arguments)

        return operation

    def asked_for(self, name: str) -> list[dict[str, Any]]:
        return [arguments for asked, arguments in self.asked if asked == name]


class World:
    """One run on the embedded AWS."""

    def __init__(self, endpoint: Any) -> None:
        import boto3

        keys = {"aws_access_key_id": endpoint.access_key, "aws_secret_access_key": endpoint.secret_key}
        session = boto3.Session(region_name=endpoint.region, **keys)
        self.s3 = session.client("s3", endpoint_url=endpoint.url)
        self.ecs = Meddler(session.client("ecs", endpoint_url=endpoint.url))
        self.logs = Meddler(session.client("logs", endpoint_url=endpoint.url))
        self.bucket = endpoint.bucket
        self.settings = EcsSettings(
            cluster=endpoint.cluster,
            workspace=f"s3://{endpoint.bucket}/lifecycle",
            log_group=endpoint.log_group,
            launch_type="EC2",
            staging_tool="s5cmd",
            container_root=endpoint.container_root,
            poll_fastest=0.05,
            poll_slowest=0.2,
            live_logs_interval=0.1,
            stop_timeout=2,
        )
        self.run_id = f"run {next(_numbers)}"
        self.log = Said()

    def clients(self, service: str) -> Any:
        return {"s3": self.s3, "ecs": self.ecs, "logs": self.logs}[service]

    def begin(self, wdl: str, inputs: dict[str, Any] | None = None) -> World:
        begin_run(self.settings, self.clients, compile_wdl(wdl), inputs or {}, dag_id="dag", run_id=self.run_id)
        return self

    def open(self) -> Any:
        return open_run(self.settings, self.clients, "dag", self.run_id)

    async def call(self, call: str = "t", prefixes: Any = ((),), try_number: int = 1, **more: Any) -> CallOutcome:
        found = run_call(self.open(), call, prefixes, try_number=try_number, log=self.log, **more)
        return await asyncio.wait_for(found, 60)

    def done(self, *args: Any, **kwargs: Any) -> CallOutcome:
        return asyncio.run(self.call(*args, **kwargs))

    def failure(self, *args: Any, **kwargs: Any) -> Any:
        outcome = self.done(*args, **kwargs)
        assert outcome.outputs == {}
        (error,) = outcome.failures.values()
        return error

    def started(self) -> list[dict[str, Any]]:
        return self.ecs.asked_for("run_task")

    def attempts(self, call: str = "t", shard: str = "_") -> list[dict[str, Any]]:
        key = f"{self.open().folder}calls/{call}/{shard}/attempts.json".split("/", 3)[3]
        return json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())


async def until(true: Callable[[], Any]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to that")


@pytest.fixture
def world(embedded_aws) -> World:
    return World(embedded_aws)


def test_a_call_takes_its_inputs_to_its_outputs(world):
    world.s3.put_object(Bucket=world.bucket, Key="in/a b.txt", Body=b"ACGT\n")
    wdl = task(
        'cat "~{f}" - <<<"~{x}" | tee "o ut.txt"; echo hm >&2; touch z1 z2',
        'File o = "o ut.txt"  Array[File] z = glob("z*")  File? none = "none"  String s = read_string(stderr())',
        'memory: "1 GB" zones: "here"',
    )
    world.begin(wdl, {"x": "it's", "f": f"s3://{world.bucket}/in/a b.txt"})
    outcome = world.done()
    assert outcome.failures == {}
    outputs = outcome.outputs[()]
    prefix = f"{world.open().folder}calls/t/_/0/"
    assert outputs == {
        "o": f"{prefix}work/o ut.txt",
        "z": [f"{prefix}work/z1", f"{prefix}work/z2"],
        "none": None,
        "s": "hm",
    }
    assert world.open().store.read(outputs["o"]) == b"ACGT\nit's\n"
    for text in (
        "input x =",
        "image debian:12",
        "is ECS task arn:",
        "exit code 0",
        "do nothing here: zones",
        "output s =",
    ):
        assert text in world.log
    assert world.attempts()[0]["kind"] == "succeeded"
    assert finish_run(world.open()) == outputs


def test_the_log_tells_the_whole_story_and_the_ledger_has_its_times(world):
    began = time.time()
    command = "\n".join(['echo "hello ~{x}"', "sleep 0.3", "echo careful >&2", *(f": line {n}" for n in range(100))])
    world.begin(task(command, runtime='memory: "3 GiB" cpu: 0.01'), {"x": "you"}).done()
    for text in (
        'input x = "you"',
        "image debian:12",
        "asks for 0.01 vCPU, 3072 MiB; is given 0.125 vCPU, 3072 MiB (ECS takes no less than 0.125 vCPU",
        '   2  echo "hello you"',
        f"… 63 lines more, all of which are in {world.open().folder}calls/t/_/0/command.sh",
        " 104  : line 99",
        "is ECS task arn:",
        " s after its start",
        "Z | hello you",
        "Z | careful",
        "exit code 0",
        "attempt 0 took: waited for a slot 0.0 s, submission ",
        " s, command ",
        'output out = "hello you"',
    ):
        assert text in world.log, text
    assert ": line 50" not in world.log
    (attempt,) = world.attempts()
    times = attempt["times"]
    moments = [
        "taken_up",
        "queued",
        "slot",
        "submitted",
        "created",
        "stage_in_started",
        "stage_in_ended",
        "command_started",
    ]
    moments += ["command_ended", "stage_out_started", "stage_out_ended", "stopped"]
    found = [began - 0.01, *(times[name] for name in moments), time.time() + 0.01]
    assert found == sorted(found)
    assert times["command_ended"] - times["command_started"] >= 0.3
    task_id = attempt["arn"].rsplit("/", 1)[1]
    assert attempt["log_streams"] == {name: f"wdl/{name}/{task_id}" for name in ("stage-in", "command", "stage-out")}
    assert (attempt["log_group"], attempt["launch_type"]) == (world.settings.log_group, "EC2")
    assert (attempt["image"], attempt["asked"]) == ("debian:12", "0.01 vCPU, 3072 MiB")
    assert (attempt["cpu"], attempt["memory_given"], attempt["disk"], attempt["gpu"]) == (0.125, 3072, 0, 0)
    assert attempt["prefix"] == f"{world.open().folder}calls/t/_/0/"


def test_what_a_command_used_is_measured_and_told_beside_what_it_asked_for(world):
    command = "until [[ -s ../usage ]]; do sleep 0.1; done; echo done"
    world.begin(task(command, runtime='memory: "3 GiB" cpu: 2')).done()
    (attempt,) = world.attempts()
    assert attempt["usage"]["way"] == "processes"
    assert 0 < attempt["usage"]["memory"] < 1 << 30
    assert attempt["usage"]["cpu"] >= 0
    assert (attempt["cpu_asked"], attempt["memory_asked"]) == (2, 3072)
    assert "attempt 0 used: " in world.log
    assert " of 3 GiB memory at most, " in world.log
    assert "of 2 vCPU on average (measured by its processes)" in world.log
    report = read_report(world.open().store)
    assert report.calls[0].usage.in_words.split(" of ")[1].startswith("3 GiB memory at most")


def test_a_deployment_or_a_dag_may_do_without_measuring(world):
    world.settings = replace(world.settings, measure_usage=False)
    world.begin(task("sleep 0.2", "")).done()
    (attempt,) = world.attempts()
    assert attempt["usage"] is None
    assert "attempt 0 used" not in world.log
    assert read_report(world.open().store).calls[0].usage is None


def test_the_lines_of_a_running_command_are_told_while_it_runs(world):
    world.begin(SCATTER.replace("echo", "echo working >&2; sleep 3; echo"), {"rows": [["a"]]})

    async def watch() -> None:
        waiting = asyncio.ensure_future(world.call(prefixes=[(0,)]))
        await until(lambda: "Z | working" in world.log)
        assert not waiting.done()
        await waiting

    asyncio.run(watch())
    assert any(line.startswith("[0.0] ") and line.endswith("Z | working") for line in world.log.lines)
    assert sum("Z | working" in line for line in world.log.lines) == 1


def test_a_log_that_may_not_be_read_is_said_once_and_does_no_harm(world):
    def deny(call, **arguments):
        raise refusal("AccessDeniedException", "not authorized to perform: logs:GetLogEvents")

    world.logs.change["get_log_events"] = deny
    assert world.begin(task("echo done; sleep 1")).done().outputs == {(): {"out": "done"}}
    assert sum("logs:GetLogEvents" in line for line in world.log.lines) == 1


def test_no_log_is_asked_for_where_nothing_was_written_or_nobody_wants_it(world):
    world.settings = replace(world.settings, live_logs_interval=60)
    assert world.begin(task("touch y", 'File y = "y"')).done().failures == {}
    world.settings = replace(world.settings, live_logs=False)
    world.run_id += " silent"
    assert world.begin(task("echo done; sleep 0.5")).done().failures == {}
    assert world.logs.asked == []


@pytest.mark.parametrize(
    ("changed", "said"), [(b"12", "work/o has 2 of 6 bytes"), (None, "work/o is missing")], ids=["truncated", "missing"]
)
def test_an_output_that_is_not_whole_in_s3_is_lost_and_made_again(world, changed, said):
    world.begin(task("echo 12345 >o; echo x >p", 'File o = "o"  Array[File] ps = glob("p*")'))
    key = f"{world.open().folder}calls/t/_/0/work/o".split("/", 3)[3]

    def spoil(call, **arguments):
        answer = call(**arguments)
        if any(found["lastStatus"] == "STOPPED" for found in answer["tasks"]) and len(world.started()) == 1:
            if changed is None:
                world.s3.delete_object(Bucket=world.bucket, Key=key)
            else:
                world.s3.put_object(Bucket=world.bucket, Key=key, Body=changed)
        return answer

    world.ecs.change["describe_tasks"] = spoil
    outputs = world.done().outputs[()]
    assert outputs["o"] == f"{world.open().folder}calls/t/_/1/work/o"
    assert [(found["kind"], found["budget"]) for found in world.attempts()] == [
        ("lost", "infrastructure"),
        ("succeeded", "none"),
    ]
    assert said in world.attempts()[0]["reason"]
    assert "trying again: 1 of 3 times (infrastructure_retries)" in world.log


def test_an_output_outside_the_work_directory_is_an_error_that_names_it(world):
    error = world.begin(task("ln -s /etc/passwd stolen", 'File o = "stolen"')).failure()
    assert isinstance(error, EvaluationError)
    assert "stolen" in str(error)
    assert "stolen is a link that leads out of the task's folder" in world.log


def test_a_failure_for_want_of_capacity_is_waited_out_without_spending_a_retry(world, monkeypatch):
    monkeypatch.setattr("airflow_wdl_ecs.shard.pause_before", lambda attempts, try_number: 0.01)
    world.settings = replace(world.settings, infrastructure_retries=0)
    said = "Capacity is unavailable at this time. Please try again later or in a different availability zone"

    def none_left(found):
        found.update(stopCode="TaskFailedToStart", stoppedReason=said)
        for container in found["containers"]:
            container.pop("exitCode", None)

    ending_as(world, none_left, times=2)
    assert world.begin(task("echo done")).done().outputs == {(): {"out": "done"}}
    assert [found["budget"] for found in world.attempts()] == ["capacity", "capacity", "none"]
    assert "of 3600 s (capacity_timeout)" in world.log


def test_a_failure_says_what_the_command_said(world):
    error = world.begin(task("for i in {1..30}; do echo line $i >&2; done; exit 3")).failure()
    assert isinstance(error, CallError)
    assert (error.kind, error.exit_code, error.call, error.shard) == ("command_failed", 3, "t", ())
    assert error.stderr.splitlines() == [f"line {n}" for n in range(11, 31)]
    assert "exit code 3" in str(error)
    assert len(world.started()) == 1


def test_max_retries_pays_for_fresh_attempts(world):
    world.begin(task("echo ~{x}; exit 1", runtime="maxRetries: 2"))
    assert world.failure().exit_code == 1
    assert [found["number"] for found in world.attempts()] == [0, 1, 2]
    assert len({found["arn"] for found in world.attempts()}) == 3
    # Airflow's next try has its budget whole, and its attempts have folders of their own.
    world.failure(try_number=2)
    assert [(found["number"], found["try_number"]) for found in world.attempts()[3:]] == [(3, 2), (4, 2), (5, 2)]


def test_the_task_says_which_exit_codes_are_a_success(world):
    assert world.begin(task("echo hi; exit 7", runtime="returnCodes: [0, 7]")).done().outputs[()] == {"out": "hi"}


def test_an_output_that_is_missing_fails_the_call_with_its_position(world):
    error = world.begin(task("true", 'File o = "missing.txt"')).failure()
    assert isinstance(error, EvaluationError)
    assert "missing.txt" in str(error)
    assert error.position is not None
    assert world.attempts()[0]["kind"] == "command_failed"


def test_a_failure_without_its_output_says_what_the_command_said_and_where_all_is(world):
    """Without ``set -e`` a command whose last line is right counts as a success."""
    text = str(world.begin(task("no-such-tool view >&2; true", 'File o = "missing.txt"')).failure())
    head, _, rest = text.partition("\nthe last lines of its stderr:\n")
    assert head.endswith("task t: output o: the command made no file 'missing.txt'")
    assert "no-such-tool: command not found" in rest.splitlines()[0]
    assert rest.splitlines()[1:] == [f"everything of the attempt is in {world.open().folder}calls/t/_/0/"]


def test_a_failure_of_a_silent_command_has_no_words_of_it(world):
    quiet = str(world.begin(task("true", 'File o = "missing.txt"')).failure())
    assert "stderr" not in quiet
    assert "\neverything of the attempt is in s3://" in quiet


def test_a_command_that_cannot_be_evaluated_starts_nothing(world):
    error = world.begin(task("~{read_string(select_first([f]))}")).failure()
    assert isinstance(error, EvaluationError)
    assert world.started() == []


SCATTER = """version 1.1
workflow w {
  input { Array[Array[String]] rows }
  scatter (row in rows) { scatter (cell in row) { if (cell != "skip") { call t { input: x = cell } } } }
  output { Array[Array[String?]] out = t.out }
}
""" + task('[ "~{x}" != bad ] || [ -e /tmp/never ]; code=$?; echo "<~{x}>"; exit $code').replace("version 1.1", "")


def test_shards_run_side_by_side_and_a_failure_does_not_stop_its_siblings(world):
    world.begin(SCATTER, {"rows": [["a", "skip", "bad"], [], ["b"]]})
    outcome = world.done(prefixes=[(0,), (1,), (2,)])
    assert outcome.outputs == {(0, 0): {"out": "<a>"}, (0, 1): None, (2, 0): {"out": "<b>"}}
    assert list(outcome.failures) == [(0, 2)]
    assert outcome.failures[0, 2].shard == (0, 2)
    assert "[0.2] " in "".join(world.log.lines)
    # The next try runs what has not succeeded, and nothing else.
    before = len(world.started())
    again = world.done(prefixes=[(0,), (1,), (2,)], try_number=2)
    assert again.outputs == outcome.outputs
    assert len(world.started()) == before + 1


def test_limits_hold_back_what_is_too_much(world):
    world.settings = replace(world.settings, max_tasks_per_call=2)
    world.begin(SCATTER.replace("echo", "sleep 0.3; echo"), {"rows": [["a", "b", "c", "d", "e"]]})
    most = 0

    def describe(call, **arguments):
        nonlocal most
        answer = call(**arguments)
        most = max(most, sum(found["lastStatus"] != "STOPPED" for found in answer["tasks"]))
        return answer

    world.ecs.change["describe_tasks"] = describe
    assert len(world.done().outputs) == 5
    assert most == 2


def test_a_success_is_adopted_in_the_same_try_and_run_again_when_cleared(world):
    world.begin(task("date +%s%N"))
    first = world.done()
    assert world.done() == first
    assert len(world.started()) == 1
    finish_run(world.open())
    reopened = world.open().store.layout.named("reopened.json")
    assert not world.open().store.exists(reopened)
    second = world.done(try_number=2)
    assert world.open().store.exists(reopened), "the run's outputs are older than this"
    finish_run(world.open())
    assert not world.open().store.exists(reopened)
    assert second.outputs[()]["out"] != first.outputs[()]["out"]
    assert world.open().call_outputs("t", ()) == second.outputs[()]
    assert world.done(try_number=3, fresh=False) == second
    assert len(world.started()) == 2


class Compared(tuple):
    """A shard that counts how often one is compared with another."""

    count = 0

    def __eq__(self, other: object) -> bool:
        Compared.count += 1
        return tuple.__eq__(self, other)  # type: ignore[arg-type]

    __hash__ = tuple.__hash__


async def test_clearing_a_wide_call_takes_no_more_for_each_of_its_shards():
    """It is done on the event loop that all calls of a triggerer share."""
    store = RunStore(FakeS3(), Layout("s3://b/wdl", "dag", "run"))
    hosted: Any = SimpleNamespace(run=SimpleNamespace(store=store), call="t", try_number=2)
    wide: dict[Any, Any] = {Compared((index,)): Success(1, 0, {}) for index in range(300)}
    assert not any((await lifecycle._forget(hosted, wide)).values())
    some = await lifecycle._forget(hosted, wide, list(wide)[:200])
    assert [success is None for success in some.values()] == [True] * 200 + [False] * 100
    assert Compared.count < 10 * len(wide)


def test_a_host_that_restarts_takes_up_the_task_that_runs(world):
    world.begin(task("sleep 1; echo done"))

    async def restart() -> CallOutcome:
        first = asyncio.ensure_future(world.call())
        await until(world.started)
        await asyncio.sleep(0.3)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return await world.call()

    assert asyncio.run(restart()).outputs == {(): {"out": "done"}}
    assert len(world.started()) == 1
    assert world.ecs.asked_for("stop_task") == []
    assert "taking up attempt 0" in world.log


def test_a_host_that_goes_away_while_a_task_starts_does_not_start_it_twice(world):
    world.begin(task("sleep 0.5; echo done"))

    def slow(call, **arguments):
        answer = call(**arguments)
        time.sleep(0.3)
        return answer

    world.ecs.change["run_task"] = slow

    async def restart() -> CallOutcome:
        first = asyncio.ensure_future(world.call())
        await until(world.started)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return await world.call()

    assert asyncio.run(restart()).outputs == {(): {"out": "done"}}
    # If it was asked for twice, then with one token, and it is one task.
    assert len({arguments["clientToken"] for arguments in world.started()}) == 1
    assert len({found["arn"] for found in world.attempts()}) == 1


def test_a_result_outlives_what_ecs_remembers(world):
    world.begin(task("echo done")).done()
    key = f"{world.open().folder}calls/t/_/".split("/", 3)[3]
    attempts = world.attempts()
    for field in ("kind", "exit_code"):
        attempts[0][field] = None
    attempts[0]["arn"] += "0"
    attempts[0]["started"] -= 7200
    world.s3.put_object(Bucket=world.bucket, Key=f"{key}attempts.json", Body=json.dumps(attempts).encode())
    world.s3.delete_object(Bucket=world.bucket, Key=f"{key}outputs.json")
    began = time.monotonic()
    assert world.done().outputs == {(): {"out": "done"}}
    assert len(world.started()) == 1
    assert time.monotonic() - began < 10


def test_a_task_that_left_nothing_and_is_forgotten_is_replaced(world):
    world.begin(task("echo done")).done()
    attempts = world.attempts()
    attempts[0].update(kind=None, exit_code=None, started=attempts[0]["started"] - 7200, arn=attempts[0]["arn"] + "0")
    key = f"{world.open().folder}calls/t/_/".split("/", 3)[3]
    world.s3.put_object(Bucket=world.bucket, Key=f"{key}attempts.json", Body=json.dumps(attempts).encode())
    for name in ("outputs.json", "0/result.json"):
        world.s3.delete_object(Bucket=world.bucket, Key=f"{key}{name}")
    assert world.done().outputs == {(): {"out": "done"}}
    assert [found["kind"] for found in world.attempts()] == ["lost", "succeeded"]


def test_a_task_that_ecs_does_not_show_is_stopped_before_another_takes_its_place(world, monkeypatch):
    monkeypatch.setattr(poller, "MISSING_GRACE", 1.0)
    world.begin(task("sleep 60; echo done"))
    hidden: list[str] = []

    def hide(call, **arguments):
        answer = call(**arguments)
        hidden.extend(arguments["tasks"])
        return {"tasks": [found for found in answer["tasks"] if found["taskArn"] != hidden[0]], "failures": []}

    world.ecs.change["describe_tasks"] = hide

    async def replaced() -> None:
        host = asyncio.ensure_future(world.call())
        await until(lambda: len(world.started()) == 2)
        host.cancel()
        await asyncio.gather(host, return_exceptions=True)

    asyncio.run(replaced())
    del world.ecs.change["describe_tasks"]
    (stopped,) = world.ecs.asked_for("stop_task")
    assert stopped["task"] == hidden[0]
    (found,) = world.ecs.describe_tasks(cluster=world.settings.cluster, tasks=[hidden[0]])["tasks"]
    assert found["desiredStatus"] == "STOPPED"
    asyncio.run(stop_call(world.open(), "t", [()], "the test is over"))


def test_stopping_a_call_ends_it_and_a_new_try_runs_it_afresh(world):
    world.begin(task('if [ -n "~{x}" ]; then sleep 60; fi; echo done'), {"x": "long"})

    async def stop() -> CallOutcome:
        waiting = asyncio.ensure_future(world.call())
        await until(lambda: "is running" in world.log)
        await stop_call(world.open(), "t", [()], "enough of it")
        return await waiting

    outcome = asyncio.run(stop())
    error = outcome.failures[()]
    assert error.kind == "stopped_by_user"
    assert "enough of it" in str(error)
    assert len(world.started()) == 1


def test_a_task_that_an_earlier_try_left_stopped_does_not_fail_the_new_one(world):
    world.begin(task('if [ -e "$0.second" ]; then echo; fi; sleep 1; echo done'))

    async def clear() -> CallOutcome:
        waiting = asyncio.ensure_future(world.call())
        await until(lambda: "is running" in world.log)
        waiting.cancel()
        await stop_call(world.open(), "t", [()], "cleared")
        return await world.call(try_number=2)

    assert asyncio.run(clear()).outputs == {(): {"out": "done"}}
    assert [found["kind"] for found in world.attempts()] == ["stopped_by_user", "succeeded"]


def test_stopping_one_shard_leaves_the_others_alone(world):
    world.begin(SCATTER.replace("echo", "sleep 1.5; echo"), {"rows": [["a"], ["b"]] + [["skip"]] * 8 + [["c"]]})

    async def stop() -> CallOutcome:
        waiting = asyncio.ensure_future(world.call(prefixes=[(0,), (1,), (10,)]))
        await until(lambda: sum("is running" in line for line in world.log.lines) == 3)
        await stop_call(world.open(), "t", [(1,)], "only this one")
        return await waiting

    outcome = asyncio.run(stop())
    assert list(outcome.failures) == [(1, 0)]
    assert {shard for shard, outputs in outcome.outputs.items() if outputs} == {(0, 0), (10, 0)}


def test_throttling_and_missing_tasks_do_not_fail_a_call(world):
    refused = iter([True, True])

    def throttle(call, **arguments):
        if next(refused, False):
            raise refusal("ThrottlingException", "Rate exceeded")
        return call(**arguments)

    missing = iter([True, True])

    def forget(call, **arguments):
        return {"tasks": [], "failures": []} if next(missing, False) else call(**arguments)

    world.ecs.change.update(run_task=throttle, describe_tasks=forget)
    assert world.begin(task("echo done")).done().outputs == {(): {"out": "done"}}
    assert len(world.started()) == 3


def ending_as(world, changes, times=1):
    """Let ECS say of the first tasks that end, that they ended in another way, and leave no result."""
    changed: list[str] = []

    def describe(call, **arguments):
        answer = call(**arguments)
        for found in answer["tasks"]:
            if found["lastStatus"] != "STOPPED":
                continue
            arn = found["taskArn"]
            if arn not in changed and len(changed) < times:
                changed.append(arn)
                overrides = found["overrides"]["containerOverrides"]
                prefix = next(
                    v["value"] for c in overrides for v in c.get("environment", []) if v["name"] == "WDL_ATTEMPT"
                )
                world.s3.delete_object(Bucket=world.bucket, Key=f"{prefix.split('/', 3)[3]}result.json")
            if arn in changed:
                changes(found)
        return answer

    world.ecs.change["describe_tasks"] = describe


def spot(found):
    found.update(stopCode="SpotInterruption", stoppedReason="Your Spot Task was interrupted.")


def test_an_interruption_goes_back_to_capacity_that_stays(world):
    world.settings = replace(world.settings, spot_capacity_providers=("spot-instances",), infrastructure_retries=0)
    ending_as(world, spot)

    def as_launch_type(call, **arguments):
        # The embedded cluster has no such capacity provider.
        if arguments.pop("capacityProviderStrategy", None):
            arguments["launchType"] = "EC2"
        return call(**arguments)

    world.ecs.change["run_task"] = as_launch_type
    assert world.begin(task("echo done", runtime="preemptible: 1")).done().outputs == {(): {"out": "done"}}
    assert [(found["kind"], found["spot"]) for found in world.attempts()] == [
        ("interrupted", True),
        ("succeeded", False),
    ]
    assert ["capacityProviderStrategy" in arguments for arguments in world.started()] == [True, False]


def test_where_there_is_no_spot_capacity_on_demand_capacity_is_asked_for_with_the_same_token(world):
    world.settings = replace(world.settings, spot_capacity_providers=("spot-instances",), spot_capacity_timeout=0.0)

    def no_spot(call, **arguments):
        if arguments.pop("capacityProviderStrategy", None):
            return {"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time."}]}
        return call(**arguments)

    world.ecs.change["run_task"] = no_spot
    assert world.begin(task("echo done", runtime="preemptible: 2")).done().outputs == {(): {"out": "done"}}
    asked = world.started()
    assert ["capacityProviderStrategy" in arguments for arguments in asked] == [True, False]
    assert asked[0]["clientToken"] == asked[1]["clientToken"]
    assert [(found["kind"], found["spot"]) for found in world.attempts()] == [("succeeded", False)]
    assert "on-demand capacity is asked for: no capacity for 0 s: Capacity is unavailable" in world.log


def test_out_of_memory_is_tried_again_with_more(world):
    def killed(found):
        for container in found["containers"]:
            if container["name"] == "command":
                container.update(exitCode=137, reason="OutOfMemoryError: Container killed due to memory usage")

    ending_as(world, killed)
    assert world.begin(task("echo done", runtime='memory: "1 GiB"')).done().outputs == {(): {"out": "done"}}
    assert [arguments["overrides"]["memory"] for arguments in world.started()] == ["1024", "2048"]
    assert "trying again with 2048 MiB: 1 of 1 times (out_of_memory_retries)" in world.log


@pytest.mark.parametrize(("limit", "attribute"), [(1500, ""), (0, ' max_memory: "1500 MiB"')])
def test_memory_that_cannot_grow_is_not_tried_again(world, limit, attribute):
    def killed(found):
        for container in found["containers"]:
            if container["name"] == "command":
                container.update(exitCode=137, reason="OutOfMemoryError: Container killed due to memory usage")

    world.settings = replace(world.settings, out_of_memory_limit=limit, out_of_memory_retries=5)
    ending_as(world, killed, times=9)
    runtime = f'memory: "1 GiB" memory_retry_multiplier: 1.25{attribute}'
    assert world.begin(task("echo done", runtime=runtime)).failure().kind == "out_of_memory"
    assert [found["memory_given"] for found in world.attempts()] == [1024, 1280, 1500]
    said = "max_memory" if attribute else "out_of_memory_limit"
    assert f"not trying again: it cannot have more than 1500 MiB ({said})" in world.log


def test_a_lost_task_is_replaced(world):
    def stage_out_died(found):
        found["containers"][2]["exitCode"] = 1

    ending_as(world, stage_out_died)
    assert world.begin(task("echo done")).done().outputs == {(): {"out": "done"}}
    assert [found["kind"] for found in world.attempts()] == ["lost", "succeeded"]


def test_an_input_that_has_gone_says_so_and_is_not_tried_again(world):
    world.s3.put_object(Bucket=world.bucket, Key="in/gone", Body=b"x")
    world.begin(task("cat ~{f}"), {"f": f"s3://{world.bucket}/in/gone"})
    world.s3.delete_object(Bucket=world.bucket, Key="in/gone")
    error = world.failure()
    assert error.kind == "never_started"
    assert "in/gone" in str(error)
    assert len(world.started()) == 1


def test_a_name_that_is_no_utf8_does_not_spoil_the_result(world):
    wdl = task(
        "ln -s nowhere $'caf\\xe9'; echo done >out", 'String out = read_string("out")  Array[File] all = glob("*")'
    )
    outputs = world.begin(wdl).done().outputs[()]
    assert outputs["out"] == "done"
    assert [uri.rsplit("/", 1)[1] for uri in outputs["all"]] == ["out"]
    assert "is a link to nothing" in world.log


def test_a_task_without_an_image_says_what_to_set(world):
    wdl = task("true").replace('docker: "debian:12"', "")
    error = world.begin(wdl).failure()
    assert "names no container image" in str(error)
    world.settings = replace(world.settings, image="debian:12")
    assert world.done().failures == {}


def reason(world: World, call: str = "t") -> Any:
    return read_of_shard(world.open().store, call, ())


@pytest.mark.parametrize("refused", ["InvalidParameterException", "ClusterNotFoundException"])
def test_what_ecs_refuses_is_kept_as_the_shards_reason(world: World, refused: str) -> None:
    world.begin(task("true", "Int n = 1"))

    def refuse(call: Any, **_: Any) -> Any:
        raise refusal(refused, "no such thing", "RunTask")

    world.ecs.change["run_task"] = refuse
    error = world.failure(try_number=2)
    kept = reason(world)
    assert (kept.try_number, kept.text) == (2, error.reason)
    assert refused in kept.text
    assert "call t" not in kept.text


def test_an_expression_that_fails_is_kept_as_the_shards_reason_without_secrets(world: World) -> None:
    wdl = task("echo ~{read_string(x)}", "Int n = 1").replace('String x = ""', "String password")
    world.begin(wdl.replace("read_string(x)", "read_string(password)"), {"password": "s3://nowhere/hush-hush"})
    world.failure()
    assert reason(world).try_number == 1
    assert "hush" not in reason(world).text
    assert "***" in reason(world).text


def test_what_the_ledger_tells_is_not_kept_twice(world: World) -> None:
    world.begin(task("exit 3", "Int n = 1"))
    world.failure()
    assert reason(world) is None


def test_a_failure_is_told_when_its_reason_cannot_be_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.begin(task("echo ~{read_string(x)}", "Int n = 1"), {"x": "s3://nowhere/x"})
    monkeypatch.setattr(RunStore, "put_json", lambda *_: 1 / 0)
    assert isinstance(world.failure(), EvaluationError)


def test_a_command_that_takes_longer_than_its_attribute_says_is_stopped_and_the_failure_says_so(world: World) -> None:
    wdl = task("echo begun; sleep 60", "Int n = 1", runtime='time_minutes: 0.02 returnCodes: "*" maxRetries: 1')
    error = world.begin(wdl).failure()
    assert (error.kind, error.exit_code) == ("command_failed", 124)
    assert "stopped after 2 s, which is all that time_minutes gives" in str(error)
    assert [found["budget"] for found in world.attempts()] == ["command", "command"], "maxRetries pays"
    assert "is stopped after 0.0333333 min" in world.log


def test_a_run_gives_a_call_more_time_and_the_deployment_has_the_last_word(world: World) -> None:
    wdl = task("sleep 1.5; echo done", runtime="time_minutes: 0.01")
    world.settings = replace(world.settings, max_time=0.005)
    assert "the setting max_time" in str(world.begin(wdl, {"t.runtime.time_minutes": 5}).failure())
    world.settings = replace(world.settings, max_time=0.0)
    assert world.done(try_number=2).outputs == {(): {"out": "done"}}


EC2_PLACES: dict[str, Any] = {
    "placement_constraints": ("attribute:ecs.instance-type =~ r6i.*",),
    "placement_strategies": ("binpack:memory",),
}
ON_FARGATE: dict[str, Any] = {
    "launch_type": "FARGATE",
    "subnets": ("subnet-1",),
    "task_role_arn": "arn:aws:iam::1:role/t",
    "execution_role_arn": "arn:aws:iam::1:role/e",
}


@pytest.mark.parametrize("where", [EC2_PLACES, ON_FARGATE], ids=["EC2", "Fargate"])
def test_a_large_disk_is_an_ebs_volume_that_run_task_describes(world: World, where: dict[str, Any]) -> None:
    world.settings = replace(world.settings, ebs_role_arn="arn:aws:iam::1:role/infrastructure", **where)
    wdl = task("echo done", runtime='disks: "local-disk 500 SSD, /mnt/x 100 SSD"')
    assert world.begin(wdl).done().outputs == {(): {"out": "done"}}
    (asked,) = world.started()
    assert asked["volumeConfigurations"][0]["managedEBSVolume"]["sizeInGiB"] == 600
    assert world.attempts()[0]["disk"] == 600
    assert "600 GiB EBS volume" in world.log
    assert "mount points of `disks` that are not made here, where a task has one disk: /mnt/x" in world.log


@pytest.mark.parametrize(
    ("runtime", "said"),
    [
        ('gpuType: "abacus"', "known are .*nvidia-tesla-t4"),
        ("cpu: 9", "this deployment gives 8 at most"),
        ('docker: "library://a/b"', "not an image that ECS can pull"),
    ],
)
def test_what_cannot_be_met_is_said_before_ecs_is_asked(world: World, runtime: str, said: str) -> None:
    world.settings = replace(world.settings, max_cpu=8.0)
    wdl = task("true", "Int n = 1", runtime=runtime)
    error = world.begin(wdl.replace('docker: "debian:12"', "") if "docker" in runtime else wdl).failure()
    assert isinstance(error, EvaluationError)
    assert re.search(said, str(error))
    assert world.started() == []
