"""The DAG that a plan becomes: operators, groups, edges, triggers' arguments."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from airflow.sdk import DAG

from airflow_wdl_ecs.dag import build_dag, transitive_reduction, wdl_task_group
from airflow_wdl_ecs.errors import AuthorError, Position
from airflow_wdl_ecs.operators import STARTS_FROM_TRIGGER
from airflow_wdl_ecs.plan import Call, Document, Expression, Input, Plan, Ref, Section, Task

from .airflow_home import dag_serialization

AT = Position("w.wdl", 1, 1)
from_trigger = pytest.mark.skipif(not STARTS_FROM_TRIGGER, reason="calls start in the triggerer from Airflow 3.3 on")


def scatter(section: str, parent: str = "", upstream: tuple[str, ...] = ()) -> Section:
    items = Expression("items", "Array[Int]", parent, AT, {"items": Ref("items", "Array[Int]")})
    return Section(section, "scatter", "0", AT, parent, section, items, "x", upstream)


def call(name: str, section: str = "", upstream: tuple[str, ...] = ()) -> Call:
    return Call(name, section, name.rsplit(".", 1)[-1], "t", AT, {}, upstream)


def plan(*calls: Call, sections: tuple[Section, ...] = (), inputs: tuple[Input, ...] = ()) -> Plan:
    return Plan(
        name="w",
        documents={"0": Document("1.0")},
        sections=(Section("", "workflow", "0", AT), *sections),
        calls=calls,
        tasks={"t": Task("t", "version 1.0\ntask t { command {} }", "1.0", AT)},
        inputs=inputs,
    )


def edges(dag) -> set[tuple[str, str]]:
    return {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}


def test_calls_stand_between_inputs_and_outputs():
    dag = build_dag(plan(call("a"), call("b", upstream=("a",)), call("c")))
    assert edges(dag) == {("inputs", "a"), ("a", "b"), ("b", "outputs"), ("inputs", "c"), ("c", "outputs")}


def test_a_workflow_without_calls_goes_straight_to_its_outputs():
    assert edges(build_dag(plan())) == {("inputs", "outputs")}


def test_an_edge_that_another_path_gives_is_not_drawn():
    dag = build_dag(plan(call("a"), call("b", upstream=("a",)), call("c", upstream=("a", "b"))))
    assert ("a", "c") not in edges(dag)
    assert ("b", "c") in edges(dag)


def test_transitive_reduction_keeps_the_order():
    reduced = transitive_reduction({"a": (), "b": ("a",), "c": ("a",), "d": ("a", "b", "c")})
    assert reduced == {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}}


@from_trigger
def test_a_call_starts_in_the_triggerer_and_says_only_what_it_is():
    operator = build_dag(plan(call("a")), settings={"cluster": "c"}).get_task("a")
    assert operator.start_from_trigger
    assert operator.start_trigger_args.trigger_kwargs == {
        "call": "a",
        "scatter": None,
        "scope": None,
        "settings": {"cluster": "c"},
    }


@pytest.mark.parametrize("limit", [{"pool": "big"}, {"max_active_tis_per_dag": 2}, {"deferrable": False}])
def test_a_call_with_a_limit_of_airflows_starts_on_a_worker(limit):
    dag = build_dag(plan(call("a"), call("b")), call_args={"a": limit})
    assert not dag.get_task("a").start_from_trigger
    assert dag.get_task("b").start_from_trigger == STARTS_FROM_TRIGGER


def test_a_dag_that_would_fail_fast_is_refused():
    with pytest.raises(AuthorError, match="w: a DAG with a WDL workflow cannot have fail_fast"):
        build_dag(plan(call("a")), fail_fast=True)
    with DAG("d", schedule=None, fail_fast=True), pytest.raises(AuthorError, match="fail_fast"):
        wdl_task_group(plan(call("a")))


def test_call_args_for_no_call_are_refused():
    with pytest.raises(AuthorError, match="no call of w: zz"):
        build_dag(plan(call("a")), call_args={"zz": {}})


def test_a_call_named_like_our_operators_keeps_its_name():
    dag = build_dag(plan(call("inputs"), call("outputs", upstream=("inputs",))))
    assert edges(dag) == {("inputs_", "inputs"), ("inputs", "outputs"), ("outputs", "outputs_")}


def test_the_outermost_scatter_is_a_mapped_group_over_its_shards():
    dag = build_dag(
        plan(
            call("list"),
            call("a", "scatter_x"),
            call("b", "scatter_x", ("a",)),
            call("gather", "", ("b",)),
            sections=(scatter("scatter_x", upstream=("list",)),),
        )
    )
    assert edges(dag) == {
        ("inputs", "list"),
        ("list", "scatter_x.shards"),
        ("scatter_x.shards", "a"),
        ("a", "b"),
        ("b", "gather"),
        ("gather", "outputs"),
    }
    group = dag.task_group.children["scatter_x"]
    assert type(group).__name__ == "MappedTaskGroup"
    assert dag.get_task("b").scatter == "scatter_x"
    assert dag.get_task("gather").scatter is None


def test_an_inner_scatter_is_a_plain_group_in_the_mapped_one():
    dag = build_dag(
        plan(
            call("a", "scatter_x"),
            call("b", "scatter_y", ("a",)),
            sections=(scatter("scatter_x"), scatter("scatter_y", "scatter_x", ("a",))),
        )
    )
    inner = dag.task_group.children["scatter_x"].children["scatter_y"]
    assert type(inner).__name__ == "TaskGroup"
    assert dag.get_task("b").scatter == "scatter_x"
    assert "scatter_y.shards" not in dag.task_ids


def test_an_input_that_the_dag_gives_need_not_be_given_by_a_run():
    who = Input("who", "who", "String", "0", True, AT, schema={"type": "string"})
    dag = build_dag(plan(inputs=(who,)), inputs={"w.who": "{{ ds }}"}, schedule="@daily")
    assert dag.params.get_param("who").value is None
    assert dag.get_task("inputs").inputs == {"w.who": "{{ ds }}"}
    assert "inputs" in dag.get_task("inputs").template_fields


def test_the_dags_params_are_not_copied_into_its_operators():
    who = Input("who", "who", "String", "0", True, AT, schema={"type": "string"})
    dag = build_dag(plan(call("a"), inputs=(who,)))
    assert list(dag.params) == ["who", "call-cache", "wdl-tags"]
    assert not dag.get_task("a").params


def test_a_group_in_a_subworkflow_has_an_id_that_airflow_takes():
    inner = Section("qc", "workflow", "0", AT, "", "call qc")
    dag = build_dag(plan(call("qc.trim", "qc.if_x"), sections=(inner, Section("qc.if_x", "if", "0", AT, "qc"))))
    assert list(dag.task_group.children["qc"].children) == ["qc-if_x"]
    assert "qc.trim" in dag.task_ids
    mapped = build_dag(plan(call("qc.a", "qc.scatter_x"), sections=(inner, scatter("qc.scatter_x", "qc"))))
    assert list(mapped.task_group.children["qc"].children) == ["qc.scatter_x.shards", "qc-scatter_x"]


def test_required_inputs_come_first_and_optional_ones_in_a_section():
    inputs = (
        Input("n", "n", "Int", "0", False, AT, True, 3, "3", {"type": "integer"}),
        Input("who", "who", "String", "0", True, AT, schema={"type": "string"}, meta={"help": "Whom."}),
        Input("a.t", "a", "Int", "0", False, AT, True, None, "n * 2", {"type": "integer"}),
    )
    params = build_dag(plan(call("a"), inputs=inputs)).params
    assert list(params) == ["who", "n", "a.t", "call-cache", "wdl-tags"]
    who, n, nested = (params.get_param(name) for name in ("who", "n", "a.t"))
    assert who.description.startswith("Whom.")
    assert not who.has_value
    assert (n.value, n.schema["type"], n.schema["section"]) == (3, ["null", "integer"], "Optional inputs")
    assert (nested.value, nested.schema["section"]) == (None, "Inputs of a")
    assert nested.schema["type"] == ["null", "integer"]
    assert "default: n * 2" in nested.description


def test_a_dag_with_a_schedule_has_all_required_inputs():
    inputs = tuple(Input(name, name, "String", "0", True, AT, schema={"type": "string"}) for name in ("who", "when"))
    with pytest.raises(AuthorError, match="no value for: when"):
        build_dag(plan(inputs=inputs), inputs={"w.who": "Ada"}, schedule="@daily")
    build_dag(plan(inputs=inputs), inputs={"w.who": "Ada", "when": "{{ ds }}"}, schedule="@daily")


def test_a_scatter_is_named_by_its_variable_and_its_group_by_its_label():
    dag = build_dag(plan(call("a", "scatter_x"), sections=(scatter("scatter_x"),)))
    assert dag.get_task("scatter_x.shards").task_display_name == "shards of x"
    assert dag.task_group.children["scatter_x"].tooltip == "scatter_x, at w.wdl:1:1"


async def tell(**about: object) -> None:
    """What a deadline alert calls."""


def test_a_deadline_alert_goes_through_to_the_dag_and_the_database_form_of_it():
    from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference

    alert = DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=timedelta(hours=3), callback=AsyncCallback(tell)
    )
    dag = build_dag(plan(call("a")), deadline=alert)
    assert dag.deadline in (alert, [alert])
    (serialized,) = dag_serialization().to_dict(dag)["dag"]["deadline"]
    assert "DagRunQueuedAtDeadline" in json.dumps(serialized)
    assert "10800" in json.dumps(serialized)
    assert f"{tell.__module__}.tell" in json.dumps(serialized)
