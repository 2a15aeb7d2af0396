"""A thousand calls, whole, on an ECS that allows the published rates and rejects the rest: none fails or runs twice.

`tests/ecs/test_throttling.py` measures the pace in simulated time; here every call is evaluated, staged, started,
waited for and recorded by its host, as in a triggerer, with an ECS and an S3 in memory.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_wdl_ecs.ecs.request import attempt_prefix
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.layout import split_uri
from airflow_wdl_ecs.ledger import Ledger
from airflow_wdl_ecs.lifecycle import run_call
from airflow_wdl_ecs.run import begin_run, open_run
from airflow_wdl_ecs.wdl.lower import compile_wdl

from ..ecs.test_throttling import LimitedEcs
from ..fake_aws import FakeS3
from .world import Said

WDL = """version 1.1
task t {
  input { Int x }
  command <<< true >>>
  output { Int y = x + 1 }
  runtime { docker: "debian:12" }
}
workflow w {
  input { Int n }
  scatter (x in range(n)) { call t { input: x } }
}
"""
SETTINGS = EcsSettings(
    cluster="c",
    workspace="s3://b/ws",
    log_group="g",
    launch_type="EC2",
    region="us-east-1",
    poll_fastest=0.2,
    live_logs=False,
)
HOSTS = 10


class Clock:
    @property
    def now(self) -> float:
        return time.monotonic()


class SharedS3(FakeS3):
    """An S3 that many threads ask at once."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not callable(found) or name.startswith("_"):
            return found

        def locked(**arguments: Any) -> Any:
            with self._lock:
                return found(**arguments)

        return locked


class Ecs(LimitedEcs):
    """Its tasks have ended, and left their result, as soon as they are started."""

    meta = SimpleNamespace(region_name="us-east-1", endpoint_url="https://ecs.test")

    def __init__(self, share: float, s3: FakeS3) -> None:
        super().__init__(Clock(), share)
        self._at = dict.fromkeys(self._at, time.monotonic())
        self._lock = threading.RLock()
        self._s3 = s3

    def _pay(self, name: str) -> None:
        with self._lock:
            super()._pay(name)

    def run_task(self, *, clientToken: str, **arguments: Any) -> dict[str, Any]:  # noqa: N803
        with self._lock:
            answer = super().run_task(clientToken=clientToken, **arguments)
        bucket, key = split_uri(f"{attempt_prefix(arguments)}result.json")
        self._s3.put_object(Bucket=bucket, Key=key, Body=json.dumps({"exit_code": 0}).encode())
        return answer

    def describe_task_definition(self, *, taskDefinition: str) -> dict[str, Any]:  # noqa: N803
        with self._lock:
            return super().describe_task_definition(taskDefinition=taskDefinition)

    def register_task_definition(self, *, family: str, **_: Any) -> dict[str, Any]:
        return super().register_task_definition(family=family)


@pytest.mark.parametrize(
    ("calls", "share"),
    [
        pytest.param(200, 0.5, marks=pytest.mark.faults, id="200 calls, half of the published rates"),
        pytest.param(1000, 1.0, marks=pytest.mark.faults_in_full, id="1,000 calls, the published rates"),
        pytest.param(1000, 0.5, marks=pytest.mark.faults_in_full, id="1,000 calls, half of them"),
    ],
)
@pytest.mark.timeout(500)
def test_throttling_fails_no_call(calls: int, share: float) -> None:
    s3 = SharedS3()
    ecs = Ecs(share, s3)
    clients = {"s3": s3, "ecs": ecs}.__getitem__
    begin_run(SETTINGS, clients, compile_wdl(WDL), {"n": calls}, dag_id="d", run_id=f"{calls} {share}")

    async def host(number: int) -> dict[Any, Any]:
        run = open_run(SETTINGS, clients, "d", f"{calls} {share}")
        shards = [(shard,) for shard in range(number, calls, HOSTS)]
        outcome = await run_call(run, "t", shards, try_number=1, log=Said())
        assert outcome.failures == {}
        return outcome.outputs

    async def all_of_them() -> list[dict[Any, Any]]:
        return await asyncio.gather(*(host(number) for number in range(HOSTS)))

    outputs = {shard: values for found in asyncio.run(all_of_them()) for shard, values in found.items()}
    assert outputs == {(shard,): {"y": shard + 1} for shard in range(calls)}
    assert len(ecs.taken["run_task"]) == len(ecs.started) == calls
    store = open_run(SETTINGS, clients, "d", f"{calls} {share}").store
    attempts = [Ledger(store, "t", (shard,)).attempts() for shard in range(calls)]
    assert [[attempt.kind for attempt in found] for found in attempts] == [["succeeded"]] * calls
    # One request describes many tasks, and one registration serves all.
    assert len(ecs.taken["describe_tasks"]) < calls / 2
    assert len(ecs.taken["register_task_definition"]) == 1
    if share < 1:
        assert 0 < ecs.rejected["run_task"] < calls
