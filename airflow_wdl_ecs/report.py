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

from .ledger import Attempt
from .plan import Shard

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

_ACTIVE: Mapping[str, State] = {
    **dict.fromkeys(("running", "deferred", "restarting"), "running"),
    **dict.fromkeys(("scheduled", "queued", "up_for_retry", "up_for_reschedule"), "waiting"),
}
_ENDED: Mapping[str, State] = {"success": "succeeded", "failed": "failed", "skipped": "skipped"}


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
    """One ECS task; the fields are those of `ledger.Attempt`, unless they are explained here.

    :param given: the resources that it was given, in words.
    :param ended: when it ended, None if that is not known.
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


@dataclass(frozen=True)
class ShardReport:
    """One shard of a call.

    :param key: its indices as a word, ``0.3``; ``_`` outside scatters.
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
    :param seconds: the median over the shards, for each phase.
    :param shards: all that were read, or some of them (see `shortened`).
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


@dataclass(frozen=True)
class RunReport:
    """A run.

    :param scope: the task of an operator on its own whose run this is; None for a compiled workflow's.
    :param digest: of its plan. :param folder: where it keeps everything, ``s3://.../``.
    :param inputs: those that it was given. :param defaults: for the others, their defaults as WDL text.
    :param outputs: None until it has ended well.
    :param failures: the first failed shards of all calls.
    :param error: what Airflow said went wrong outside of calls, or in a call before its task was started.
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
    format: int = field(default=FORMAT)


def to_json(report: RunReport | CallReport | ShardReport) -> Any:
    """A report as plain JSON values."""
    return msgspec.to_builtins(report)


def attempt_report(
    attempt: Attempt, *, folder: str = "", scheduled: float | None = None, ended_by: float | None = None
) -> AttemptReport:
    """What is told of an attempt.

    :param folder: where it keeps everything, if its ledger does not say.
    :param scheduled: when Airflow's scheduler took up its task instance, if it is the first of its try.
    :param ended_by: when its task instance had ended, if it is the last: a bound, should the ledger not know the end.
    """
    state: State = "running" if attempt.kind is None else "succeeded" if attempt.kind == "succeeded" else "failed"
    return AttemptReport(
        number=attempt.number,
        try_number=attempt.try_number,
        state=state,
        kind=attempt.kind,
        reason="" if state == "succeeded" else attempt.reason,
        exit_code=attempt.exit_code,
        arn=attempt.arn,
        cluster=attempt.cluster,
        image=attempt.image,
        asked=attempt.asked,
        given=_given(attempt),
        launch_type=attempt.launch_type,
        spot=attempt.spot,
        started=attempt.started,
        ended=_end(attempt, ended_by),
        phases=phases(attempt, scheduled=scheduled, ended_by=ended_by),
        folder=attempt.prefix or folder,
        log_group=attempt.log_group,
        log_streams=attempt.log_streams,
    )


def phases(attempt: Attempt, *, scheduled: float | None = None, ended_by: float | None = None) -> tuple[Phase, ...]:
    """Where an attempt's time went, in order. What is not known is left out, and gaps stay gaps.

    For the parameters see `attempt_report`; Airflow's scheduling counts as queueing.
    """
    t, ended = attempt.times, _end(attempt, ended_by)
    queued = min((at for at in (t.taken_up, t.queued, scheduled) if at is not None), default=None)
    inside = _first(t.pull_started, t.stage_in_started, t.command_started)
    stretches: list[tuple[PhaseName, float | None, float | None]] = [
        ("queue", queued, _first(t.submitted, attempt.started))
    ]
    if inside is None:
        stretches += [("wait", t.submitted, attempt.started), ("running", attempt.started, ended)]
    else:
        stretches += [
            ("wait", t.submitted, inside),
            ("pull", t.pull_started, _first(t.pull_stopped, t.stage_in_started)),
            ("stage_in", t.stage_in_started, _first(t.stage_in_ended, t.command_started, ended)),
            ("command", t.command_started, _first(t.command_ended, ended)),
            ("stage_out", t.stage_out_started, _first(t.stage_out_ended, ended)),
        ]
    running = attempt.kind is None
    return tuple(
        Phase(name, at, None if end is None else max(at, end))
        for name, at, end in stretches
        if at is not None and (end is not None or (running and name == "running"))
    )


def shard_state(attempts: Sequence[Attempt], instance: Instance | None, *, run_has_outputs: bool) -> State:
    """The state of a shard.

    The ledger says what ECS tasks have done, Airflow says what is meant to happen next: a failed attempt that will be
    tried again is no failure yet, and what a person marks in Airflow counts.

    :param run_has_outputs: the workflow has ended well, so what has not run never will.
    """
    airflow = instance.state if instance else ""
    last = attempts[-1] if attempts else None
    if last is not None and last.kind == "succeeded" and not last.superseded:
        return "succeeded"
    if airflow in _ACTIVE:
        # An instance of many shards runs on while some of them have failed for good; how it ends will tell.
        return _ACTIVE[airflow]
    if last is not None and last.kind is None:
        return _ENDED.get(airflow, "running")
    if last is not None and not last.superseded:
        return "succeeded" if airflow == "success" else "failed"
    if airflow == "success":
        # It succeeded without an ECS task: a shard whose condition is false, beside others that ran.
        return "skipped"
    return _ENDED.get(airflow, "skipped" if run_has_outputs else "not_started")


def shard_report(
    call: str,
    key: str,
    attempts: Sequence[Attempt],
    instance: Instance | None,
    *,
    run_has_outputs: bool,
    folder: str = "",
    label: str = "",
) -> ShardReport:
    """What is told of a shard.

    :param folder: where it keeps everything, ``s3://.../``. :param label: see `ShardReport`.
    """
    state = shard_state(attempts, instance, run_has_outputs=run_has_outputs)
    last = attempts[-1] if attempts else None
    reason = ""
    if state == "failed":
        failed = last is not None and last.kind not in (None, "succeeded")
        reason = last.reason if last and failed else _without_attempt(last)
    told: list[AttemptReport] = []
    tries: set[int] = set()
    for attempt in attempts:
        of_try = instance if instance and instance.try_number == attempt.try_number else None
        # Only the first attempt of a try has waited for Airflow.
        first = attempt.try_number not in tries
        tries.add(attempt.try_number)
        scheduled = of_try.scheduled if of_try and first else None
        ended_by = of_try.ended if of_try and attempt is last else None
        where = f"{folder}{attempt.number}/" if folder else ""
        told.append(attempt_report(attempt, folder=where, scheduled=scheduled, ended_by=ended_by))
    return ShardReport(
        call=call,
        key=key,
        state=state,
        reason=reason,
        exit_code=last.exit_code if last else None,
        attempts=tuple(told),
        instance=instance,
        label=label,
    )


def _without_attempt(last: Attempt | None) -> str:
    if last is None:
        return "it failed before an ECS task was started; its log in Airflow says why"
    return "Airflow has it as failed; its log there says why"


def call_report(
    id: str, name: str, task: str, shards: Iterable[ShardReport], *, command: str = "", unread: int = 0, scattered: bool
) -> CallReport:
    """What is told of a call."""
    found = sorted(shards, key=lambda shard: (ORDER.index(shard.state), indices(shard.key)))
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
    state = overall(counts) if counts else "not_started"
    done = state in ("succeeded", "failed") and all(end is not None for end in ends)
    return CallReport(
        id=id,
        name=name,
        task=task,
        state=state,
        counts=counts,
        unread=unread,
        attempts=len(attempts),
        seconds=seconds,
        started=min(starts, default=None),
        ended=max((end for end in ends if end is not None), default=None) if done else None,
        command=command,
        scattered=scattered,
        shards=tuple(found),
    )


def overall(counts: Mapping[State, int]) -> State:
    """The state of many things together: a failure counts most, then what is under way."""
    if counts.get("failed"):
        return "failed"
    if counts.get("running") or (counts.get("succeeded") and (counts.get("waiting") or counts.get("not_started"))):
        return "running"
    return next(state for state in ORDER if counts.get(state)) if any(counts.values()) else "not_started"


def run_state(calls: Sequence[CallReport], has_outputs: bool, airflow: str | None) -> State:
    """The state of a run.

    :param airflow: the DAG run's state, if Airflow was asked.
    """
    if airflow in ("success", "failed"):
        return _ENDED[airflow]
    if airflow in ("running", "queued"):
        return "running" if airflow == "running" else "waiting"
    if has_outputs:
        return "succeeded"
    counts = Counter(call.state for call in calls)
    return "running" if set(counts) <= {"succeeded", "skipped"} else overall(counts)


def shortened(report: RunReport, most: int) -> RunReport:
    """A report with the first ``most`` shards of each call."""
    return replace(report, calls=tuple(replace(call, shards=call.shards[:most]) for call in report.calls))


def failures_of(calls: Sequence[CallReport]) -> tuple[ShardReport, ...]:
    """The failed shards of all calls, `FAILURES_SHOWN` at most."""
    failed = [shard for call in calls for shard in call.shards if shard.state == "failed"]
    return tuple(failed[:FAILURES_SHOWN])


def indices(key: str) -> Shard:
    """A shard of its word: ``(0, 3)`` of ``0.3``.

    :raises ValueError: if it is none.
    """
    return () if key == "_" else tuple(int(index) for index in key.split("."))


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


def _given(attempt: Attempt) -> str:
    parts = (
        f"{attempt.cpu:g} vCPU" if attempt.cpu else "",
        f"{attempt.memory_given} MiB" if attempt.memory_given else "",
        f"{attempt.disk} GiB disk" if attempt.disk else "",
        f"{attempt.gpu} GPU" if attempt.gpu else "",
    )
    return ", ".join(part for part in parts if part)


def _end(attempt: Attempt, ended_by: float | None) -> float | None:
    t = attempt.times
    return None if attempt.kind is None else _first(t.stopped, t.stage_out_ended, t.command_ended, ended_by)


def _first(*moments: float | None) -> float | None:
    return next((moment for moment in moments if moment is not None), None)
