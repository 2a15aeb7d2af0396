"""What a report tells of one shard and of its ECS tasks: decided from its ledger, from what Airflow says of its task
instance, and from the reason that its try has left if it failed without an ECS task that tells it. Everything is pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .attempts import Attempt
from .reasons import Reason
from .report import ENDED, AttemptReport, Instance, Phase, PhaseName, ShardReport, State
from .usage_report import attempt_usage

_ACTIVE: Mapping[str, State] = {
    **dict.fromkeys(("running", "deferred", "restarting"), "running"),
    **dict.fromkeys(("scheduled", "queued", "up_for_retry", "up_for_reschedule"), "waiting"),
}


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
        usage=attempt_usage(attempt),
        cache=attempt.cache,
        cached=attempt.cached,
        memory_asked=attempt.memory_asked,
        memory_given=attempt.memory_given,
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
    if attempt.cached:
        pass  # it had no ECS task
    elif inside is None:
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


def counts(reason: Reason | None, attempts: Sequence[Attempt], instance: Instance | None = None) -> bool:
    """Whether a reason is of the latest try that there is, as far as ledger and Airflow say."""
    if reason is None or (instance is not None and instance.try_number not in (0, reason.try_number)):
        return False
    last = attempts[-1] if attempts else None
    return last is None or reason.try_number >= max(last.try_number, last.taken_up, abs(last.superseded))


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
        return ENDED.get(airflow, "running")
    if last is not None and not last.superseded:
        return "succeeded" if airflow == "success" else "failed"
    if airflow == "success":
        # It succeeded without an ECS task: a shard whose condition is false, beside others that ran.
        return "skipped"
    return ENDED.get(airflow, "skipped" if run_has_outputs else "not_started")


def shard_report(
    call: str,
    key: str,
    attempts: Sequence[Attempt],
    instance: Instance | None,
    *,
    run_has_outputs: bool,
    folder: str = "",
    label: str = "",
    own: Reason | None = None,
    of_task: Reason | None = None,
) -> ShardReport:
    """What is told of a shard.

    :param folder: where it keeps everything, ``s3://.../``. :param label: see `ShardReport`.
    :param own: the reason that the shard has left. :param of_task: the one that its task instance has left.
    """
    own = own if counts(own, attempts, instance) else None
    of_task = of_task if counts(of_task, attempts, instance) else None
    state = shard_state(attempts, instance, run_has_outputs=run_has_outputs)
    if instance is None and (own or of_task) and state != "succeeded" and not run_has_outputs:
        # Without Airflow a reason is the only word of a failure that no ECS task tells.
        state = "failed"
    last = attempts[-1] if attempts else None
    reason = _reason(last, own, of_task) if state == "failed" else ""
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
        cache=last.cache if last else "",
    )


def _reason(last: Attempt | None, own: Reason | None, of_task: Reason | None) -> str:
    """Why a shard has failed, by who knows it best."""
    if own is not None:
        return own.text
    failed = last is not None and last.kind not in (None, "succeeded")
    if last is not None and failed and (of_task is None or of_task.try_number == last.try_number):
        return last.reason
    if of_task is not None:
        return of_task.text
    if last is None:
        return "it failed before an ECS task was started; its log in Airflow says why"
    return "Airflow has it as failed; its log there says why"


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
