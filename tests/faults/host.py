"""A host of a call that can be killed: a process of its own, without Airflow, forked from one that has imported all."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.host import failure_of
from airflow_wdl_ecs.lifecycle import run_call
from airflow_wdl_ecs.run import Run, begin_run, open_run
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.task_evaluation import TaskEvaluation  # noqa: F401 - what a host would import later

_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(["tests.faults.host"])


@dataclass(frozen=True)
class Place:
    """Where a run is: what a host has to know, as plain values."""

    url: str
    region: str
    access_key: str
    secret_key: str
    settings: dict[str, Any]
    run_id: str
    proxy: str = ""

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        config = Config(proxies={"http": self.proxy} if self.proxy else {})
        return boto3.client(service, endpoint_url=self.url, region_name=self.region, config=config, **keys)

    def clients(self) -> Any:
        made = {service: self.client(service) for service in ("s3", "ecs")}
        return made.__getitem__

    def begin(self, wdl: str, inputs: dict[str, Any]) -> None:
        begin_run(self._settings(), self.clients(), compile_wdl(wdl), inputs, dag_id="dag", run_id=self.run_id)

    def open(self) -> Run:
        return open_run(self._settings(), self.clients(), "dag", self.run_id)

    def _settings(self) -> EcsSettings:
        return EcsSettings.from_options({}, self.settings)


def host(place: Place, call: str, try_number: int, report: Path) -> None:
    """Run a call to its end and write what came of it."""
    logging.basicConfig(level=logging.INFO, filename=report.with_suffix(f".{try_number}.{os.getpid()}.log"))
    run = place.open()
    # A worker knows of a retry of Airflow's own that it is no clear.
    fresh = False if try_number > 1 else None
    outcome = asyncio.run(run_call(run, call, [()], try_number=try_number, log=logging.getLogger("call"), fresh=fresh))
    failure = failure_of(outcome)
    found = {"outputs": outcome.outputs.get(()), "failure": None if failure is None else str(failure)}
    partial = report.with_suffix(".partial")
    partial.write_text(json.dumps(found))
    partial.replace(report)


class HostProcess:
    """A host that runs."""

    def __init__(self, place: Place, call: str, try_number: int, report: Path) -> None:
        self.report = report
        self.process = _forkserver.Process(target=host, args=(place, call, try_number, report), daemon=True)
        self.process.start()

    def kill(self) -> None:
        """Kill it, as nobody can prevent."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def ended(self, limit: float) -> dict[str, Any]:
        """What came of the call."""
        self.process.join(limit)
        assert self.process.exitcode == 0, f"the host ended with {self.process.exitcode}"
        found: dict[str, Any] = json.loads(self.report.read_text())
        return found
