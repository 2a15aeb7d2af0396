"""The life of a call: from its bound inputs to its outputs, by one ECS task per shard and attempt.

`run_call` runs a set of shards side by side. Each looks into its ledger first: a success is adopted, a task that
still runs is waited for; only then is a fresh attempt evaluated, staged and started (see ``shard``). Cancelling it
stops nothing, since a host that restarts goes on where this one was; stopping is `stop_call`. It knows neither
Airflow nor boto3.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .attempts import Attempt
from .aws import briefly, in_evaluation_thread, in_thread
from .ecs.client import DESCRIBE_AT_ONCE, ecs_client
from .ecs.request import attempt_prefix, attempt_try, started_by
from .errors import EvaluationError, WdlEcsError
from .layout import shard_key
from .ledger import Ledger, Success, is_deliberate_rerun
from .plan import Shard
from .reasons import keep_of_shard, reason_of, told_by_attempt
from .run import Run
from .sensitive import DiscreetLog, Log, hide
from .shard import Audience, CallTry, ShardRun
from .stops import stop_attempt
from .submission import Starting, starting
from .task import Outputs, TaskHandle

START_LIMIT = 10.0
"""Seconds for which stopping a call waits for tasks of it that are just being started."""


@dataclass(frozen=True)
class CallOutcome:
    """How a set of shards of a call ended.

    :param outputs: of each shard that succeeded; None for one whose guard was false.
    :param failures: of each shard that failed.
    :param inputs: of each shard that was to run.
    :param secrets: the texts of the run that must not be shown.
    :param run: the run; None if it could not be opened.
    """

    outputs: dict[Shard, Outputs | None] = field(default_factory=dict)
    failures: dict[Shard, WdlEcsError] = field(default_factory=dict)
    inputs: dict[Shard, Mapping[str, Any]] = field(default_factory=dict)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    run: Run | None = field(default=None, repr=False, compare=False)


async def run_call(
    run: Run,
    call: str,
    prefixes: Sequence[Shard],
    *,
    try_number: int,
    log: Log,
    fresh: bool | None = None,
    audience: Audience | None = None,
) -> CallOutcome:
    """Run every shard of a call that begins with one of the prefixes, to its end.

    :param prefixes: ``[()]`` for all shards of the call.
    :param try_number: Airflow's, from 1. What an earlier try has achieved is kept.
    :param fresh: whether to run again what has succeeded in an earlier try; None to do so if all of it has, since
        there is no other reason for a new try.
    :param audience: who is told of the ECS tasks while they run.
    :raises WdlEcsError: if it cannot be said which shards there are; the failures of shards are in the outcome.
    """
    ecs = ecs_client(await in_thread(run.clients, "ecs"))
    evaluation = await in_evaluation_thread(lambda: run.evaluation)
    found = [await in_evaluation_thread(evaluation.shards, call, prefix) for prefix in prefixes]
    shards = [shard for some in found for shard in some]
    run.check_width(f"call {call}", len(shards))
    log = DiscreetLog(log, run.secrets)
    call_try = CallTry(run, call, try_number, ecs, uuid.uuid4().hex, audience)
    outcome = CallOutcome(secrets=run.secrets, run=run)
    inputs = await _settle(
        outcome, shards, call, lambda shard: in_evaluation_thread(evaluation.call_inputs, call, shard)
    )
    for shard in (shard for shard, bound in inputs.items() if bound is None):
        _story(log, shard).info("skipped: a condition around the call is false")
        outcome.outputs[shard] = None
    bound = outcome.inputs
    bound.update((shard, given) for shard, given in inputs.items() if given is not None)
    # One list instead of three reads a shard: most shards are run once.
    begun = await in_thread(run.store.begun_shards, call) if bound else frozenset()
    successes = await _settle(outcome, list(bound), call, lambda shard: _success(run, call, shard, begun))
    if await _was_cleared(call_try, successes) if fresh is None else fresh:
        successes = await _forget(call_try, successes)
        log.info("%s had succeeded and was cleared: running it again", call)
    changed = [
        shard
        for shard, success in successes.items()
        if success and success.given not in ("", call_try.digest(bound[shard]))
    ]
    if changed:
        successes = await _forget(call_try, successes, changed)
        log.info("%d shards of %s had succeeded with other inputs, or another version of the task", len(changed), call)
    ended = await _settle(
        outcome,
        list(successes),
        call,
        lambda shard: _one(
            call_try, shard, bound[shard], successes[shard], _story(log, shard), begun=shard_key(shard) in begun
        ),
    )
    outcome.outputs.update(ended)
    for failure in outcome.failures.values():
        hide(failure, run.secrets)
    await asyncio.gather(*(_keep_reason(call_try, *failed) for failed in outcome.failures.items()))
    return outcome


async def stop_call(
    run: Run, call: str, prefixes: Sequence[Shard], reason: str, *, last_try: int | None = None
) -> None:
    """Stop every ECS task that runs for the shards of a call that begin with one of the prefixes.

    What one way of finding them does not show, another may: whatever can be found and stopped is, whatever else fails.

    :param reason: shown in the ECS console and in the call's error.
    :param last_try: leave alone what a later try of Airflow's has started.
    :raises WdlEcsError: the first thing that failed, when all else has been done.
    """
    ecs = ecs_client(await in_thread(run.clients, "ecs"))
    cluster, layout = run.settings.cluster, run.store.layout
    folders = tuple(layout.shard(call, prefix) if prefix else layout.call(call) for prefix in prefixes)

    def meant(where: str | None) -> bool:
        # A shard's folder is .../0/ and an inner one's .../0.3/, so the prefix is compared without its slash.
        return bool(where) and any(str(where).startswith((folder, f"{folder[:-1]}.")) for folder in folders)

    latest = last_try or sys.maxsize
    begun = [start for start in starting(ecs) if meant(start.prefix) and start.try_number <= latest]
    await _stop_starting(begun, reason)

    async def recorded() -> set[TaskHandle]:
        attempts = await _last_attempts(run, call, prefixes)
        return {last.handle for last in attempts if last.kind is None and last.arn and last.try_number <= latest}

    async def listed() -> set[TaskHandle]:
        found = set()
        arns = await ecs.list_tasks(cluster, started_by(run.dag_id, run.run_id, call, run.scope))
        for at in range(0, len(arns), DESCRIBE_AT_ONCE):
            tasks = await ecs.describe_tasks(cluster, arns[at : at + DESCRIBE_AT_ONCE])
            for arn, task in tasks.items():
                if task and meant(attempt_prefix(task)) and attempt_try(task) <= latest:
                    found.add(TaskHandle(arn, cluster))
        return found

    stopped: set[TaskHandle] = set()

    async def stop(find: Callable[[], Awaitable[set[TaskHandle]]]) -> None:
        handles = await find() - stopped
        stopped.update(handles)
        stops = (stop_attempt(ecs, run.store, handle, reason) for handle in handles)
        ends = await asyncio.gather(*stops, return_exceptions=True)
        for error in ends:
            if error is not None:
                raise error

    # A task that has just started may be in no ledger yet, and one that is in a ledger may not be listed yet.
    for error in await asyncio.gather(stop(recorded), stop(listed), return_exceptions=True):
        if error is not None:
            raise error


async def went_on(run: Run, call: str, prefixes: Sequence[Shard], try_number: int) -> bool:
    """Whether a later try than this one has taken up or started an attempt of these shards."""
    attempts = await _last_attempts(run, call, prefixes)
    return any(max(last.try_number, last.taken_up) > try_number for last in attempts)


async def _stop_starting(starts: Sequence[Starting], reason: str) -> None:
    """Have tasks stopped as soon as they are there, and wait for a while until they are."""
    for start in starts:
        start.stop = reason
    waiting = [start.task for start in starts if start.task is not None]
    if waiting:
        await asyncio.wait(waiting, timeout=START_LIMIT)


async def _last_attempts(run: Run, call: str, prefixes: Sequence[Shard]) -> list[Attempt]:
    """The last attempt of every shard that has one; none where the shards cannot be said."""
    try:
        found = [await in_evaluation_thread(run.evaluation.shards, call, prefix) for prefix in prefixes]
    except EvaluationError:
        return []
    shards = [shard for some in found for shard in some]
    attempts = await asyncio.gather(*(in_thread(Ledger(run.store, call, shard).attempts) for shard in shards))
    return [last[-1] for last in attempts if last]


async def _was_cleared(call_try: CallTry, successes: Mapping[Shard, Success | None]) -> bool:
    """Whether somebody has cleared what had succeeded, in this try's eyes or in those of a host before this one."""
    if not is_deliberate_rerun([success for success in successes.values() if success], call_try.try_number):
        return False
    store, call = call_try.run.store, call_try.call
    others = [shard for shard, success in successes.items() if success is None]
    attempts = await asyncio.gather(*(in_thread(Ledger(store, call, shard).attempts) for shard in others))
    return all(found and found[-1].superseded == call_try.try_number for found in attempts)


async def _forget(
    call_try: CallTry, successes: Mapping[Shard, Success | None], which: Sequence[Shard] | None = None
) -> dict[Shard, Success | None]:
    """Forget successes, by default those of earlier tries, here and in every process."""
    store, call = call_try.run.store, call_try.call
    earlier = set(which or ())
    if which is None:
        earlier = {s for s, success in successes.items() if success and success.try_number < call_try.try_number}
    by = call_try.try_number if which is None else -call_try.try_number
    await in_thread(store.reopen)
    await asyncio.gather(*(in_thread(Ledger(store, call, shard).clear_success, by) for shard in earlier))
    await in_thread(store.begin_epoch, call, uuid.uuid4().hex)
    return {shard: None if shard in earlier else success for shard, success in successes.items()}


async def _success(run: Run, call: str, shard: Shard, begun: Collection[str]) -> Success | None:
    """What an earlier host has brought a shard to."""
    return await in_thread(Ledger(run.store, call, shard).success) if shard_key(shard) in begun else None


async def _one(
    call_try: CallTry,
    shard: Shard,
    inputs: Mapping[str, Any],
    success: Success | None,
    log: Log,
    *,
    begun: bool,
) -> Outputs:
    """The outputs of one shard: those of its success, or of the attempts that it takes."""
    if success is not None:
        log.info("succeeded in try %d, attempt %d: its outputs are kept", success.try_number, success.attempt)
        return success.outputs
    return await ShardRun(call_try, shard, inputs, log, begun=begun).to_the_end()


async def _keep_reason(call_try: CallTry, shard: Shard, failure: WdlEcsError) -> None:
    """Leave for reports why a shard has failed, unless its ledger says so."""
    if not told_by_attempt(failure):
        reason = reason_of(failure, call_try.try_number, call_try.run.secrets)
        await briefly(keep_of_shard, call_try.run.store, call_try.call, shard, reason)


async def _settle(
    outcome: CallOutcome, shards: Sequence[Shard], call: str, step: Callable[[Shard], Awaitable[Any]]
) -> dict[Shard, Any]:
    """Do a step for every shard side by side; what fails of it goes into the outcome, and its siblings go on.

    :raises Exception: what is no error of this package, after all have ended.
    """
    results = await asyncio.gather(*(step(shard) for shard in shards), return_exceptions=True)
    done: dict[Shard, Any] = {}
    unexpected: BaseException | None = None
    for shard, result in zip(shards, results, strict=True):
        if isinstance(result, WdlEcsError):
            result.call = result.call or call
            result.shard = result.shard if result.shard is not None else shard
            outcome.failures[shard] = result
        elif isinstance(result, BaseException):
            unexpected = unexpected or result
        else:
            done[shard] = result
    if unexpected is not None:
        raise unexpected
    return done


def _story(log: Log, shard: Shard) -> Log:
    return _ShardLog(log, shard_key(shard)) if shard else log


class _ShardLog:
    """A log whose lines say of which shard they are."""

    def __init__(self, log: Log, name: str) -> None:
        self._log = log
        self._name = name

    def info(self, message: str, *values: Any) -> None:
        self._log.info(f"[%s] {message}", self._name, *values)

    def warning(self, message: str, *values: Any) -> None:
        self._log.warning(f"[%s] {message}", self._name, *values)
