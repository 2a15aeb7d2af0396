"""A run's folder as the lifecycle leaves it, made by hand: what reports are tested with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_wdl_ecs.attempts import Attempt, Times
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.ledger import Ledger
from airflow_wdl_ecs.plan import Plan, Shard, load_plan
from airflow_wdl_ecs.report import CallReport, RunReport, failures_of
from airflow_wdl_ecs.storage import RunStore

from .fake_aws import FakeS3

GOLDEN = Path(__file__).parent / "golden"
WORKSPACE = "s3://bucket/wdl"
T0 = 1_750_000_000.0


def attempt(number: int = 0, kind: str | None = "succeeded", *, at: float = T0, **fields: Any) -> Attempt:
    """An attempt that took 60 s: 5 queued, 10 until the image is pulled, 5 for that, 10, 20 and 10 inside."""
    times = Times(
        taken_up=at,
        queued=at + 1,
        submitted=at + 5,
        created=at + 6,
        pull_started=at + 15,
        pull_stopped=at + 20,
        started=at + 20,
        stage_in_started=at + 20,
        stage_in_ended=at + 30,
        command_started=at + 30,
        command_ended=at + 50,
        stage_out_started=at + 50,
        stage_out_ended=at + 60,
        stopped=at + 60,
    )
    known: dict[str, Any] = {
        "number": number,
        "try_number": 1,
        "arn": f"arn:aws:ecs:eu-west-1:123456789012:task/genomics/{number:032x}",
        "cluster": "genomics",
        "started": at + 6,
        "kind": kind,
        "times": times if kind is not None else Times(taken_up=at, queued=at + 1, submitted=at + 5),
        "exit_code": {"succeeded": 0, "command_failed": 1}.get(str(kind)),
        "reason": "the command failed with exit code 1" if kind == "command_failed" else "",
        "image": "quay.io/samtools:1.21",
        "asked": "2 vCPU, 4096 MiB",
        "cpu": 2.0,
        "memory_given": 4096,
        "launch_type": "FARGATE",
        "log_group": "/wdl",
        "log_streams": {"command": "wdl/command/0"},
    }
    return Attempt(**(known | fields))


def report_of(*calls: CallReport, **fields: Any) -> RunReport:
    """The report of a run that goes on, with these calls; ``fields`` are what else it tells."""
    told: dict[str, Any] = {"inputs": {}, "defaults": {}, "started": None, **fields}
    return RunReport(
        workflow="w",
        dag_id="d",
        run_id="r",
        scope=None,
        digest="",
        folder="s3://b/runs/d/r/",
        state="running",
        outputs=None,
        ended=None,
        calls=calls,
        failures=failures_of(calls),
        **told,
    )


class FabricatedRun:
    """A run of a golden workflow in a fake S3."""

    def __init__(
        self,
        s3: FakeS3,
        workflow: str = "scatter",
        *,
        inputs: dict[str, Any] | None = None,
        dag_id: str = "samples",
        run_id: str = "manual__2026-01-01T00:00:00+00:00",
        scope: str | None = None,
        readable: Sequence[str] = (),
    ) -> None:
        self.plan: Plan = load_plan(GOLDEN / workflow / "plan.json")
        self.layout = Layout(WORKSPACE, dag_id, run_id, scope)
        self.store = RunStore(s3, self.layout)
        given = {"lanes": [[1, 2], [3]]} if inputs is None else inputs
        encoded = json.dumps(given, sort_keys=True).encode()
        self.store.put(self.layout.plan(self.plan.digest), self.plan.to_json())
        self.store.put(self.layout.named("inputs.json"), encoded)
        about = {
            "format": 1,
            "workflow": self.plan.name,
            "plan": self.plan.digest,
            "inputs": hashlib.sha256(encoded).hexdigest(),
            "readable": list(readable),
            "dag_id": dag_id,
            "run_id": run_id,
            "scope": scope,
        }
        self.store.put_json(self.layout.named("run.json"), about)

    def shard(self, call: str, shard: Shard, *attempts: Attempt, **texts: str) -> None:
        """A shard's attempts; ``texts`` are what its last attempt left, such as ``stderr``."""
        Ledger(self.store, call, shard).write_attempts(attempts)
        for name, text in texts.items():
            self.store.put(f"{self.layout.attempt(call, shard, attempts[-1].number)}{name}", text.encode())

    def finish(self, **outputs: Any) -> None:
        """The workflow's outputs."""
        self.store.put_json(self.layout.named("outputs.json"), outputs)
