"""Slices are parsed once, as they were accepted, and keep their place in the user's source."""

from __future__ import annotations

import pytest
import WDL

from airflow_wdl_ecs.errors import AuthorError, Position
from airflow_wdl_ecs.plan import ROOT, Document, Expression, Ref, Task
from airflow_wdl_ecs.wdl.slices import parse_expression, parse_task, position_in_expression, position_in_task

HERE = Position("flow.wdl", 10, 5)
DOCUMENT = Document("1.1", "struct S { Int n }")


def expression(text: str, **types: str) -> Expression:
    return Expression(text, "Any", ROOT, HERE, {name: Ref(name, type_text) for name, type_text in types.items()})


def task(body: str) -> Task:
    return Task(name="t", source=f"version 1.1\ntask t {{ {body} }}", wdl_version="1.1", position=HERE, line_offset=8)


def at(line: int, column: int) -> WDL.SourcePosition:
    return WDL.SourcePosition("", "", line, column, line, column)


def test_equal_slices_are_parsed_once():
    assert parse_task(task("command <<<>>>")) is parse_task(task("command <<<>>>"))
    assert parse_expression(expression("x + 1", x="Int"), DOCUMENT) is parse_expression(
        expression("x + 1", x="Int"), DOCUMENT
    )


def test_a_slice_is_typed_by_its_references_and_its_structs():
    assert str(parse_expression(expression("x + 1", x="Float"), DOCUMENT).type) == "Float"
    assert str(parse_expression(expression("x + 1", x="Int"), DOCUMENT).type) == "Int"
    assert str(parse_expression(expression("[S { n: y.n }]", y="S"), DOCUMENT).type) == "Array[S]+"


def test_a_workflow_that_was_accepted_with_unchecked_quantifiers_is_again():
    unchecked = task("input { Int? x } Int y = x command <<<>>>")
    assert [decl.name for decl in parse_task(unchecked).postinputs] == ["y"]
    assert str(parse_expression(expression("floor(x)", x="Float?"), DOCUMENT).type) == "Int"


@pytest.mark.parametrize("body", ["command", "Int x = y command <<<>>>", "Map[Int, Int] x = 1 command <<<>>>"])
def test_what_is_no_task_is_for_the_author(body):
    with pytest.raises(AuthorError, match=r"flow\.wdl:10:5"):
        parse_task(task(body))


@pytest.mark.parametrize("text", ["1 +", "y", "S { m: 1 }"])
def test_what_is_no_expression_is_for_the_author(text):
    with pytest.raises(AuthorError, match=r"flow\.wdl:10:5"):
        parse_expression(expression(text), DOCUMENT)


def test_what_is_too_deep_for_this_process_is_for_the_author_too():
    deep = "1" + " + 1" * 3000
    with pytest.raises(AuthorError, match=r"flow\.wdl:10:5.*nested too deeply"):
        parse_expression(expression(deep), DOCUMENT)
    with pytest.raises(AuthorError, match=r"flow\.wdl:10:5.*nested too deeply"):
        parse_task(task(f"Int x = {deep} command <<<>>>"))


def test_positions():
    found = expression("f(\n  x)")
    assert position_in_expression(found, at(1, 1)) == HERE
    assert position_in_expression(found, at(1, 3)) == Position("flow.wdl", 10, 7)
    assert position_in_expression(found, at(2, 3)) == Position("flow.wdl", 11, 3)
    assert position_in_task(task(""), at(2, 1)) == Position("flow.wdl", 10, 1)
