"""What is recorded of an attempt, one ECS task of a shard: what it was given, its times, and how it has ended (pure).

The ``ledger`` keeps these records, and reports are made of them; what they say is for ``retries`` to judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from .ecs.status import Budget, Kind, TaskStatus, ecs_size, ecs_times, launch_type
from .task import TaskHandle, TaskResult
from .usage import Usage, read_usage


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
        times = self.times.with_those(ecs_times(task or {}), _of_containers(result.times) if result else {})
        usage = read_usage(result.usage) if result else None
        return replace(
            self, times=times, launch_type=launch_type(task or {}) or self.launch_type, usage=usage or self.usage
        )

    def stopped(self, stop: Stop) -> Attempt:
        """This attempt as far as it is known from when it was stopped: its end is not. Where nobody has recorded which
        task it was, what that one was given is known from there as well.
        """
        attempt = replace(self, kind=None, times=self.times.with_those(stop.times))
        if attempt.arn or not stop.arn:
            return attempt
        return replace(
            attempt,
            arn=stop.arn,
            cpu=stop.cpu,
            memory_given=stop.memory_given,
            disk=stop.disk,
            gpu=stop.gpu,
            launch_type=stop.launch_type,
            architecture=stop.architecture,
        )


@dataclass(frozen=True)
class Stop:
    """What ECS said of a task when it was told to stop it, in case that nobody waits for its end.

    :param times: names of `Times`, and seconds since the epoch. The other fields are `Attempt`'s, those of a task that
        may be in no ledger; empty or 0 where that is not known. An EBS volume is not.
    """

    times: dict[str, float]
    arn: str = ""
    cpu: float = 0.0
    memory_given: int = 0
    disk: int = 0
    gpu: int = 0
    launch_type: str = ""
    architecture: str = ""

    @classmethod
    def of(cls, task: Mapping[str, Any], now: float) -> Stop:
        """Of a task as StopTask has given it.

        :param now: its end, as long as ECS does not say that it stops.
        """
        cpu, memory, disk, gpu, architecture = ecs_size(task)
        times = {"stopped": now, **ecs_times(task)}
        arn = str(task.get("taskArn") or "")
        return cls(times, arn, cpu, memory, disk, gpu, launch_type(task), architecture)


def _of_containers(times: Mapping[str, float]) -> dict[str, float]:
    """Those times that are the containers' to tell. A command can write others into the same file: what it costs is
    counted from ECS's own.
    """
    return {name: moment for name, moment in times.items() if name.startswith(("stage_", "command_"))}


def digest_of(task: str, inputs: Mapping[str, Any]) -> str:
    """What tells results of one task and its inputs from those of others.

    :param task: the task's source. :param inputs: their own order counts for nothing, that of a Map in them does.
    """
    return hashlib.sha256(json.dumps([task, dict(sorted(inputs.items()))]).encode()).hexdigest()[:16]
