"""Runs a compiled workflow in this process, without Airflow: the fast inner loop of the tests.

The order is the DAG's: the run begins, every call waits for those upstream of it, the run ends. What runs is the code
that Airflow's operators run (`run`, `lifecycle`), so a workflow that comes out well here can fail in Airflow only for
what the operators and the trigger add.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.host import failure_of
from airflow_wdl_ecs.lifecycle import run_call
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.plan import Plan, Shard
from airflow_wdl_ecs.run import Run, begin_run, finish_run, open_run
from airflow_wdl_ecs.wdl.inputs import map_files

LOG = logging.getLogger(__name__)
DAG = "direct"


class DirectRunner:
    """Runs workflows on an embedded AWS.

    :param settings: overrides of the settings that suit the endpoint.
    """

    def __init__(self, endpoint: Endpoint, **settings: Any) -> None:
        self.endpoint = endpoint
        self.settings = embedded_settings(endpoint, **settings)
        self._clients: dict[str, Any] = {}
        for service in ("s3", "ecs", "ecr", "logs"):
            self._clients[service] = boto3.client(
                service,
                endpoint_url=endpoint.url,
                region_name=endpoint.region,
                aws_access_key_id=endpoint.access_key,
                aws_secret_access_key=endpoint.secret_key,
            )

    def client(self, service: str) -> Any:
        """A boto3 client of the endpoint."""
        return self._clients[service]

    def upload(self, path: Path, key: str) -> str:
        """Copy a local file, or a folder with all its files, to the bucket; give its URI."""
        bucket = self.endpoint.bucket
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    self.client("s3").upload_file(str(file), bucket, f"{key}/{file.relative_to(path)}")
            return f"s3://{bucket}/{key}/"
        self.client("s3").upload_file(str(path), bucket, key)
        return f"s3://{bucket}/{key}"

    def read(self, uri: str) -> bytes | None:
        """The contents of an object; None if there is no such object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        s3 = self.client("s3")
        try:
            data: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            return None
        return data

    async def run(self, plan: Plan, inputs: Mapping[str, Any], run_id: str) -> dict[str, Any]:
        """Run a workflow to its outputs.

        :param inputs: as `bind_inputs` gives them; a file that is no ``s3://`` URI is a local one.
        :raises WdlEcsError: the first failure; every call that could start has ended by then.
        """

        def uploaded(value: str) -> str:
            if value.startswith("s3://"):
                return value
            return self.upload(Path(value), f"inputs/{run_id}/{value.strip('/')}")

        def begin() -> None:
            given = map_files(plan, inputs, uploaded)
            begin_run(self.settings, self.client, plan, given, dag_id=DAG, run_id=run_id)

        await asyncio.to_thread(begin)
        return await self.run_begun(plan, run_id)

    async def run_begun(self, plan: Plan, run_id: str) -> dict[str, Any]:
        """Run a workflow that has begun to its outputs; see `run`."""

        def opened() -> Run:
            return open_run(self.settings, self.client, DAG, run_id)

        await run_calls(opened, plan)
        return await asyncio.to_thread(lambda: finish_run(opened()))


def embedded_settings(endpoint: Endpoint, **overrides: Any) -> EcsSettings:
    """The settings for an embedded AWS."""
    given: dict[str, Any] = {
        "aws_conn_id": None,
        "region": endpoint.region,
        "cluster": endpoint.cluster,
        "workspace": f"s3://{endpoint.bucket}/wdl",
        "log_group": endpoint.log_group,
        "container_root": endpoint.container_root,
        "launch_type": "EC2",
        "staging_tool": "s5cmd",
        "image": "debian:12-slim",
        "poll_fastest": 0.05,
        "poll_slowest": 0.5,
    }
    return EcsSettings.from_options({}, given | overrides)


async def run_calls(opened: Callable[[], Run], plan: Plan) -> None:
    """Run every call when those upstream of it are done.

    :param opened: opens the run; every call opens it anew, as a task instance does.
    :raises WdlEcsError: the first failure, after everything that does not depend on it has ended.
    """
    ended: dict[str, asyncio.Task[None]] = {}

    async def one(call: str, upstream: Sequence[str]) -> None:
        for name in upstream:
            await ended[name]
        run = await asyncio.to_thread(opened)
        prefixes = await asyncio.to_thread(prefixes_of, run, plan, call)
        outcome = await run_call(run, call, prefixes, try_number=1, log=LOG)
        failure = failure_of(outcome)
        if failure is not None:
            raise failure

    for call in plan.calls:
        ended[call.id] = asyncio.ensure_future(_later(lambda call=call: one(call.id, call.upstream)))
    results = await asyncio.gather(*ended.values(), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _later(start: Callable[[], Any]) -> None:
    """Start when all tasks have been made, since a call may stand before one that it waits for."""
    await asyncio.sleep(0)
    await start()


def prefixes_of(run: Run, plan: Plan, call: str) -> Sequence[Shard]:
    """The shard prefixes of a call, as its mapped task instances have them: one for each outermost index."""
    scatters = plan.scatters(plan.call_by_id[call].section)
    if not scatters:
        return [()]
    count = run.evaluation.shard_count(scatters[0].id, ()) or 0
    return [(index,) for index in range(count)]
