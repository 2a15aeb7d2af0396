"""JSON schemas of inputs, checked by a validator against what `bind_inputs` takes."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from airflow_wdl_ecs.errors import InputsError
from airflow_wdl_ecs.wdl.inputs import bind_inputs
from airflow_wdl_ecs.wdl.lower import compile_wdl

VALUES: list[Any] = [
    None,
    True,
    1,
    2.5,
    "",
    "a",
    [],
    [1],
    ["a", None],
    [["a"], []],
    {},
    {"a": 1},
    {"a": "x"},
    {"left": 1, "right": "x"},
    {"left": 1, "right": None},
    {"n": 1},
    {"n": 1, "files": None},
    {"n": 1, "files": ["x"]},
    {"n": None, "files": ["x"]},
    {"files": ["x"]},
]


@pytest.mark.parametrize(
    "wdl_type",
    [
        "String",
        "String?",
        "Int",
        "Float",
        "Boolean",
        "File",
        "File?",
        "Directory",
        "Array[Int]",
        "Array[Int]+",
        "Array[String?]?",
        "Array[Array[File]+]",
        "Map[String,Int]",
        "Map[String,File?]?",
        "Pair[Int,String]",
        "Pair[Int,String?]?",
        "S",
        "S?",
        "Array[S]",
    ],
)
def test_the_schema_takes_what_the_type_takes(wdl_type: str) -> None:
    plan = compile_wdl(
        "version 1.2\nstruct S { Int n  Array[File]? files }\n" + f"workflow w {{ input {{ {wdl_type} x }} }}\n"
    )
    schema = plan.inputs[0].schema
    jsonschema.Draft202012Validator.check_schema(schema)
    accepted = 0
    for value in VALUES:
        try:
            if value is None and not wdl_type.endswith("?"):
                raise InputsError("required")
            bind_inputs(plan, {"x": value})
        except InputsError:
            taken = False
        else:
            taken = True
        accepted += taken
        valid = jsonschema.Draft202012Validator(schema).is_valid(value)
        assert valid == taken, (value, schema)
    assert 0 < accepted < len(VALUES)


def test_files_and_structs_say_what_they_are() -> None:
    plan = compile_wdl("version 1.2\nstruct S { Directory d }\nworkflow w { input { File f  S? s } }\n")
    assert [each.schema for each in plan.inputs] == [
        {"type": "string", "format": "file-path"},
        {
            "type": ["object", "null"],
            "title": "S",
            "properties": {"d": {"type": "string", "format": "directory-path"}},
            "required": ["d"],
        },
    ]
