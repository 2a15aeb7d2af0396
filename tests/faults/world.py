"""One run of one call on the embedded AWS, whose command leaves a mark each time that it runs."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_wdl_ecs.ecs.request import attempt_prefix
from airflow_wdl_ecs.ledger import Ledger
from airflow_wdl_ecs.local.endpoint import Endpoint

from .host import Place

WDL = """
version 1.1
task work {
  input { String marks  Boolean fails  Int more }
  command <<<
    echo begun >> '~{marks}/begun'
    until [ -e '~{marks}/go' ]; do sleep 0.05; done
    sleep 0.3
    echo kept > kept.txt
    head -c ~{more} /dev/zero >> kept.txt
    echo done
    exit ~{if fails then 3 else 0}
    # LONG
  >>>
  output { String out = read_string(stdout())  File file = "kept.txt" }
  runtime { docker: "debian:12" RUNTIME }
}
"""
LONG = "x" * 9000
"""So long a command that the stages' scripts are fetched from S3, where their downloads can go wrong."""
_numbers = itertools.count(1)


class Said:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *values: Any) -> None:
        self.lines.append(message % values)

    warning = info


class World:
    """See the module.

    :param folder: where the command's marks are: containers are plain processes.
    """

    def __init__(self, endpoint: Endpoint, folder: Path, **settings: Any) -> None:
        self.endpoint = endpoint
        self.folder = folder
        given = {
            "aws_conn_id": None,
            "region": endpoint.region,
            "cluster": endpoint.cluster,
            "workspace": f"s3://{endpoint.bucket}/faults",
            "log_group": endpoint.log_group,
            "container_root": endpoint.container_root,
            "launch_type": "EC2",
            "staging_tool": "s5cmd",
            "poll_fastest": 0.1,
            "poll_slowest": 0.5,
            "stop_timeout": 2,
            **settings,
        }
        keys = (endpoint.url, endpoint.region, endpoint.access_key, endpoint.secret_key)
        self.place = Place(*keys, given, f"run{next(_numbers)}")
        self.ecs, self.s3 = self.place.client("ecs"), self.place.client("s3")

    def begin(self, *, fails: bool = False, runtime: str = "", more: int = 0) -> None:
        """Begin the run.

        :param runtime: more of the task's runtime section. :param more: bytes more in its output file.
        """
        wdl = WDL.replace("RUNTIME", runtime).replace("LONG", LONG)
        self.place.begin(wdl, {"marks": str(self.folder), "fails": fails, "more": more})

    def times(self) -> int:
        """How often the command has begun."""
        path = self.folder / "begun"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def release(self) -> None:
        """Let the command go on to its end."""
        (self.folder / "go").touch()

    def tasks(self) -> list[dict[str, Any]]:
        """Every ECS task of the run that ECS remembers."""
        found: list[dict[str, Any]] = []
        for status in ("RUNNING", "STOPPED"):
            pages = self.ecs.get_paginator("list_tasks").paginate(cluster=self.endpoint.cluster, desiredStatus=status)
            for arns in (page["taskArns"] for page in pages):
                found += self.ecs.describe_tasks(cluster=self.endpoint.cluster, tasks=arns)["tasks"] if arns else []
        part = f"/runs/dag/{self.place.run_id}/"
        return list({t["taskArn"]: t for t in found if part in (attempt_prefix(t) or "")}.values())

    def running(self) -> list[str]:
        return [task["taskArn"] for task in self.tasks() if task["desiredStatus"] != "STOPPED"]

    def tasks_started(self) -> int:
        """How many ECS tasks were started, as ECS and the ledger say: also those that are forgotten."""
        recorded = {attempt.arn for attempt in Ledger(self.place.open().store, "work", ()).attempts() if attempt.arn}
        return len({task["taskArn"] for task in self.tasks()} | self._forgotten | recorded)

    _forgotten: set[str] = set()  # noqa: RUF012

    def forget(self) -> None:
        """Wait until the tasks have stopped, and have ECS forget them."""
        deadline = time.monotonic() + 60
        while self.running():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self._forgotten = {task["taskArn"] for task in self.tasks()}
        self.endpoint.set_faults(forget_after=0.0)
        self.tasks()
        self.endpoint.set_faults()

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        data: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data

    def spared(self, faults: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The faults of requests among those in force that have met none, or not as many as they were meant for."""
        left = json.loads(self.endpoint.ask("/_wdl/faults"))["requests"]
        given = faults.get("requests", ())
        return [now for _, now in zip(given, left, strict=True) if now["times"]]

    def stop_all(self) -> None:
        for arn in self.running():
            self.ecs.stop_task(cluster=self.endpoint.cluster, task=arn)
