"""What became of a run: its calls, shards and attempts, with where their time went and why one failed.

A report is made of two things: what the run's folder in S3 says (see `report_reading`, which reads it), and, where
somebody has asked Airflow, what the task instances say. Here are the words of a report and what is decided from both;
everything is pure. Airflow is known only by the names of its states.

As JSON (`to_json`) the keys are the fields' names, and a report's ``format`` changes when one of them is renamed or
taken away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal

import msgspec

from .cost import NOTHING, Cost
from .layout import shard_of
from .usage_report import AttemptUsage, CallUsage, call_usage

FORMAT = 1

State = Literal["failed", "running", "waiting", "not_started", "succeeded", "skipped"]
"""``waiting``: for Airflow, a slot or a retry; ``skipped``: a condition around the call is false."""
ORDER: tuple[State, ...] = ("failed", "running", "waiting", "not_started", "succeeded", "skipped")
"""The states as a person wants to see them: failures first."""

PhaseName = Literal["queue", "wait", "pull", "stage_in", "command", "stage_out", "running"]
"""``queue``: Airflow's scheduling and the deployment's limits; ``wait``: ECS places the task; ``pull``: the image;
``running``: ECS has the task, and no more is known (yet)."""
PHASES: tuple[PhaseName, ...] = ("queue", "wait", "pull", "stage_in", "command", "stage_out", "running")

FAILURES_SHOWN = 50
"""Failed shards that `RunReport.failures` lists."""

ENDED: Mapping[str, State] = {"success": "succeeded", "failed": "failed", "skipped": "skipped"}
"""Airflow's words for states in which nothing more happens, and ours."""


@dataclass(frozen=True)
class Instance:
    """What Airflow says of a task instance, in its latest try.

    :param state: Airflow's word; empty if it has none yet.
    :param scheduled: when its scheduler took it up. :param ended: when it had ended. Seconds since the epoch.
    """

    task_id: str
    map_index: int
    state: str
    try_number: int = 0
    scheduled: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class Phase:
    """A stretch of an attempt's time, in seconds since the epoch; ``ended`` is None while it goes on."""

    name: PhaseName
    started: float
    ended: float | None


@dataclass(frozen=True)
class AttemptReport:
    """One ECS task, or a hit of the call cache; the fields are `attempts.Attempt`'s, unless they are explained here.

    :param given: the resources that it was given, in words.
    :param ended: when it ended, None if that is not known.
    :param usage: what its command has used, None if that is not known.
    """

    number: int
    try_number: int
    state: State
    kind: str | None
    reason: str
    exit_code: int | None
    arn: str
    cluster: str
    image: str
    asked: str
    given: str
    launch_type: str
    spot: bool
    started: float
    ended: float | None
    phases: tuple[Phase, ...]
    folder: str
    log_group: str
    log_streams: dict[str, str]
    usage: AttemptUsage | None = None
    cache: str = ""
    cached: str = ""
    cost: Cost = NOTHING
    memory_asked: int = 0
    memory_given: int = 0


@dataclass(frozen=True)
class ShardReport:
    """One shard of a call.

    :param key: its indices as a word, ``0.3``; ``_`` outside scatters.
    :param cache: what became of looking for its outputs in the call cache, in words; empty if nobody looked.
    :param label: the value that the outermost scatter has for it, as a short text; empty where that is not known.
    :param reason: why it failed; empty if it has not.
    :param instance: the task instance of Airflow that runs it, if Airflow was asked.
    """

    call: str
    key: str
    state: State
    reason: str = ""
    exit_code: int | None = None
    attempts: tuple[AttemptReport, ...] = ()
    instance: Instance | None = None
    label: str = ""
    cache: str = ""
    cost: Cost = NOTHING

    @property
    def seconds(self) -> dict[PhaseName, float]:
        """Seconds of each phase of the last attempt that has ended."""
        ended = next((attempt for attempt in reversed(self.attempts) if attempt.ended is not None), None)
        found: dict[PhaseName, float] = {}
        for phase in ended.phases if ended else ():
            if phase.ended is not None:
                found[phase.name] = found.get(phase.name, 0.0) + phase.ended - phase.started
        return found


@dataclass(frozen=True)
class CallReport:
    """A call with its shards, failures first.

    :param task: the WDL task's name. :param command: the command as the WDL source has it.
    :param counts: how many shards are in each state; a state that none is in is left out.
    :param unread: shards whose ledgers were not read, for lack of time; they are in no count.
    :param attempts: ECS tasks of all shards that were read.
    :param cached: shards that the call cache had the outputs of.
    :param seconds: the median over the shards, for each phase.
    :param shards: all that were read, or some of them (see `shortened`).
    :param usage: what the commands of all shards that were read have used, None if that is not known.
    """

    id: str
    name: str
    task: str
    state: State
    counts: dict[State, int]
    unread: int
    attempts: int
    seconds: dict[PhaseName, float]
    started: float | None
    ended: float | None
    command: str = ""
    scattered: bool = False
    shards: tuple[ShardReport, ...] = ()
    usage: CallUsage | None = None
    cached: int = 0
    cost: Cost = NOTHING


@dataclass(frozen=True)
class TaskReport:
    """A task instance that has failed as a whole, and left why: the inputs' check, say, or the outputs' evaluation.

    :param task: its id within the workflow. :param reason: without secrets.
    :param instance: as Airflow has it, if Airflow was asked.
    """

    task: str
    map_index: int
    try_number: int
    reason: str
    instance: Instance | None = None


@dataclass(frozen=True)
class PriceList:
    """Which prices costs were counted with; the fields are those of `prices.Prices`."""

    currency: str = ""
    date: str = ""
    source: str = ""
    file: str = ""
    problem: str = ""


_NO_PRICES = PriceList()


@dataclass(frozen=True)
class RunReport:
    """A run.

    :param scope: the task of an operator on its own whose run this is; None for a compiled workflow's.
    :param digest: of its plan. :param folder: where it keeps everything, ``s3://.../``.
    :param inputs: those that it was given. :param defaults: for the others, their defaults as WDL text.
    :param outputs: None until it has ended well. :param published: the URI of the ``outputs.json`` that was published.
    :param failures: the first failed shards of all calls.
    :param tasks: what has failed beside them.
    :param error: what Airflow said went wrong outside of calls, or in a call before its task was started.
    :param cost: of all shards that were read, with ``prices``; likewise of a call, a shard and an ECS task.
    """

    workflow: str
    dag_id: str
    run_id: str
    scope: str | None
    digest: str
    folder: str
    state: State
    inputs: dict[str, Any]
    defaults: dict[str, str]
    outputs: dict[str, Any] | None
    started: float | None
    ended: float | None
    calls: tuple[CallReport, ...]
    failures: tuple[ShardReport, ...]
    error: str = ""
    tasks: tuple[TaskReport, ...] = ()
    published: str = ""
    cost: Cost = NOTHING
    prices: PriceList = _NO_PRICES
    format: int = field(default=FORMAT)


def to_json(report: RunReport | CallReport | ShardReport) -> Any:
    """A report as plain JSON values."""
    return msgspec.to_builtins(report)


def call_report(
    id: str,
    name: str,
    task: str,
    shards: Iterable[ShardReport],
    *,
    command: str = "",
    unread: int = 0,
    scattered: bool,
    over: bool = False,
) -> CallReport:
    """What is told of a call.

    :param over: whether its run is known to have ended, so that what has not been started never will be.
    """
    found = sorted(shards, key=lambda shard: (ORDER.index(shard.state), shard_of(shard.key)))
    counted = Counter(shard.state for shard in found)
    counts: dict[State, int] = {state: counted[state] for state in ORDER if counted[state]}
    attempts = [attempt for shard in found for attempt in shard.attempts]
    starts = [attempt.phases[0].started if attempt.phases else attempt.started for attempt in attempts]
    ends = [attempt.ended for attempt in attempts]
    spent = [shard.seconds for shard in found]
    seconds: dict[PhaseName, float] = {}
    for phase in PHASES:
        known = [some[phase] for some in spent if phase in some]
        if known:
            seconds[phase] = median(known)
    state = overall(counts, over=over) if counts else "not_started"
    done = (over or state in ("succeeded", "failed")) and all(end is not None for end in ends)
    return CallReport(
        id=id,
        name=name,
        task=task,
        state=state,
        counts=counts,
        unread=unread,
        attempts=sum(not attempt.cached for attempt in attempts),
        seconds=seconds,
        started=min(starts, default=None),
        ended=max((end for end in ends if end is not None), default=None) if done else None,
        command=command,
        scattered=scattered,
        shards=tuple(found),
        usage=call_usage(found),
        cached=sum(bool(shard.attempts and shard.attempts[-1].cached) for shard in found),
    )


def overall(counts: Mapping[State, int], *, over: bool = False) -> State:
    """The state of many things together: a failure counts most, then what is under way.

    :param over: nothing goes on any more, so a part that is done does not mean that the others are to come.
    """
    if counts.get("failed"):
        return "failed"
    to_come = not over and (counts.get("waiting") or counts.get("not_started"))
    if counts.get("running") or (counts.get("succeeded") and to_come):
        return "running"
    return next(state for state in ORDER if counts.get(state)) if any(counts.values()) else "not_started"


def run_state(
    calls: Sequence[CallReport], has_outputs: bool, airflow: str | None, *, task_failed: bool = False
) -> State:
    """The state of a run.

    :param airflow: the DAG run's state, if Airflow was asked.
    :param task_failed: something beside the calls has failed.
    """
    if airflow in ("success", "failed"):
        return ENDED[airflow]
    if airflow in ("running", "queued"):
        return "running" if airflow == "running" else "waiting"
    if has_outputs:
        return "succeeded"
    if task_failed:
        return "failed"
    counts = Counter(call.state for call in calls)
    return "running" if set(counts) <= {"succeeded", "skipped"} else overall(counts)


def not_begun(dag_id: str, run_id: str, scope: str | None, folder: str, tasks: Sequence[TaskReport]) -> RunReport:
    """The report of a run that could not begin: of its workflow nothing is known but why."""
    return RunReport(
        workflow=dag_id,
        dag_id=dag_id,
        run_id=run_id,
        scope=scope,
        digest="",
        folder=folder,
        state="failed",
        inputs={},
        defaults={},
        outputs=None,
        started=None,
        ended=None,
        calls=(),
        failures=(),
        tasks=tuple(tasks),
    )


def shortened(report: RunReport, most: int) -> RunReport:
    """A report with the first ``most`` shards of each call."""
    return replace(report, calls=tuple(replace(call, shards=call.shards[:most]) for call in report.calls))


def failures_of(calls: Sequence[CallReport]) -> tuple[ShardReport, ...]:
    """The failed shards of all calls, `FAILURES_SHOWN` at most."""
    failed = [shard for call in calls for shard in call.shards if shard.state == "failed"]
    return tuple(failed[:FAILURES_SHOWN])


def may_download(uri: str, folder: str, readable: Iterable[str]) -> bool:
    """Whether a file belongs to a run: a call or an expression of it has made it, or it is one of its inputs.

    What the run keeps for itself (``inputs.json`` and the like) is none: it may hold what a report leaves out.

    :param readable: as the run's ``run.json`` has it: the files that it was given, and folders ending in ``/``.
    """
    steps = uri.split("/")
    if not uri.startswith("s3://") or uri.endswith("/") or "." in steps or ".." in steps:
        return False
    own = (f"{folder}{name}/" for name in ("calls", "files", "source"))
    folders = (*own, *(some for some in readable if some.endswith("/")))
    return uri in set(readable) or uri.startswith(folders)
