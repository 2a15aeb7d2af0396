"""What a DAG's author says to Airflow about a workflow's tasks: ``call_args``, ``default_args``, callbacks, pools."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_wdl_ecs import operators
from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.errors import AuthorError
from airflow_wdl_ecs.operators import STARTS_FROM_TRIGGER, WdlEcsTaskOperator
from airflow_wdl_ecs.wdl.lower import compile_wdl

WDL = """
version 1.1
workflow w {
  input { Array[Int] numbers = [1] }
  scatter (n in numbers) { call t as align { input: n } }
  call t as sort { input: n = 3 }
  output { Array[Int] out = align.out }
}
task t {
  input { Int n }
  command <<< echo ~{n} >>>
  output { Int out = read_int(stdout()) }
}
"""


@pytest.fixture(scope="module")
def plan():
    return compile_wdl(WDL)


def dag_of(plan: Any, **arguments: Any) -> DAG:
    return build_dag(plan, dag_id="d", **arguments)


def said(context: Any) -> None:
    """A callback."""


def test_arguments_reach_the_operator_of_their_call_alone(plan):
    given: dict[str, Any] = {
        "pool": "big",
        "pool_slots": 2,
        "priority_weight": 7,
        "queue": "genomics",
        "owner": "ann",
        "retries": 4,
        "retry_delay": timedelta(seconds=9),
        "execution_timeout": timedelta(hours=3),
        "on_failure_callback": said,
        "on_success_callback": said,
        "on_retry_callback": said,
        "max_active_tis_per_dag": 5,
        "executor": "LocalExecutor",
        "task_display_name": "Align!",
    }
    dag = dag_of(plan, call_args={"align": given})
    align, sort = dag.get_task("align"), dag.get_task("sort")
    for name, value in given.items():
        found = getattr(align, name)
        assert (found[0] if isinstance(found, list | tuple) and found else found) == value, name
    assert sort.pool == "default_pool"
    assert sort.retries == 0


def test_default_args_of_the_dag_reach_every_task(plan):
    given = {
        "pool": "big",
        "queue": "genomics",
        "owner": "ann",
        "retries": 3,
        "priority_weight": 5,
        "execution_timeout": timedelta(hours=1),
        "on_failure_callback": said,
    }
    dag = dag_of(plan, default_args=given, call_args={"sort": {"retries": 1}})
    for task in dag.tasks:
        for name, value in given.items():
            found = getattr(task, name)
            expected = 1 if (task.task_id, name) == ("sort", "retries") else value
            assert (found[0] if isinstance(found, list | tuple) else found) == expected, (task.task_id, name)


def test_default_args_give_settings_and_deferrable_that_nothing_else_gives(plan):
    default = {"settings": {"cluster": "c"}, "deferrable": False}
    dag = dag_of(plan, default_args=default)
    for name in ("align", "sort"):
        task = dag.get_task(name)
        assert (task.settings, task.deferrable) == ({"cluster": "c"}, False)
    assert dag.get_task("inputs").settings == {"cluster": "c"}


def test_settings_of_a_call_are_laid_over_those_of_the_dag(plan):
    dag = dag_of(
        plan, settings={"cluster": "c", "launch_type": "EC2"}, call_args={"sort": {"settings": {"cluster": "gpu"}}}
    )
    assert dag.get_task("sort").settings == {"cluster": "gpu", "launch_type": "EC2"}
    assert dag.get_task("align").settings == {"cluster": "c", "launch_type": "EC2"}
    assert dag.get_task("outputs").settings == {"cluster": "c", "launch_type": "EC2"}


def test_the_other_tasks_of_a_workflow_take_arguments_too(plan):
    shards = next(task.task_id for task in dag_of(plan).tasks if task.task_id.endswith(".shards"))
    dag = dag_of(plan, call_args={"inputs": {"retries": 2}, "outputs": {"pool": "small"}, shards: {"queue": "q"}})
    assert dag.get_task("inputs").retries == 2
    assert dag.get_task("outputs").pool == "small"
    assert dag.get_task(shards).queue == "q"


@pytest.mark.parametrize(
    ("call_args", "said"),
    [
        ({"algin": {}}, "names no call of w: algin"),
        ({"algin": {}}, "align, sort"),
        ({"align": "big"}, "'big', not the operator's keyword arguments"),
        ({"align": {"poool": "big"}}, r"call_args\['align'\].*poool"),
        ({"align": {"task_id": "x"}}, "cannot set task_id"),
        ({"align": {"inputs": {}}}, "cannot set inputs"),
        ({"align": {"retries": "many"}}, r"call_args\['align'\]"),
        ({"align": {"post_execute": print}}, "deferrable=False"),
    ],
)
def test_arguments_that_are_wrong_are_refused_with_their_call(plan, call_args, said):
    with pytest.raises(AuthorError, match=f"(?s){said}"):
        dag_of(plan, call_args=call_args)


@pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="a call starts on a worker")
@pytest.mark.parametrize(
    ("arguments", "in_triggerer"),
    [
        ({}, True),
        ({"retries": 3, "queue": "q", "priority_weight": 9, "on_failure_callback": said}, True),
        ({"pool": "big"}, False),
        ({"max_active_tis_per_dag": 2}, False),
        ({"max_active_tis_per_dagrun": 2}, False),
        ({"on_execute_callback": said}, False),
        ({"pre_execute": said}, False),
        ({"deferrable": False}, False),
        ({"deferrable": False, "post_execute": said}, False),
    ],
)
def test_what_only_a_worker_can_do_has_the_call_start_on_one(plan, arguments, in_triggerer):
    task = dag_of(plan, call_args={"sort": arguments}).get_task("sort")
    assert isinstance(task, WdlEcsTaskOperator)
    assert bool(task.start_from_trigger) is in_triggerer


@pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="a call starts on a worker")
def test_a_call_starts_on_a_worker_where_triggerers_have_queues(plan, monkeypatch):
    """Airflow gives a trigger that no worker defers to no queue, so no triggerer of a queue would take it."""
    monkeypatch.setenv("AIRFLOW__TRIGGERER__QUEUES_ENABLED", "True")
    monkeypatch.setattr(
        "airflow_wdl_ecs.operators._triggerers_have_queues", operators._triggerers_have_queues.__wrapped__
    )
    task = dag_of(plan, call_args={"sort": {"queue": "genomics"}}).get_task("sort")
    assert not task.start_from_trigger


@pytest.mark.parametrize(
    ("arguments", "told_by_worker"),
    [
        ({}, None),
        ({"on_failure_callback": said, "on_success_callback": said, "on_retry_callback": said}, None),
        ({"retries": 2}, ["final"]),
        ({"email": "ann@example.org"}, ["failed", "final"]),
        ({"email": "ann@example.org", "email_on_failure": False, "email_on_retry": False}, None),
        ({"on_skipped_callback": said, "retries": 1}, ["final", "skipped"]),
    ],
)
def test_a_worker_tells_of_the_ends_that_airflow_answers_only_then(plan, arguments, told_by_worker):
    task = dag_of(plan, call_args={"sort": arguments}).get_task("sort")
    assert task._trigger_kwargs("sort", None).get("told_by_worker") == told_by_worker
    if STARTS_FROM_TRIGGER:
        assert task.start_trigger_args.trigger_kwargs.get("told_by_worker") == told_by_worker


@pytest.mark.skipif(find_spec("airflow.sdk.definitions.retry_policy") is None, reason="Airflow has no retry policies")
def test_a_worker_tells_of_failures_where_there_is_a_retry_policy(plan):
    from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy

    task = dag_of(plan, call_args={"sort": {"retry_policy": ExceptionRetryPolicy(rules=[])}}).get_task("sort")
    assert task._trigger_kwargs("sort", None)["told_by_worker"] == ["failed", "final"]


def test_what_a_dag_takes_passes_through(plan):
    dag = dag_of(
        plan,
        dagrun_timeout=timedelta(hours=2),
        max_active_runs=1,
        max_active_tasks=9,
        on_failure_callback=said,
        tags=["mine"],
        start_date=None,
    )
    assert dag.dagrun_timeout == timedelta(hours=2)
    assert (dag.max_active_runs, dag.max_active_tasks) == (1, 9)
    assert dag.tags == {"mine"}
