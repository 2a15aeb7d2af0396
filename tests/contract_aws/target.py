"""What the contract runs on: the embedded ECS, or an account of AWS that the environment names.

Both get the same requests, from the package's own code: Fargate, its subnets, its roles. Every RunTask passes the
budget, every request to ECS is held against the service's model, and every task that was started is remembered, so that
it can be stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3

from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.ecs.status import command_status
from airflow_wdl_ecs.layout import split_uri
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.run import Run, begin_run, finish_run, open_run
from airflow_wdl_ecs.wdl.lower import compile_wdl

from ..direct import run_calls
from . import costs, shapes

PREFIX = "AWS_CONTRACT_"
LIMIT = f"{PREFIX}LIMIT_USD"
IMAGE = "public.ecr.aws/debian/debian:stable-slim"
LOG = logging.getLogger("contract")

_COMMON: dict[str, Any] = {
    "aws_conn_id": None,
    "image": IMAGE,
    "cpu": 0.25,
    "memory": 512,
    # A command is stopped by its own container then, whatever has become of this process.
    "max_time": 5,
    "infrastructure_retries": 1,
    "out_of_memory_retries": 0,
    "capacity_timeout": 120,
    "spot_capacity_timeout": 30,
    "stop_timeout": 5,
}
_EMBEDDED: dict[str, Any] = {
    "staging_tool": "s5cmd",
    "poll_fastest": 0.1,
    "poll_slowest": 0.5,
    "launch_type": "FARGATE",
    "subnets": ["subnet-0123456789abcdef0"],
    "security_groups": ["sg-0123456789abcdef0"],
    "assign_public_ip": True,
    "task_role_arn": "arn:aws:iam::123456789012:role/wdl-task",
    "execution_role_arn": "arn:aws:iam::123456789012:role/wdl-execution",
    "spot_capacity_providers": ["FARGATE_SPOT"],
}


@dataclass(frozen=True)
class Started:
    """A task that was started, and the RunTask that did it."""

    arn: str
    request: Mapping[str, Any]


def given(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that variables name, such as ``AWS_CONTRACT_CLUSTER``."""
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != LIMIT
    }


class Target:
    """Where the contract's tasks run.

    :param options: settings of the package. :param budget: what may be spent.
    :param embedded: the embedded ECS, if it is that; otherwise boto3 finds credentials as it does.
    :raises SettingsError: naming what is missing.
    """

    def __init__(self, options: Mapping[str, Any], budget: costs.Budget, embedded: Endpoint | None = None) -> None:
        self.id = uuid.uuid4().hex[:8]
        self.dag_id = f"contract-{self.id}"
        self.budget = budget
        self.embedded = embedded
        self.started: list[Started] = []
        self.asked: set[str] = set()
        """``startedBy`` of every RunTask, whether it was answered or not."""
        self.definitions: list[str] = []
        self.plans: set[str] = set()
        # With a tag of its own every task definition is this session's alone, and may be taken away after it.
        self._options = {**_COMMON, **options, "tags": {"wdl-contract": self.id}}
        self.settings = self.with_settings()
        self.settings.check()
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._runs = 0

    @property
    def patience(self) -> float:
        """Seconds that anything may take."""
        return 180.0 if self.embedded else costs.LONGEST - 60

    def with_settings(self, **more: Any) -> EcsSettings:
        """The target's settings, with others laid over them."""
        return EcsSettings.from_options({}, {**self._options, **more})

    def client(self, service: str) -> Any:
        """The boto3 client of a service."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def put(self, name: str, data: bytes) -> str:
        """Write a file that workflows take; give its URI."""
        uri = f"{self.folder}given/{name}"
        bucket, key = split_uri(uri)
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=data)
        return uri

    def read(self, uri: str) -> bytes:
        """The contents of a file in S3."""
        bucket, key = split_uri(uri)
        data: bytes = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    @property
    def folder(self) -> str:
        """Where everything of this session is, ``s3://.../``; but the plans, which are in `plans`."""
        return f"{self.settings.workspace.rstrip('/')}/runs/{self.dag_id}/"

    async def run(self, wdl: str, inputs: Mapping[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
        """Run a workflow, as Airflow's operators do; its outputs.

        :param settings: over the target's. :raises WdlEcsError: the first failure.
        """
        plan = compile_wdl(wdl)
        chosen = self.with_settings(**settings)
        with self._lock:
            self._runs += 1
            run_id = f"run{self._runs}"
            self.plans.add(plan.digest)
        await asyncio.to_thread(
            lambda: begin_run(chosen, self.client, plan, inputs or {}, dag_id=self.dag_id, run_id=run_id)
        )

        def opened() -> Run:
            return open_run(chosen, self.client, self.dag_id, run_id)

        await asyncio.wait_for(run_calls(opened, plan), self.patience)
        return await asyncio.to_thread(lambda: finish_run(opened()))

    async def running(self, run: asyncio.Task[Any]) -> Started:
        """Wait until the command of the latest task runs.

        :param run: what has started it; if it ends before that, with its error.
        """
        known = len(self.started)
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if run.done():
                raise AssertionError(f"it has ended before its command ran: {run.result()}")
            if len(self.started) > known:
                found = self.started[-1]
                if command_status(await asyncio.to_thread(self.describe, found.arn)) == "running":
                    return found
            await asyncio.sleep(0.2 if self.embedded else 2.0)
        raise AssertionError("the command does not run")

    def describe(self, arn: str) -> dict[str, Any]:
        """A task as DescribeTasks tells it, with its tags; empty while ECS does not know it yet."""
        answer = self.client("ecs").describe_tasks(cluster=self.settings.cluster, tasks=[arn], include=["TAGS"])
        return dict(answer["tasks"][0]) if answer["tasks"] else {}

    @contextlib.contextmanager
    def embedded_does(self, **faults: Any) -> Iterator[None]:
        """Let the embedded ECS do what AWS does of itself (see ``airflow_wdl_ecs.local.faults``)."""
        if self.embedded:
            self.embedded.set_faults(**faults)
        try:
            yield
        finally:
            if self.embedded:
                self.embedded.set_faults()

    def _new_client(self, service: str) -> Any:
        where: dict[str, Any] = {"region_name": self.settings.region}
        if self.embedded:
            where |= {
                "endpoint_url": self.embedded.url,
                "aws_access_key_id": self.embedded.access_key,
                "aws_secret_access_key": self.embedded.secret_key,
            }
        client = boto3.Session().client(service, **where)
        if service == "ecs":
            client.meta.events.register("provide-client-params.ecs", self._before)
            client.meta.events.register("after-call.ecs", self._after)
        return client

    def _before(self, params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        wrong = shapes.problems("ecs", model.name, params)
        assert not wrong, wrong
        context["wdl_contract"] = params
        if model.name == "RunTask":
            self.budget.allow(params)
            self.asked.add(params["startedBy"])

    def _after(self, parsed: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        if model.name == "RegisterTaskDefinition" and "taskDefinition" in parsed:
            self.definitions.append(parsed["taskDefinition"]["taskDefinitionArn"])
        if model.name == "RunTask":
            known = {started.arn for started in self.started}
            for task in parsed.get("tasks", ()):
                if task["taskArn"] not in known:
                    self.started.append(Started(task["taskArn"], context["wdl_contract"]))


def embedded_target(endpoint: Endpoint, budget: costs.Budget) -> Target:
    """The embedded ECS as a target."""
    where = {
        "region": endpoint.region,
        "cluster": endpoint.cluster,
        "workspace": f"s3://{endpoint.bucket}/wdl",
        "log_group": endpoint.log_group,
        "container_root": endpoint.container_root,
    }
    return Target({**_EMBEDDED, **where}, budget, endpoint)


def aws_target(environment: Mapping[str, str], budget: costs.Budget) -> Target:
    """The account that the environment names.

    :raises SettingsError: naming the settings that are missing. :raises ValueError: if it is not Fargate, or nowhere.
    """
    target = Target(given(environment), budget)
    if not target.settings.fargate:
        raise ValueError("the contract runs on Fargate, whose price it knows; leave AWS_CONTRACT_LAUNCH_TYPE out")
    if not target.settings.region:
        raise ValueError("AWS_CONTRACT_REGION is not set")
    return target
