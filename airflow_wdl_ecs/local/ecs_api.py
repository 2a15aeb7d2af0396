"""The operations of Amazon ECS that the embedded one answers itself: RunTask, DescribeTasks, ListTasks, StopTask, and
the checks of RegisterTaskDefinition. Everything else of ECS (clusters, the store of task definitions) is moto's.

`EcsApi.answer` takes an operation's name and its JSON and returns JSON; it knows neither HTTP nor processes.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moto.ecs.exceptions import ECSException
from moto.ecs.models import EC2ContainerServiceBackend, ecs_backends

from .account import ACCOUNT
from .agent import Agent, AgentTask
from .ecs_tasks import (
    Definition,
    EcsTask,
    Placement,
    describe,
    placement_of,
    plan_containers,
    require_commands,
    size_of,
    tags_of,
)
from .faults import FaultDesk, TaskFault
from .task_state import ContainerState, Stop, TaskState, last_status
from .validation import (
    ApiError,
    check_overrides,
    check_run_task,
    check_task_definition,
    check_volumes,
    client_error,
    invalid,
)

PAGE = 100
Json = dict[str, Any]


class EcsApi:
    """Tasks and the operations on them.

    :param folder: where each task has its own folder while it runs.
    :param faults: what goes wrong on purpose.
    :param forget_after: seconds for which a stopped task can be described.
    """

    def __init__(self, agent: Agent, folder: Path, faults: FaultDesk, forget_after: float = 3600.0) -> None:
        self._agent = agent
        self._faults = faults
        self._folder = folder
        self._forget_after = forget_after
        self._lock = threading.Lock()
        self._tasks: dict[str, EcsTask] = {}
        self._tokens: dict[tuple[str, str], tuple[str, list[EcsTask]]] = {}
        self._sequence = itertools.count()
        self._operations: dict[str, Callable[[Json, str], Json | None]] = {
            "RunTask": self._run_task,
            "DescribeTasks": self._describe_tasks,
            "ListTasks": self._list_tasks,
            "StopTask": self._stop_task,
            "StartTask": self._start_task,
            "RegisterTaskDefinition": self._check_registration,
            "DescribeClusters": self._count_tasks,
        }

    def answer(self, operation: str, request: Json, region: str) -> Json | None:
        """The answer, or None if moto is to answer this request. :raises ApiError: as ECS does."""
        handler = self._operations.get(operation)
        try:
            return handler(request, region) if handler else None
        except ECSException as error:
            raise ApiError(error.code, error.message) from error

    # ---- what moto keeps

    def _backend(self, region: str) -> EC2ContainerServiceBackend:
        return ecs_backends[ACCOUNT][region]

    def _cluster_arn(self, request: Mapping[str, Any], region: str) -> str:
        return str(self._backend(region)._get_cluster(request.get("cluster") or "default").arn)

    def _definition(self, name: str, region: str) -> Definition:
        try:
            stored = self._backend(region).describe_task_definition(name)
        except ECSException as error:
            raise client_error("TaskDefinition not found.") from error
        if stored.status != "ACTIVE":
            raise client_error("TaskDefinition is inactive")
        return Definition(
            arn=stored.arn,
            family=stored.family,
            containers=tuple(stored.container_definitions),
            volumes=tuple(stored.volumes),
            cpu=stored.cpu,
            memory=stored.memory,
            network_mode=stored.network_mode,
            compatibilities=tuple(stored.compatibilities),
            ephemeral_storage=stored.ephemeral_storage,
            architecture=(stored.runtime_platform or {}).get("cpuArchitecture") or "X86_64",
            tags=tuple(stored.tags),
        )

    def _check_registration(self, request: Json, region: str) -> Json | None:
        check_task_definition(request)
        return None

    def _count_tasks(self, request: Json, region: str) -> Json | None:
        for cluster in list(self._backend(region).clusters.values()):
            statuses = [last_status(t.state) for t in self._all() if t.placement.cluster_arn == cluster.arn]
            cluster.running_tasks_count = statuses.count("RUNNING") + statuses.count("STOPPING")
            cluster.pending_tasks_count = statuses.count("PENDING") + statuses.count("PROVISIONING")
        return None

    def _start_task(self, request: Json, region: str) -> Json | None:
        raise ApiError("UnsupportedFeatureException", "The embedded ECS has no container instances; use RunTask.")

    # ---- tasks

    def _all(self) -> list[EcsTask]:
        """Every task that is not forgotten yet, oldest first."""
        forget_after = self._faults.now.forget_after
        horizon = time.time() - (self._forget_after if forget_after is None else forget_after)
        with self._lock:
            for task in list(self._tasks.values()):
                if task.state.stopped_at is not None and task.state.stopped_at <= horizon:
                    del self._tasks[task.id]
            self._tokens = {
                token: entry for token, entry in self._tokens.items() if any(t.id in self._tasks for t in entry[1])
            }
            return list(self._tasks.values())

    def _run_task(self, request: Json, region: str) -> Json:
        check_run_task(request)
        cluster_arn = self._cluster_arn(request, region)
        definition = self._definition(request.get("taskDefinition") or "", region)
        check_overrides([c["name"] for c in definition.containers], request.get("overrides") or {})
        check_volumes(request, definition.volumes)
        placement = placement_of(request, definition, cluster_arn, region)
        self._all()
        with self._lock:
            token = request.get("clientToken")
            digest = json.dumps(request, sort_keys=True)
            if token and (cluster_arn, token) in self._tokens:
                known, tasks = self._tokens[cluster_arn, token]
                if known != digest:
                    raise ApiError(
                        "ConflictException",
                        "The provided client token was used with other parameters.",
                        resourceIds=[task.arn for task in tasks],
                    )
                return {"tasks": [describe(task, include_tags=True) for task in tasks], "failures": []}
            failure = self._faults.take_run_task_failure()
            if failure is not None:
                return {"tasks": [], "failures": [{"arn": cluster_arn, "reason": failure}]}
            tasks = [self._new_task(request, definition, placement) for _ in range(request.get("count", 1))]
            self._tasks.update({task.id: task for task in tasks})
            if token:
                self._tokens[cluster_arn, token] = (digest, tasks)
            answer = [describe(task, include_tags=True) for task in tasks]
        for task in tasks:
            for fault in self._faults.take_task_faults():
                self._apply(fault, task)
            self._agent.submit(task.agent_task)
        return {"tasks": answer, "failures": []}

    def _new_task(self, request: Json, definition: Definition, placement: Placement) -> EcsTask:
        task_id = uuid.uuid4().hex
        folder = self._folder / task_id
        plans = plan_containers(request, definition, placement, task_id, folder)
        if self._agent.way.identity:
            require_commands(plans)
        cpu, memory = size_of(request, definition)
        agent_task = AgentTask(
            id=task_id,
            region=placement.region,
            folder=folder,
            cpu=cpu,
            memory=memory,
            plans=plans,
            state=TaskState({name: ContainerState() for name in plans}, created_at=time.time()),
        )
        cluster = placement.cluster_arn.rsplit("/", 1)[-1]
        return EcsTask(
            id=task_id,
            arn=f"arn:aws:ecs:{placement.region}:{ACCOUNT}:task/{cluster}/{task_id}",
            sequence=next(self._sequence),
            definition=definition,
            placement=placement,
            request=request,
            agent_task=agent_task,
            tags=tags_of(request, definition, placement.cluster_arn),
        )

    def apply(self, fault: TaskFault) -> None:
        """Let something happen to a task that runs. :raises ApiError: if there is no such task."""
        task = self._tasks.get((fault.task or "").rsplit("/", 1)[-1])
        if task is None:
            raise invalid("The referenced task was not found.")
        self._apply(fault, task)

    def _apply(self, fault: TaskFault, task: EcsTask) -> None:
        agent, agent_task = self._agent, task.agent_task
        if fault.kind == "spot":
            spot = Stop("SpotInterruption", "Your Spot Task was interrupted.")
            agent.later(fault.after, lambda: agent.stop(agent_task, spot))
        elif fault.kind == "host":
            host = Stop("TerminationNotice", "Host EC2 (instance i-0123456789abcdef0) terminated.")
            agent.later(fault.after, lambda: agent.lose(agent_task, host))
        elif fault.kind == "out_of_memory":
            reason = "OutOfMemoryError: Container killed due to memory usage"
            agent.later(fault.after, lambda: agent.kill_container(agent_task, fault.container or "command", reason))
        elif fault.kind == "kill":
            agent.later(fault.after, lambda: agent.kill_container(agent_task, fault.container or "command", ""))
        else:
            retried = "CannotPullContainerError: pull image manifest has been retried 1 time(s)"
            agent_task.pull_failures = {
                name: f"{retried}: {plan.spec.image}{': ' if fault.says else ''}{fault.says}"
                for name, plan in agent_task.plans.items()
                if fault.container in (None, name)
            }

    def _hidden(self, task: EcsTask) -> bool:
        return time.time() - task.state.created_at < self._faults.now.missing_for

    def _find(self, name: str, cluster_arn: str) -> EcsTask | None:
        task = self._tasks.get(name.rsplit("/", 1)[-1])
        return task if task is not None and task.placement.cluster_arn == cluster_arn else None

    def _describe_tasks(self, request: Json, region: str) -> Json:
        names = request.get("tasks") or []
        if not names:
            raise invalid("Tasks cannot be empty.")
        if len(names) > PAGE:
            raise invalid(f"At most {PAGE} tasks can be described at once.")
        cluster_arn = self._cluster_arn(request, region)
        self._all()
        found, failures = [], []
        age = self._faults.age_of_states()
        include_tags = "TAGS" in (request.get("include") or [])
        for name in dict.fromkeys(names):
            task = self._find(name, cluster_arn)
            if task is None or self._hidden(task):
                failures.append({"arn": _as_arn(name, cluster_arn), "reason": "MISSING"})
            else:
                found.append(self._skewed(describe(task, include_tags, age)))
        return {"tasks": found, "failures": failures}

    def _skewed(self, task: Json) -> Json:
        """A task as ECS's clock has it."""
        skew = self._faults.now.clock_skew
        return {name: value + skew if name.endswith("At") and skew else value for name, value in task.items()}

    def _list_tasks(self, request: Json, region: str) -> Json:
        cluster_arn = self._cluster_arn(request, region)
        limit = request.get("maxResults", PAGE)
        if not 1 <= limit <= PAGE:
            raise invalid(f"maxResults must be between 1 and {PAGE}.")
        if request.get("startedBy") and any(request.get(k) for k in ("family", "serviceName", "containerInstance")):
            raise invalid("startedBy must be the only filter.")
        if request.get("serviceName") or request.get("containerInstance"):
            return {"taskArns": []}
        wanted = request.get("desiredStatus", "RUNNING")
        if wanted == "PENDING":
            return {"taskArns": []}
        after = _page_start(request.get("nextToken"))
        found = [
            task
            for task in self._all()
            if task.sequence >= after
            and not self._hidden(task)
            and task.placement.cluster_arn == cluster_arn
            and task.desired_status == wanted
            and request.get("family") in (None, task.definition.family)
            and request.get("startedBy") in (None, task.request.get("startedBy"))
            and request.get("launchType") in (None, task.placement.launch_type)
        ]
        answer: Json = {"taskArns": [task.arn for task in found[:limit]]}
        if len(found) > limit:
            answer["nextToken"] = f"after-{found[limit].sequence}"
        return answer

    def _stop_task(self, request: Json, region: str) -> Json:
        cluster_arn = self._cluster_arn(request, region)
        self._all()
        task = self._find(request.get("task") or "", cluster_arn)
        if task is None:
            raise invalid("The referenced task was not found.")
        self._agent.stop(task.agent_task, Stop("UserInitiated", request.get("reason") or "Task stopped by user"))
        answer = describe(task, include_tags=True)
        return {"task": {**answer, "desiredStatus": "STOPPED"}}


def _as_arn(name: str, cluster_arn: str) -> str:
    return name if name.startswith("arn:") else f"{cluster_arn.replace(':cluster/', ':task/')}/{name}"


def _page_start(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(token.removeprefix("after-"))
    except ValueError as error:
        raise invalid("The nextToken is invalid.") from error
