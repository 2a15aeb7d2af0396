"""Mutated inputs: everything that is wrong is said, and nothing else happens."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .mutations import mutated_inputs
from .oracle import check_inputs

SEED = 1
CASES = 600

SOURCE = """
version 1.1
struct Sample {
  String name
  Array[File]+ reads
  Map[String, Float]? scores
}
workflow w {
  input {
    Int count
    Float? share = 0.5
    Boolean flag = true
    String name
    File file
    Array[Array[Int]] table
    Map[Int, Pair[String, File]] by_number
    Sample sample
    Array[Sample?] samples = []
  }
  call t { input: s = name }
  output { Int o = count }
}
task t {
  input { String s  Int n = 3  Array[String]? more }
  command <<< echo ~{s} >>>
  output { String r = read_string(stdout()) }
  runtime { docker: "debian" }
}
"""
EXAMPLE: dict[str, Any] = {
    "count": 1,
    "w.share": 0.25,
    "name": "n",
    "file": "s3://b/f",
    "table": [[1, 2], []],
    "by_number": {"1": {"left": "a", "right": "s3://b/g"}},
    "sample": {"name": "x", "reads": ["s3://b/1"], "scores": {"a": 1.0}},
    "samples": [None, {"name": "y", "reads": ["s3://b/2"]}],
    "t.n": 4,
    "t.runtime.memory": "2 GB",
}
PLANS: list[tuple[Plan, dict[str, Any]]] = [(compile_wdl(SOURCE), EXAMPLE)]


def test_the_example_is_accepted():
    assert check_inputs(*PLANS[0]) is not None


@pytest.mark.timeout(300)
def test_mutated_inputs_are_refused_or_bound():
    random = Random(SEED)
    accepted = sum(check_inputs(plan, mutated_inputs(random, example)) is not None for plan, example in PLANS * CASES)
    # Were all of them refused, nothing would have been learnt of what accepts them.
    assert 0 < accepted < CASES * 0.9
