"""A `TaskRequest` as the ECS API wants it: a task definition by its content, and a RunTask (pure).

The definition holds what ECS cannot override (images, roles, network, logs), so equal ones are registered once and
reused by every attempt; what differs per attempt travels in the overrides, which are limited to 8,192 characters: the
scripts of its stages themselves, or where they are in S3. This module calls nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..task import TaskRequest
from .images import credentials_of
from .mounts import mount_points, mounts_of, volumes
from .resources import TaskSize, fargate_pair
from .settings import EcsSettings
from .staging import END, Stage, library
from .tags import as_list, identity_tags

STAGE_IN: Stage = "stage-in"
COMMAND = "command"
STAGE_OUT: Stage = "stage-out"
"""The names of the three containers; see the design of a task in ``staging``."""

SCRIPT_VARIABLE = "WDL_STAGE_SCRIPT"
PREFIX_VARIABLE = "WDL_ATTEMPT"
TRY_VARIABLE = "WDL_TRY"
STREAM_PREFIX = "wdl"
STARTED_BY = "wdl-"
"""What the ``startedBy`` of this package's tasks begins with."""

MOST_OVERRIDES = 8192
"""Characters of the overrides of a RunTask, as JSON (Amazon ECS API reference, TaskOverride)."""

_VOLUME = "wdl"
_FETCH = {
    "aws": f'aws s3 cp --only-show-errors "${SCRIPT_VARIABLE}" -',
    "s5cmd": (
        'S3_ENDPOINT_URL="${S3_ENDPOINT_URL:-${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}}}" '
        f's5cmd --log error cat --raw "${SCRIPT_VARIABLE}"'
    ),
}
_BOOT = """\
{library}
began=${{EPOCHREALTIME-}}
if [[ ${script} != s3://* ]]; then eval "${script}"; fi
for pause in {pauses} 0; do
  # It is read whole before any of it runs: half a script must not stage half of the inputs. A script ends the stage.
  script=$({fetch}) && [[ $script == *'{end}' ]] && eval "$script"
  sleep "$pause"
done
echo "the script of this stage did not arrive" >&2
exit 1
"""
_PAUSES: Mapping[Stage, str] = {STAGE_IN: "1 2 4 8", STAGE_OUT: "1 2 4 8 15 30 60"}
"""Seconds between the tries to fetch a stage's script; that of stage-out has a command's work to lose."""


@dataclass(frozen=True)
class TaskDefinition:
    """A task definition that is to exist: its family, which is its digest, and RegisterTaskDefinition's arguments."""

    family: str
    arguments: Mapping[str, Any]


def task_definition(
    image: str, settings: EcsSettings, *, gpu: int = 0, ebs: bool = False, tags: Mapping[str, str] | None = None
) -> TaskDefinition:
    """The definition for tasks whose command runs in ``image``.

    :param settings: with the region set. :param ebs: whether their volume is an EBS volume, which RunTask describes.
    :param tags: the run's own, as in `run_task`.
    """
    containers = [
        _container(settings, STAGE_IN, settings.staging_image, _boot(STAGE_IN, settings), essential=False),
        _container(settings, COMMAND, image, [], essential=False, after=(STAGE_IN, "SUCCESS"), gpu=gpu),
        _container(
            settings,
            STAGE_OUT,
            settings.staging_image,
            _boot(STAGE_OUT, settings),
            essential=True,
            after=(COMMAND, "COMPLETE"),
        ),
    ]
    cpu, memory = fargate_pair(1024, 2048) or (1024, 2048)
    arguments: dict[str, Any] = {
        "containerDefinitions": containers,
        "volumes": [
            {"name": _VOLUME, "configuredAtLaunch": True} if ebs else {"name": _VOLUME, "host": {}},
            *volumes(mounts_of(settings.mounts)),
        ],
        "networkMode": "awsvpc" if settings.subnets else "bridge",
        "requiresCompatibilities": ["FARGATE" if settings.fargate else "EC2"],
        # Only defaults: RunTask overrides both. Fargate refuses a definition without them.
        "cpu": str(cpu),
        "memory": str(memory),
        "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": settings.cpu_architecture},
    }
    if settings.task_role_arn:
        arguments["taskRoleArn"] = settings.task_role_arn
    if settings.execution_role_arn:
        arguments["executionRoleArn"] = settings.execution_role_arn
    inherited = _inherited_tags(settings, tags or {})
    if inherited:
        arguments["tags"] = as_list(inherited)
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
    family = f"wdl-{digest[:40]}"
    return TaskDefinition(family, {"family": family, **arguments})


def run_task(
    request: TaskRequest,
    size: TaskSize,
    settings: EcsSettings,
    *,
    definition: str,
    scope: str | None = None,
    spot: bool = False,
    scripts: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """RunTask's arguments for one attempt.

    :param definition: ARN, or ``family:revision``, of the registered definition.
    :param scripts: container -> the script of its stage, if they travel with the request (see `may_travel`); otherwise
        the containers fetch them from the attempt's folder.
    :param spot: whether the attempt may run on the capacity of ``spot_capacity_providers``.
    :param tags: the run's own, beside those of the settings, which the task has from its definition.
    """
    identity = request.identity
    own_tags = {**(tags or {}), **identity_tags(identity)}
    arguments: dict[str, Any] = {
        "cluster": settings.cluster,
        "taskDefinition": definition,
        "count": 1,
        "clientToken": client_token(request, scope),
        "startedBy": started_by(identity.dag_id, identity.run_id, identity.call, scope),
        "overrides": _overrides(request, size, scripts or {}),
        "tags": as_list(own_tags),
        "propagateTags": "TASK_DEFINITION",
        # AWS's own tag with the cluster's name.
        "enableECSManagedTags": True,
        **_where(settings, spot=spot),
        **_placement(size, settings),
    }
    if size.ebs:
        arguments["volumeConfigurations"] = [
            {"name": _VOLUME, "managedEBSVolume": _ebs_volume(size.ebs, settings, {**settings.tags, **own_tags})}
        ]
    if settings.subnets:
        vpc: dict[str, Any] = {"subnets": list(settings.subnets)}
        if settings.security_groups:
            vpc["securityGroups"] = list(settings.security_groups)
        if settings.fargate:
            vpc["assignPublicIp"] = "ENABLED" if settings.assign_public_ip else "DISABLED"
        arguments["networkConfiguration"] = {"awsvpcConfiguration": vpc}
    return arguments


def may_travel(request: TaskRequest, size: TaskSize, scripts: Mapping[str, str]) -> bool:
    """Whether the scripts of an attempt's stages are short enough to travel with its RunTask."""
    return len(json.dumps(_overrides(request, size, scripts))) <= MOST_OVERRIDES


def _overrides(request: TaskRequest, size: TaskSize, scripts: Mapping[str, str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {
        "containerOverrides": [
            _script_override(request, STAGE_IN, scripts),
            {"name": COMMAND, "command": [f"{request.folder}/run.sh"]},
            _script_override(request, STAGE_OUT, scripts),
        ],
        "cpu": str(size.cpu),
        "memory": str(size.memory),
    }
    if size.disk is not None:
        overrides["ephemeralStorage"] = {"sizeInGiB": size.disk}
    return overrides


def client_token(request: TaskRequest, scope: str | None = None) -> str:
    """64 characters by which ECS knows that two RunTask are one: the same for the same attempt, and only for it.

    Attempts are numbered over all tries, and the try is no part of it: a host that died before it could record its
    attempt must not have a second one started by the next try.
    """
    who = request.identity
    return _digest(who.dag_id, who.run_id, scope, who.call, who.shard, request.attempt)


def started_by(dag_id: str, run_id: str, call: str, scope: str | None = None) -> str:
    """What all ECS tasks of one call of one run have in common (ListTasks can be asked for it)."""
    return f"{STARTED_BY}{_digest(dag_id, run_id, scope, call)[:32]}"


def attempt_prefix(task: Mapping[str, Any]) -> str | None:
    """The S3 prefix of the attempt that an ECS task, as DescribeTasks gives it, was started for; None if not ours."""
    return _variable(task, PREFIX_VARIABLE)


def attempt_try(task: Mapping[str, Any]) -> int:
    """Airflow's try in which an ECS task was started; 0 if it does not say so."""
    return int(_variable(task, TRY_VARIABLE) or 0)


def _variable(task: Mapping[str, Any], name: str) -> str | None:
    for container in task.get("overrides", {}).get("containerOverrides", ()):
        for variable in container.get("environment", ()):
            if variable["name"] == name:
                return str(variable["value"])
    return None


def log_stream(task_arn: str, container: str = COMMAND) -> str:
    """The CloudWatch log stream of a container of a task."""
    return f"{STREAM_PREFIX}/{container}/{task_arn.rsplit('/', 1)[-1]}"


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _boot(stage: Stage, settings: EcsSettings) -> list[str]:
    """What a staging container's bash runs: the script that it is given, or the one that is in S3."""
    boot = _BOOT.format(
        library=library(stage, settings.staging_tool),
        script=SCRIPT_VARIABLE,
        pauses=_PAUSES[stage],
        fetch=_FETCH[settings.staging_tool],
        end=END,
    )
    return ["-c", boot]


def _container(
    settings: EcsSettings,
    name: str,
    image: str,
    command: list[str],
    *,
    essential: bool,
    after: tuple[str, str] | None = None,
    gpu: int = 0,
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "essential": essential,
        "entryPoint": ["bash"],
        "mountPoints": [{"sourceVolume": _VOLUME, "containerPath": settings.container_root}],
        "stopTimeout": settings.stop_timeout,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": settings.log_group,
                "awslogs-region": settings.region or "",
                "awslogs-stream-prefix": STREAM_PREFIX,
            },
        },
    }
    if command:
        container["command"] = command
    credentials = credentials_of(image, settings)
    if credentials:
        container["repositoryCredentials"] = {"credentialsParameter": credentials}
    if name == COMMAND:
        container["mountPoints"] += mount_points(mounts_of(settings.mounts))
    if after:
        container["dependsOn"] = [{"containerName": after[0], "condition": after[1]}]
    if gpu:
        container["resourceRequirements"] = [{"type": "GPU", "value": str(gpu)}]
    return container


def _script_override(request: TaskRequest, container: str, scripts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": container,
        "environment": [
            {"name": PREFIX_VARIABLE, "value": request.prefix},
            {"name": SCRIPT_VARIABLE, "value": scripts.get(container) or f"{request.prefix}{container}.sh"},
            {"name": TRY_VARIABLE, "value": str(request.identity.try_number)},
        ],
    }


def _where(settings: EcsSettings, *, spot: bool) -> dict[str, Any]:
    providers = settings.spot_capacity_providers if spot else ()
    strategy = [_provider(text) for text in providers or settings.capacity_providers]
    return {"capacityProviderStrategy": strategy} if strategy else {"launchType": settings.launch_type}


def _placement(size: TaskSize, settings: EcsSettings) -> dict[str, Any]:
    """On which EC2 instances a task may be, and is preferably put; nothing where any will do."""
    constraints: list[dict[str, str]] = [
        {"type": text} if text == "distinctInstance" else {"type": "memberOf", "expression": text}
        for text in settings.placement_constraints
    ]
    if size.instances:
        types = " or ".join(f"attribute:ecs.instance-type =~ {pattern}" for pattern in size.instances)
        constraints.append({"type": "memberOf", "expression": types})
    strategies = []
    for text in settings.placement_strategies:
        kind, _, by = (part.strip() for part in text.partition(":"))
        strategies.append({"type": kind, "field": by} if by else {"type": kind})
    found = {"placementConstraints": constraints, "placementStrategy": strategies}
    return {name: items for name, items in found.items() if items}


def _inherited_tags(settings: EcsSettings, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that tasks have from their definition: not those for which a run has its own value.

    ECS does not say what becomes of a key that both the definition and RunTask have.
    """
    return {key: value for key, value in settings.tags.items() if key not in tags}


def _ebs_volume(size: int, settings: EcsSettings, tags: Mapping[str, str]) -> dict[str, Any]:
    """The volume of one task, which ECS deletes with it.

    :param size: GiB. :param tags: all those of its task: a volume has none from the definition.
    """
    volume: dict[str, Any] = {
        "roleArn": settings.ebs_role_arn,
        "sizeInGiB": size,
        "volumeType": settings.ebs_volume_type,
        "encrypted": True,
        "filesystemType": "ext4",
        "terminationPolicy": {"deleteOnTermination": True},
        "tagSpecifications": [{"resourceType": "volume", "tags": as_list(tags), "propagateTags": "NONE"}],
    }
    more = (("kmsKeyId", settings.ebs_kms_key), ("iops", settings.ebs_iops), ("throughput", settings.ebs_throughput))
    return {**volume, **{name: value for name, value in more if value}}


def _provider(text: str) -> dict[str, Any]:
    name, *numbers = (part.strip() for part in text.split(":"))
    item: dict[str, Any] = {"capacityProvider": name, "weight": int(numbers[0]) if numbers else 1}
    if len(numbers) > 1:
        item["base"] = int(numbers[1])
    return item
