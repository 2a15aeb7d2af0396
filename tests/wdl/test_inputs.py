"""A run's inputs: names, types, every problem at once; a command line's words; the files among them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_wdl_ecs.errors import InputsError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.inputs import bind_inputs, file_values, map_files, parse_assignments
from airflow_wdl_ecs.wdl.lower import compile_wdl

SUB = """
version 1.1
workflow align_reads {
  input { File reads  Int x = 1 }
  call sort { input: reads = reads }
  output { File bam = sort.bam }
}
task sort {
  input { File reads  Int threads = 2  File? index }
  command <<< >>>
  output { File bam = "x" }
}
"""

MAIN = """
version 1.2
import "/sub.wdl" as sub
struct Sample { String name  File reads  Array[File]? more }
workflow wf {
  input {
    Sample sample
    Int n
    Float f = 1
    Boolean flag = false
    String text = "t"
    String? maybe
    Int? number = 3
    Array[String] words = []
    Array[Int]+ some = [1]
    Array[Array[Int]] table = []
    Map[String, File] by_name = {}
    Map[Int, Int] by_number = {}
    Pair[File, Int]? pair
    File? extra
    Directory? folder
  }
  call sub.align_reads as align { input: reads = sample.reads }
  output { File bam = align.bam }
}
"""

NEEDED: dict[str, Any] = {"sample": {"name": "s", "reads": "r.fq"}, "n": 1}
FILLED = {"sample": {"name": "s", "reads": "r.fq", "more": None}, "n": 1}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_wdl(MAIN.lstrip(), read=lambda _: SUB.lstrip())


@pytest.fixture(scope="module")
def task_plan() -> Plan:
    return compile_wdl(SUB.lstrip(), task="sort")


def bound(plan: Plan, **given: Any) -> dict[str, Any]:
    found = bind_inputs(plan, {**NEEDED, **given})
    assert found.items() >= FILLED.items()
    return {name: value for name, value in found.items() if name not in FILLED}


def said(plan: Plan, values: dict[str, Any]) -> list[str]:
    with pytest.raises(InputsError) as caught:
        bind_inputs(plan, values)
    return [each.message for each in caught.value.problems]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("flag", "flag"),
        ("wf.flag", "flag"),
        ("align.x", "align.x"),
        ("wf.align.x", "align.x"),
        ("align.align_reads.x", "align.x"),
        ("wf.align.align_reads.x", "align.x"),
        ("align.sort.threads", "align.sort.threads"),
        ("wf.align.sort.threads", "align.sort.threads"),
        ("wf.align.sort.runtime.memory", "align.sort.runtime.memory"),
        ("align.sort.requirements.cpu", "align.sort.requirements.cpu"),
    ],
)
def test_names(plan: Plan, given: str, name: str) -> None:
    value = True if name == "flag" else 7
    assert bind_inputs(plan, {**NEEDED, given: value}) == {**FILLED, name: value}


def test_a_task_takes_its_own_names(task_plan: Plan) -> None:
    given = {"reads": "a", "sort.threads": 3, "runtime.memory": "1 GB", "sort.runtime.cpu": 2}
    assert bind_inputs(task_plan, given) == {
        "reads": "a",
        "threads": 3,
        "runtime.memory": "1 GB",
        "sort.runtime.cpu": 2,
    }


def test_comments_are_left_out(plan: Plan) -> None:
    assert bound(plan, **{"##": "a comment"}) == {}


@pytest.mark.parametrize(
    ("name", "value", "normal"),
    [
        ("f", 2, 2.0),
        ("number", 3.0, 3),
        ("maybe", None, None),
        ("number", None, None),
        ("by_number", {"1": 2}, {"1": 2}),
        ("pair", {"Left": "f", "Right": 1}, {"left": "f", "right": 1}),
        ("folder", "s3://b/d/", "s3://b/d"),
    ],
)
def test_values_are_normalised(plan: Plan, name: str, value: Any, normal: Any) -> None:
    found = bound(plan, **{name: value})
    assert found == {name: normal}
    assert type(found[name]) is type(normal)


def test_null_means_the_default_where_the_type_has_no_null(plan: Plan) -> None:
    assert bound(plan, text=None, words=None) == {}


def test_every_problem_at_once(plan: Plan) -> None:
    assert said(
        plan,
        {
            "wf.flga": True,
            "align.threads": 3,
            "nothing.like.it": 1,
            "nowhere.runtime.memory": 1,
            "f": "1",
            "flag": 1,
            "words": ["a", 1],
            "some": [],
            "wf.text": "a",
            "text": "b",
            "sample": {"name": "s", "reads": 3},
        },
    ) == [
        "unknown input wf.flga; did you mean flag?",
        "unknown input align.threads; did you mean align.sort.threads?",
        "unknown input nothing.like.it",
        "unknown input nowhere.runtime.memory",
        'input f: expected Float: "1" is not Float',
        "input flag: expected Boolean: 1 is not Boolean",
        "input words: expected Array[String]: [1]: 1 is not a value of type String",
        "input some: expected Array[Int]+: empty, but Array[Int]+ has at least one item",
        "input text is given twice, as wf.text and as text",
        "input sample: expected Sample: .reads: 3 is not a value of type File",
        "missing input n (Int)",
    ]


def test_null_is_no_value_of_a_required_input(plan: Plan) -> None:
    assert said(plan, {**NEEDED, "n": None}) == ["input n: expected Int: null is not Int"]


# --- a command line's words


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["n=3"], {"n": 3}),
        (["wf.n=-3"], {"n": -3}),
        (["f=2"], {"f": 2.0}),
        (["f=1e3"], {"f": 1000.0}),
        (["flag=true"], {"flag": True}),
        (["text="], {"text": ""}),
        (["text=a=b"], {"text": "a=b"}),
        (["text=null"], {"text": "null"}),
        (["text=3"], {"text": "3"}),
        (["maybe="], {"maybe": None}),
        (["maybe=null"], {"maybe": None}),
        (["extra="], {"extra": None}),
        (["extra=a b.txt"], {"extra": "a b.txt"}),
        (["words=a", "words=b"], {"words": ["a", "b"]}),
        (["words=a,b"], {"words": ["a,b"]}),
        (['words=["a","b"]', "words=c"], {"words": ["a", "b", "c"]}),
        (["words=[not json"], {"words": ["[not json"]}),
        (["words=[]"], {"words": []}),
        (["some=1", "some=2"], {"some": [1, 2]}),
        (["table=[[1],[2]]"], {"table": [[1], [2]]}),
        (["table=[1]", "table=[2,3]"], {"table": [[1], [2, 3]]}),
        (['by_name={"a":"b"}'], {"by_name": {"a": "b"}}),
        (['pair={"left":"f","right":1}'], {"pair": {"left": "f", "right": 1}}),
        (["align.sort.runtime.memory=4 GB"], {"align.sort.runtime.memory": "4 GB"}),
        (["align.sort.runtime.cpu=4"], {"align.sort.runtime.cpu": 4}),
        (["align.sort.runtime.gpu=true"], {"align.sort.runtime.gpu": True}),
    ],
)
def test_words_are_read_as_the_input_is_typed(plan: Plan, words: list[str], values: dict[str, Any]) -> None:
    found = parse_assignments(plan, words)
    assert found == values
    assert [type(each) for each in found.values()] == [type(each) for each in values.values()]


def test_a_path_in_the_home_folder(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_assignments(plan, ["extra=~/a.txt", "text=~/a"]) == {"extra": "/home/somebody/a.txt", "text": "~/a"}


def test_every_word_that_cannot_be_read(plan: Plan) -> None:
    words = ["n", "=3", "x=1", "n=1.5", "f=one", "flag=yes", "by_name={a", "some=[1,]", "text=a", "text=b"]
    with pytest.raises(InputsError) as caught:
        parse_assignments(plan, words)
    assert [each.message.split(" (")[0] for each in caught.value.problems] == [
        "'n' is not name=value",
        "'=3' is not name=value",
        "unknown input x; did you mean align.x?",
        "input n: expected Int: '1.5' is not a number of this type",
        "input f: expected Float: 'one' is not a number of this type",
        "input flag: expected Boolean: 'yes' is neither true nor false",
        "input by_name: expected Map[String,File]: '{a' is not JSON",
        "input some: expected Array[Int]+: '[1,]' is not JSON",
        "input text is given twice, and is not an array",
    ]


# --- files


def test_files_are_found_and_replaced_however_deep(plan: Plan) -> None:
    inputs = bind_inputs(
        plan,
        {
            "sample": {"name": "not/a/file", "reads": "a", "more": ["b", "c"]},
            "n": 1,
            "by_name": {"not/a/file": "d"},
            "pair": {"left": "e", "right": 2},
            "extra": None,
            "folder": "dir",
            "align.sort.index": "f",
            "align.sort.runtime.docker": "not/a/file",
        },
    )
    assert list(file_values(plan, inputs)) == ["a", "b", "c", "d", "e", "dir", "f"]
    assert map_files(plan, inputs, str.upper) == {
        "sample": {"name": "not/a/file", "reads": "A", "more": ["B", "C"]},
        "n": 1,
        "by_name": {"not/a/file": "D"},
        "pair": {"left": "E", "right": 2},
        "extra": None,
        "folder": "DIR",
        "align.sort.index": "F",
        "align.sort.runtime.docker": "not/a/file",
    }
    assert map_files(plan, inputs, lambda path: path) == inputs


def test_files_of_a_task_that_runs_directly(task_plan: Plan) -> None:
    assert list(file_values(task_plan, {"reads": "a", "threads": 2, "index": "b"})) == ["a", "b"]


def test_what_a_struct_has_no_member_for_is_left_out() -> None:
    plan = compile_wdl(
        """
        version 1.0
        struct S { Int n }
        workflow w { input { Map[String, Array[Pair[S, String]]] deep } }
        """
    )
    given = {"deep": {"k": [{"left": {"n": 1, "more": {"x": 2}}, "right": "r"}]}}
    assert bind_inputs(plan, given) == {"deep": {"k": [{"left": {"n": 1}, "right": "r"}]}}
    with pytest.raises(InputsError, match="no 'n'"):
        bind_inputs(plan, {"deep": {"k": [{"left": {"more": 1}, "right": "r"}]}})
