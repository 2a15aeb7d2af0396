"""WDL values as JSON: exact both ways, whatever the type."""

from __future__ import annotations

import json

import pytest
import WDL
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_wdl_ecs.plan import Document
from airflow_wdl_ecs.wdl.values import ValueMismatch, admits, from_json, parse_type, to_json

STRUCTS = """
struct Sample { String name  File? reads  Array[Int]+ lanes }
struct Run { Array[Sample] samples  Sample? control }
"""
DOCUMENT = Document("1.2", STRUCTS)


def read(type_text: str, value):
    return from_json(type_text, value, DOCUMENT)


class TestTypes:
    @pytest.mark.parametrize(
        "text",
        [
            "Int",
            "String?",
            "Array[File]+",
            "Array[Array[Int?]+]?",
            "Map[String,Array[File]+]?",
            "Pair[Int,Map[String,Float]]",
            "Sample?",
            "Array[Run]",
            "Directory",
            "Any",
            "None",
        ],
    )
    def test_a_type_reads_as_it_prints(self, text):
        assert str(parse_type(text, DOCUMENT)) == text

    def test_spaces_do_not_matter(self):
        assert str(parse_type(" Map[ String , Array[ File ]+ ] ?", DOCUMENT)) == "Map[String,Array[File]+]?"

    @pytest.mark.parametrize(
        "text", ["", "Int[", "Array[Int", "Array", "Nope", "Int Int", "Map[Int]", "Int+", "Array[Int]x", "[]"]
    )
    def test_what_is_no_type(self, text):
        with pytest.raises(ValueError, match="type"):
            parse_type(text, DOCUMENT)

    def test_members_of_structs_are_known(self):
        run = parse_type("Run", DOCUMENT)
        assert {name: str(member) for name, member in run.members.items()} == {
            "samples": "Array[Sample]",
            "control": "Sample?",
        }
        assert set(run.members["control"].members) == {"name", "reads", "lanes"}


class TestExamples:
    @pytest.mark.parametrize(
        ("type_text", "value"),
        [
            ("Int", 2**63 - 1),
            ("Int", -(2**63)),
            ("Int", 9007199254740993),
            ("Float", 1.0),
            ("Float", 0.1),
            ("Float", 1e300),
            ("Float", 5e-324),
            ("Boolean", True),
            ("String", "a \"quoted\" 'line'\nand é\U0001f600\t\\n ~{x}"),
            ("String", "5"),
            ("File", "s3://bucket/a b//c.txt"),
            ("Directory", "s3://bucket/d"),
            ("Array[Int]", []),
            ("Array[Int?]", [1, None]),
            ("Pair[Int,String]", {"left": 1, "right": "x"}),
            ("Map[Int,String]", {"1": "a", "-2": "b"}),
            ("Map[Boolean,Int]", {"true": 1, "false": 0}),
            ("Map[Float,Int]", {"1.0": 1, "0.1": 2}),
            ("Map[File,Int]", {"s3://b/k": 1}),
            ("Map[String,Map[Int,Array[Float]]]", {"a": {"1": [1.0]}}),
            ("Map[Pair[Int,String],Int]", {'{"left":1,"right":"x"}': 2}),
            ("Map[String?,Int]", {"null": 1, '"null"': 2, "a": 3, '"\\"q"': 4}),
            ("Sample", {"name": "x", "reads": None, "lanes": [1]}),
            ("Run", {"samples": [{"name": "x", "reads": "s3://b/f", "lanes": [1, 2]}], "control": None}),
            ("String?", None),
        ],
    )
    def test_it_survives_as_it_is(self, type_text, value):
        found = to_json(read(type_text, value))
        assert found == value
        assert json.dumps(found) == json.dumps(value)
        assert type(found) is type(value)

    def test_an_integral_number_is_what_the_type_says(self):
        assert json.dumps(to_json(read("Float", 3))) == "3.0"
        assert json.dumps(to_json(read("Int", 3.0))) == "3"

    def test_a_directory_has_no_trailing_slash(self):
        assert to_json(read("Directory", "s3://b/d/")) == "s3://b/d"

    def test_a_member_that_may_be_null_may_be_left_out(self):
        assert to_json(read("Sample", {"name": "x", "lanes": [1]})) == {"name": "x", "lanes": [1], "reads": None}

    def test_a_map_keeps_its_order(self):
        assert list(to_json(read("Map[Int,Int]", {"3": 1, "1": 2, "2": 3}))) == ["3", "1", "2"]

    @pytest.mark.parametrize(
        ("type_text", "value", "message"),
        [
            ("Int", "1", '"1" is not Int'),
            ("Int", True, "true is not Int"),
            ("Int", 1.5, "1.5 is not Int"),
            ("Boolean", 1, "1 is not Boolean"),
            ("Float", float("nan"), "is not Float"),
            ("String", 5, "5 is not String"),
            ("Int", None, "null is not Int"),
            ("File", "s3://b/d/", "is not File"),
            ("Array[Int]+", [], "at least one item"),
            ("Array[Pair[Int,String]]", [{"left": 1, "right": 2}], r"\[0\]\.right: 2 is not a value of type String"),
            ("Map[Int,Int]", {"x": 1}, r'\["x"\] \(key\)'),
            ("Sample", {"name": "x"}, "no 'lanes'"),
            ("Run", {"samples": [{"name": 1, "lanes": [1]}]}, r"\.samples\[0\]\.name: 1"),
            ("Sample", {"name": "x", "lanes": [1], "lines": 2}, "unknown 'lines'"),
            ("Pair[Int,Int]", [1, 2], "is not"),
        ],
    )
    def test_what_is_not_of_the_type_says_where(self, type_text, value, message):
        with pytest.raises(ValueMismatch, match=message):
            read(type_text, value)

    def test_a_number_that_is_not_finite_has_no_json(self):
        with pytest.raises(ValueMismatch, match="finite"):
            to_json(WDL.Value.Float(float("inf")))

    def test_two_keys_of_one_text_are_refused(self):
        one = WDL.Value.String("a")
        twice = WDL.Value.Map((WDL.Type.String(), WDL.Type.String()), [(one, one), (one, one)])
        with pytest.raises(ValueMismatch, match="two keys"):
            to_json(twice)

    def test_what_has_no_type_is_read_as_json_is(self):
        value = {"a": [1, 2.5, None, "x", {"b": True}]}
        assert to_json(read("Any", value)) == value

    def test_where_a_type_admits_none(self):
        missing = WDL.Value.Array(WDL.Type.File(), [WDL.Value.Null()])
        assert not admits(parse_type("Array[File]", DOCUMENT), missing)
        assert not admits(parse_type("Array[File]?", DOCUMENT), missing)
        assert admits(parse_type("Array[File?]", DOCUMENT), missing)


# --- every type, every value ---

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["null", '"', '"null"', "true", "1", "{}"]
)
PRIMITIVES = {
    "Int": st.integers(-(2**63), 2**63 - 1),
    "Float": st.floats(allow_nan=False, allow_infinity=False),
    "Boolean": st.booleans(),
    "String": TEXTS,
    "File": TEXTS.map(lambda text: "s3://bucket/" + text.replace("/", "") + "x"),
}


@st.composite
def types_and_values(draw, depth: int = 3):
    """The text of a type, and a strategy of values as JSON."""
    kinds = ["primitive"] if depth == 0 else ["primitive", "optional", "Array", "Pair", "Map"]
    kind = draw(st.sampled_from(kinds))
    if kind == "primitive":
        name = draw(st.sampled_from(sorted(PRIMITIVES)))
        return name, PRIMITIVES[name]
    inner, values = draw(types_and_values(depth=depth - 1))
    if kind == "optional":
        return (inner, values) if inner.endswith("?") else (f"{inner}?", values | st.none())
    if kind == "Array":
        return f"Array[{inner}]", st.lists(values, max_size=4)
    other, others = draw(types_and_values(depth=depth - 1))
    if kind == "Pair":
        return f"Pair[{inner},{other}]", st.fixed_dictionaries({"left": values, "right": others})
    document = DOCUMENT
    key_type = parse_type(inner, document)

    def as_map(pairs):
        typed = [(from_json(key_type, key), from_json(other, item, document)) for key, item in pairs]
        unique = {json.dumps(to_json(key)): (key, item) for key, item in typed}
        return to_json(WDL.Value.Map((key_type, parse_type(other, document)), list(unique.values())))

    return f"Map[{inner},{other}]", st.lists(st.tuples(values, others), max_size=4).map(as_map)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_value_of_any_type_survives_both_ways(data):
    type_text, values = data.draw(types_and_values())
    value = data.draw(values)
    through_text = json.loads(json.dumps(value))
    found = to_json(read(type_text, through_text))
    assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)
    assert json.dumps(to_json(read(type_text, found))) == json.dumps(found)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.none() | TEXTS, st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_optional_text_keys_survive(items):
    wdl_type = parse_type("Map[String?,Int]", DOCUMENT)
    pairs = [
        (WDL.Value.Null() if key is None else WDL.Value.String(key), WDL.Value.Int(item)) for key, item in items.items()
    ]
    found = from_json(wdl_type, to_json(WDL.Value.Map(wdl_type.item_type, pairs)))
    assert {key.value: item.value for key, item in found.value} == items


def test_of_a_large_value_that_is_wrong_no_more_is_read_than_is_shown() -> None:
    """A document may have thousands of mistakes, each with all that is below it."""

    class Unread:
        def __str__(self) -> str:
            raise AssertionError("nobody sees so far")

    with pytest.raises(ValueMismatch) as caught:
        from_json(WDL.Type.String(), [*range(100), Unread()])
    assert str(caught.value).startswith("[0, 1, 2,")
    assert "..." in str(caught.value)
