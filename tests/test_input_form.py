"""What the trigger form shows of an input, and what Airflow's server then takes."""

from __future__ import annotations

import jsonschema
import pytest

from airflow_wdl_ecs.input_form import answer_of, form_schema, form_text
from airflow_wdl_ecs.plan import Input
from airflow_wdl_ecs.wdl.lower import compile_wdl


def declared(declaration: str, meta: str = "") -> Input:
    plan = compile_wdl(f"""
version 1.2
struct Sample {{
  String name
  Array[File] reads
  Int? lane
}}
workflow w {{
  input {{
    {declaration}
  }}
  parameter_meta {{
    {f"x: {meta}" if meta else ""}
  }}
}}
""")
    return plan.inputs[0]


def form(declaration: str, meta: str = "", *, given: bool = False):
    return form_schema(declared(declaration, meta), given=given)


def wants_a_value(schema) -> bool:
    """As the form sees it: its field has an asterisk, and must not be empty."""
    kind = schema["type"]
    return "null" not in (kind if isinstance(kind, list) else [kind])


def takes(schema, value) -> bool:
    """As Airflow's server sees it."""
    return jsonschema.validators.validator_for(schema)(schema).is_valid(value)


@pytest.mark.parametrize(
    "declaration",
    [
        "String x",
        "Int x",
        "Boolean x",
        "File x",
        "Array[String] x",
        "Map[String, Int] x",
        "Sample x",
        "Pair[Int, Int] x",
    ],
)
def test_the_form_wants_a_required_input_but_the_server_does_not(declaration):
    default, schema = form(declaration)
    assert default is None
    assert wants_a_value(schema)
    assert takes(schema, None)
    assert not takes(schema, 2.5)
    assert "section" not in schema


@pytest.mark.parametrize(
    ("declaration", "default"),
    [
        ('String x = "a"', "a"),
        ("Int? x = 3", 3),
        ("Boolean x = false", False),
        ("Array[Int] x = [1]", [1]),
        ("Map[String, Int] x = {'a': 1}", {"a": 1}),
        ('File x = "beside.txt"', "beside.txt"),
        ("String? x", None),
        ("Int x = 1 + 1", None),
        ("Boolean? x", None),
        ("Sample? x", None),
    ],
)
def test_an_optional_input_may_be_left_as_it_is(declaration, default):
    value, schema = form(declaration)
    assert value == default
    assert not wants_a_value(schema)
    assert takes(schema, value)
    assert takes(schema, None)
    assert schema["section"] == "Optional inputs"


def test_an_input_for_which_the_dag_has_a_value_is_optional_and_starts_empty():
    value, schema = form("Int x = 3", given=True)
    assert value is None
    assert not wants_a_value(schema)
    assert form("String x", given=True)[1]["section"] == "Optional inputs"


def test_a_boolean_without_a_default_is_a_choice_of_two():
    _, schema = form("Boolean x")
    assert (schema["type"], schema["enum"]) == ("string", ["true", "false"])
    assert all(takes(schema, value) for value in (True, False, "true", "false", None))
    assert not takes(schema, "yes")
    assert form("Boolean x = true")[1]["type"] == ["null", "boolean"]


def test_choices_are_a_drop_down_and_no_other_value_is_taken():
    _, schema = form("String x", '{choices: [{name: "human", value: "hg38"}, "mm10"]}')
    assert schema["enum"] == ["hg38", "mm10"]
    assert schema["values_display"] == {"hg38": "human"}
    assert [takes(schema, value) for value in ("hg38", "mm10", "human", None)] == [True, True, False, True]


def test_an_optional_choice_has_no_null_among_the_choices_that_the_form_shows():
    value, schema = form('String? x = "a"', '{choices: ["a", "b"]}')
    assert (value, schema["enum"]) == ("a", ["a", "b"])
    assert takes(schema, None)


def test_a_default_that_is_no_choice_is_one():
    assert form('String x = "c"', '{choices: ["a", "b"]}')[1]["enum"] == ["a", "b", "c"]


def test_choices_of_another_type_are_none():
    assert "enum" not in form("Int x", '{choices: ["a", "b"]}')[1]


def test_choices_of_a_list_are_a_multiple_choice():
    _, schema = form("Array[String] x", '{choices: ["a", "b"]}')
    assert schema["examples"] == ["a", "b"]
    assert takes(schema, ["b", "a"])
    assert not takes(schema, ["c"])


@pytest.mark.parametrize(
    ("wdl_type", "choices", "answer", "value"),
    [
        ("Array[Int]+", "[5, 7]", ["7", 5], [7, 5]),
        ("Array[Float]?", "[0.5, 0.00001]", ["0.00001"], [0.00001]),
        ("Array[Int?]", "[5]", ["5", None], [5, None]),
    ],
)
def test_a_multiple_choice_of_numbers_answers_with_texts(wdl_type, choices, answer, value):
    meta = f"{{choices: {choices}}}"
    _, schema = form(f"{wdl_type} x", meta)
    assert takes(schema, answer)
    assert takes(schema, value)
    assert not takes(schema, [6])
    assert not takes(schema, ["seven"])
    assert not takes(schema, ["007"])
    assert answer_of(declared(f"{wdl_type} x", meta), ["007", "9" * 5000]) == ["007", "9" * 5000]
    assert answer_of(declared(f"{wdl_type} x", meta), answer) == value


def test_a_text_is_no_number_where_nothing_is_to_choose():
    assert not takes(form("Array[Int] x")[1], ["5"])
    assert answer_of(declared("Array[Int] x"), ["5"]) == ["5"]
    assert answer_of(declared("Array[String] x", '{choices: ["5", "7"]}'), ["5"]) == ["5"]


@pytest.mark.parametrize(
    "declaration",
    ["Int x = 9007199254740993", "Array[Int] x = [1, -9007199254740993]", "Pair[Int, Int] x = (2, 9007199254740993)"],
)
def test_a_default_that_a_browser_would_change_is_told_and_not_sent(declaration):
    value, schema = form(declaration)
    assert value is None
    assert takes(schema, None)
    assert "9007199254740993" in form_text(declared(declaration), given=False, shows_default=value is not None)
    assert form("Int x = 9007199254740991")[0] == 9007199254740991


def test_suggestions_are_offered_and_others_are_taken():
    _, schema = form("String x", '{suggestions: ["a", "b"]}')
    assert schema["examples"] == ["a", "b"]
    assert takes(schema, "c")
    # Of a list, the form would take nothing else.
    assert "examples" not in form("Array[String] x", '{suggestions: ["a", "b"]}')[1]


def test_a_number_keeps_to_its_range_unless_its_default_does_not():
    _, schema = form("Int x = 5", "{range: [1, 31]}")
    assert (schema["minimum"], schema["maximum"]) == (1, 31)
    assert not takes(schema, 32)
    _, schema = form("Int x = 0", "{range: [1, 31]}")
    assert "minimum" not in schema
    assert schema["maximum"] == 31


def test_text_keeps_to_its_pattern():
    _, schema = form("Array[String] x", '{pattern: "^S[0-9]+$"}')
    assert takes(schema, ["S1"])
    assert not takes(schema, ["S1", "sample 1"])


def test_an_empty_line_in_a_list_is_refused():
    _, schema = form("Array[String] x")
    assert takes(schema, ["a", "b"])
    assert not takes(schema, ["a", ""])
    assert takes(form('Array[String] x = [""]')[1], [""])


@pytest.mark.parametrize(
    ("declaration", "right", "wrong"),
    [
        ("File x", "s3://bucket/a.bam", "data/a.bam"),
        ("File x", "https://host/a.bam", "ftp://host/a.bam"),
        ("File x", "/refs/a.fa", "gs://bucket/a.bam"),
        ("Directory? x", "s3://bucket/a/", "s3://"),
        ("Array[File] x", ["s3://bucket/a.bam"], ["s3://bucket/a.bam", "a.bam"]),
        ("Map[String, File] x", {"a": "s3://bucket/a.bam"}, {"a": "a.bam"}),
        ("Sample x", {"name": "a", "reads": ["s3://bucket/a.fq"]}, {"name": "a", "reads": ["a.fq"]}),
    ],
)
def test_files_are_in_s3(declaration, right, wrong):
    _, schema = form(declaration)
    assert takes(schema, right)
    assert not takes(schema, wrong)
    assert "in S3: s3://" in form_text(declared(declaration), given=False, shows_default=False)


def test_a_label_takes_the_names_place_and_a_structs_name_does_not():
    _, schema = form("Int x", '{label: "How many"}')
    assert schema["title"] == "How many"
    assert form_text(declared("Int x", '{label: "How many"}'), given=False, shows_default=False) == "(x, WDL type Int)"
    assert "title" not in form("Sample x")[1]


def test_the_author_names_sections():
    assert form("Int x = 1", '{group: "Speed"}')[1]["section"] == "Speed"
    assert "section" not in form("Int x", '{group: "Speed"}')[1]


@pytest.mark.parametrize(
    ("declaration", "meta", "text"),
    [
        ("Int x = 1 + 1", '"How many."', "How many. (WDL type Int, default: 1 + 1)"),
        ("Array[String] x", "", "(WDL type Array[String], one a line)"),
        ("Sample x", "", '(WDL type Sample, such as {"name": "String", "reads": ["File"]}, in S3: s3://...)'),
        ("Array[Array[Int]] x", "", "(WDL type Array[Array[Int]], such as [[42]])"),
        ("String x", '{example: "sample_1"}', "(WDL type String, for example sample_1)"),
        ("Int x", "{range: [0, 9]}", "(WDL type Int, at least 0, at most 9)"),
        ("Int x", "{suggestions: [5, 7]}", "(WDL type Int, such as 5, 7)"),
        ("File x", '{patterns: ["*.bam", "*.cram"]}', "(WDL type File, usually *.bam or *.cram, in S3: s3://...)"),
    ],
)
def test_what_stands_below_a_field(declaration, meta, text):
    assert form_text(declared(declaration, meta), given=False, shows_default=False) == text


def test_a_default_that_is_shown_is_not_told_as_well():
    assert "default" not in form_text(declared("Int x = 3"), given=False, shows_default=True)
    assert "the DAG has a value" in form_text(declared("Int x = 3"), given=True, shows_default=False)
