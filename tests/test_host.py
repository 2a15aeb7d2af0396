"""The boto3 clients of a process, shared as long as AWS takes their credentials; what a call that fails leaves."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from airflow_wdl_ecs import host
from airflow_wdl_ecs.aws import on_bad_credentials
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.host import HostedCall, airflow_clients
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.reasons import read_of_tasks

from .fabricated_run import FabricatedRun
from .fake_aws import FakeS3


@pytest.mark.local
def test_a_connection_that_was_mended_is_taken_up_without_a_restart(
    airflow_on_embedded_aws: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = airflow_on_embedded_aws
    where = {"endpoint_url": endpoint.url, "region_name": endpoint.region}

    def connect(login: str) -> None:
        connection = {"conn_type": "aws", "login": login, "password": endpoint.secret_key, "extra": where}
        monkeypatch.setenv("AIRFLOW_CONN_MENDED", json.dumps(connection))

    clients = airflow_clients(EcsSettings.from_options({}, {"aws_conn_id": "mended", "region": endpoint.region}))
    connect("AKIAEXPIRED")
    expired = clients("ecs")
    assert clients("ecs") is expired
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        expired.list_clusters()
    connect(endpoint.access_key)
    mended = clients("ecs")
    assert mended is not expired
    assert mended.list_clusters()["clusterArns"]
    with pytest.raises(ClientError, match="ClusterNotFoundException"):
        mended.run_task(cluster="none", taskDefinition="none")
    assert clients("ecs") is mended


def test_whether_airflow_has_the_connection_that_the_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    def get_connection(name: str) -> None:
        if name != "aws_genomics":
            raise AirflowNotFoundException(name) if name == "aws_default" else ValueError("a secret that is no JSON")

    monkeypatch.setattr(AwsBaseHook, "get_connection", get_connection)
    answers = {
        name: host.has_connection(EcsSettings(aws_conn_id=name)) for name in ("aws_genomics", "aws_default", "broken")
    }
    assert answers == {"aws_genomics": True, "aws_default": False, "broken": True}


def test_requests_name_their_caller_without_a_search_of_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NAMED", json.dumps({"conn_type": "aws", "login": "AKIA", "password": "secret"}))
    monkeypatch.setattr("inspect.stack", lambda: pytest.fail("a tenth of a second, for each client"))
    clients = airflow_clients(EcsSettings.from_options({}, {"aws_conn_id": "named", "region": "eu-west-1"}))
    assert " Caller/WdlEcsTaskOperator " in clients("ecs").meta.config.user_agent_extra


def test_garbage_is_not_looked_for_while_a_client_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    collects: list[bool] = []

    def making(*which: Any) -> None:
        collects.append(gc.isenabled())
        raise NoCredentialsError

    monkeypatch.setattr("airflow_wdl_ecs.host._new_client", making)
    with pytest.raises(NoCredentialsError):
        airflow_clients(EcsSettings.from_options({}, {"aws_conn_id": "kept", "region": "eu-west-1"}))("s3")
    assert collects == [False]
    assert gc.isenabled()


@pytest.mark.local
def test_only_the_buckets_of_the_ecs_client_decide_when_ecs_is_asked_again(
    airflow_on_embedded_aws: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = airflow_on_embedded_aws
    monkeypatch.setattr("airflow_wdl_ecs.host._clients", {})
    clients = airflow_clients(EcsSettings.from_options({}, {"aws_conn_id": "aws_default", "region": endpoint.region}))
    throttled = {"kind": "error", "code": "ThrottlingException", "status": 400, "times": 3}
    try:
        endpoint.set_faults(requests=[{**throttled, "operation": "ecs:ListClusters"}])
        for _ in range(3):
            with pytest.raises(ClientError, match="ThrottlingException"):
                clients("ecs").list_clusters()
        assert clients("ecs").list_clusters()["clusterArns"]
        # Nobody paces S3, so its client tries again itself.
        endpoint.set_faults(requests=[{**throttled, "operation": "s3:GET", "code": "SlowDown", "status": 503}])
        assert clients("s3").list_objects_v2(Bucket=endpoint.bucket)
    finally:
        endpoint.set_faults()


async def test_a_client_whose_making_needs_the_event_loop_holds_up_neither_the_loop_nor_other_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a triggerer the connection is asked of Airflow by way of the event loop."""
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()

    def making(connection: str | None, region: str | None, service: str) -> Any:
        if service == "logs":
            asyncio.run_coroutine_threadsafe(answered.wait(), loop).result(10)
        return SimpleNamespace(meta=SimpleNamespace(events=SimpleNamespace(register=lambda *_: None)))

    monkeypatch.setattr("airflow_wdl_ecs.host._new_client", making)
    monkeypatch.setattr("airflow_wdl_ecs.host._clients", {})
    clients = airflow_clients(EcsSettings.from_options({}, {"aws_conn_id": "slow", "region": "eu-west-1"}))
    logs = [asyncio.ensure_future(asyncio.to_thread(clients, "logs")) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(RuntimeError, match="never on an event loop"):
        clients("logs")
    ecs = await asyncio.wait_for(asyncio.to_thread(clients, "ecs"), 5)
    answered.set()
    first, second = await asyncio.wait_for(asyncio.gather(*logs), 5)
    assert first is second is not ecs


def test_credentials_that_are_not_there_are_bad_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.session

    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    client = botocore.session.Session().create_client("ecs", region_name="us-east-1")
    told: list[bool] = []
    on_bad_credentials(client, lambda: told.append(True))
    with pytest.raises(NoCredentialsError):
        client.list_clusters()
    assert told == [True]


@pytest.mark.parametrize("error", [EvaluationError("no shards of very-secret"), ValueError("not very-secret")])
async def test_a_task_instance_that_fails_as_a_whole_leaves_why(monkeypatch, error) -> None:
    made = FabricatedRun(FakeS3(), dag_id="d", run_id="r")
    run = SimpleNamespace(store=made.store, secrets=("very-secret",))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(host, "resolve_settings", lambda given: None)
    monkeypatch.setattr(host, "airflow_clients", lambda settings: None)
    monkeypatch.setattr(host, "open_run", lambda *_, **__: run)
    monkeypatch.setattr(host, "map_index_prefixes", fail)
    call = HostedCall("d", "r", "work", 2, map_index=7, scatter="s")
    with pytest.raises(type(error)):
        await call.run(logging.getLogger(__name__))
    (reason,) = read_of_tasks(made.store).values()
    assert (reason.task, reason.map_index, reason.try_number) == ("work", 7, 2)
    assert "***" in reason.text
    assert "very-secret" not in reason.text
