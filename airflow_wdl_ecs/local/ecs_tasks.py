"""From a task definition and a RunTask request to what the agent runs, and from a task's state to DescribeTasks' JSON.

Pure but for names: nothing here stores a task or talks to the agent.
"""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .agent import AgentTask, ContainerPlan
from .containers import ContainerSpec, Mount
from .task_state import ContainerRules, Dependency, TaskState, last_status
from .validation import (
    MAX_STOP_TIMEOUT_FARGATE,
    check_fargate_size,
    check_tags,
    client_error,
    cpu_units,
    invalid,
    memory_mib,
)

EFS = "efs"
DEFAULT_CPU = 256
DEFAULT_MEMORY = 512
DEFAULT_STOP_TIMEOUT = 30


@dataclass(frozen=True)
class Definition:
    """A registered task definition, as far as running it goes; lists and dicts in ECS's own shapes."""

    arn: str
    family: str
    containers: tuple[dict[str, Any], ...]
    volumes: tuple[dict[str, Any], ...]
    cpu: str | None
    memory: str | None
    network_mode: str | None
    compatibilities: tuple[str, ...]
    ephemeral_storage: dict[str, Any] | None = None
    architecture: str = "X86_64"
    tags: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Placement:
    """Where and how a task runs: cluster, launch type or capacity provider, network."""

    cluster_arn: str
    region: str
    launch_type: str | None
    capacity_provider: str | None
    subnet: str | None

    @property
    def fargate(self) -> bool:
        """Whether it is Fargate, on demand or Spot."""
        return self.launch_type == "FARGATE"


@dataclass
class EcsTask:
    """A task as the API knows it. Only ``agent_task.state`` and ``tags`` change after it was made.

    :param sequence: order of creation, for pages.
    """

    id: str
    arn: str
    sequence: int
    definition: Definition
    placement: Placement
    request: Mapping[str, Any]
    agent_task: AgentTask
    tags: list[dict[str, str]] = field(default_factory=list)
    attachment_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def state(self) -> TaskState:
        """The state at this moment."""
        return self.agent_task.state

    @property
    def desired_status(self) -> str:
        """RUNNING until something stops it."""
        return "RUNNING" if self.state.stop is None else "STOPPED"


def tags_of(request: Mapping[str, Any], definition: Definition, cluster_arn: str) -> list[dict[str, str]]:
    """A new task's tags: its own, those that its definition hands on, and ECS's.

    :raises ApiError: if they are too many, or of one key: what AWS does then is not known.
    """
    tags = list(request.get("tags") or [])
    if request.get("propagateTags") == "TASK_DEFINITION":
        tags += definition.tags
    check_tags(tags)
    managed = {"key": "aws:ecs:clusterName", "value": cluster_arn.rsplit("/", 1)[-1]}
    return [*tags, managed] if request.get("enableECSManagedTags") else tags


def placement_of(request: Mapping[str, Any], definition: Definition, cluster_arn: str, region: str) -> Placement:
    """:raises ApiError: if the request's launch type, capacity provider, network or size does not fit the
    definition.
    """
    strategy = request.get("capacityProviderStrategy") or []
    provider = strategy[0].get("capacityProvider") if strategy else None
    if provider is not None and provider not in ("FARGATE", "FARGATE_SPOT"):
        raise invalid(f"The specified capacity provider '{provider}' was not found.")
    launch_type = "FARGATE" if provider else (request.get("launchType") or "EC2")
    if launch_type == "FARGATE" and "FARGATE" not in definition.compatibilities:
        raise invalid("Task definition does not support launch_type FARGATE.")
    network = (request.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    if definition.network_mode == "awsvpc" and not network.get("subnets"):
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if launch_type == "FARGATE":
        overrides = request.get("overrides") or {}
        check_fargate_size(overrides.get("cpu") or definition.cpu, overrides.get("memory") or definition.memory)
    subnet = network["subnets"][0] if network.get("subnets") else None
    return Placement(cluster_arn, region, launch_type, provider, subnet)


def size_of(request: Mapping[str, Any], definition: Definition) -> tuple[int, int]:
    """CPU units and MiB that a task takes: by override, else of the definition, else the sum over its containers."""
    overrides = request.get("overrides") or {}
    cpu = overrides.get("cpu") or definition.cpu or sum(int(c.get("cpu") or 0) for c in definition.containers)
    memory = overrides.get("memory") or definition.memory
    if not memory:
        memory = sum(int(c.get("memory") or c.get("memoryReservation") or 0) for c in definition.containers)
    return cpu_units(cpu) or DEFAULT_CPU, memory_mib(memory) or DEFAULT_MEMORY


def plan_containers(
    request: Mapping[str, Any], definition: Definition, placement: Placement, task_id: str, folder: Path
) -> dict[str, ContainerPlan]:
    """Each container of the definition merged with its override, in the definition's order."""
    overrides = {o["name"]: o for o in (request.get("overrides") or {}).get("containerOverrides") or []}
    volumes = {volume["name"]: _source(volume, folder) for volume in definition.volumes}
    plans = {}
    for container in definition.containers:
        override = overrides.get(container["name"], {})
        spec = ContainerSpec(
            id=f"{task_id}-{container['name']}",
            task_id=task_id,
            name=container["name"],
            image=container["image"],
            entry_point=tuple(container.get("entryPoint") or ()),
            command=tuple(override.get("command") or container.get("command") or ()),
            folder=folder,
            environment=_environment(container, override, placement.region),
            working_directory=container.get("workingDirectory"),
            mounts=tuple(
                _mount(mount["sourceVolume"], volumes[mount["sourceVolume"]], mount)
                for mount in container.get("mountPoints") or []
            ),
            cpu=int(override.get("cpu") or container.get("cpu") or 0),
            memory=override.get("memory") or container.get("memory"),
            user=container.get("user"),
        )
        logs = container.get("logConfiguration")
        plans[spec.name] = ContainerPlan(spec, _rules(container, placement), logs.get("options") if logs else None)
    return plans


def _source(volume: Mapping[str, Any], folder: Path) -> str | None:
    """The folder of this machine that a volume is; None for one that lives as long as the task.

    A file system of EFS is the folder of its name in ``efs``, beside the tasks' own.

    :param folder: the task's.
    """
    efs = volume.get("efsVolumeConfiguration")
    if efs is None:
        host: str | None = (volume.get("host") or {}).get("sourcePath")
        return host
    found = folder.parent.parent / EFS / efs["fileSystemId"] / (efs.get("rootDirectory") or "/").strip("/")
    found.mkdir(parents=True, exist_ok=True)
    return str(found)


def _environment(container: Mapping[str, Any], override: Mapping[str, Any], region: str) -> dict[str, str]:
    pairs = [*(container.get("environment") or []), *(override.get("environment") or [])]
    environment = {"AWS_DEFAULT_REGION": region, "AWS_REGION": region}
    environment.update({pair["name"]: str(pair.get("value", "")) for pair in pairs})
    return environment


def _mount(volume: str, source: str | None, mount: Mapping[str, Any]) -> Mount:
    return Mount(volume, Path(source) if source else None, mount["containerPath"], bool(mount.get("readOnly")))


def _rules(container: Mapping[str, Any], placement: Placement) -> ContainerRules:
    stop_timeout = float(container.get("stopTimeout") or DEFAULT_STOP_TIMEOUT)
    if placement.fargate:
        stop_timeout = min(stop_timeout, MAX_STOP_TIMEOUT_FARGATE)
    return ContainerRules(
        name=container["name"],
        essential=container.get("essential", True),
        depends_on=tuple(Dependency(d["containerName"], d["condition"]) for d in container.get("dependsOn") or []),
        start_timeout=container.get("startTimeout"),
        stop_timeout=stop_timeout,
    )


def require_commands(plans: Mapping[str, ContainerPlan]) -> None:
    """:raises ApiError: for a container without entry point and command, where no image could supply them."""
    for name, plan in plans.items():
        if not plan.spec.argv:
            raise client_error(f"Container '{name}' has neither entryPoint nor command, and images are not run here.")


def describe(task: EcsTask, include_tags: bool, age: float = 0.0) -> dict[str, Any]:
    """One task as in the answers of RunTask, DescribeTasks and StopTask; as it was ``age`` seconds ago."""
    state = task.agent_task.state_at(time.time() - age) if age else task.state
    cpu, memory = size_of(task.request, task.definition)
    overrides = copy.deepcopy(dict(task.request.get("overrides") or {}))
    named = {override["name"] for override in overrides.get("containerOverrides") or []}
    overrides["containerOverrides"] = [
        *(overrides.get("containerOverrides") or []),
        *({"name": name} for name in task.agent_task.plans if name not in named),
    ]
    overrides.setdefault("inferenceAcceleratorOverrides", [])
    fields: dict[str, Any] = {
        "taskArn": task.arn,
        "clusterArn": task.placement.cluster_arn,
        "taskDefinitionArn": task.definition.arn,
        "group": task.request.get("group") or f"family:{task.definition.family}",
        "startedBy": task.request.get("startedBy"),
        "overrides": overrides,
        "containers": [_describe_container(task, state, name) for name in task.agent_task.plans],
        "lastStatus": last_status(state),
        "desiredStatus": "RUNNING" if state.stop is None else "STOPPED",
        "cpu": str(cpu),
        "memory": str(memory),
        "ephemeralStorage": _ephemeral_storage(task),
        "launchType": task.placement.launch_type,
        "capacityProviderName": task.placement.capacity_provider,
        "platformVersion": "1.4.0" if task.placement.fargate else None,
        "platformFamily": "Linux" if task.placement.fargate else None,
        "availabilityZone": f"{task.placement.region}a",
        "attachments": _attachments(task, state),
        "attributes": [{"name": "ecs.cpu-architecture", "value": task.definition.architecture.lower()}],
        "connectivity": "CONNECTED" if state.admitted else None,
        "connectivityAt": state.pull_started_at,
        "healthStatus": "UNKNOWN",
        "enableExecuteCommand": bool(task.request.get("enableExecuteCommand")),
        "version": sum(value is not None for value in (state.started_at, state.stop, state.stopped_at)) + 1,
        "createdAt": state.created_at,
        "pullStartedAt": state.pull_started_at,
        "pullStoppedAt": state.pull_stopped_at,
        "startedAt": state.started_at,
        "stoppingAt": state.stopping_at,
        "stoppedAt": state.stopped_at,
        "executionStoppedAt": state.execution_stopped_at,
        "stopCode": state.stop.code if state.stop else None,
        "stoppedReason": state.stop.reason if state.stop else None,
        "tags": task.tags if include_tags else [],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _describe_container(task: EcsTask, task_state: TaskState, name: str) -> dict[str, Any]:
    plan, state = task.agent_task.plans[name], task_state.containers[name]
    fields: dict[str, Any] = {
        "containerArn": f"{task.arn.replace(':task/', ':container/')}/{uuid.uuid5(uuid.NAMESPACE_URL, plan.spec.id)}",
        "taskArn": task.arn,
        "name": name,
        "image": plan.spec.image,
        "runtimeId": f"{task.id}-{list(task.agent_task.plans).index(name)}" if state.started_at is not None else None,
        "lastStatus": state.status,
        "exitCode": state.exit_code,
        "reason": state.reason or None,
        "networkBindings": [],
        "networkInterfaces": [],
        "healthStatus": "UNKNOWN",
        "cpu": str(plan.spec.cpu),
        "memory": str(plan.spec.memory) if plan.spec.memory else None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _ephemeral_storage(task: EcsTask) -> dict[str, Any] | None:
    override = (task.request.get("overrides") or {}).get("ephemeralStorage")
    default = {"sizeInGiB": 20} if task.placement.fargate else None
    return override or task.definition.ephemeral_storage or default


def _attachments(task: EcsTask, state: TaskState) -> list[dict[str, Any]]:
    if task.placement.subnet is None:
        return []
    status = "ATTACHED" if state.admitted else "PRECREATED"
    return [
        {
            "id": task.attachment_id,
            "type": "ElasticNetworkInterface",
            "status": "DELETED" if state.finished else status,
            "details": [{"name": "subnetId", "value": task.placement.subnet}],
        }
    ]
