"""The settings that a DAG run overrides, and what the trigger form shows of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.params import given_inputs
from airflow_wdl_ecs.run_settings import run_settings
from airflow_wdl_ecs.wdl.lower import compile_wdl

PLAN = compile_wdl("version 1.1\nworkflow w { input { Int n } output { Int m = n } }")
NAMESAKE = compile_wdl("version 1.1\nworkflow w { input { String publish_to } output { String m = publish_to } }")


def context(params=None, conf=None):
    return {
        "params": params or {},
        "dag_run": SimpleNamespace(conf=conf),
        "dag": SimpleNamespace(params=dict.fromkeys(params or {})),
    }


def test_a_run_says_where_it_publishes_beside_its_inputs():
    conf = {"n": 1, "publish_to": "s3://lab/", "publish_mode": "link", "publish_names": {"m": "x"}, "other": 2}
    assert run_settings(PLAN, context(conf=conf)) == {
        "publish_to": "s3://lab/",
        "publish_mode": "link",
        "publish_names": {"m": "x"},
    }
    # What is neither an input nor such a setting is left for the check of inputs.
    assert given_inputs(PLAN, context(conf=conf)) == {"n": 1, "other": 2}


@pytest.mark.parametrize("empty", [None, ""])
def test_what_the_form_leaves_empty_is_not_given(empty):
    found = context({"n": 1, "publish_to": empty}, {"n": 1, "publish_to": empty})
    assert run_settings(PLAN, found) == {}
    assert given_inputs(PLAN, found) == {"n": 1}


def test_an_input_of_that_name_is_the_input():
    found = context({"publish_to": "x"}, {"publish_to": "x", "publish_mode": "none"})
    assert run_settings(NAMESAKE, found) == {"publish_mode": "none"}
    assert given_inputs(NAMESAKE, found) == {"publish_to": "x"}


def test_the_form_of_a_dag_that_publishes_asks_where(monkeypatch):
    assert list(build_dag(PLAN).params) == ["n"]
    of_dag = build_dag(PLAN, settings={"publish_to": "s3://lab/{run_id}/"}).params
    assert list(of_dag) == ["n", "publish_to"]
    param = of_dag.get_param("publish_to")
    assert (param.value, param.schema["type"], param.schema["section"]) == (None, ["null", "string"], "Publishing")
    assert "s3://lab/{run_id}/" in param.description
    monkeypatch.setenv("AIRFLOW__WDL_ECS__PUBLISH_TO", "s3://all/")
    assert list(build_dag(PLAN).params) == ["n", "publish_to"]
    assert list(build_dag(PLAN, settings={"publish_to": ""}).params) == ["n"]
    assert build_dag(NAMESAKE).params.get_param("publish_to").schema.get("section") != "Publishing"
