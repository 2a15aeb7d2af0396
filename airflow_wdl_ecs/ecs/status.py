"""What became of an ECS task: one classifier from what ECS and ``result.json`` say to a `TaskStatus` (pure).

The command container is what matters: a task's ``lastStatus`` is the least of its containers', stage-out may carry
exit code 143 only because it never got its turn, and ECS forgets stopped tasks after about an hour while
``result.json`` stays. This module calls nothing, and does not decide whether there is another attempt; it names the
budget from which one would be paid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..task import TaskResult
from .request import COMMAND, STAGE_IN, STAGE_OUT
from .resources import Policy

Kind = Literal[
    "succeeded",
    "command_failed",
    "out_of_memory",
    "interrupted",
    "never_started",
    "stopped_by_user",
    "lost",
]
"""How an attempt ended. ``interrupted``: the host or Spot capacity was taken away; ``never_started``: the command did
not run (image, capacity, configuration, stage-in); ``lost``: its end or its outputs are not known."""

Budget = Literal["none", "command", "memory", "interruption", "infrastructure"]
"""From which budget a fresh attempt is paid; ``none``: there must not be one."""

_OUT_OF_MEMORY = re.compile(r"OutOfMemory|out of memory", re.IGNORECASE)
_HOST_LOST = re.compile(r"^Host EC2 .* (terminated|stopped)|Spot|Your .*capacity provider", re.IGNORECASE)
_CAPACITY = re.compile(r"Capacity is unavailable|RESOURCE:|insufficient capacity", re.IGNORECASE)
_COULD_NOT_START = re.compile(r"Cannot(Start|Create|Pull)\w*Error|dependency graph")
_PERMANENT = re.compile(
    r"not found|does not exist|access ?denied|AccessDenied|not authorized|unauthorized|manifest unknown|"
    r"no basic auth|invalid reference|no matching manifest|exec format error|executable file not found|"
    r"NoSuchKey|NoSuchBucket|\b40[34]\b|Forbidden|no such file",
    re.IGNORECASE,
)
_KILLED = 137
_UNKNOWN_EXIT = -1
"""What stage-out writes as the exit code of a command that was killed before it could leave one."""


@dataclass(frozen=True)
class TaskStatus:
    """How an attempt ended.

    :param exit_code: the command's, if it has one. :param reason: in words, for people.
    :param budget: what a fresh attempt would be paid from.
    """

    kind: Kind
    exit_code: int | None
    reason: str
    budget: Budget = "none"


def classify(
    task: Mapping[str, Any] | None, result: TaskResult | None, policy: Policy, *, staging_log: str = ""
) -> TaskStatus:
    """Say how an attempt ended.

    :param task: the stopped task as DescribeTasks gives it; None if ECS has forgotten it.
    :param result: what stage-out wrote last; None if it did not get so far.
    :param staging_log: the end of what the staging containers had to say, if one of them failed.
    """
    task = task or {}
    exit_code = _exit_code(task, result)
    if result is not None and result.exit_code >= 0 and policy.succeeded(result.exit_code):
        return TaskStatus("succeeded", result.exit_code, "the command succeeded")
    stopped = _from_outside(task, exit_code)
    if stopped is not None:
        return stopped
    if _ran_out_of_memory(task, exit_code):
        how = "was killed (exit code 137), most likely for lack of memory"
        said = _reason(task, COMMAND)
        text = f"the command ran out of memory: {said}" if said else f"the command {how}"
        return TaskStatus("out_of_memory", exit_code, text, "memory")
    if result is not None:
        text = f"the command failed with exit code {exit_code}" if exit_code is not None else "the command was killed"
        return TaskStatus("command_failed", exit_code, text, "command")
    if not task:
        return TaskStatus("lost", None, "ECS does not know the task any more, and it left no result", "infrastructure")
    return _without_result(task, exit_code, policy, staging_log)


def command_status(task: Mapping[str, Any]) -> str:
    """What a running task is about, in a word or two, from its containers: the task's own status lags behind."""
    status = str(task.get("lastStatus", "UNKNOWN"))
    if status in ("STOPPED", "DEPROVISIONING", "PROVISIONING"):
        return status
    containers = {container["name"]: container for container in task.get("containers", ())}
    for name, what in ((STAGE_OUT, "staging out"), (COMMAND, "running"), (STAGE_IN, "staging in")):
        if containers.get(name, {}).get("lastStatus") in ("RUNNING", "STOPPED"):
            return what
    return status


def _exit_code(task: Mapping[str, Any], result: TaskResult | None) -> int | None:
    if result is not None and result.exit_code != _UNKNOWN_EXIT:
        return result.exit_code
    code = _container(task, COMMAND).get("exitCode")
    return int(code) if code is not None else None


def _from_outside(task: Mapping[str, Any], exit_code: int | None) -> TaskStatus | None:
    """The status of a task that someone or something stopped, or that ECS could not start."""
    code, said = str(task.get("stopCode", "")), str(task.get("stoppedReason", ""))
    if code == "UserInitiated":
        return TaskStatus("stopped_by_user", exit_code, f"stopped: {said or 'by a user'}")
    if code in ("SpotInterruption", "TerminationNotice", "InfrastructureHealth") or _HOST_LOST.search(said):
        return TaskStatus("interrupted", exit_code, f"interrupted: {said or code}", "interruption")
    if code == "TaskFailedToStart" and exit_code is None and _container(task, STAGE_IN).get("exitCode") is None:
        reasons = [said, *(_reason(task, name) for name in (STAGE_IN, COMMAND, STAGE_OUT))]
        text = "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or "ECS does not say why"
        return _never_started(f"ECS could not start the task: {text}")
    if _COULD_NOT_START.search(_reason(task, COMMAND)) and not _container(task, STAGE_IN).get("exitCode"):
        return _never_started(f"the command's container could not start: {_reason(task, COMMAND)}")
    return None


def _never_started(text: str) -> TaskStatus:
    permanent = _PERMANENT.search(text) and not _CAPACITY.search(text)
    return TaskStatus("never_started", None, text, _infrastructure(permanent))


def _ran_out_of_memory(task: Mapping[str, Any], exit_code: int | None) -> bool:
    said = _reason(task, COMMAND)
    return bool(_OUT_OF_MEMORY.search(said)) or exit_code == _KILLED


def _without_result(task: Mapping[str, Any], exit_code: int | None, policy: Policy, staging_log: str) -> TaskStatus:
    """The status of a stopped task that left no result: one of its containers did not do what it is for."""
    said = staging_log.strip()
    staged_in = _container(task, STAGE_IN).get("exitCode")
    if staged_in not in (None, 0):
        text = said or _reason(task, STAGE_IN) or f"exit code {staged_in}"
        return _never_started(f"the inputs could not be staged: {text}")
    if exit_code is None:
        text = _reason(task, COMMAND) or str(task.get("stoppedReason", "")) or "ECS does not say why"
        return TaskStatus("lost", None, f"the command's end is not known: {text}", "infrastructure")
    if not policy.succeeded(exit_code):
        return TaskStatus("command_failed", exit_code, f"the command failed with exit code {exit_code}", "command")
    text = said or _reason(task, STAGE_OUT) or str(task.get("stoppedReason", "")) or "ECS does not say why"
    out_of_memory = _OUT_OF_MEMORY.search(text)
    return TaskStatus(
        "out_of_memory" if out_of_memory else "lost",
        exit_code,
        f"the command succeeded, and its outputs could not be kept: {text}",
        "memory" if out_of_memory else _infrastructure(_PERMANENT.search(text)),
    )


def _infrastructure(permanent: object) -> Budget:
    return "none" if permanent else "infrastructure"


def _container(task: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((found for found in task.get("containers", ()) if found.get("name") == name), {})


def _reason(task: Mapping[str, Any], name: str) -> str:
    return str(_container(task, name).get("reason", ""))
