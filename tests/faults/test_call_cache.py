"""The call cache as a user of Airflow meets it: a second run takes what the first has made, and what is cleared runs.

Against real Airflow processes and the embedded ECS.
"""

from __future__ import annotations

from typing import Any

import pytest

from .embedded_airflow import EmbeddedAirflow, WorkflowRun, until
from .test_control import HOSTS, begun, outputs

pytestmark = [pytest.mark.timeout(600), pytest.mark.faults_in_full]


def next_run(run: WorkflowRun, run_id: str, **conf: Any) -> WorkflowRun:
    """Start another run of the same DAG, with the same inputs."""
    body = {"dag_run_id": run_id, "logical_date": None, "conf": {"marks": str(run.marks), **conf}}
    run.airflow.api("POST", f"dags/{run.dag_id}/dagRuns", body)
    return WorkflowRun(run.airflow, run.dag_id, run_id, run.marks)


@pytest.mark.parametrize("host", HOSTS)
def test_a_run_takes_what_another_has_made_and_what_is_cleared_runs(airflow: EmbeddedAirflow, host: str) -> None:
    arguments = ", ".join(filter(None, ['settings={"call_cache": "on"}', HOSTS[host]]))
    run = begun(airflow, arguments)
    run.release("a", "b")
    assert run.ended() == "success"
    again = next_run(run, "again")
    assert again.ended() == "success"
    assert outputs(again) == ["a", "b"]
    assert again.tasks() == []
    again.clear("work", 1, downstream=True)
    until(lambda: run.times("b") == 2 and again.state == "success", what=again.instances)
    assert (run.times("a"), len(again.tasks())) == (1, 1)
    assert outputs(again) == ["a", "b"]
    without = next_run(run, "without", **{"call-cache": "off"})
    assert without.ended() == "success"
    assert len(without.tasks()) == 2
