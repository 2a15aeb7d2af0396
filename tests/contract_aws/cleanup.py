"""Takes away what the contract has made: its tasks first of all, then its files and task definitions.

It does all that it may, and says what is left.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_wdl_ecs.layout import split_uri

from .target import Target

PATIENCE = 180.0
"""Seconds that ECS may take to stop tasks."""


def stop_tasks(target: Target) -> list[str]:
    """Stop every task of this session.

    :return: the ARNs of those that have not stopped in time.
    """
    ecs, cluster = target.client("ecs"), target.settings.cluster
    arns = {started.arn for started in target.started}
    # A RunTask whose answer was lost has started a task that nobody remembers.
    for name in target.asked:
        arns |= set(ecs.list_tasks(cluster=cluster, startedBy=name, desiredStatus="RUNNING")["taskArns"])
    told: set[str] = set()
    deadline = time.monotonic() + PATIENCE
    while (left := _not_stopped(target, sorted(arns))) and time.monotonic() < deadline:
        for arn in set(left) - told:
            # One that cannot be stopped now must not keep the others running; it is tried again.
            with contextlib.suppress(BotoCoreError, ClientError):
                ecs.stop_task(cluster=cluster, task=arn, reason="the contract's tests are over")
                told.add(arn)
        time.sleep(0.2 if target.embedded else 3.0)
    return left


def remove_the_rest(target: Target) -> Iterator[str]:
    """Remove files and task definitions; what could not be removed, in words."""
    for uri in (
        target.folder,
        *(f"{target.settings.workspace.rstrip('/')}/plans/{plan}.json" for plan in target.plans),
    ):
        try:
            _delete(target.client("s3"), uri)
        except (BotoCoreError, ClientError) as error:
            yield f"{uri} ({_why(error)})"
    for definition in target.definitions:
        try:
            target.client("ecs").deregister_task_definition(taskDefinition=definition)
        except (BotoCoreError, ClientError) as error:
            yield f"the task definition {definition} ({_why(error)})"


def _not_stopped(target: Target, arns: list[str]) -> list[str]:
    found = []
    for at in range(0, len(arns), 100):
        answer = target.client("ecs").describe_tasks(cluster=target.settings.cluster, tasks=arns[at : at + 100])
        found += [task["taskArn"] for task in answer["tasks"] if task["lastStatus"] != "STOPPED"]
    return found


def _delete(s3: Any, uri: str) -> None:
    bucket, prefix = split_uri(uri)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=item["Key"])


def _why(error: Exception) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else str(error)
