"""The tags that a DAG run is given: by the trigger form or in its conf."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.errors import InputsError
from airflow_wdl_ecs.run_tags import tags_of
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .airflow_home import dag_serialization
from .test_params import validate_with

DagSerialization = dag_serialization()
PLAN = compile_wdl("version 1.0\nworkflow w { input { Int n } output { Int m = n } }")


def context(conf: Any = None, params: Any = None) -> Any:
    return {"dag_run": SimpleNamespace(conf=conf), "params": params or {}}


@pytest.mark.parametrize(
    ("conf", "params", "tags"),
    [
        (None, None, {}),
        ({"n": 1}, {"n": 1, "wdl-tags": None}, {}),
        ({"wdl-tags": None}, {"wdl-tags": {"a": "b"}}, {}),
        ({"wdl-tags": {"a": "b", "cost-centre": 42}}, None, {"a": "b", "cost-centre": "42"}),
        ({"n": 1}, {"wdl-tags": {"a": "b"}}, {"a": "b"}),
    ],
)
def test_the_tags_of_a_run(conf: Any, params: Any, tags: dict[str, str]) -> None:
    assert tags_of(context(conf, params)) == tags


@pytest.mark.parametrize("given", ["team=a", ["team"], {"team": None}, {"team": True}, {"team": {"a": "b"}}])
def test_what_is_no_object_of_texts_is_refused(given: Any) -> None:
    with pytest.raises(InputsError, match="wdl-tags is not an object of texts"):
        tags_of(context({"wdl-tags": given}))


def test_the_trigger_form_has_a_field_for_them_in_a_section_of_its_own() -> None:
    serialised = json.loads(json.dumps(DagSerialization.to_dict(build_dag(PLAN, dag_id="w", params={"wdl-x": 1}))))
    params = DagSerialization.from_dict(serialised).params
    assert list(params) == ["n", "wdl-x", "wdl-tags"]
    assert params.get_param("wdl-tags").schema["section"] == "Run"
    validate_with(params, {"n": 1})
    validate_with(params, {"n": 1, "wdl-tags": {"team": "a", "cost-centre": 42}})
    with pytest.raises(Exception, match="Invalid input for param wdl-tags"):
        validate_with(params, {"n": 1, "wdl-tags": "team=a"})


def test_a_dag_with_a_schedule_may_have_tags_of_its_own() -> None:
    dag = build_dag(PLAN, dag_id="w", inputs={"n": 1}, schedule="@daily", settings={"tags": {"team": "a"}})
    assert dag.get_task("inputs").settings == {"tags": {"team": "a"}}
    assert dag.params.get_param("wdl-tags").value is None
