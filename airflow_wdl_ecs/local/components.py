"""What each process of the service does, from the moment that it has been forked.

The components of Airflow are its own commands; what is changed of them is only how often they look at their queues,
since a person waits for a local run. Airflow and the embedded AWS are imported inside the functions: the supervisor
imports this module before either.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from ..errors import SettingsError
from .airflow_home import MOUNTS_VARIABLE, AirflowHome
from .endpoint import Endpoint, read_endpoint
from .pace import SCHEDULER, TRIGGERER, pace_scheduler, pace_triggerer, wake_others

AWS_LIMIT = 90.0
"""Seconds that the embedded AWS may take to come up."""
WORKSPACE = "airflow"
"""The prefix in the embedded bucket that runs keep their files under."""
BUNDLE = "dags-folder"
"""Airflow's name for the bundle of the DAG folder."""


def import_airflow() -> None:
    """Import what the components need, once, in the process that they are forked from."""
    import airflow.api_fastapi.app
    import airflow.api_fastapi.execution_api.app
    import airflow.cli.cli_parser
    import airflow.dag_processing.collection
    import airflow.dag_processing.dagbag
    import airflow.executors.local_executor
    import airflow.jobs.scheduler_job_runner
    import airflow.jobs.triggerer_job_runner
    import airflow.providers.amazon.aws.hooks.base_aws
    import airflow.sdk.execution_time.supervisor
    import airflow.sdk.execution_time.task_runner  # noqa: F401
    from airflow.models import import_all_models
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import configure_mappers

    # In a component one thread's first query would do this under SQLAlchemy's lock while another's import of a model
    # waits for that lock and holds Python's, for which the first one waits.
    import_all_models()
    configure_mappers()

    # What every DAG file, worker and trigger would import.
    from .. import dag, lifecycle, run, scatter, triggers  # noqa: F401
    from ..wdl import grammars, inputs, task_evaluation, workflow_evaluation  # noqa: F401

    grammars.prepare()

    @event.listens_for(Engine, "connect")
    def _relax(connection: Any, record: Any) -> None:
        # With a write-ahead log, a power failure may cost the last commits of a local run, and no consistency.
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()


def forgo_callbacks() -> None:
    """Write down no callbacks, in this process and those forked from it: there is no DAG processor to run them.

    Airflow writes one for every task instance that ends in a triggerer, whether its task has a callback or not, and
    looks at all of them whenever it deletes a trigger.
    """
    from airflow.callbacks.database_callback_sink import DatabaseCallbackSink

    DatabaseCallbackSink.send = lambda self, callback, **_: None  # type: ignore[method-assign]


def prepare_database(home: AirflowHome, *, callbacks: bool) -> None:
    """Create or upgrade the metadata database.

    :param callbacks: whether somebody will run the callbacks that are in it. Otherwise they are removed.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.models.db_callback_request import DbCallbackRequest
    from airflow.utils import db
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    if (home.airflow / "airflow.db").exists():
        db.upgradedb()
    else:
        db.initdb()
    DagBundlesManager().sync_bundles_to_db()
    if not callbacks:
        with create_session() as session:
            session.execute(delete(DbCallbackRequest))


def _end_dead_jobs(job_type: str) -> None:
    """Tell Airflow that earlier jobs of this type are dead, which it would otherwise believe half a minute later."""
    from airflow._shared.timezones import timezone
    from airflow.jobs.job import Job, JobState
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(
            update(Job)
            .where(Job.job_type == job_type, Job.state == JobState.RUNNING)
            .values(state=JobState.FAILED, end_date=timezone.utcnow())
        )


def prepare_execution_api() -> None:
    """Build the interface that task instances report to, once, in the process that the components are forked from.

    Building it takes seconds: Airflow makes its routes for every version of the interface, and at the first request.
    """
    import airflow.api_fastapi.app
    import httpx
    from airflow.api_fastapi.execution_api import app as module

    prepared = module.create_task_execution_api_app()

    async def first_request() -> None:
        transport = httpx.ASGITransport(app=prepared)
        async with httpx.AsyncClient(transport=transport, base_url="http://prepared") as client:
            (await client.get("/health")).raise_for_status()

    asyncio.run(first_request())
    original = module.lifespan

    def create(lifespan: Any = original) -> Any:
        prepared.router.lifespan_context = lifespan
        return prepared

    # A process has one such interface: the server's own, or the one inside the triggerer.
    vars(module)["create_task_execution_api_app"] = create
    vars(airflow.api_fastapi.app)["create_task_execution_api_app"] = create


def run_execution_api(home: AirflowHome, listener: socket.socket) -> None:
    """The interface that task instances report to."""
    import uvicorn
    from airflow.api_fastapi import app as module

    wake_others(home, "execution-api")
    app = module.create_app(apps="execution")
    uvicorn.run(app, fd=listener.fileno(), log_config=None, access_log=False, lifespan="on")


def run_api_server(home: AirflowHome) -> None:
    """Airflow's API server with the UI; no run waits for it."""
    os.nice(5)
    wake_others(home, "api-server")
    _airflow("api-server", "--apps", "core")


def run_scheduler(home: AirflowHome) -> None:
    """Airflow's scheduler with its local executor."""
    _end_dead_jobs("SchedulerJob")
    wake_others(home, SCHEDULER)
    pace_scheduler(home)
    _airflow("scheduler", "--skip-serve-logs")


def run_triggerer(home: AirflowHome) -> None:
    """Airflow's triggerer."""
    _end_dead_jobs("TriggererJob")
    wake_others(home, TRIGGERER)
    pace_triggerer(home)
    _airflow("triggerer", "--skip-serve-logs")


def run_dag_processor() -> None:
    """Airflow's DAG processor, for a folder that people put DAG files into."""
    _airflow("dag-processor")


def run_aws(home: AirflowHome, port: int) -> int:
    """Keep the embedded AWS running: start it, or take over the one that runs; end it when the service ends in order.

    It is a process of its own, so that ECS tasks survive a supervisor that is killed.
    """
    import psutil

    from .endpoint import start_server, stop_server

    supervisor = os.getppid()
    servers: list[psutil.Process] = []

    def end(number: int, frame: object) -> None:
        if os.getppid() == supervisor:
            for server in servers:  # by its number: a busy server may not answer in time to be known by its nonce
                with contextlib.suppress(psutil.Error):
                    server.terminate()
            if not servers:
                stop_server(home.aws)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    endpoint = start_server(home.aws, port=port)
    print(f"embedded AWS at {endpoint.url}", flush=True)
    servers.append(psutil.Process(endpoint.pid))
    servers[0].wait()
    return 1


def aws_environment(endpoint: Endpoint) -> dict[str, str]:
    """What Airflow has to know of the embedded AWS: a connection, and the deployment's settings."""
    connection = {
        "conn_type": "aws",
        "login": endpoint.access_key,
        "password": endpoint.secret_key,
        "extra": {"endpoint_url": endpoint.url, "region_name": endpoint.region},
    }
    settings = {
        "region": endpoint.region,
        "cluster": endpoint.cluster,
        "workspace": f"s3://{endpoint.bucket}/{WORKSPACE}",
        "launch_type": "EC2",
        "log_group": endpoint.log_group,
        "container_root": endpoint.container_root,
        "staging_tool": "s5cmd",
        "image": "public.ecr.aws/debian/debian:12-slim",
        "poll_fastest": "0.025",
        "poll_slowest": "2",
    }
    if mounts := os.environ.get(MOUNTS_VARIABLE):
        settings["mounts"] = mounts
    variables = {f"AIRFLOW__WDL_ECS__{name.upper()}": value for name, value in settings.items()}
    return {**variables, "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)}


def prepare_clients() -> None:
    """Make the AWS clients that workers and triggers use, once, in the process that the components are forked from.

    Nothing is sent, so no connection is shared between processes.
    """
    from ..host import airflow_clients, resolve_settings

    client = airflow_clients(resolve_settings())
    for service in ("s3", "ecs"):
        client(service)


def await_aws(home: AirflowHome, is_coming: Callable[[], bool] = lambda: True) -> Endpoint:
    """The embedded AWS, once it answers.

    :param is_coming: whether it is worth to wait for.
    :raises SettingsError: if it does not come up.
    """
    deadline = time.monotonic() + AWS_LIMIT
    while is_coming() and time.monotonic() < deadline:
        endpoint = read_endpoint(home.aws)
        if endpoint is not None:
            return endpoint
        time.sleep(0.05)
    raise SettingsError(f"the embedded AWS did not come up; see {home.log('aws')} and {home.aws / 'aws.log'}")


def run_control(home: AirflowHome, listener: socket.socket, token: str, idle: float | None) -> None:
    """Answer the requests of the command line."""
    from .control import Control

    wake_others(home, "control")
    Control(home, token, idle=idle).serve(listener)


def _airflow(*arguments: str) -> None:
    """Run a command of Airflow's command line in this process."""
    from airflow.__main__ import main

    sys.argv = ["airflow", *arguments]
    main()
