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


DAILY = """
from datetime import datetime
from pathlib import Path
from airflow_wdl_ecs import wdl_dag
dag = wdl_dag("hello.plan.json", dag_id="daily", schedule="@daily", start_date=datetime(2026, 1, 1),
              end_date=datetime(2026, 1, 3), inputs={"name": "{{ ds }}"})
"""


def test_a_backfill_gives_each_run_its_own_date(airflow):
    files = {"daily.py": DAILY, "hello.plan.json": (DAGS / "hello.plan.json").read_text()}
    airflow.service.ask("submit", dag_id="daily", run_id="by_hand", files=files, inputs={"name": "you"})
    by_hand = WorkflowRun(airflow, "daily", "by_hand", airflow.marks)
    assert by_hand.ended(LIMIT) == "success"
    assert xcom(by_hand, "outputs") == {"greeting": "Hello, you!"}
    days = {"from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z"}
    airflow.api("POST", "backfills", {"dag_id": "daily", "max_active_runs": 2, "reprocess_behavior": "none", **days})

    def backfilled() -> list[WorkflowRun]:
        runs = [run for run in airflow.api("GET", "dags/daily/dagRuns")["dag_runs"] if run["run_type"] == "backfill"]
        return [WorkflowRun(airflow, "daily", run["dag_run_id"], airflow.marks) for run in runs if run["end_date"]]

    until(lambda: len(backfilled()) == 2, LIMIT)
    said = sorted(xcom(run, "outputs")["greeting"] for run in backfilled())
    assert said == ["Hello, 2026-01-01!", "Hello, 2026-01-02!"]


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
