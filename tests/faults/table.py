"""The faults that are tried, and what must come of each: what the tests run, and what ``docs/promises.md`` says.

A row is a fault at a step of a call's life, with the run's end, how often its command ran and how many ECS tasks were
started. ``python -m pytest tests/faults --write-promises`` writes the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

PAGE = Path(__file__).parents[2] / "docs" / "promises.md"


@dataclass(frozen=True)
class Kill:
    """The host of a call is killed (SIGKILL) at a step of the call's life, and another goes on.

    :param step: in words. :param hold: the request of the host, or of the task, at which it is killed; without one, it
        is killed while the command runs.
    :param fails: whether the command fails. :param commands: how often it runs in all.
    :param forgotten: whether ECS has forgotten the task when the next host comes.
    :param short: whether it belongs to the short form.
    """

    step: str
    hold: Mapping[str, Any] | None = None
    fails: bool = False
    commands: int = 1
    forgotten: bool = False
    short: bool = False


def _held(operation: str, key: str = "", *, skip: int = 0, after: bool = False, abandon: bool = True) -> dict[str, Any]:
    return {"operation": operation, "kind": "hold", "key": key, "skip": skip, "after": after, "abandon": abandon}


KILLS: Sequence[Kill] = (
    Kill("before its scripts are in S3", _held("s3:PUT", "stage-in.sh")),
    Kill("before RunTask", _held("ecs:RunTask"), short=True),
    Kill("after RunTask, before its answer", _held("ecs:RunTask", after=True), short=True),
    Kill("after RunTask, before it is recorded", _held("s3:PUT", "attempts.json"), short=True),
    Kill(
        "after RunTask, before it is recorded; ECS has forgotten the task since",
        _held("s3:PUT", "attempts.json"),
        forgotten=True,
    ),
    Kill("while the task stages in", _held("s3:GET", "stage-in.sh", abandon=False)),
    Kill("while the command runs", short=True),
    Kill("while the command runs; ECS has forgotten the task since", forgotten=True),
    Kill("after the task has stopped, before its result is read", _held("s3:GET", "result.json")),
    Kill("while outputs are read", _held("s3:GET", "/stdout"), short=True),
    Kill("after the outputs are read, before the attempt's end is recorded", _held("s3:PUT", "attempts.json", skip=1)),
    Kill("after the attempt's end is recorded, before its success is", _held("s3:PUT", "outputs.json"), short=True),
    Kill("after the success is recorded, before Airflow knows", _held("s3:PUT", "outputs.json", after=True)),
    Kill(
        "after a failure is recorded, before Airflow knows",
        _held("s3:PUT", "attempts.json", skip=1, after=True),
        fails=True,
        short=True,
    ),
)

NextTry = Literal["the same try", "the next try"]
NEXT: Mapping[NextTry, int] = {"the same try": 1, "the next try": 2}
"""Who goes on: another triggerer, or a restarted one, has the same try of Airflow's; another worker has the next."""


@dataclass(frozen=True)
class SchedulerKill:
    """The scheduler is killed (SIGKILL) with a run in flight, and with it the workers of its local executor.

    :param step: in words. :param hold: the request at which it is killed; without one, while the command runs.
    :param arguments: of ``wdl_dag``, as Python text.
    """

    step: str
    hold: Mapping[str, Any] | None = None
    arguments: str = ""


TRIGGERER_KILLS: Mapping[str, Mapping[str, Any]] = {
    "before RunTask": _held("ecs:RunTask"),
    "after RunTask, before its answer": _held("ecs:RunTask", after=True),
    "after RunTask, before it is recorded": _held("s3:PUT", "attempts.json"),
    "while the task stages in": _held("s3:GET", "stage-in.sh", abandon=False),
    "after the task has stopped, before its result is read": _held("s3:GET", "result.json"),
    "while outputs are read": _held("s3:GET", "/stdout"),
    "before the success is recorded": _held("s3:PUT", "/calls/work/_/outputs.json"),
}
"""The step -> the request at which a triggerer is killed that hosts a call."""


@dataclass(frozen=True)
class WorkerKill:
    """A worker of the local executor is killed (SIGKILL) that hosts a call.

    :param what: in words. :param becomes: what becomes of the call. :param retries: Airflow's, of the call.
    :param with_process: whether the process of the task instance is killed, too.
    :param hold: the request at which it is killed; without one, while the command runs.
    :param late: whether that is after the command has ended.
    """

    what: str
    becomes: str = "succeeds in its next try"
    retries: int = 1
    with_process: bool = True
    hold: Mapping[str, Any] | None = None
    late: bool = False

    def hold_in(self, call: str) -> Mapping[str, Any] | None:
        """Its hold, for the requests of one call alone."""
        return None if self.hold is None else {**self.hold, "key": f"/calls/{call}/_/{self.hold['key']}"}


WORKER_KILLS: Sequence[WorkerKill] = (
    WorkerKill("a worker that hosts a call, while its command runs, with the task instance's process"),
    WorkerKill("a worker that hosts a call, while its command runs, without that process", with_process=False),
    WorkerKill(
        "a worker that hosts a call without `retries`",
        "fails; `orphans --stop` stops its ECS task",
        0,
    ),
    WorkerKill("a worker that hosts a call, before RunTask", hold=_held("ecs:RunTask")),
    WorkerKill("a worker that hosts a call, after RunTask, before its answer", hold=_held("ecs:RunTask", after=True)),
    WorkerKill(
        "a worker that hosts a call, after RunTask, before it is recorded", hold=_held("s3:PUT", "attempts.json")
    ),
    WorkerKill(
        "a worker that hosts a call, while the task stages in", hold=_held("s3:GET", "0/stage-in.sh", abandon=False)
    ),
    WorkerKill(
        "a worker that hosts a call, after the task has stopped, before its result is read",
        hold=_held("s3:GET", "0/result.json"),
        late=True,
    ),
    WorkerKill("a worker that hosts a call, while outputs are read", hold=_held("s3:GET", "0/stdout"), late=True),
)
WORKERS_AT_ONCE = 3
"""How many are killed together, since Airflow takes minutes to notice; a small machine's executor has four workers."""
_ON_A_WORKER = 'call_args={"work": {"deferrable": False}}'
SCHEDULER_KILLS: Sequence[SchedulerKill] = (
    SchedulerKill("while the task `inputs` writes the run's folder", _held("s3:PUT", "/run.json")),
    SchedulerKill("while a call waits for RunTask", _held("ecs:RunTask", abandon=False)),
    SchedulerKill("while a command runs"),
    SchedulerKill("while a command runs whose call a worker hosts", arguments=_ON_A_WORKER),
    SchedulerKill(
        "after RunTask, before it is recorded, of a call that a worker hosts",
        _held("s3:PUT", "attempts.json"),
        _ON_A_WORKER,
    ),
    SchedulerKill(
        "while the task stages in, of a call that a worker hosts",
        _held("s3:GET", "stage-in.sh", abandon=False),
        _ON_A_WORKER,
    ),
    SchedulerKill("while outputs are read, of a call that a worker hosts", _held("s3:GET", "/stdout"), _ON_A_WORKER),
    SchedulerKill("while the task `outputs` writes the run's outputs", _held("s3:PUT", "outputs.json", skip=1)),
)


@dataclass(frozen=True)
class AwsFault:
    """Something that AWS does, while the host lives.

    :param faults: of the embedded AWS (``local.faults.Faults``).
    :param commands: how often the command begins.
    :param tasks: how many ECS tasks are started. :param runtime: more of the task's runtime section.
    :param settings: overrides of settings. :param when_running: what happens to the task once its command has begun.
    :param more: bytes more in the output file.
    """

    name: str
    faults: Mapping[str, Any] = field(default_factory=dict)
    commands: int = 1
    tasks: int = 1
    runtime: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    when_running: Mapping[str, Any] = field(default_factory=dict)
    more: int = 0
    short: bool = False


def _requests(*faults: Mapping[str, Any]) -> dict[str, Any]:
    return {"requests": list(faults)}


def _at_rate(operation: str, code: str, status: int, rate: float) -> dict[str, Any]:
    return {"operation": operation, "kind": "error", "code": code, "status": status, "rate": rate, "times": None}


def _task(kind: str, **more: Any) -> dict[str, Any]:
    return {"tasks": [{"kind": kind, **more}]}


_MULTIPART = 60_000_000
"""Bytes that are uploaded in several parts."""
_ECS = ("RunTask", "DescribeTasks", "DescribeTaskDefinition", "RegisterTaskDefinition")
AWS_FAULTS: Sequence[AwsFault] = (
    AwsFault("every answer takes half a second", {"latency": {"*": 0.5}}),
    AwsFault("ECS is asked too often (ThrottlingException)", {"throttle": {"ecs:RunTask": 1, "ecs:DescribeTasks": 1}}),
    AwsFault(
        "a third of ECS's answers are HTTP 500",
        _requests(*(_at_rate(f"ecs:{name}", "ServerException", 500, 0.34) for name in _ECS)),
        short=True,
    ),
    AwsFault(
        "RunTask's answer is lost",
        _requests({"operation": "ecs:RunTask", "kind": "drop", "after": True}),
        short=True,
    ),
    AwsFault(
        "connections to ECS break off",
        _requests(
            {"operation": "ecs:DescribeTasks", "kind": "drop", "times": 3},
            {"operation": "ecs:RunTask", "kind": "drop", "times": 2},
        ),
    ),
    AwsFault("no capacity (RESOURCE:MEMORY), then some", {"run_task_failures": ["RESOURCE:MEMORY"]}),
    AwsFault("the agent is disconnected (AGENT), then back", {"run_task_failures": ["AGENT"]}),
    AwsFault("no Fargate capacity, then some", {"run_task_failures": ["Capacity is unavailable at this time."]}),
    AwsFault("a new task is MISSING at first", {"missing_for": 1.5}, short=True),
    AwsFault("states arrive late", {"stale_for": 1.0}),
    AwsFault("states arrive again, late and out of order", {"stale_for": 3.0, "stale_rate": 0.5}, short=True),
    AwsFault("ECS's clock is an hour ahead", {"clock_skew": 3600.0}),
    AwsFault("ECS's clock is an hour behind", {"clock_skew": -3600.0}),
    AwsFault(
        "a Spot interruption, and on-demand capacity after it",
        when_running={"kind": "spot"},
        commands=2,
        tasks=2,
        runtime="preemptible: 1",
        short=True,
    ),
    AwsFault("the host is lost", when_running={"kind": "host"}, commands=2, tasks=2),
    AwsFault("the image cannot be pulled, once", _task("image_pull", container="command"), tasks=2),
    AwsFault(
        "the command's container runs out of memory, and is given more",
        when_running={"kind": "out_of_memory"},
        commands=2,
        tasks=2,
    ),
    AwsFault(
        "the command's container is killed, most likely for memory",
        when_running={"kind": "kill"},
        commands=2,
        tasks=2,
    ),
    AwsFault("stage-in is killed", {**_task("kill", container="stage-in"), "latency": {"s3:GET": 0.5}}, tasks=2),
    AwsFault("stage-out is killed", _task("kill", container="stage-out"), commands=2, tasks=2),
    AwsFault(
        "S3 says SlowDown to a third of what is asked",
        _requests(*(_at_rate(operation, "SlowDown", 503, 0.34) for operation in ("s3:GET", "s3:PUT"))),
        short=True,
    ),
    AwsFault(
        "S3's answers are cut short",
        _requests(*({"operation": "s3:GET", "kind": "truncate", "key": key} for key in ("result.json", "/stdout"))),
        short=True,
    ),
    AwsFault(
        "the downloads of what a task's stages begin with are cut short, and then refused (HTTP 500)",
        _requests(
            *(
                {"operation": "s3:GET", "kind": kind, "key": key}
                for key in ("stage-in.sh", "stage-out.sh")
                for kind in ("truncate", "error")
            )
        ),
        short=True,
    ),
    AwsFault(
        "uploads break off",
        _requests(
            {"operation": "s3:PUT", "kind": "drop", "key": "/work/", "times": 2},
            {"operation": "s3:PUT", "kind": "drop", "key": "attempts.json"},
        ),
    ),
    AwsFault(
        "the answer to an upload is lost",
        _requests({"operation": "s3:PUT", "kind": "drop", "after": True, "times": 2}),
    ),
    AwsFault(
        "parts of a multipart upload break off or are refused, and so is its completion",
        _requests(
            {"operation": "s3:PUT", "kind": "drop", "key": "partNumber=", "times": 2},
            {"operation": "s3:PUT", "kind": "error", "key": "partNumber=", "code": "InternalError", "times": 2},
            {"operation": "s3:POST", "kind": "error", "key": "?uploads", "code": "SlowDown", "status": 503},
            {"operation": "s3:POST", "kind": "error", "key": "uploadId=", "code": "InternalError"},
        ),
        more=_MULTIPART,
    ),
    AwsFault(
        "lists of S3 are refused (HTTP 500) or cut short",
        _requests(
            {"operation": "s3:GET", "kind": "truncate", "key": "list-type=2"},
            {"operation": "s3:GET", "kind": "error", "key": "list-type=2", "code": "InternalError", "times": 7},
        ),
    ),
    AwsFault("ECS forgets the task as soon as it has stopped", {"forget_after": 0.0}),
)

CUTS: Sequence[Kill] = tuple(kill for kill in KILLS if not (kill.fails or kill.forgotten))
"""The steps at which every connection of the host to AWS breaks off."""

UNREACHABLE = 3.0
"""Seconds for which no new one can be made."""

_DENIED = {"kind": "error", "code": "AccessDeniedException", "status": 400}


@dataclass(frozen=True)
class FailedCall:
    """Something that the deployer has to mend: the call fails of it, and the next try goes on.

    :param faults: of the embedded AWS. :param when_running: whether they come once the command has begun.
    :param error: the error's class. :param says: what is in its message.
    :param tasks: how many ECS tasks both tries start.
    """

    name: str
    faults: Mapping[str, Any]
    error: str
    says: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    when_running: bool = False
    tasks: int = 1
    short: bool = False


FAILED_CALLS: Sequence[FailedCall] = (
    FailedCall(
        "there is no capacity for as long as `capacity_timeout` says",
        {"run_task_failures": ["RESOURCE:MEMORY"] * 100},
        "CallError",
        ("no capacity for 2 s: RESOURCE:MEMORY", "capacity_timeout"),
        {"capacity_timeout": 2.0},
        short=True,
    ),
    FailedCall(
        "the image is not there",
        _task("image_pull", container="command", says="debian:12: not found"),
        "CallError",
        ("image debian:12", "not found", "check the image's name and tag"),
        tasks=2,
        short=True,
    ),
    FailedCall(
        "ECS does not take the task (RunTask: ATTRIBUTE)",
        {"run_task_failures": ["ATTRIBUTE"]},
        "CallError",
        ("ECS did not start the task: ATTRIBUTE",),
    ),
    FailedCall(
        "the credentials expire while the command runs",
        _requests({**_DENIED, "operation": "ecs:DescribeTasks", "code": "ExpiredTokenException", "times": None}),
        "SettingsError",
        ("ExpiredTokenException", "check the Airflow connection that aws_conn_id names"),
        when_running=True,
        short=True,
    ),
    FailedCall(
        "the permission to look at ECS tasks is taken away while the command runs",
        _requests({**_DENIED, "operation": "ecs:DescribeTasks", "times": None}),
        "SettingsError",
        ("AccessDeniedException", "needs permission for DescribeTasks"),
        when_running=True,
    ),
)


@dataclass(frozen=True)
class StopFault:
    """Something that AWS does while a call is being stopped.

    :param says: what the error's message has, if there is to be one. :param runs_on: whether the task does, until
        ``orphans`` stops it.
    """

    name: str
    faults: Mapping[str, Any]
    says: Sequence[str] = ()
    runs_on: bool = False
    short: bool = False


STOP_FAULTS: Sequence[StopFault] = (
    StopFault(
        "StopTask and ListTasks are throttled, fail (HTTP 500) or break off at first",
        _requests(
            {"operation": "ecs:ListTasks", "kind": "error", "code": "ThrottlingException", "status": 400, "times": 7},
            {"operation": "ecs:ListTasks", "kind": "drop", "times": 2},
            {"operation": "ecs:StopTask", "kind": "error", "code": "ServerException", "times": 7},
            {"operation": "ecs:StopTask", "kind": "drop", "after": True},
        ),
    ),
    StopFault(
        "ListTasks is refused",
        _requests({**_DENIED, "operation": "ecs:ListTasks", "times": None}),
        ("needs permission for ListTasks",),
        short=True,
    ),
    StopFault(
        "the ledger cannot be read",
        _requests({**_DENIED, "operation": "s3:GET", "key": "attempts.json", "code": "AccessDenied", "status": 403}),
        ("needs permission for GetObject",),
    ),
    StopFault(
        "StopTask is refused",
        _requests({**_DENIED, "operation": "ecs:StopTask", "times": None}),
        ("needs permission for StopTask",),
        runs_on=True,
        short=True,
    ),
)


def page() -> str:
    """The page of promises."""
    lines = [
        "# What we promise, and how it is tested",
        "",
        "A call's command runs once for each attempt that its task allows: never twice for a fault of Airflow's, and",
        "never again after a success, unless somebody clears it. Its ECS tasks do not run on when nobody waits for",
        "them, and no output is lost or mixed with another's. Each row below is a test (`make faults`) with the",
        "embedded ECS, which runs real commands. This page is written by `pytest tests/faults --write-promises`.",
        "",
        "## The host of a call is killed (SIGKILL), and another goes on",
        "",
        "| The host is killed ... | Who goes on | The call | Its command ran | ECS tasks |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {kill.step} | {who} | {'fails, as it had' if kill.fails else 'succeeds'} | once | 1 |"
        for kill in KILLS
        for who in NEXT
        if not (kill.fails and NEXT[who] == 2)
    ]
    lines += [
        "",
        '"The same try" is that of a restarted or another triggerer; "the next try" that of Airflow\'s retry after a',
        "worker was lost. A retry after a failure runs the command again, as a retry should.",
        "",
        "## AWS does what it does now and then",
        "",
        "| What happens | The call | Its command ran | ECS tasks |",
        "|---|---|---|---|",
    ]
    for fault in AWS_FAULTS:
        often = "once" if fault.commands == 1 else f"{fault.commands} times"
        lines.append(f"| {fault.name} | succeeds | {often} | {fault.tasks} |")
    lines += [
        "",
        "## The host's connections to AWS break off, and none can be made for three seconds",
        "",
        "| That happens ... | The call | Its command ran | ECS tasks |",
        "|---|---|---|---|",
    ]
    lines += [f"| {cut.step} | succeeds | once | 1 |" for cut in CUTS]
    lines += [
        "",
        "## What the deployer has to mend",
        "",
        "The call fails, says why, and spends none of its task's retries; when it is mended, a retry of Airflow's or a",
        "clear goes on with the ECS task that is there.",
        "",
        "| What happens | The error says | Its command ran, in both tries | ECS tasks |",
        "|---|---|---|---|",
    ]
    lines += [f"| {failed.name} | {failed.says[-1]} | once | {failed.tasks} |" for failed in FAILED_CALLS]
    lines += [
        "",
        "## AWS fails while a call is being stopped",
        "",
        "| What happens | The ECS task | The log says |",
        "|---|---|---|",
    ]
    for stop in STOP_FAULTS:
        becomes = "runs on until `orphans --stop` stops it" if stop.runs_on else "is stopped"
        lines.append(f"| {stop.name} | {becomes} | {'; '.join(stop.says) or 'nothing of it'} |")
    lines += [
        "",
        "## Processes of Airflow are killed (SIGKILL)",
        "",
        "With real Airflow processes. Whatever supervises them starts them again.",
        "",
        "| What is killed | The call | Its command ran | ECS tasks |",
        "|---|---|---|---|",
    ]
    lines += [f"| the triggerer, {step} | succeeds | once | 1 |" for step in TRIGGERER_KILLS]
    lines += [f"| the scheduler with its workers, {kill.step} | succeeds | once | 1 |" for kill in SCHEDULER_KILLS]
    lines += [f"| {kill.what} | {kill.becomes} | once | 1 |" for kill in WORKER_KILLS]
    lines += [
        "",
        "Airflow notices that a worker is gone when its heartbeats have been missing for",
        "`[scheduler] task_instance_heartbeat_timeout` seconds, 300 by default.",
        "",
        "## What a user does in Airflow",
        "",
        "| In Airflow | The ECS tasks |",
        "|---|---|",
        "| clear one shard that runs | that shard's is stopped and a new one started; the others run on |",
        "| mark one shard failed, or succeeded | that shard's is stopped; the others run on |",
        "| mark the run failed | all of the run are stopped; other runs' are not |",
        "| delete a run | Airflow refuses while it runs (409); a new run with the id of a deleted one begins anew |",
        "| DAG run timeout, `execution_timeout` | all that the timeout ends are stopped |",
        "| retry one shard that failed, or clear one that succeeded | that shard runs again, alone |",
        "| pause the DAG; restart or lose a triggerer or the scheduler | none is stopped, none is started again |",
        "",
    ]
    return "\n".join(lines)
