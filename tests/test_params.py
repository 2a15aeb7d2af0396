"""Params as Airflow's scheduler and trigger form have them: read back from the serialised DAG."""

from __future__ import annotations

import copy
import json

import pytest

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .airflow_home import dag_serialization

DagSerialization = dag_serialization()
SOURCE = """
version 1.1
struct S {{
  Int n
}}
workflow w {{
  input {{
    {type} x = {default}
  }}
}}
"""


@pytest.mark.parametrize(
    ("wdl_type", "default", "shown"),
    [
        ("Int", "3", 3),
        ("Array[Array[Int]]", "[[1], []]", [[1], []]),
        ("Map[String, Array[Int]]", '{"a": [1]}', {"a": [1]}),
        ("Array[Pair[Int, Array[Pair[Int, Int]]]]", "[(1, [(2, 3)])]",
         [{"left": 1, "right": [{"left": 2, "right": 3}]}]),
        ("Array[Array[Pair[Int, String]]]", '[[(1, "a")], []]', None),
        ("Array[Map[String, Int]?]", '[{"a": 1}, None]', None),
    ],
)  # fmt: skip
def test_a_default_is_what_it_was_or_described_in_wdl(wdl_type, default, shown):
    plan = compile_wdl(SOURCE.format(type=wdl_type, default=default))
    serialised = json.loads(json.dumps(DagSerialization.to_dict(build_dag(plan, dag_id="w"))))
    params = DagSerialization.from_dict(serialised).params
    params.validate()
    param = params.get_param("x")
    assert param.value == shown
    assert (default in param.description) == (shown is None)


def validate_with(params, conf):
    """Check params as Airflow does when a run is given this conf."""
    if hasattr(params, "deep_merge"):
        params.deep_merge(conf).validate()
    else:  # Airflow 3.1
        merged = copy.deepcopy(params)
        merged.update(conf)
        merged.validate()


def test_a_required_input_survives_as_well_and_may_come_under_its_full_name():
    plan = compile_wdl("version 1.1\nworkflow w {\n  input {\n    String name\n    Boolean paired\n  }\n}\n")
    serialised = json.loads(json.dumps(DagSerialization.to_dict(build_dag(plan, dag_id="w"))))
    params = DagSerialization.from_dict(serialised).params
    validate_with(params, {"w.name": "a"})
    validate_with(params, {"name": "a", "paired": "true"})
    with pytest.raises(Exception, match="Invalid input for param name"):
        validate_with(params, {"name": 3})
    assert params.get_param("name").schema["type"] == "string"
