"""What a log, a terminal or a page shows of any text is one line, and nothing that acts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_wdl_ecs.errors import CallError, EvaluationError
from airflow_wdl_ecs.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, \u00e9t\u00e9, \u65e5\u672c, \U0001f9ec", None),
        ("a tab\tstays, and a wide blank\u00a0too", None),
        ("one\n[2026-01-01] INFO - two", "one\\n[2026-01-01] INFO - two"),
        ("50 %\r100 %", "50 %\\r100 %"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07", "\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07"),
        ("\x9b31m\x85\x7f\0", "\\x9b31m\\x85\\x7f\\x00"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("exe.\u202etxt\u2066\u200f", "exe.\\u202etxt\\u2066\\u200f"),
        ("\ud800\ufeff", "\\ud800\\ufeff"),
    ],
)
def test_what_is_more_than_printed_is_escaped(text, shown):
    assert printable(text) == (shown or text)


@given(st.text(st.characters()))
def test_any_text_is_one_line_that_can_be_written(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    assert printable(shown) == shown


def test_a_text_of_lines_keeps_them():
    assert printable_lines("a\n\tb\x1b\n") == "a\n\tb\\x1b\n"


def test_an_error_acts_on_no_terminal():
    assert str(CallError("no\x1b[2J\nlast lines", hint="h\r")) == "no\\x1b[2J\nlast lines\nh\\r"
    assert EvaluationError("\x07").message == "\x07"
