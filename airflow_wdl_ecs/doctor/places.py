"""Whether the bucket of the workspace and the log group are there, and may be used as runs use them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from ..aws import aws_errors, error_code, impatient, was_denied
from ..ecs.request import log_stream
from ..ecs.settings import EcsSettings, how_to_set
from ..errors import WdlEcsError
from ..layout import Layout, split_uri
from ..storage import RunStore
from .findings import Finding, ok, problem, skipped, unknown

DAG_ID = "airflow-wdl-ecs-doctor"
"""Names the folder of an examination among those of DAGs' runs."""

_ABSENT = ("404", "NoSuchBucket", "NotFound")


def bucket(settings: EcsSettings, s3: Any, region: str) -> Iterator[Finding]:
    """Whether the bucket is there, and runs may write, read, list and delete below the workspace.

    :param region: where the tasks run.
    """
    workspace = settings.workspace
    mend = f"set {how_to_set('workspace')}"
    if not workspace.startswith("s3://") or not workspace.removeprefix("s3://").strip("/"):
        yield skipped("the settings name none")
        return
    name, _ = split_uri(workspace)
    try:
        with aws_errors("HeadBucket", f"s3://{name}"):
            answer = s3.head_bucket(Bucket=name)
    except WdlEcsError as error:
        if error.__cause__ is not None and error_code(error.__cause__) in _ABSENT:
            yield problem(
                f"there is no bucket {name}", f"{mend}, or create it: aws s3 mb s3://{name} --region {region}"
            )
            return
        raise
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    there = answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or region
    used = _use(RunStore(s3, Layout(workspace, DAG_ID, secrets.token_hex(8))))
    where = f"{name} in {there}"
    advice = ""
    if there != region:
        where += f" (the tasks run in {region}: every transfer crosses regions, which costs time and money)"
        advice = f"name a bucket of {region}: {how_to_set('workspace')}"
    yield ok(f"{where}: an object below {workspace} was {used}", advice)


def _use(store: RunStore) -> str:
    """Write, read, list and delete a small object as a run does; gives what was done."""
    uri, content = store.layout.named("probe.txt"), secrets.token_hex(8).encode()
    with impatient():
        store.put(uri, content)
        try:
            if store.get(uri) != content:
                raise WdlEcsError(f"{uri} does not hold what was just written there", hint="is it written by another?")
            # Without s3:ListBucket, S3 answers for what is not there as if it were forbidden.
            store.exists(store.layout.folder)
            store.exists(store.layout.named("absent"))
        finally:
            store.delete(uri)
    return "written, read, listed and deleted"


def log_group(settings: EcsSettings, logs: Any, region: str) -> Iterator[Finding]:
    """Whether the log group is there, and its logs may be read."""
    name = settings.log_group
    if not name:
        yield skipped("the settings name none")
        return
    with aws_errors("DescribeLogGroups", name):
        pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        found = [group for page in pages for group in page["logGroups"] if group["logGroupName"] == name]
    if not found:
        create = f"aws logs create-log-group --region {region} --log-group-name {name}"
        yield problem(
            f"there is no log group {name} in {region}, and ECS makes none",
            f"{create}, or set {how_to_set('log_group')}",
        )
        return
    days = found[0].get("retentionInDays")
    kept = f"are kept for {days} days" if days else "are kept for ever"
    yield ok(f"{name} in {region}; its events {kept}")
    if settings.live_logs:
        yield from _reading(name, logs)


def _reading(name: str, logs: Any) -> Iterator[Finding]:
    """Whether what commands write may be repeated in Airflow's logs.

    The stream is named as a command's is, since a role need not be allowed to read any other.
    """
    try:
        with aws_errors("GetLogEvents", name):
            logs.get_log_events(logGroupName=name, logStreamName=log_stream(DAG_ID), limit=1)
    except WdlEcsError as error:
        if was_denied(error):
            yield problem(
                f"what commands write cannot be repeated in Airflow's logs: {error.message}",
                f"allow logs:GetLogEvents, or set {how_to_set('live_logs')} to false",
            )
        elif error.__cause__ is None or error_code(error.__cause__) != "ResourceNotFoundException":
            yield unknown(f"whether its events may be read: {error.message}")
