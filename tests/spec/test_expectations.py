"""The record of examples that do not pass, the judgement of an outcome by it, and the page of results."""

from __future__ import annotations

import msgspec
import pytest

from .examples import Example
from .expectations import Expectation, read_expectations
from .outcomes import Outcome, judge, try_example
from .table import Row, table

WRONG = Expectation("example", "it contradicts itself", ("x",))
NO_GPU = Expectation("machine", "a GPU")


def record(tmp_path, text):
    path = tmp_path / "expectations.json"
    path.write_text(text)
    return read_expectations(path)


def test_the_record_of_this_repository_is_sound():
    found = read_expectations()
    assert found.by_version.keys() == {"1.1", "1.2"}


def test_what_is_not_recorded_passes(tmp_path):
    found = record(tmp_path, '{"1.2": {"a": {"cause": "example", "at": ["x"], "reason": "r"}}}')
    assert found.of(Example("1.2", "a", 1, "")) == Expectation("example", "r", ("x",))
    assert found.of(Example("1.2", "b", 1, "")) is None
    assert found.of(Example("1.1", "a", 1, "")) is None
    assert found.unknown("1.2", {"b"}) == {"a"}


@pytest.mark.parametrize(
    "entry",
    [
        '{"cause": "weather", "at": ["x"], "reason": "r"}',
        '{"cause": "example", "reason": "r"}',
        '{"cause": "machine", "at": ["x"], "reason": "r"}',
        '{"cause": "example", "at": ["x"]}',
    ],
)
def test_a_record_that_says_too_little_is_refused(tmp_path, entry):
    with pytest.raises((msgspec.ValidationError, ValueError)):
        record(tmp_path, f'{{"1.2": {{"a": {entry}}}}}')


@pytest.mark.parametrize(
    ("outcome", "expected"), [(Outcome(), None), (Outcome(("x",)), WRONG), (Outcome(("x",), "other words"), WRONG)]
)
def test_an_outcome_as_recorded(outcome, expected):
    assert judge(outcome, expected) is None


@pytest.mark.parametrize(
    ("outcome", "expected", "words"),
    [
        (Outcome(), WRONG, "it passes now"),
        (Outcome(("run",), "no such file"), None, "it fails at run\nno such file"),
        (Outcome(("x", "y")), WRONG, "fails at x, y, and is recorded as failing at x"),
    ],
)
def test_an_outcome_that_differs_from_the_record(outcome, expected, words):
    assert words in str(judge(outcome, expected))


class Echo:
    """Gives every example the same outputs, or fails."""

    at_once = 1

    def __init__(self, outputs=None, error=None):
        self.outputs = outputs or {}
        self.error = error

    def run(self, plan, inputs, name):
        if self.error:
            raise self.error
        return self.outputs

    def is_path(self, value):
        return False

    def read(self, path):
        return None


SOURCE = "version 1.2\nworkflow w {\n  input {\n    Int x\n  }\n  output {\n    Int y = x\n    Int z = x\n  }\n}\n"


@pytest.mark.parametrize(
    ("source", "inputs", "config", "outputs", "at"),
    [
        (SOURCE, {"w.x": 1}, {}, {"w.y": 1, "w.z": 2}, ()),
        (SOURCE, {"w.x": 1}, {}, {"w.y": 2, "w.z": 3}, ("y", "z")),
        (SOURCE, {"w.x": 1}, {"exclude_output": "z"}, {"w.y": 1, "w.z": 3}, ()),
        (SOURCE, {"w.x": "a"}, {}, {}, ("inputs",)),
        (SOURCE, {"w.x": "a"}, {"fail": True}, {}, ()),
        (SOURCE, {"w.x": 1}, {"fail": True}, {}, ("success",)),
        (SOURCE.replace("Int y", "Nothing y"), {}, {}, {}, ("compile",)),
        (SOURCE.replace("Int y", "Nothing y"), {}, {"fail": True}, {}, ()),
    ],
)
def test_what_becomes_of_an_example(tmp_path, source, inputs, config, outputs, at):
    example = Example("1.2", "w", 1, source, inputs, {"w.y": 1, "w.z": 2}, config)
    (tmp_path / "w.wdl").write_text(source)
    assert try_example(example, tmp_path, Echo(outputs)).at == at


@pytest.mark.parametrize(
    ("config", "at"),
    [
        ({}, ("run",)),
        ({"fail": True}, ()),
        ({"fail": True, "return_code": 7}, ()),
        ({"fail": True, "return_code": [8, 9]}, ("exit code",)),
    ],
)
def test_what_becomes_of_an_example_whose_command_fails(tmp_path, config, at):
    from airflow_wdl_ecs.errors import CallError

    example = Example("1.2", "w", 1, SOURCE, {"w.x": 1}, {}, config)
    (tmp_path / "w.wdl").write_text(SOURCE)
    host = Echo(error=CallError("exit code 7", exit_code=7))
    assert try_example(example, tmp_path, host).at == at


def test_the_page_counts_and_says_why():
    page = table(
        [
            Row("1.2", "b", "failed", WRONG),
            Row("1.2", "a", "passed"),
            Row("1.1", "c", "not run", NO_GPU),
            Row("1.2", "d", "failed"),
        ]
    )
    assert "| 1.1 | 0 | 0 | 1 |\n| 1.2 | 1 | 2 | 0 |" in page
    assert "| b | x | it contradicts itself |" in page
    assert "| c | not run | a GPU |" in page
    assert "Failed, and should not: d." in page
    assert "Passed: a." in page
