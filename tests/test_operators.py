"""The operators through Airflow's own task runner, on the embedded AWS: all hosts of a call, and what it costs no one.

``dag.test()`` runs a DAG in this process, one task instance at a time, triggers included.
"""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    ParamValidationError,
)
from airflow.sdk import DAG
from airflow.utils.state import DagRunState, TaskInstanceState

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.operators import WdlEcsTaskOperator
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .airflow_home import bags

pytestmark = [pytest.mark.local, pytest.mark.airflow]

CHAIN = """
version 1.0
workflow chain {
    input { String name  Boolean loud = false }
    call greet { input: name = name }
    call count { input: text = greet.text }
    output { Int letters = count.letters  File text = greet.text }
}
task greet {
    input { String name }
    command <<< printf '%s' '~{name}' > name.txt; echo "greeting ~{name}" >&2 >>>
    output { File text = "name.txt" }
}
task count {
    input { File text }
    command <<< wc -c < '~{text}' >>>
    output { Int letters = read_int(stdout()) }
}
"""

GREET = """
version 1.0
task greet {
    input { String name  Int times = 1 }
    command <<< for (( i = 0; i < ~{times}; i++ )); do echo "hi ~{name}"; done >>>
    output { Array[String] lines = read_lines(stdout()) }
}
"""

FAIL = """
version 1.0
task fail { command <<< echo "no such luck" >&2; exit 3 >>> output { Int never = 1 } }
"""


def run(dag: DAG, conf: dict | None = None, **arguments):
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBag, sync_bag_to_db = bags()  # noqa: N806
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(collect_dags=False)
    dag.relative_fileloc = "tests.py"
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    return dag.test(run_conf=conf or {}, **arguments)


def states(dag_run) -> dict[str, str]:
    return {instance.task_id: instance.state for instance in dag_run.get_task_instances()}


def xcom(dag_run, task_id: str):
    return dag_run.get_task_instance(task_id).xcom_pull(task_ids=task_id)


@pytest.mark.parametrize("deferrable", [True, False], ids=["in the triggerer", "on a worker"])
def test_a_workflow_runs_from_its_inputs_to_its_outputs(airflow_on_embedded_aws, deferrable):
    plan = compile_wdl(CHAIN)
    args = {call: {"deferrable": deferrable} for call in plan.call_by_id}
    dag_run = run(build_dag(plan, dag_id=f"chain_{deferrable}", call_args=args), {"name": "Ada"})
    assert dag_run.state == DagRunState.SUCCESS
    assert xcom(dag_run, "outputs")["letters"] == 3
    assert xcom(dag_run, "greet")["text"].startswith("s3://")


def test_the_inputs_task_refuses_wrong_inputs_before_anything_runs(airflow_on_embedded_aws):
    before = airflow_on_embedded_aws.calls().get("ecs:RunTask", 0)
    dag = build_dag(compile_wdl(CHAIN), dag_id="refused")
    with pytest.raises(ParamValidationError, match="loud"):
        run(dag, {"name": "Ada", "loud": "very"})
    dag_run = run(dag, {"name": "Ada", "chain.nonsense": 1})
    assert states(dag_run)["inputs"] == TaskInstanceState.FAILED
    assert states(dag_run)["greet"] == TaskInstanceState.UPSTREAM_FAILED
    assert airflow_on_embedded_aws.calls().get("ecs:RunTask", 0) == before


def test_the_inputs_task_names_the_settings_that_are_missing(airflow_on_embedded_aws, monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW__WDL_ECS__CLUSTER", "")
    dag_run = run(build_dag(compile_wdl(CHAIN), dag_id="unset"), {"name": "Ada"})
    assert states(dag_run)["inputs"] == TaskInstanceState.FAILED


@pytest.mark.parametrize("deferrable", [True, False], ids=["in the triggerer", "on a worker"])
def test_an_operator_on_its_own_runs_a_task(airflow_on_embedded_aws, deferrable):
    with DAG(f"alone_{deferrable}", schedule=None) as dag:
        WdlEcsTaskOperator(
            task_id="hello", wdl=GREET, inputs={"name": "{{ dag.dag_id }}", "times": 2}, deferrable=deferrable
        )
    dag_run = run(dag)
    assert dag_run.state == DagRunState.SUCCESS
    assert xcom(dag_run, "hello") == {"lines": [f"hi alone_{deferrable}"] * 2}


def test_a_failed_command_fails_its_task(airflow_on_embedded_aws):
    with DAG("failing", schedule=None) as dag:
        WdlEcsTaskOperator(task_id="fail", wdl=FAIL, deferrable=False)
    dag_run = run(dag)
    assert states(dag_run) == {"fail": TaskInstanceState.FAILED}


@pytest.mark.parametrize(
    ("event", "raised", "says"),
    [
        ("failed", AirflowException, "call greet failed; the trigger's log above says why"),
        ("failed: exit code 3: it is late", AirflowException, "exit code 3: it is late"),
        ("final: cpu is no number", AirflowFailException, "cpu is no number"),
        ("skipped", AirflowSkipException, "the condition around call greet is false"),
    ],
)
def test_a_worker_that_was_woken_tells_how_the_call_ended(event, raised, says):
    operator = WdlEcsTaskOperator(task_id="greet", call="greet")
    with pytest.raises(raised) as found:
        operator.execute_complete({}, event)
    assert type(found.value) is raised
    assert str(found.value) == says


def test_an_operator_needs_a_call_or_a_source():
    with pytest.raises(ValueError, match="either wdl="):
        WdlEcsTaskOperator(task_id="nothing")
