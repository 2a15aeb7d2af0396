"""What a DAG run's params and conf say about a workflow's inputs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_wdl_ecs.params import given_inputs
from airflow_wdl_ecs.wdl.lower import compile_wdl

PLAN = compile_wdl("""
version 1.1
workflow w {
  input {
    Int n
    File? index
    File genes = "/usr/share/genes.txt"
    Int? threads = 4
    String tag = "x" + n
    Boolean? quiet
  }
}
""")


def given(params=None, conf=None, dag_inputs=None, dag_params=()):
    context = {
        "params": params or {},
        "dag_run": SimpleNamespace(conf=conf),
        "dag": SimpleNamespace(params=dict.fromkeys(dag_params)),
    }
    return given_inputs(PLAN, context, dag_inputs)


UNTOUCHED = {"index": None, "genes": "/usr/share/genes.txt", "threads": 4, "tag": None, "quiet": None}


def test_params_that_nobody_touched_are_no_inputs():
    assert given({"n": 1, **UNTOUCHED}) == {"n": 1}


def test_a_form_sends_what_nobody_touched_as_well():
    assert given({"n": 1, **UNTOUCHED}, {"n": 1, **UNTOUCHED}) == {"n": 1}


@pytest.mark.parametrize("name", ["genes", "w.genes"])
def test_what_the_run_gives_is_an_input(name):
    assert given(UNTOUCHED, {"n": 1, name: "s3://bucket/genes.txt"}) == {"n": 1, name: "s3://bucket/genes.txt"}


def test_null_for_an_optional_input_with_a_default_is_an_input():
    assert given(UNTOUCHED, {"n": 1, "threads": None}) == {"n": 1, "threads": None}


def test_what_is_no_input_is_left_for_the_check_of_inputs():
    assert given(UNTOUCHED, {"n": 1, "m": 2}) == {"n": 1, "m": 2}


def test_a_name_in_full_is_taken_beside_the_empty_field():
    assert given({"n": None, **UNTOUCHED}, {"n": None, "w.n": 1}) == {"w.n": 1}


def test_an_input_that_is_given_twice_is_left_for_the_check_of_inputs():
    assert given({}, {"n": 2, "w.n": 1}) == {"n": 2, "w.n": 1}


@pytest.mark.parametrize(("answer", "value"), [("true", True), ("false", False), (True, True)])
def test_a_drop_downs_answer_is_a_boolean(answer, value):
    assert given({}, {"n": 1, "quiet": answer}) == {"n": 1, "quiet": value}


def test_text_stays_text():
    assert given({}, {"n": 1, "tag": "true"}) == {"n": 1, "tag": "true"}


def test_the_default_overrides_the_dags_own_value():
    assert given({**UNTOUCHED, "threads": None}, {"threads": 4}, {"w.threads": 8}) == {"threads": 4}
    assert given({**UNTOUCHED, "threads": None}, {"threads": None}, {"w.threads": 8}) == {}


def test_params_of_the_dags_author_are_no_inputs():
    assert given({"n": 1, "cohort": "a"}, {"n": 1, "cohort": "b"}, dag_params=("n", "cohort")) == {"n": 1}
    assert given({"n": 1, "m": 2}, {"n": 1, "m": 2}, dag_params=("n",)) == {"n": 1, "m": 2}
