"""What the agent of Amazon ECS decides about a task, as pure functions over frozen states.

Given the rules of a task's containers (essential, ``dependsOn``, timeouts) and what each container has done so far,
these functions say which container may start, which can never start, which may be stopped, what the task's
``lastStatus`` is and why it ends. Nothing here starts a process, reads a clock or knows an API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Condition = Literal["START", "COMPLETE", "SUCCESS"]
ContainerStatus = Literal["PENDING", "RUNNING", "STOPPED"]

NEVER_STARTED = 143
"""The exit code that the agent gives a container whose dependencies can never be met; no signal was sent."""


_DEPENDENCY = "CannotStartContainerError: dependency graph:"
_TASK_FAILURES = ("ResourceInitializationError", "CannotPullContainerError")
"""Reasons of one container that fail the whole task, whether it is essential or not."""


@dataclass(frozen=True)
class Dependency:
    """One entry of ``dependsOn``."""

    container: str
    condition: Condition


@dataclass(frozen=True)
class ContainerRules:
    """What a container definition says about the order of things.

    :param start_timeout: seconds that a dependant waits, from this container's start, for its COMPLETE or SUCCESS.
    :param stop_timeout: seconds between SIGTERM and SIGKILL.
    """

    name: str
    essential: bool = True
    depends_on: tuple[Dependency, ...] = ()
    start_timeout: float | None = None
    stop_timeout: float = 30.0


@dataclass(frozen=True)
class ContainerState:
    """What a container has done so far; ``started_at`` (seconds since the epoch) is None if its process never ran."""

    status: ContainerStatus = "PENDING"
    exit_code: int | None = None
    reason: str = ""
    started_at: float | None = None

    @property
    def never_ran(self) -> bool:
        """Whether it ended without having started."""
        return self.status == "STOPPED" and self.started_at is None


@dataclass(frozen=True)
class Stop:
    """Why a task is to stop: ECS's ``stopCode`` and ``stoppedReason``."""

    code: str
    reason: str


@dataclass(frozen=True)
class TaskState:
    """A task at one moment. Times are seconds since the epoch.

    :param admitted: whether there was room for it; until then it is PROVISIONING.
    :param stop: why it stops, from the moment its desired status is STOPPED.
    :param finished: whether everything of it has been cleaned up.
    """

    containers: Mapping[str, ContainerState]
    created_at: float
    admitted: bool = False
    stop: Stop | None = None
    finished: bool = False
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    started_at: float | None = None
    stopping_at: float | None = None
    stopped_at: float | None = None
    execution_stopped_at: float | None = None

    def with_container(self, name: str, state: ContainerState) -> TaskState:
        """The same task with one container changed."""
        return replace(self, containers={**self.containers, name: state})


@dataclass(frozen=True)
class Waiting:
    """The container must wait; ``until`` is when a start timeout would decide it (seconds since the epoch)."""

    until: float | None = None


@dataclass(frozen=True)
class Ready:
    """Every dependency is met."""


@dataclass(frozen=True)
class Never:
    """A dependency can never be met."""

    reason: str


Verdict = Waiting | Ready | Never


def may_start(rules: ContainerRules, all_rules: Mapping[str, ContainerRules], task: TaskState, now: float) -> Verdict:
    """Whether a pending container may start.

    START is met once the dependency has started, even if it has stopped since; COMPLETE once it has stopped; SUCCESS
    once it has stopped with exit code 0. A dependency that never ran can meet nothing. ``startTimeout`` counts from
    the dependency's start and bounds its whole run for COMPLETE and SUCCESS.
    """
    until: float | None = None
    ready = True
    for dependency in rules.depends_on:
        other = task.containers[dependency.container]
        link = f"container ordering dependency [{dependency.container}] for target [{rules.name}]"
        if other.never_ran:
            return Never(f"{_DEPENDENCY} failed to resolve {link} because dependency will never start")
        if dependency.condition == "START":
            ready = ready and other.status != "PENDING"
            continue
        if other.status == "STOPPED":
            if dependency.condition == "SUCCESS" and other.exit_code != 0:
                return Never(f"{_DEPENDENCY} failed to resolve {link} as dependency did not exit successfully")
            continue
        ready = False
        timeout = all_rules[dependency.container].start_timeout
        if timeout and other.started_at is not None:
            deadline = other.started_at + timeout
            if now >= deadline:
                return Never(f"{_DEPENDENCY} {link} has timed out")
            until = deadline if until is None else min(until, deadline)
    return Ready() if ready else Waiting(until)


def may_stop(name: str, all_rules: Mapping[str, ContainerRules], task: TaskState) -> bool:
    """Whether a container may be sent SIGTERM: containers stop in reverse order of their dependencies."""
    return all(
        task.containers[other.name].status == "STOPPED"
        for other in all_rules.values()
        if any(dependency.container == name for dependency in other.depends_on)
    )


def last_status(task: TaskState) -> str:
    """ECS's ``lastStatus``: the least advanced of the containers, with the states of the task around it."""
    if task.finished:
        return "STOPPED"
    statuses = {state.status for state in task.containers.values()}
    if task.stop is not None:
        return "DEPROVISIONING" if statuses == {"STOPPED"} else "STOPPING"
    if not task.admitted:
        return "PROVISIONING"
    return "PENDING" if "PENDING" in statuses else "RUNNING"


def essential_exit(all_rules: Mapping[str, ContainerRules], task: TaskState) -> Stop | None:
    """Why the task must stop: what Fargate could not prepare, or an essential container (or every container) has
    stopped.
    """
    for state in task.containers.values():
        if state.never_ran and state.reason.startswith(_TASK_FAILURES):
            return Stop("TaskFailedToStart", state.reason)
    for rules in all_rules.values():
        state = task.containers[rules.name]
        if rules.essential and state.status == "STOPPED":
            if state.never_ran and not state.reason.startswith(_DEPENDENCY):
                return Stop("TaskFailedToStart", state.reason)
            return Stop("EssentialContainerExited", "Essential container in task exited")
    if all(state.status == "STOPPED" for state in task.containers.values()):
        return Stop("EssentialContainerExited", "Essential container in task exited")
    return None
