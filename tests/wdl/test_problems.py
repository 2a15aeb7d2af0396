"""What is wrong with a source, in words and at its place; see `test_load` for what miniwdl finds in whole documents."""

from __future__ import annotations

import pytest
import WDL

from airflow_wdl_ecs.errors import Position, Problem
from airflow_wdl_ecs.wdl.problems import causes, in_order, problem_at


def at(line: int, column: int) -> WDL.SourcePosition:
    return WDL.SourcePosition("w.wdl", "w.wdl", line, column, line, column + 1)


@pytest.mark.parametrize(
    ("line", "text", "excerpt"),
    [
        (2, "a\n\tInt x\nb", "\tInt x\n\t  ^"),
        (2, "a\n\nb", ""),
        (2, f"a\n{'x' * 500}\nb", f"{'x' * 160}\n  ^"),
        (9, "a\nb", ""),
    ],
)
def test_a_problem_has_its_line_and_a_caret_below_its_column(line: int, text: str, excerpt: str) -> None:
    found = problem_at("no", at(line, 4 if "\t" in text else 3), "w.wdl", text)
    assert found.position is not None
    assert found.position.line == line
    assert found.excerpt == excerpt


def test_the_caret_of_a_long_line_stands_below_its_column() -> None:
    shown, caret = problem_at("no", at(1, 301), "w.wdl", f"{'a' * 300}!{'b' * 300}").excerpt.split("\n")
    assert len(shown) == 160
    assert shown[caret.index("^")] == "!"


def test_the_end_of_the_file_and_the_version_have_places_of_their_own() -> None:
    text = "# first\nversion 1.0\ntask t {\n\n"
    end = problem_at("unexpected end of file", at(-1, -1), "w.wdl", text)
    assert end.position == Position("w.wdl", 3, 9)
    assert problem_at("unknown version", at(0, 0), "w.wdl", text).position == Position("w.wdl", 2, 1)
    assert problem_at("an empty document", None, "w.wdl", "").position == Position("w.wdl", 1, 1)


def test_an_error_that_miniwdl_did_not_mean_says_so() -> None:
    assert list(causes(KeyError("x"))) == [("cannot be read as WDL (KeyError: 'x')", None)]
    (digits, _), *none = causes(ValueError("Exceeds the limit (4300 digits) for integer string conversion"))
    assert (digits, none) == ("an integer of thousands of digits", [])


def test_problems_stand_by_document_as_these_were_met_and_then_by_place() -> None:
    places = [None, ("b.wdl", 3, 1), ("a.wdl", 9, 9), ("b.wdl", 1, 7), ("a.wdl", 1, 2)]
    found = in_order([Problem("x", Position(*place) if place else None) for place in reversed(places)])
    assert [each.position and str(each.position) for each in found] == [
        *(None, "a.wdl:1:2", "a.wdl:9:9"),
        *("b.wdl:1:7", "b.wdl:3:1"),
    ]
