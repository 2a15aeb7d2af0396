"""What OpenLineage hears of a workflow's calls, through the provider's own adapter, extractors and listener."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from airflow.utils.state import TaskInstanceState

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.errors import CallError
from airflow_wdl_ecs.lifecycle import CallOutcome
from airflow_wdl_ecs.lineage import dataset_names, known_by, operator_lineage, tell_of_call
from airflow_wdl_ecs.operators import STARTS_FROM_TRIGGER
from airflow_wdl_ecs.wdl.lower import compile_wdl

pytest.importorskip("airflow.providers.openlineage")

COPY = """
version 1.0
workflow copying {
    input { File from }
    call copy { input: from = from }
    output { File to = copy.to  String note = "s3 is not a file" }
}
task copy {
    input { File from }
    command <<< cp '~{from}' copied.txt >>>
    output { File to = "copied.txt" }
}
"""
KNOWN = {
    "run": "01941f29-7c00-7a87-8d3c-000000000001",
    "job": "copying.copy",
    "parent_run": "01941f29-7c00-7a87-8d3c-000000000002",
    "parent_job": "copying",
}


@pytest.fixture
def sent(tmp_path, monkeypatch):
    """Reads the events that the provider has written to a file."""
    path = tmp_path / "events.json"
    transport = {"type": "file", "log_file_path": str(path), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__NAMESPACE", "lab")
    from airflow_wdl_ecs import lineage

    lineage._adapter.cache_clear()
    yield lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    lineage._adapter.cache_clear()


def names(datasets: list[dict]) -> list[tuple[str, str]]:
    return [(found["namespace"], found["name"]) for found in datasets]


def test_a_file_is_a_dataset_of_its_bucket():
    values = [{"a": "s3://b/x/y.bam", "n": 3, "text": "s3://"}, {"all": ["s3://c/z", {"left": "s3://b/x/y.bam"}]}]
    assert dataset_names(values) == [("s3://b", "x/y.bam"), ("s3://c", "z")]


async def test_a_call_that_has_succeeded_is_a_complete_event_with_its_files(sent):
    outcome = CallOutcome(
        inputs={(0,): {"bam": "s3://b/in/0.bam"}, (1,): {"bam": "s3://b/in/1.bam"}},
        outputs={(0,): {"vcf": "s3://b/out/0.vcf"}, (1,): {"vcf": "s3://b/out/1.vcf"}, (2,): None},
    )
    await tell_of_call(KNOWN, None)
    await tell_of_call(KNOWN, outcome)
    started, completed = sent()
    assert [event["eventType"] for event in (started, completed)] == ["START", "COMPLETE"]
    assert completed["job"]["namespace"] == "lab"
    assert completed["job"]["name"] == "copying.copy"
    assert completed["run"]["runId"] == started["run"]["runId"] == KNOWN["run"]
    assert completed["run"]["facets"]["parent"]["run"]["runId"] == KNOWN["parent_run"]
    assert names(completed["inputs"]) == [("s3://b", "in/0.bam"), ("s3://b", "in/1.bam")]
    assert names(completed["outputs"]) == [("s3://b", "out/0.vcf"), ("s3://b", "out/1.vcf")]


async def test_a_call_that_has_failed_is_a_fail_event_with_the_reason(sent):
    await tell_of_call(KNOWN, CallOutcome(failures={(): CallError("exit code 3")}), "exit code 3")
    (event,) = sent()
    assert event["eventType"] == "FAIL"
    assert event["run"]["facets"]["errorMessage"]["message"] == "exit code 3"


async def test_nobody_who_cannot_be_told_fails_a_call(sent, monkeypatch):
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", '{"type": "no such transport"}')
    await tell_of_call(KNOWN, CallOutcome())
    assert sent() == []


def test_an_operators_lineage_is_what_the_provider_extracts(sent):
    from airflow.providers.openlineage.extractors import ExtractorManager

    dag = build_dag(compile_wdl(COPY), dag_id="extracted")
    for task_id in ("copy", "outputs"):
        operator = dag.get_task(task_id)
        operator._lineage = operator_lineage([{"from": "s3://b/in"}], [{"to": "s3://b/out"}])
        found = ExtractorManager().extract_metadata(
            SimpleNamespace(run_id="r"), operator, TaskInstanceState.SUCCESS, task_instance=None
        )
        assert [(dataset.namespace, dataset.name) for dataset in found.inputs] == [("s3://b", "in")]
        assert [(dataset.namespace, dataset.name) for dataset in found.outputs] == [("s3://b", "out")]


@pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="calls start in the triggerer from Airflow 3.3 on")
@pytest.mark.parametrize(
    ("option", "wanted"),
    [("namespace", True), ("disabled", False), ("selective_enable", False), ("disabled_for_operators", False)],
)
def test_a_call_that_starts_in_the_triggerer_is_known_as_the_provider_knows_it(sent, monkeypatch, option, wanted):
    from airflow.executors.workloads.task import TaskInstanceDTO
    from airflow.jobs.triggerer_job_runner import TriggerRunner
    from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    from airflow.serialization.serialized_objects import DagSerialization

    values = {"namespace": "lab", "disabled_for_operators": "airflow_wdl_ecs.operators.WdlEcsTaskOperator"}
    monkeypatch.setenv(f"AIRFLOW__OPENLINEAGE__{option.upper()}", values.get(option, "True"))
    date = datetime(2026, 2, 3, tzinfo=timezone.utc)
    instance = TaskInstanceDTO(
        id=uuid4(), dag_version_id=uuid4(), task_id="copy", dag_id="d", run_id="r", try_number=2, map_index=-1,
        pool_slots=1, queue="default", priority_weight=1,
    )  # fmt: skip
    dag_run = {
        "dag_id": "d", "run_id": "r", "logical_date": date, "run_after": date, "start_date": date, "clear_number": 1,
        "run_type": "manual", "state": "running", "conf": {}, "consumed_asset_events": [], "end_date": None,
        "data_interval_start": None, "data_interval_end": None, "partition_key": None,
    }  # fmt: skip
    encoded = DagSerialization.to_dict(build_dag(compile_wdl(COPY), dag_id="d"))
    known = known_by(TriggerRunner.create_runtime_ti(instance, encoded, dag_run))
    expected = {
        "run": OpenLineageAdapter.build_task_instance_run_id("d", "copy", 2, date, -1),
        "job": "d.copy",
        "parent_run": OpenLineageAdapter.build_dag_run_id("d", date, 1),
        "parent_job": "d",
    }
    assert known == (expected if wanted else None)


RUN = """
import sys
from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.wdl.lower import compile_wdl
from tests.test_lineage import COPY
from tests.test_operators import run

if __name__ == "__main__":
    assert run(build_dag(compile_wdl(COPY), dag_id="copying"), {"from": sys.argv[1]}).state == "success"
"""


@pytest.mark.local
@pytest.mark.airflow
def test_the_events_of_a_run_are_those_of_its_tasks_with_their_files(airflow_on_embedded_aws, sent, tmp_path):
    import boto3

    endpoint = airflow_on_embedded_aws
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
    )
    s3.put_object(Bucket=endpoint.bucket, Key="in/a.txt", Body=b"a")
    script = tmp_path / "run_copy.py"
    script.write_text(RUN)
    # A process of its own: the provider listens only if it is configured when Airflow starts.
    subprocess.run(
        [sys.executable, str(script), f"s3://{endpoint.bucket}/in/a.txt"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    found = [(event["job"]["name"], event["eventType"], event) for event in sent()]
    runs = {event["run"]["runId"] for name, _, event in found if name == "copying.copy"}
    assert len(runs) == 1, "the listener's events and the trigger's are of one run"
    completed = [event for name, kind, event in found if name == "copying.copy" and kind == "COMPLETE"]
    assert completed
    for event in completed:
        assert names(event["inputs"]) == [(f"s3://{endpoint.bucket}", "in/a.txt")]
        (output,) = names(event["outputs"])
        assert output[0] == f"s3://{endpoint.bucket}"
        assert output[1].endswith("/copied.txt")
    (ended,) = [event for name, kind, event in found if name == "copying.outputs" and kind == "COMPLETE"]
    assert names(ended["inputs"]) == [(f"s3://{endpoint.bucket}", "in/a.txt")]
    assert names(ended["outputs"]) == [output]
