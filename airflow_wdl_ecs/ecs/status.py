"""What became of an ECS task: one classifier from what ECS and ``result.json`` say to a `TaskStatus` (pure).

The command container is what matters: a task's ``lastStatus`` is the least of its containers', stage-out may carry
exit code 143 only because it never got its turn, and ECS forgets stopped tasks after about an hour while
``result.json`` stays. This module calls nothing, and does not decide whether there is another attempt; it names the
budget from which one would be paid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..task import TaskResult
from .attributes import Policy
from .request import COMMAND, STAGE_IN, STAGE_OUT

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

Budget = Literal["none", "command", "memory", "interruption", "infrastructure", "capacity"]
"""From which budget a fresh attempt is paid; ``none``: there must not be one. ``capacity`` is a budget of time, not of
attempts: AWS or a registry has asked to come back later."""

_OUT_OF_MEMORY = re.compile(r"OutOfMemory|out of memory|Cannot allocate memory", re.IGNORECASE)
_DISK_FULL = re.compile(r"No space left on device|disk quota exceeded", re.IGNORECASE)
_HOST_LOST = re.compile(
    r"^Host EC2 .* (terminated|stopped)|Spot|Your .*capacity provider|performing maintenance|"
    r"deregist(er|ration).* forced|forcefully deregistered|instance .*(terminated|stopped)",
    re.IGNORECASE,
)
_CAPACITY = re.compile(
    r"Capacity is unavailable|RESOURCE:|(?-i:\bAGENT\b)|insufficient capacity|limit on the number of|"
    r"InsufficientFreeAddresses|VolumeLimitExceeded|InsufficientVolumeCapacity|"
    r"toomanyrequests|Too ?Many ?Requests|pull rate limit|ThrottlingException|"
    r"Rate exceeded|RequestLimitExceeded",
    re.IGNORECASE,
)
_COULD_NOT_START = re.compile(
    r"Cannot(Start|Create|Pull|Inspect)\w*Error|(ContainerRuntime|Docker)(Timeout)?Error|"
    r"ResourceInitializationError|InternalError|dependency graph"
)
_UNREACHED = re.compile(r"dependency graph")
_PERMANENT = re.compile(
    r"not found|does(n't| not) exist|can't find|access ?denied|AccessDenied|not authorized|unauthorized|"
    r"manifest unknown|no basic auth|invalid reference|no matching manifest|descriptor (matching|for) platform|"
    r"no match for platform|exec format error|executable file not found|"
    r"NoSuchKey|NoSuchBucket|\b40[34]\b|Forbidden|no such file",
    re.IGNORECASE,
)
_NO_BASH = re.compile(r"bash\"?: (executable file not found|stat .*no such file|no such file)", re.IGNORECASE)
_PLATFORM = re.compile(
    r"exec format error|no matching manifest|descriptor (matching|for) platform|no match for platform", re.IGNORECASE
)
_PULL = re.compile(r"CannotPull\w*Error|pull image|manifest unknown|pull rate limit", re.IGNORECASE)
_KILLED = 137
TIME_OVER = "time_over"
"""What ``times`` of a result has where the command was stopped because its time was over."""
_UNKNOWN_EXIT = -1
"""What stage-out writes as the exit code of a command that was killed before it could leave one."""

_HINTS = (
    (
        re.compile(r"ECS Infrastructure Role", re.IGNORECASE),
        "ECS must be allowed to assume the role that the setting ebs_role_arn names, and the role to make EBS volumes",
    ),
    (_NO_BASH, "the image needs bash, in which a WDL command runs: add it to the image, or use another one"),
    (_PLATFORM, "the image is for another CPU architecture: see the setting cpu_architecture, or build it for both"),
    (
        re.compile(r"toomanyrequests|pull rate limit", re.IGNORECASE),
        "the registry limits how often it is asked: keep a copy of the image in Amazon ECR (a pull-through cache, say)",
    ),
    (
        re.compile(r"log ?group|CloudWatch log", re.IGNORECASE),
        "the log group that the setting log_group names must exist, and the execution role must be allowed to write it",
    ),
    (
        re.compile(r"not authorized|AccessDenied|access ?denied|unauthorized|no basic auth|Forbidden", re.IGNORECASE),
        "the execution role pulls images and writes logs, the task role reads and writes S3: one of them may not",
    ),
    (
        re.compile(r"i/o timeout|dial tcp|context deadline|RequestCanceled|send request failed", re.IGNORECASE),
        "the task has no way to the internet or to AWS: its subnets need a NAT gateway, VPC endpoints, or "
        "assign_public_ip",
    ),
    (
        re.compile(r"InsufficientFreeAddresses", re.IGNORECASE),
        "the subnets have no free addresses: name more, or larger ones, in the setting subnets",
    ),
    (_DISK_FULL, 'the disk was full: ask for more with the runtime attribute disks, such as disks: "100 GiB"'),
    (_PULL, "check the image's name and tag, and whether the execution role may pull it"),
)
"""What a reason means for who has to do something about it; the first that fits."""


@dataclass(frozen=True)
class TaskStatus:
    """How an attempt ended.

    :param exit_code: the command's, if it has one. :param reason: in words, for people.
    :param budget: what a fresh attempt would be paid from. :param hint: what to do about it; empty if that is unknown.
    """

    kind: Kind
    exit_code: int | None
    reason: str
    budget: Budget = "none"
    hint: str = ""


def classify(
    task: Mapping[str, Any] | None,
    result: TaskResult | None,
    policy: Policy,
    *,
    staging_log: str = "",
    stderr: str = "",
) -> TaskStatus:
    """Say how an attempt ended.

    :param task: the stopped task as DescribeTasks gives it; None if ECS has forgotten it.
    :param result: what stage-out wrote last; None if it did not get so far.
    :param staging_log: the end of what the staging containers had to say, if one of them failed.
    :param stderr: the end of the command's stderr, if it failed.
    """
    status = _classify(task or {}, result, policy, staging_log)
    failed = status.kind in ("never_started", "command_failed", "lost")
    text = f"{status.reason}\n{stderr}" if status.kind == "command_failed" else status.reason
    hint = next((hint for pattern, hint in _HINTS if pattern.search(text)), "") if failed else ""
    if status.kind == "command_failed" and not _DISK_FULL.search(text):
        # Its other words may mean anything.
        return status
    return replace(status, hint=hint)


def _classify(task: Mapping[str, Any], result: TaskResult | None, policy: Policy, staging_log: str) -> TaskStatus:
    exit_code = _exit_code(task, result)
    if result is not None and result.exit_code >= 0 and policy.succeeded(result.exit_code):
        return TaskStatus("succeeded", result.exit_code, "the command succeeded")
    stopped = _from_outside(task, exit_code)
    if stopped is not None:
        return stopped
    if _ran_out_of_memory(task, exit_code):
        said = next((text for text in _reasons(task) if _OUT_OF_MEMORY.search(text)), "")
        how = "was killed (exit code 137), most likely for lack of memory"
        text = f"the command ran out of memory: {said}" if said else f"the command {how}"
        return TaskStatus("out_of_memory", exit_code, text, "memory")
    if result is not None:
        return _with_result(task, result, exit_code, policy)
    if not task:
        return TaskStatus("lost", None, "ECS does not know the task any more, and it left no result", "infrastructure")
    return _without_result(task, exit_code, policy, staging_log)


def could_not_pull(reason: str) -> bool:
    """Whether the reason for which a task has not started is that an image could not be pulled."""
    return bool(_PULL.search(reason))


def ecs_times(task: Mapping[str, Any]) -> dict[str, float]:
    """When ECS says that things happened to a task: ``created``, ``pull_started``, ``pull_stopped``, ``started`` (all
    of its containers), ``stopped`` (its containers) and ``gone`` (the whole of it), in seconds since the epoch; what it
    does not say is not in it.
    """
    stopped = task.get("executionStoppedAt") or task.get("stoppedAt") or task.get("stoppingAt")
    found = {
        "created": task.get("createdAt"),
        "pull_started": task.get("pullStartedAt"),
        "pull_stopped": task.get("pullStoppedAt"),
        "started": task.get("startedAt"),
        "stopped": stopped,
        "gone": task.get("stoppedAt"),
    }
    return {name: moment.timestamp() for name, moment in found.items() if moment is not None}


def launch_type(task: Mapping[str, Any]) -> str:
    """On what a task ran: its capacity provider, or else its launch type."""
    return str(task.get("capacityProviderName") or task.get("launchType") or "")


def ecs_size(task: Mapping[str, Any]) -> tuple[float, int, int, int, str]:
    """What ECS says that a task was given: vCPUs, MiB, GiB of ephemeral storage, GPUs, and the architecture of its
    CPUs as task definitions have it (``X86_64``); 0 or empty where it does not say.
    """
    attributes = {found.get("name"): str(found.get("value") or "") for found in task.get("attributes") or ()}
    return (
        int(task.get("cpu") or 0) / 1024,
        int(task.get("memory") or 0),
        int((task.get("ephemeralStorage") or {}).get("sizeInGiB") or 0),
        sum(len(container.get("gpuIds") or ()) for container in task.get("containers") or ()),
        attributes.get("ecs.cpu-architecture", "").upper(),
    )


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
    # A command that waits for a stage-in that cannot start is given an exit code, too.
    begun = exit_code is not None and not _UNREACHED.search(_reason(task, COMMAND))
    early = not begun and _container(task, STAGE_IN).get("exitCode") is None
    if early and (code == "TaskFailedToStart" or _COULD_NOT_START.search(said)):
        reasons = _reasons(task)
        text = "; ".join([why for why in reasons if not _UNREACHED.search(why)] or reasons) or "ECS does not say why"
        if not _PULL.search(text):
            return _never_started(f"ECS could not start the task: {text}")
        images = dict.fromkeys(_image(task, name) for name in _pulled(task))
        return _never_started(f"ECS could not start the task with {', '.join(images)}: {text}")
    if _COULD_NOT_START.search(_reason(task, COMMAND)) and not _container(task, STAGE_IN).get("exitCode"):
        text = f"{_image(task, COMMAND)} could not start: {_reason(task, COMMAND)}"
        return _never_started(f"the command's container with {text}")
    return None


def _never_started(text: str) -> TaskStatus:
    return TaskStatus("never_started", None, text, _budget(text))


def _pulled(task: Mapping[str, Any]) -> Iterator[str]:
    """The containers whose images may be the reason why a task has not started: those that say so, or else all."""
    names = (STAGE_IN, COMMAND, STAGE_OUT)
    found = [name for name in names if _PULL.search(_reason(task, name))]
    said = str(task.get("stoppedReason", ""))
    named = [name for name in found or names if _container(task, name).get("image", " ").partition("@")[0] in said]
    yield from named or found or names


def _ran_out_of_memory(task: Mapping[str, Any], exit_code: int | None) -> bool:
    # Fargate says it of the task, where all of its containers together had too little.
    said = (_reason(task, COMMAND), str(task.get("stoppedReason", "")))
    return any(_OUT_OF_MEMORY.search(text) for text in said) or exit_code == _KILLED


def _with_result(task: Mapping[str, Any], result: TaskResult, exit_code: int | None, policy: Policy) -> TaskStatus:
    """The status of a task whose stages did what they are for, and whose command did not."""
    if result.exit_code == _UNKNOWN_EXIT and result.times and "command_started" not in result.times:
        said = _reason(task, COMMAND) or f"its container ended with exit code {exit_code}"
        return _never_started(
            f"the command could not be run in {_image(task, COMMAND)}: {said} (exec format error: "
            "the image is for another CPU architecture, or its bash does not work)"
        )
    if TIME_OVER in result.times and policy.time_limit:
        text = f"the command was stopped after {_span(policy.time_limit)}, which is all that {policy.time_source} gives"
        return TaskStatus("command_failed", exit_code, text, "command", f"give it more time: {policy.time_source}")
    text = f"the command failed with exit code {exit_code}" if exit_code is not None else "the command was killed"
    return TaskStatus("command_failed", exit_code, text, "command")


def _without_result(task: Mapping[str, Any], exit_code: int | None, policy: Policy, staging_log: str) -> TaskStatus:
    """The status of a stopped task that left no result: one of its containers did not do what it is for."""
    said = staging_log.strip()
    staged_in = _container(task, STAGE_IN).get("exitCode")
    if staged_in not in (None, 0):
        reason = _reason(task, STAGE_IN)
        text = f"the inputs could not be staged: {said or reason or f'exit code {staged_in}'}"
        lack = _lack_of_memory(said, reason)
        return TaskStatus("out_of_memory", None, f"{text} ({lack})", "memory") if lack else _never_started(text)
    if exit_code is None:
        text = _reason(task, COMMAND) or str(task.get("stoppedReason", "")) or "ECS does not say why"
        return TaskStatus("lost", None, f"the command's end is not known: {text}", "infrastructure")
    if not policy.succeeded(exit_code):
        return TaskStatus("command_failed", exit_code, f"the command failed with exit code {exit_code}", "command")
    reason = _reason(task, STAGE_OUT)
    why = said or reason or str(task.get("stoppedReason", "")) or "ECS does not say why"
    text = f"the command succeeded, and its outputs could not be kept: {why}"
    lack = _lack_of_memory(said, reason)
    if lack:
        return TaskStatus("out_of_memory", exit_code, f"{text} ({lack})", "memory")
    return TaskStatus("lost", exit_code, text, _budget(why))


def _span(seconds: int) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds} s"


def _lack_of_memory(*said: str) -> str:
    """The words for a lack of memory in what a stage, or ECS of its container, has said; empty if there are none."""
    return next((found[0] for found in map(_OUT_OF_MEMORY.search, said) if found), "")


def _budget(text: str) -> Budget:
    """What a fresh attempt is paid from after something other than the command has failed, by what was said of it."""
    if _CAPACITY.search(text):
        return "capacity"
    return "none" if _PERMANENT.search(text) or _DISK_FULL.search(text) else "infrastructure"


def _reasons(task: Mapping[str, Any]) -> list[str]:
    """What ECS says of a task and of its containers, each once."""
    said = [str(task.get("stoppedReason", "")), *(_reason(task, name) for name in (STAGE_IN, COMMAND, STAGE_OUT))]
    return list(dict.fromkeys(text for text in said if text))


def _image(task: Mapping[str, Any], name: str) -> str:
    image = _container(task, name).get("image")
    return f"image {image}" if image else f"the image of {name}"


def _container(task: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((found for found in task.get("containers", ()) if found.get("name") == name), {})


def _reason(task: Mapping[str, Any], name: str) -> str:
    return str(_container(task, name).get("reason", ""))
