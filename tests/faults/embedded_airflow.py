"""An embedded Airflow as its users see it: DAG runs, its REST API, its processes, and the ECS tasks behind."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import psutil

from airflow_wdl_ecs.ecs.request import attempt_prefix
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.local import client
from airflow_wdl_ecs.local.airflow_home import AirflowHome
from airflow_wdl_ecs.local.components import WORKSPACE
from airflow_wdl_ecs.local.endpoint import Endpoint, read_endpoint
from airflow_wdl_ecs.wdl.lower import compile_wdl

LIMIT = 180.0
"""Seconds that anything may take on a busy machine."""

SOON = 45.0
"""Seconds within which a user expects that what was stopped has stopped, on a busy machine."""

DAG_FILE = """\
from datetime import timedelta
from pathlib import Path
from airflow_wdl_ecs import wdl_dag
dag = wdl_dag(Path(__file__).with_name("{dag_id}.plan.json"), dag_id="{dag_id}", {arguments})
"""
_numbers = itertools.count(1)


def until(true: Callable[[], Any], limit: float = LIMIT, what: Callable[[], Any] = lambda: "") -> Any:
    """Wait until something is true, and give it."""
    deadline = time.monotonic() + limit
    while not (found := true()):
        assert time.monotonic() < deadline, f"it did not come to that: {what()}"
        time.sleep(0.1)
    return found


@dataclass(frozen=True)
class EcsTask:
    """An ECS task of a run, as ECS shows it."""

    arn: str
    folder: str
    stopped: bool
    stopping: bool
    reason: str

    @property
    def shard(self) -> str:
        return self.folder.rstrip("/").split("/")[-2]


@dataclass
class EmbeddedAirflow:
    """A warm embedded Airflow.

    :param marks: a folder that commands share with the test: containers are plain processes here.
    """

    home: AirflowHome
    marks: Path
    service: client.Client = field(init=False)

    def start(self) -> None:
        self.service = client.connect(self.home, print)

    @cached_property
    def aws(self) -> Endpoint:
        return until(lambda: read_endpoint(self.home.aws))

    def boto(self, service: str) -> Any:
        keys = {"aws_access_key_id": self.aws.access_key, "aws_secret_access_key": self.aws.secret_key}
        return boto3.client(service, endpoint_url=self.aws.url, region_name=self.aws.region, **keys)

    @cached_property
    def ecs(self) -> Any:
        return self.boto("ecs")

    # Airflow's REST API.

    @cached_property
    def _token(self) -> str:
        def ask() -> str | None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.service.endpoint.ui}/auth/token") as found,
            ):
                return str(json.load(found)["access_token"])
            return None

        return str(until(ask))

    def api(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.service.endpoint.ui}/api/v2/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    text = answer.read()
                return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                # Airflow says so, and does nothing, while another of its processes writes to SQLite.
                if error.code == 503 and time.monotonic() < deadline:
                    time.sleep(1)
                    continue
                raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    # Runs.

    def run(self, wdl: str, arguments: str = "", **inputs: Any) -> WorkflowRun:
        """Start a run of a workflow in a DAG of its own.

        :param arguments: more of ``wdl_dag``'s, as Python text.
        """
        number = next(_numbers)
        dag_id, run_id = f"dag{number}", f"run{number}"
        marks = self.marks / dag_id
        marks.mkdir()
        plan = compile_wdl(wdl)
        files = {
            f"{dag_id}.plan.json": plan.to_json().decode(),
            f"{dag_id}.py": DAG_FILE.format(dag_id=dag_id, arguments=arguments),
        }
        given = {**inputs, "marks": str(marks)}
        self.service.ask("submit", dag_id=dag_id, run_id=run_id, files=files, inputs=given)
        return WorkflowRun(self, dag_id, run_id, marks)

    def run_again(self, run: WorkflowRun) -> WorkflowRun:
        """Start a run like one that was deleted, with its ids."""
        conf = {"marks": str(run.marks)}
        body = {"dag_run_id": run.run_id, "logical_date": None, "conf": conf}
        self.api("POST", f"dags/{run.dag_id}/dagRuns", body)
        return run

    # Processes.

    def pid(self, component: str) -> int:
        return int(json.loads(self.home.processes.read_text())[component]["pid"])

    def kill(self, component: str, number: int = signal.SIGKILL) -> None:
        """Kill a component; the supervisor starts it again."""
        before = self.pid(component)
        os.kill(before, number)
        until(lambda: self.pid(component) != before)

    def workers(self, run: WorkflowRun) -> list[int]:
        """The processes that run the task instances of a run."""
        instances = self.api("GET", f"{run.path}/taskInstances?limit=500")["task_instances"]
        titles = {f"airflow worker -- {instance['id']}" for instance in instances}
        return [
            found.pid
            for found in psutil.process_iter(["cmdline"])
            if " ".join(found.info["cmdline"] or ()).strip() in titles
        ]


@dataclass(frozen=True)
class WorkflowRun:
    """A DAG run, and the marks that its commands leave."""

    airflow: EmbeddedAirflow
    dag_id: str
    run_id: str
    marks: Path

    @property
    def path(self) -> str:
        return f"dags/{self.dag_id}/dagRuns/{self.run_id}"

    @property
    def state(self) -> str:
        return str(self.airflow.api("GET", self.path)["state"])

    def instances(self) -> Mapping[tuple[str, int], tuple[str, int]]:
        """Task and map index -> state and number of tries."""
        found = self.airflow.api("GET", f"{self.path}/taskInstances?limit=500")["task_instances"]
        return {(ti["task_id"], ti["map_index"]): (str(ti["state"]), ti["try_number"]) for ti in found}

    def instance(self, task: str, index: int = -1) -> tuple[str, int]:
        return self.instances().get((task, index), ("None", 0))

    def await_state(self, task: str, index: int, *states: str, limit: float = LIMIT) -> None:
        until(lambda: self.instance(task, index)[0] in states, limit, self.instances)

    def ended(self, limit: float = LIMIT) -> str:
        """The run's state when it has ended."""
        until(lambda: self.state in ("success", "failed"), limit, self.instances)
        return self.state

    def tasks(self) -> list[EcsTask]:
        """Every ECS task of the run."""
        aws = self.airflow.aws
        folder = Layout(f"s3://{aws.bucket}/{WORKSPACE}", self.dag_id, self.run_id).folder
        found: dict[str, EcsTask] = {}
        for status in ("RUNNING", "STOPPED"):
            pages = self.airflow.ecs.get_paginator("list_tasks").paginate(cluster=aws.cluster, desiredStatus=status)
            for arns in (page["taskArns"] for page in pages):
                described = self.airflow.ecs.describe_tasks(cluster=aws.cluster, tasks=arns)["tasks"] if arns else []
                for task in described:
                    where = attempt_prefix(task) or ""
                    if where.startswith(folder):
                        stopped = task["lastStatus"] == "STOPPED"
                        stopping = stopped or task["desiredStatus"] == "STOPPED"
                        reason = task.get("stoppedReason", "")
                        found[task["taskArn"]] = EcsTask(task["taskArn"], where, stopped, stopping, reason)
        return list(found.values())

    def running(self) -> dict[str, str]:
        """Shard -> ARN of every ECS task that is to run."""
        return {task.shard: task.arn for task in self.tasks() if not task.stopping}

    def started(self, *names: str) -> bool:
        """Whether these commands have begun."""
        return all(self.times(name) for name in names)

    def times(self, name: str) -> int:
        """How often a command has begun."""
        path = self.marks / name
        return len(path.read_text().splitlines()) if path.exists() else 0

    def release(self, *names: str) -> None:
        """Let commands go on to their end."""
        for name in names:
            (self.marks / f"{name}.go").touch()

    # What a user does.

    def clear(self, task: str, index: int | None = None, *, downstream: bool = False) -> None:
        self.airflow.api(
            "POST",
            f"dags/{self.dag_id}/clearTaskInstances",
            {
                "dry_run": False,
                "only_failed": False,
                "dag_run_id": self.run_id,
                "task_ids": [task if index is None else [task, index]],
                "include_downstream": downstream,
            },
        )

    def mark(self, state: str, task: str, index: int | None = None) -> None:
        path = f"{self.path}/taskInstances/{task}" + ("" if index is None else f"/{index}")
        self.airflow.api("PATCH", path, {"new_state": state})

    def mark_run(self, state: str) -> None:
        self.airflow.api("PATCH", self.path, {"state": state})

    def delete(self) -> None:
        self.airflow.api("DELETE", self.path)

    def pause(self, paused: bool) -> None:
        self.airflow.api("PATCH", f"dags/{self.dag_id}", {"is_paused": paused})
