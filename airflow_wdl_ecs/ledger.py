"""The ledger of a shard: its ECS tasks and what became of each, and whether it may be tried again.

It is what makes a call run exactly once: whoever hosts the call next finds the task that runs, the result that is
there, and how much of each budget is used. The decisions are pure; only `Ledger` reads and writes, through the
`RunStore`.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from typing import Any, cast

import msgspec

from .ecs.attributes import Policy
from .ecs.resources import more_memory
from .ecs.settings import EcsSettings
from .ecs.status import Budget, Kind, TaskStatus, ecs_times, launch_type
from .plan import Shard
from .reasons import forget_all, is_of_shard
from .storage import RunStore
from .task import Outputs, TaskHandle, TaskResult
from .usage import Usage, read_usage

_LEDGER_PATH = 2
"""Names of a ledger's file below its call's folder: shard, file. Those of an attempt's files are more."""


@dataclass(frozen=True)
class Times:
    """When things happened to an attempt, in order: seconds since the epoch, or None where it is not known.

    Those of the stages and of the command are measured in the containers, so that neither the pace of the polling nor
    what ECS forgets changes them; the clocks of the host and of the container may differ a little.

    :param taken_up: the host took up the shard. :param queued: the attempt was due, and began to wait for a slot.
    :param slot: it had one (see the settings max_tasks...); then it was evaluated, and its scripts and task definition
        were put in place.
    :param submitted: RunTask was asked for; from then to ``Attempt.started`` it waited for capacity.
    :param created: ECS's ``createdAt``; likewise ``pull_started``, ``pull_stopped``, ``started`` and ``stopped``.
    :param gone: ECS's ``stoppedAt``, where that was known when its containers had stopped.
    """

    taken_up: float | None = None
    queued: float | None = None
    slot: float | None = None
    submitted: float | None = None
    created: float | None = None
    pull_started: float | None = None
    pull_stopped: float | None = None
    started: float | None = None
    stage_in_started: float | None = None
    stage_in_ended: float | None = None
    command_started: float | None = None
    command_ended: float | None = None
    stage_out_started: float | None = None
    stage_out_ended: float | None = None
    stopped: float | None = None
    gone: float | None = None

    def with_those(self, *found: Mapping[str, float]) -> Times:
        """These, and those that have been found since; names that are not here are left out."""
        known = {name: moment for some in found for name, moment in some.items() if name in self.__dataclass_fields__}
        return replace(self, **known)

    def phases(self) -> dict[str, float]:
        """What took how many seconds, in order; what is not known is left out.

        ``slot``: waiting for the deployment's own limits; ``submit``: evaluating it, and putting scripts and task
        definition in place; ``capacity``: until ECS took the task; ``start``: until its first container ran, of which
        ``image`` is the pulling of the images; then the stages, and the start of the command's container between the
        first two.
        """
        marks = {
            "slot": (self.queued, self.slot),
            "submit": (self.slot, self.submitted),
            "capacity": (self.submitted, self.created),
            "start": (self.created, self.stage_in_started),
            "image": (self.pull_started, self.pull_stopped),
            "stage-in": (self.stage_in_started, self.stage_in_ended),
            "command start": (self.stage_in_ended, self.command_started),
            "command": (self.command_started, self.command_ended),
            "stage-out": (self.command_ended, self.stage_out_ended),
        }
        # Clocks of different machines may differ by a little.
        return {name: max(0.0, b - a) for name, (a, b) in marks.items() if a is not None and b is not None}


@dataclass(frozen=True)
class Attempt:
    """One ECS task of a shard.

    Every field that has come later has a default, so that ledgers of earlier versions are read.

    :param number: from 0, over all tries. :param try_number: Airflow's try in which it was started.
    :param arn: of the ECS task; empty if its result was found before anybody had recorded it.
    :param started: when ECS took it (RunTask gave its ARN), in seconds since the epoch.
    :param memory: MiB that were asked for in place of the task's own; 0 if none were.
    :param kind: how it ended, or None while that is not known.
    :param times: when things happened to it; those of the containers and of ECS once it has ended.
    :param prefix: its folder in S3, ``s3://.../``. :param asked: the resources that the task asks for, in words.
    :param cpu: vCPUs given. :param memory_given: MiB given. :param disk: GiB of ephemeral storage, or of an EBS
        volume, given; 0 for what the platform gives by itself. :param gpu: GPUs given.
    :param cpu_asked: vCPUs, and ``memory_asked``: MiB, that the task or the deployment's default asks for; 0 in ledgers
        of earlier versions.
    :param usage: what its command has used, where that was measured.
    :param ebs: whether ``disk`` is an EBS volume. :param architecture: of its CPUs; empty where that is not recorded.
    :param launch_type: ``FARGATE``, ``EC2``, or the name of the capacity provider.
    :param log_streams: container (``stage-in``, ``command``, ``stage-out``) -> its log stream in ``log_group``.
    :param taken_up: the last later try that has gone on with it; 0 if none has.
    :param given: digest of the task and its inputs (see `digest_of`); empty in ledgers of earlier versions.
    :param cache: what became of looking for the shard's outputs in the call cache, in words; empty if nobody looked.
    :param cache_key: under which they are kept if it succeeds. :param cached: of a hit, which has no ECS task, the
        folder of the attempt that made the outputs.
    :param superseded: the try in which it was found that somebody has cleared its success, so it counts no more; 0 if
        nobody has, and negative if its inputs or its task have changed.
    """

    number: int
    try_number: int
    arn: str
    cluster: str
    started: float
    spot: bool = False
    memory: int = 0
    kind: str | None = None
    exit_code: int | None = None
    reason: str = ""
    budget: Budget = "none"
    times: Times = Times()
    prefix: str = ""
    image: str = ""
    asked: str = ""
    cpu: float = 0.0
    memory_given: int = 0
    disk: int = 0
    gpu: int = 0
    launch_type: str = ""
    log_group: str = ""
    log_streams: dict[str, str] = field(default_factory=dict)
    taken_up: int = 0
    superseded: int = 0
    given: str = ""
    cpu_asked: float = 0.0
    memory_asked: int = 0
    usage: Usage | None = None
    cache: str = ""
    cache_key: str = ""
    cached: str = ""
    ebs: bool = False
    architecture: str = ""

    @property
    def handle(self) -> TaskHandle:
        """The ECS task."""
        return TaskHandle(self.arn, self.cluster)

    @property
    def status(self) -> TaskStatus:
        """How it ended, once that is known."""
        assert self.kind is not None
        return TaskStatus(cast(Kind, self.kind), self.exit_code, self.reason, self.budget)

    def ended(self, status: TaskStatus) -> Attempt:
        """This attempt with its end."""
        return replace(self, kind=status.kind, exit_code=status.exit_code, reason=status.reason, budget=status.budget)

    def knowing(self, task: Mapping[str, Any] | None, result: TaskResult | None) -> Attempt:
        """This attempt with what ECS and its containers say of it, as far as they do."""
        times = self.times.with_those(ecs_times(task or {}), result.times if result else {})
        usage = read_usage(result.usage) if result else None
        return replace(
            self, times=times, launch_type=launch_type(task or {}) or self.launch_type, usage=usage or self.usage
        )


@dataclass(frozen=True)
class Success:
    """A shard's outputs, and the try and attempt that gave them.

    :param given: as in `Attempt`.
    :param files: of a hit of the call cache: its files and directories, which the run may read wherever they are.
    """

    try_number: int
    attempt: int
    outputs: Outputs
    given: str = ""
    files: tuple[str, ...] = ()


# Made once and here: msgspec breaks the process if threads are the first to decode a dataclass, at the same time.
_ATTEMPTS = msgspec.json.Decoder(list[Attempt])
_SUCCESS = msgspec.json.Decoder(Success)


class Ledger:
    """One shard's ledger in S3; every method blocks."""

    def __init__(self, store: RunStore, call: str, shard: Shard) -> None:
        self._keep_in(store, store.layout.shard(call, shard))

    @classmethod
    def in_folder(cls, store: RunStore, folder: str) -> Ledger:
        """The ledger of the shard whose folder this is."""
        ledger = cls.__new__(cls)
        ledger._keep_in(store, folder)
        return ledger

    def _keep_in(self, store: RunStore, folder: str) -> None:
        self._store = store
        self._outputs = f"{folder}outputs.json"
        self._attempts = f"{folder}attempts.json"

    def success(self) -> Success | None:
        """What the shard's success left, if it has succeeded."""
        data = self._store.get(self._outputs)
        return None if data is None else _SUCCESS.decode(data)

    def write_success(self, success: Success) -> None:
        """Record that the shard has succeeded."""
        self._store.put_json(self._outputs, asdict(success))

    def clear_success(self, try_number: int) -> None:
        """Forget that the shard has succeeded; what has given the success is marked as superseded first.

        :param try_number: the try that runs the shard again.
        """
        attempts = self.attempts()
        if attempts:
            self.write_attempts([*attempts[:-1], replace(attempts[-1], superseded=try_number)])
        self._store.delete(self._outputs)

    def supersede(self, begun: int) -> None:
        """Let nothing count that there is.

        :param begun: the least number of attempts that there are; some may not have been recorded.
        """
        attempts = self.attempts()
        now, why = time.time(), "nobody has recorded it"
        left = [Attempt(n, 0, "", "", now, kind="lost", reason=why) for n in range(len(attempts), begun)]
        if left:
            self.write_attempts([*attempts, *left])
        self.clear_success(1)

    def attempts(self) -> list[Attempt]:
        """The shard's attempts, in order."""
        data = self._store.get(self._attempts)
        return [] if data is None else _ATTEMPTS.decode(data)

    def write_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Record the attempts."""
        self._store.put_json(self._attempts, [asdict(attempt) for attempt in attempts])


def keep_stop(store: RunStore, prefix: str, times: Mapping[str, float]) -> None:
    """Record when an attempt that was stopped had begun, and was stopped, as far as ECS says so. It blocks.

    Often nobody waits for its end: its task instance was marked as failed, say. If somebody does, the ledger has its
    times, and this counts no more; it is no part of the ledger, so that who stops and who waits do not get in each
    other's way.

    :param prefix: the attempt's folder.
    """
    store.put_json(f"{prefix}stopped.json", dict(times))


def read_stop(store: RunStore, call: str, shard: Shard, attempt: int) -> dict[str, float]:
    """What `keep_stop` has recorded of an attempt; nothing if it was not stopped. It blocks."""
    found = store.get_json(f"{store.layout.attempt(call, shard, attempt)}stopped.json")
    return {str(name): float(at) for name, at in found.items()} if isinstance(found, dict) else {}


def digest_of(task: str, inputs: Mapping[str, Any]) -> str:
    """What tells results of one task and its inputs from those of others.

    :param task: the task's source.
    """
    return hashlib.sha256(json.dumps([task, inputs], sort_keys=True).encode()).hexdigest()[:16]


def supersede_run(store: RunStore) -> int:
    """Let nothing of an earlier run in the same folder count: that of a DAG run that was deleted and has come again.

    Its files stay, and its attempts keep their numbers: also one that was never recorded, because its host died just
    after RunTask. It blocks; gives how many shards had a ledger or an attempt.
    """
    forget_all(store)
    calls = store.layout.named("calls/")
    begun: dict[tuple[str, str], int] = {}
    for uri, _ in store.list(calls):
        call, *path = uri.removeprefix(calls).split("/")
        if len(path) <= 1:
            continue
        if len(path) == _LEDGER_PATH and is_of_shard(uri):
            store.delete(uri)
        shard = call, f"{calls}{call}/{path[0]}/"
        attempts = int(path[1]) + 1 if len(path) > _LEDGER_PATH and path[1].isdecimal() else 0
        begun[shard] = max(begun.get(shard, 0), attempts)
    for (_, folder), attempts in sorted(begun.items()):
        Ledger.in_folder(store, folder).supersede(attempts)
    for call in sorted({call for call, _ in begun}):
        store.put_json(f"{calls}{call}/epoch.json", uuid.uuid4().hex)
    return len(begun)


def budget_of(budget: Budget, policy: Policy, settings: EcsSettings) -> int:
    """How many fresh attempts a budget pays for, within one try."""
    sizes: dict[Budget, int] = {
        "none": 0,
        "command": policy.max_retries,
        "memory": max(policy.max_retries, settings.out_of_memory_retries),
        # Spot capacity may be taken away as often as the author allowed for, and then a host may be lost besides.
        "interruption": policy.preemptible + settings.infrastructure_retries,
        "infrastructure": settings.infrastructure_retries,
        # A budget of time: see `may_try_again`.
        "capacity": 0,
    }
    return sizes[budget]


def may_try_again(attempts: Sequence[Attempt], try_number: int, policy: Policy, settings: EcsSettings) -> bool:
    """Whether there is to be a fresh attempt in this try after the last one, which has failed."""
    last = attempts[-1]
    if last.budget == "capacity":
        return _waited(attempts, try_number) < settings.capacity_timeout
    if last.budget == "memory" and last.memory_given >= more_memory(last.memory_given, policy, settings) > 0:
        return False
    return _used(attempts, try_number) <= budget_of(last.budget, policy, settings)


def decision(attempts: Sequence[Attempt], try_number: int, policy: Policy, settings: EcsSettings) -> str:
    """What `may_try_again` says, and why, in words."""
    last, again = attempts[-1], may_try_again(attempts, try_number, policy, settings)
    if last.budget == "none":
        return "not trying again: it would end in the same way"
    if last.budget == "capacity":
        what = f"waiting for capacity for {_waited(attempts, try_number):.0f} of {settings.capacity_timeout:.0f} s"
        return f"{'trying' if again else 'not trying'} again: {what} (capacity_timeout)"
    size, used = budget_of(last.budget, policy, settings), _used(attempts, try_number)
    if again:
        more = more_memory(last.memory_given, policy, settings) if last.budget == "memory" else 0
        return f"trying again{f' with {more} MiB' if more else ''}: {used} of {size} times ({_PAID_BY[last.budget]})"
    if used <= size:
        return f"not trying again: it cannot have more than {last.memory_given} MiB ({_limited_by(policy, settings)})"
    return f"not trying again: {_PAID_BY[last.budget]} allows {size} fresh attempts" + (" in one try" if size else "")


def _limited_by(policy: Policy, settings: EcsSettings) -> str:
    """What keeps a task from having more memory."""
    limits = {"out_of_memory_limit": settings.out_of_memory_limit, "max_memory": policy.memory_limit}
    return " and ".join(name for name, limit in limits.items() if limit) or "out_of_memory_limit"


_PAID_BY: dict[Budget, str] = {
    "command": "maxRetries",
    "memory": "out_of_memory_retries",
    "interruption": "preemptible and infrastructure_retries",
    "infrastructure": "infrastructure_retries",
}


def _used(attempts: Sequence[Attempt], try_number: int) -> int:
    """How many attempts of this try have been paid from the last one's budget."""
    return sum(a.budget == attempts[-1].budget for a in attempts if a.try_number == try_number)


def _without_capacity(attempts: Sequence[Attempt], try_number: int) -> list[Attempt]:
    """The last attempts of this try, all of which failed for want of capacity."""
    of_try = [a for a in attempts if a.try_number == try_number]
    return list(takewhile(lambda a: a.budget == "capacity", reversed(of_try)))[::-1]


def _waited(attempts: Sequence[Attempt], try_number: int) -> float:
    """Seconds for which there has been no capacity."""
    lacking = _without_capacity(attempts, try_number) or attempts[-1:]
    return (lacking[-1].times.stopped or lacking[-1].started) - (lacking[0].times.submitted or lacking[0].started)


def runs_on_spot(attempts: Sequence[Attempt], try_number: int, policy: Policy, settings: EcsSettings) -> bool:
    """Whether the next attempt is for capacity that can be taken away: so often as ``preemptible`` says, per try.

    One that ECS took, and then had no capacity for, counts like one that was interrupted.
    """
    lost = sum(
        a.spot and (a.kind == "interrupted" or a.budget == "capacity") for a in attempts if a.try_number == try_number
    )
    return bool(settings.spot_capacity_providers) and lost < policy.preemptible


def pause_before(attempts: Sequence[Attempt], try_number: int) -> float:
    """Seconds to wait before a fresh attempt: none after a failure of the command, more each time after others."""
    if not attempts or attempts[-1].budget not in ("infrastructure", "capacity"):
        return 0.0
    if attempts[-1].budget == "capacity":
        return min(5.0 * 1.5 ** (len(_without_capacity(attempts, try_number)) - 1), 60.0)
    used = sum(a.budget == "infrastructure" for a in attempts if a.try_number == try_number)
    return min(2.0**used, 60.0)


def is_deliberate_rerun(successes: Sequence[Success | None], try_number: int) -> bool:
    """Whether somebody has cleared a success: all shards succeeded in an earlier try, and yet there is this one."""
    return bool(successes) and all(s is not None and s.try_number < try_number for s in successes)


def as_failure(attempt: Attempt) -> dict[str, Any]:
    """What a CallError says of an attempt."""
    return {"kind": attempt.kind or "", "exit_code": attempt.exit_code}
