"""The example DAGs through a real scheduler, triggerer and API server, which ``dag.test()`` does without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.local.airflow_home import AirflowHome

from ..faults.embedded_airflow import EmbeddedAirflow, WorkflowRun, until

pytestmark = [pytest.mark.local, pytest.mark.airflow, pytest.mark.e2e]

DAGS = Path(__file__).parents[2] / "dags"
LIMIT = 240.0


@pytest.fixture
def airflow(embedded_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedAirflow]:
    """The session's embedded Airflow."""
    monkeypatch.setenv("AIRFLOW_WDL_ECS_CONTAINERS", "plain")
    found = EmbeddedAirflow(AirflowHome(embedded_home), tmp_path)
    found.start()
    return found


def start(airflow: EmbeddedAirflow, dag_id: str, *others: str, **inputs: Any) -> WorkflowRun:
    """Put an example into the DAG folder and start a run of it.

    :param others: names of files that it reads.
    """
    names = (f"{dag_id}.py", *others)
    files = {name: (DAGS / name).read_text() for name in names}
    airflow.service.ask("submit", dag_id=dag_id, run_id="by_hand", files=files, inputs=inputs)
    return WorkflowRun(airflow, dag_id, "by_hand", airflow.marks)


def xcom(run: WorkflowRun, task: str, key: str = "return_value") -> Any:
    return run.airflow.api("GET", f"{run.path}/taskInstances/{task}/xcomEntries/{key}?deserialize=true")["value"]


def test_a_workflow_runs_on_the_outputs_of_another(airflow):
    airflow.boto("s3").put_object(Bucket=airflow.aws.bucket, Key="in/counts.txt", Body=b"  2 ACGT\n  1 TTTT\n")
    counts = f"s3://{airflow.aws.bucket}/in/counts.txt"
    by_hand = start(airflow, "top_kmers", "top_kmers.plan.json", counts=counts)
    assert by_hand.ended(LIMIT) == "success"
    assert xcom(by_hand, "outputs") == {"kmers": ["ACGT", "TTTT"]}
    assert start(airflow, "kmers", "kmers.plan.json", reads=100).ended(LIMIT) == "success"

    def triggered() -> list[dict[str, Any]]:
        runs = airflow.api("GET", "dags/top_kmers/dagRuns")["dag_runs"]
        return [run for run in runs if run["run_type"] == "asset_triggered"]

    (found,) = until(triggered, LIMIT)
    follower = WorkflowRun(airflow, "top_kmers", found["dag_run_id"], airflow.marks)
    assert follower.ended(LIMIT) == "success"
    kmers = xcom(follower, "outputs")["kmers"]
    assert len(kmers) == 5
    assert all(len(kmer) == 5 for kmer in kmers)


def test_a_workflow_runs_among_ordinary_tasks_both_ways(airflow):
    run = start(airflow, "kmer_study", "kmers.plan.json", reads=100)
    assert run.ended(LIMIT) == "success"
    assert xcom(run, "short.inputs")["inputs"] == {"reads": 100, "k": 4}
    assert xcom(run, "longer.inputs")["inputs"] == {"reads": 100, "k": 8}
    only = [len(xcom(run, f"{group}.outputs", "only_in_tumor")) for group in ("short", "longer")]
    assert xcom(run, "compare") == dict(zip(("short", "longer"), only, strict=True))


def test_a_task_reads_the_outputs_of_an_operator_on_its_own_as_values(airflow):
    airflow.service.ask(
        "submit",
        dag_id="greetings",
        run_id="by_hand",
        files={
            # The embedded Airflow's DAG folder is flat.
            "greetings.py": (DAGS / "greetings.py").read_text().replace('"wdl") / "hello.wdl"', '"hello.wdl")'),
            "hello.wdl": (DAGS / "wdl" / "hello.wdl").read_text(),
        },
        inputs={"guests": ["Ada", "Grace"]},
    )
    run = WorkflowRun(airflow, "greetings", "by_hand", airflow.marks)
    assert run.ended(LIMIT) == "success"
    assert xcom(run, "greet") == {"greeting": "Hello, Ada and Grace!"}
