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
  }
}
""")


def given(params=None, conf=None):
    return given_inputs(PLAN, {"params": params or {}, "dag_run": SimpleNamespace(conf=conf)})


UNTOUCHED = {"index": None, "genes": "/usr/share/genes.txt", "threads": 4, "tag": None}


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
