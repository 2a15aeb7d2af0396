"""A deployment's own XCom backend, with common-io's object storage: what goes in comes out, wherever it was pushed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_wdl_ecs.host import HostedCall

OUTPUTS = {"bam": "s3://bucket/a.bam", "counts": [1, 2, 3]}
CALL = HostedCall("d", "r", "align", 1, map_index=2, task_id="align")
BACKEND = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"


@pytest.fixture
def pushed(monkeypatch):
    """What a trigger sends to its supervisor."""
    from airflow.sdk.execution_time import task_runner

    messages: list = []
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=messages.append), raising=False)
    return messages


@pytest.fixture(params=[0, 50, 100_000])
def object_storage(request, tmp_path, monkeypatch):
    """common-io's backend, for XComs of at least so many bytes."""
    from airflow.providers.common.io.xcom import backend
    from airflow.sdk.execution_time import xcom

    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{tmp_path}/xcom")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD", str(request.param))
    for found in vars(backend).values():
        getattr(found, "cache_clear", lambda: None)()
    monkeypatch.setattr(xcom, "XCom", backend.XComObjectStorageBackend)
    yield SimpleNamespace(
        large=len(json.dumps(OUTPUTS)) >= request.param,
        files=lambda: [path for path in (tmp_path / "xcom").rglob("*") if path.is_file()],
        read=lambda value: backend.XComObjectStorageBackend.deserialize_value(SimpleNamespace(value=value)),
    )
    for found in vars(backend).values():
        getattr(found, "cache_clear", lambda: None)()


async def test_a_calls_outputs_are_where_the_backend_keeps_them(pushed, object_storage):
    assert await CALL.push_outputs(OUTPUTS, logging.getLogger(__name__))
    (message,) = pushed
    assert (message.key, message.task_id, message.map_index) == ("return_value", "align", 2)
    assert object_storage.read(message.value) == OUTPUTS
    assert len(object_storage.files()) == object_storage.large


async def test_outputs_that_other_tasks_read_are_values_in_airflows_own_backend(pushed):
    alone = HostedCall("d", "r", "align", 1, scope="align", task_id="align")
    assert await alone.push_outputs(OUTPUTS, logging.getLogger(__name__))
    assert pushed[0].value == OUTPUTS
    assert not await CALL.push_outputs(OUTPUTS, logging.getLogger(__name__))
    assert len(pushed) == 1


async def test_a_backend_that_fails_leaves_the_outputs_to_the_event(monkeypatch, pushed):
    alone = HostedCall("d", "r", "align", 1, scope="align", task_id="align")
    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom.set", lambda *_, **__: 1 / 0)
    assert not await alone.push_outputs(OUTPUTS, logging.getLogger(__name__))


RUN = """
from airflow.sdk import DAG, task
from airflow_wdl_ecs import wdl_task_group
from tests.test_operators import run
from tests.test_workflow_operators import SCATTER

if __name__ == "__main__":
    with DAG("stored", schedule=None) as dag:

        @task
        def words() -> list[str]:
            return ["a", "bc"]

        @task
        def check(letters: int) -> None:
            assert letters == 3, letters

        check(wdl_task_group(SCATTER, group_id="g", inputs={"words": words()}).output["letters"])
    assert run(dag).state == "success"
"""


@pytest.mark.local
@pytest.mark.airflow
def test_a_run_with_every_xcom_in_object_storage(airflow_on_embedded_aws, tmp_path):
    script = tmp_path / "run_stored.py"
    script.write_text(RUN)
    # A process of its own: Airflow chooses its backend when it starts.
    subprocess.run(
        [sys.executable, str(script)],
        check=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "AIRFLOW__CORE__XCOM_BACKEND": BACKEND,
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{tmp_path}/xcom",
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
        },
    )
    stored = {path.read_text() for path in (tmp_path / "xcom").rglob("*") if path.is_file()}
    assert {"3", '["a", "bc"]'} <= stored
