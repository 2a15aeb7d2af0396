"""What Amazon ECS rejects in RegisterTaskDefinition and RunTask, checked before anything is stored or run.

Pure: requests in, `ApiError` raised. The wording follows ECS's own where it is known. What the embedded ECS cannot run
is rejected here as well, so that nothing is silently left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

MAX_OVERRIDES = 8192
MAX_STARTED_BY = 128
MAX_COUNT = 10
MAX_CLIENT_TOKEN = 64
MAX_TAGS = 50
LONGEST_IN_TAG = {"key": 128, "value": 256}
TAG_CHARACTERS = " +-=._:/@"
MAX_STOP_TIMEOUT_FARGATE = 120
MAX_CONSTRAINTS = 10
MAX_STRATEGIES = 5

EBS_SIZES: Mapping[str, tuple[int, int]] = {
    "gp2": (1, 16384),
    "gp3": (1, 16384),
    "io1": (4, 16384),
    "io2": (4, 16384),
    "st1": (125, 16384),
    "sc1": (125, 16384),
    "standard": (1, 1024),
}
"""Type of EBS volume -> least and most GiB."""

_GIB = 1024
FARGATE_MEMORY: Mapping[int, frozenset[int]] = {
    256: frozenset({512, 1 * _GIB, 2 * _GIB}),
    512: frozenset(range(1 * _GIB, 4 * _GIB + 1, _GIB)),
    1024: frozenset(range(2 * _GIB, 8 * _GIB + 1, _GIB)),
    2048: frozenset(range(4 * _GIB, 16 * _GIB + 1, _GIB)),
    4096: frozenset(range(8 * _GIB, 30 * _GIB + 1, _GIB)),
    8192: frozenset(range(16 * _GIB, 60 * _GIB + 1, 4 * _GIB)),
    16384: frozenset(range(32 * _GIB, 120 * _GIB + 1, 8 * _GIB)),
}
"""CPU units -> MiB: the sizes of Fargate tasks on Linux."""

_UNSUPPORTED = ("secrets", "environmentFiles", "firelensConfiguration", "volumesFrom", "resourceRequirements")


class ApiError(Exception):
    """An error that the API answers with. :param code: such as ``ClientException``."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.members = members


def client_error(message: str) -> ApiError:
    """ECS's ``ClientException``."""
    return ApiError("ClientException", message)


def invalid(message: str) -> ApiError:
    """ECS's ``InvalidParameterException``."""
    return ApiError("InvalidParameterException", message)


def cpu_units(text: str | int) -> int:
    """CPU units of ``"1024"``, ``"1 vCPU"`` or ``".5 vCPU"``. :raises ApiError: otherwise."""
    value = str(text).strip().lower()
    try:
        return round(float(value.removesuffix("vcpu")) * 1024) if value.endswith("vcpu") else int(value)
    except ValueError as error:
        raise client_error(f"Invalid 'cpu' setting for task: {text}") from error


def memory_mib(text: str | int) -> int:
    """MiB of ``"2048"``, ``"2 GB"`` or ``"2GB"``. :raises ApiError: otherwise."""
    value = str(text).strip().lower()
    try:
        return round(float(value.removesuffix("gb")) * 1024) if value.endswith("gb") else int(value)
    except ValueError as error:
        raise client_error(f"Invalid 'memory' setting for task: {text}") from error


def check_fargate_size(cpu: str | int | None, memory: str | int | None) -> None:
    """:raises ApiError: unless Fargate has tasks of this size."""
    if cpu is None:
        raise client_error("Fargate requires that 'cpu' be defined at the task level.")
    if memory is None:
        raise client_error("Fargate requires that 'memory' be defined at the task level.")
    if memory_mib(memory) not in FARGATE_MEMORY.get(cpu_units(cpu), frozenset()):
        raise client_error(
            f"No Fargate configuration exists for given values: {cpu_units(cpu)} CPU, {memory_mib(memory)} memory."
        )


def check_ephemeral_storage(storage: Mapping[str, Any] | None) -> None:
    """:raises ApiError: unless the size is 21 to 200 GiB."""
    if storage and not 21 <= int(storage.get("sizeInGiB", 0)) <= 200:
        raise invalid("Ephemeral storage size must be between 21 and 200 GiB.")


def check_task_definition(request: Mapping[str, Any]) -> None:
    """:raises ApiError: for what RegisterTaskDefinition rejects."""
    containers = request.get("containerDefinitions") or []
    if not request.get("family"):
        raise client_error("Family should not be null or empty.")
    if not containers:
        raise client_error("Container list cannot be empty.")
    fargate = "FARGATE" in (request.get("requiresCompatibilities") or [])
    if fargate:
        check_fargate_size(request.get("cpu"), request.get("memory"))
        if request.get("networkMode") not in (None, "awsvpc"):
            raise client_error("Fargate only supports network mode 'awsvpc'.")
        check_ephemeral_storage(request.get("ephemeralStorage"))
    volumes = _check_volumes(request.get("volumes") or [])
    names = [str(container.get("name", "")) for container in containers]
    for name in names:
        if not name:
            raise client_error("Container.name should not be null or empty.")
        if names.count(name) > 1:
            raise client_error(f"Container names should be unique. Duplicate name: {name}.")
    if not any(container.get("essential", True) for container in containers):
        raise client_error("A task definition must have at least one essential container.")
    for container in containers:
        _check_container(container, volumes, task_memory=request.get("memory"), fargate=fargate)
    _check_dependencies(containers)


def _check_volumes(volumes: Sequence[Mapping[str, Any]]) -> set[str]:
    names: set[str] = set()
    for volume in volumes:
        name = str(volume.get("name", ""))
        if not name or name in names:
            raise client_error(f"Volume names should be unique and not empty: '{name}'.")
        _check_efs(name, volume.get("efsVolumeConfiguration"))
        for kind in ("fsxWindowsFileServerVolumeConfiguration", "dockerVolumeConfiguration"):
            if volume.get(kind):
                raise client_error(f"Volume '{name}': the embedded ECS has no {kind}.")
        if volume.get("configuredAtLaunch") and volume.get("host"):
            raise client_error(f"Volume '{name}': configuredAtLaunch cannot be set together with host.")
        names.add(name)
    if sum(bool(volume.get("configuredAtLaunch")) for volume in volumes) > 1:
        raise client_error("Only one volume can be configured at launch.")
    return names


def _check_efs(name: str, efs: Mapping[str, Any] | None) -> None:
    if efs is None:
        return
    access = efs.get("authorizationConfig") or {}
    encrypted = efs.get("transitEncryption") == "ENABLED"
    if not str(efs.get("fileSystemId", "")).startswith("fs-"):
        raise client_error(f"Volume '{name}': EFS file system id is invalid.")
    if access.get("accessPointId") and efs.get("rootDirectory") not in (None, "/"):
        raise client_error(f"Volume '{name}': rootDirectory must be omitted or / with an access point.")
    if (access.get("accessPointId") or access.get("iam") == "ENABLED") and not encrypted:
        raise client_error(f"Volume '{name}': transit encryption must be enabled for access points and IAM.")


def _check_container(container: Mapping[str, Any], volumes: set[str], *, task_memory: Any, fargate: bool) -> None:
    name = container["name"]
    if not container.get("image"):
        raise client_error("Container.image should not be null or empty.")
    if not task_memory and not container.get("memory") and not container.get("memoryReservation"):
        raise client_error(
            f"Invalid setting for container '{name}'. "
            "At least one of 'memory' or 'memoryReservation' must be specified."
        )
    for mount in container.get("mountPoints") or []:
        if mount.get("sourceVolume") not in volumes:
            raise client_error(f"Unknown volume '{mount.get('sourceVolume')}'.")
        if not str(mount.get("containerPath", "")).startswith("/"):
            raise client_error(f"Container '{name}': containerPath must be an absolute path.")
    if fargate and int(container.get("stopTimeout") or 0) > MAX_STOP_TIMEOUT_FARGATE:
        raise client_error(f"Container '{name}': stopTimeout must be at most {MAX_STOP_TIMEOUT_FARGATE} on Fargate.")
    if fargate and container.get("privileged"):
        raise client_error("Tasks using the Fargate launch type do not support privileged containers.")
    driver = container.get("logConfiguration")
    if driver:
        _check_log(name, driver, fargate=fargate)
    for key in _UNSUPPORTED:
        if container.get(key):
            raise client_error(f"Container '{name}': the embedded ECS has no {key}.")


def _check_log(name: str, configuration: Mapping[str, Any], *, fargate: bool) -> None:
    options = configuration.get("options") or {}
    if configuration.get("logDriver") != "awslogs":
        raise client_error(f"Container '{name}': the embedded ECS has no log driver but awslogs.")
    required = ["awslogs-group", "awslogs-region"] + (["awslogs-stream-prefix"] if fargate else [])
    for option in required:
        if not options.get(option):
            raise client_error(f"Log driver awslogs requires options: {', '.join(required)}; {option} is missing.")


def _check_dependencies(containers: list[dict[str, Any]]) -> None:
    by_name = {container["name"]: container for container in containers}
    graph: dict[str, set[str]] = {}
    for name, container in by_name.items():
        graph[name] = set()
        for dependency in container.get("dependsOn") or []:
            other, condition = dependency.get("containerName"), dependency.get("condition")
            if other not in by_name:
                raise client_error(f"Container '{name}' depends on container '{other}', which does not exist.")
            if condition == "HEALTHY":
                raise client_error(
                    f"Container '{name}': the embedded ECS runs no health checks, so HEALTHY is never met."
                )
            if condition not in ("START", "COMPLETE", "SUCCESS"):
                raise client_error(f"Container '{name}': unknown dependency condition '{condition}'.")
            if condition in ("COMPLETE", "SUCCESS") and by_name[other].get("essential", True):
                raise client_error(
                    f"Container '{name}': a dependency with condition {condition} "
                    f"cannot be on the essential container '{other}'."
                )
            graph[name].add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise client_error(f"Container dependencies must not form a cycle: {' -> '.join(error.args[1])}.") from error


def check_run_task(request: Mapping[str, Any]) -> None:
    """:raises ApiError: for what RunTask rejects without looking at the task definition."""
    count = request.get("count", 1)
    if not 1 <= count <= MAX_COUNT:
        raise invalid(f"count must be between 1 and {MAX_COUNT}.")
    if len(request.get("startedBy") or "") > MAX_STARTED_BY:
        raise invalid(f"startedBy must be at most {MAX_STARTED_BY} characters.")
    overrides = request.get("overrides") or {}
    length = len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False))
    if length > MAX_OVERRIDES:
        raise invalid(f"Container Overrides length must be at most {MAX_OVERRIDES}")
    if request.get("launchType") and request.get("capacityProviderStrategy"):
        raise invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."
        )
    if len(request.get("clientToken") or "") > MAX_CLIENT_TOKEN:
        raise invalid(f"clientToken must be at most {MAX_CLIENT_TOKEN} characters.")
    if request.get("propagateTags") == "SERVICE":
        raise invalid("propagateTags cannot be SERVICE when a task is run.")
    check_tags(request.get("tags") or [])
    check_ephemeral_storage(overrides.get("ephemeralStorage"))
    _check_placement(request)


def check_tags(tags: Sequence[Mapping[str, str]]) -> None:
    """:raises ApiError: for tags that a resource cannot have."""
    if len(tags) > MAX_TAGS:
        raise invalid(f"The maximum number of tags is {MAX_TAGS}.")
    if len({tag["key"] for tag in tags}) < len(tags):
        raise invalid("Duplicate tag keys found. Please note that tag keys are case sensitive.")
    for tag in tags:
        for name, longest in LONGEST_IN_TAG.items():
            text = tag.get(name, "")
            if len(text) > longest or not all(char.isalnum() or char in TAG_CHARACTERS for char in text):
                raise invalid(f"The tag {name} {text[:60]!r} is too long or has characters that are not permitted.")
            if text.lower().startswith("aws:"):
                raise invalid("Tag keys and values must not begin with aws:.")


def _check_placement(request: Mapping[str, Any]) -> None:
    """Refuse what ECS does; where there is one machine, a task is on it whatever is preferred."""
    constraints, strategies = request.get("placementConstraints") or [], request.get("placementStrategy") or []
    providers = [item.get("capacityProvider", "") for item in request.get("capacityProviderStrategy") or []]
    fargate = request.get("launchType") == "FARGATE" or any(name.startswith("FARGATE") for name in providers)
    if fargate and constraints:
        raise invalid("Placement constraints are not supported with FARGATE launch type.")
    if fargate and strategies:
        raise invalid("Placement strategies are not supported with FARGATE launch type.")
    if len(constraints) > MAX_CONSTRAINTS or len(strategies) > MAX_STRATEGIES:
        raise invalid(f"At most {MAX_CONSTRAINTS} placement constraints and {MAX_STRATEGIES} strategies are taken.")
    for constraint in constraints:
        if constraint.get("type") not in ("distinctInstance", "memberOf"):
            raise invalid(f"Unknown placement constraint type '{constraint.get('type')}'.")
        if (constraint["type"] == "memberOf") != bool(constraint.get("expression")):
            raise invalid("A placement constraint has an expression if its type is memberOf, and only then.")
    for strategy in strategies:
        if strategy.get("type") not in ("random", "spread", "binpack"):
            raise invalid(f"Unknown placement strategy type '{strategy.get('type')}'.")


def check_volumes(request: Mapping[str, Any], volumes: Iterable[Mapping[str, Any]]) -> None:
    """Check what RunTask says of the volumes that are configured at launch.

    :param volumes: of the task definition.
    :raises ApiError: unless it says of each how it is to be, and of no other.
    """
    late = {str(volume["name"]) for volume in volumes if volume.get("configuredAtLaunch")}
    configured = {str(found.get("name")): found for found in request.get("volumeConfigurations") or []}
    if set(configured) != late:
        raise invalid(
            "The volumes that are configured at launch are "
            f"{sorted(late) or 'none'}, and volumeConfigurations names {sorted(configured) or 'none'}."
        )
    for name, found in configured.items():
        volume = found.get("managedEBSVolume") or {}
        if not volume.get("roleArn"):
            raise invalid(f"Volume '{name}': managedEBSVolume needs a roleArn.")
        kind = volume.get("volumeType", "gp3")
        least, most = EBS_SIZES.get(kind, (1, 0))
        if not least <= int(volume.get("sizeInGiB") or 0) <= most:
            raise invalid(f"Volume '{name}': a volume of the type {kind} has {least} to {most} GiB.")
        if kind in ("io1", "io2") and not volume.get("iops"):
            raise invalid(f"Volume '{name}': the type {kind} needs iops.")


def check_overrides(names: Iterable[str], overrides: Mapping[str, Any]) -> None:
    """:raises ApiError: for an override of a container that the task definition does not have."""
    known = set(names)
    for override in overrides.get("containerOverrides") or []:
        if override.get("name") not in known:
            raise invalid(
                f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            )
