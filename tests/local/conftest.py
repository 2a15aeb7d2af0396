"""Clients of the embedded AWS, and short ways to define and run tasks in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

from airflow_wdl_ecs.local.endpoint import Endpoint

ClientFactory = Callable[[str], Any]


def client_of(endpoint: Endpoint, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name=endpoint.region,
        config=Config(retries={"max_attempts": 1, "mode": "standard"}, max_pool_connections=64),
    )


@pytest.fixture(scope="session")
def ecs(embedded_aws: Endpoint) -> Any:
    return client_of(embedded_aws, "ecs")


@pytest.fixture(scope="session")
def s3(embedded_aws: Endpoint) -> Any:
    return client_of(embedded_aws, "s3")


@pytest.fixture(scope="session")
def logs(embedded_aws: Endpoint) -> Any:
    return client_of(embedded_aws, "logs")


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "any", "entryPoint": ["bash", "-c"], "command": [script], **more}


def logged(prefix: str = "t", group: str = "/wdl") -> dict[str, Any]:
    options = {"awslogs-group": group, "awslogs-region": "us-east-1", "awslogs-stream-prefix": prefix}
    return {"logDriver": "awslogs", "options": options}


class Tasks:
    """Registers definitions and runs them in one cluster."""

    def __init__(self, ecs: Any, cluster: str = "wdl") -> None:
        self.ecs = ecs
        self.cluster = cluster
        self._count = 0

    def register(self, *containers: dict[str, Any], **more: Any) -> str:
        self._count += 1
        request = {"family": f"test-{self._count}", "cpu": "256", "memory": "512", **more}
        answer = self.ecs.register_task_definition(containerDefinitions=list(containers), **request)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def run(self, definition: str, **more: Any) -> str:
        answer = self.ecs.run_task(cluster=self.cluster, taskDefinition=definition, **more)
        assert not answer["failures"]
        return str(answer["tasks"][0]["taskArn"])

    def describe(self, arn: str) -> dict[str, Any]:
        answer = self.ecs.describe_tasks(cluster=self.cluster, tasks=[arn])
        assert not answer["failures"], answer
        task: dict[str, Any] = answer["tasks"][0]
        return task

    def until(self, arn: str, what: Callable[[dict[str, Any]], bool], timeout: float = 20) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while not what(task := self.describe(arn)):
            assert time.monotonic() < deadline, task
            time.sleep(0.02)
        return task

    def stopped(self, arn: str, timeout: float = 20) -> dict[str, Any]:
        return self.until(arn, lambda task: task["lastStatus"] == "STOPPED", timeout)


@pytest.fixture(scope="session")
def tasks(ecs: Any) -> Tasks:
    return Tasks(ecs)


def exit_codes(task: dict[str, Any]) -> dict[str, int | None]:
    return {c["name"]: c.get("exitCode") for c in task["containers"]}
