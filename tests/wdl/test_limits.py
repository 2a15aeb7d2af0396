"""Expressions that ask for too much are refused soon, and say which limit they met."""

from __future__ import annotations

import time

import pytest
import WDL
from memory_files import MemoryFiles

from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl import limits, text_functions
from airflow_wdl_ecs.wdl.limits import check_value
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.task_evaluation import TaskEvaluation
from airflow_wdl_ecs.wdl.workflow_evaluation import WorkflowEvaluation


def plan_of(body: str) -> Plan:
    return compile_wdl(f"version 1.2\nworkflow w {{\n{body}\n}}\n")


def outputs_of(body: str, inputs: dict | None = None, **files: bytes) -> dict:
    stored = MemoryFiles({f"s3://b/{name}": data for name, data in files.items()})
    evaluation = WorkflowEvaluation(plan_of(body), inputs or {}, stored, lambda call, shard: None)
    return evaluation.outputs()


def doubling(first: str, step: str, count: int, wdl_type: str = "String") -> str:
    decls = [f"{wdl_type} x0 = {first}"]
    decls += [f"{wdl_type} x{n} = {step.replace('_', f'x{n - 1}')}" for n in range(1, count)]
    return "\n".join(decls)


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ("Array[Int] x = range(1000000000000)", "1000000 is the most"),
        ("Array[Int] a = range(100000) Array[Pair[Int, Int]] x = cross(a, a)", "1000000 is the most"),
        ("Array[Int] a = range(500000) Array[Int] x = flatten([a, a, a])", "1000000 is the most"),
        ("Int x = 10 ** 1000000000", "64 bits"),
        ("Int x = 2 ** 63", "64 bits"),
        ("Int x = 9223372036854775807 + 1", "64 bits"),
        ("Int a = 4000000000000 Int x = a * a", "64 bits"),
        (doubling("'abcdefgh'", "_ + _", 60), "characters"),
        (doubling("'abcdefgh'", '"~{_}~{_}"', 60), "characters"),
        (doubling("'abcdefgh'", "sub(_, '.', '&&&&&&&&&&&&&&&&')", 12), "characters|timed out"),
        (doubling("'abcdefgh'", "_ + _", 16) + '\nString x = sub(x15, "a", x15)', "characters|timed out"),
        (doubling("'abcdefgh'", "_ + _", 20) + f'\nString x = "{"~{x19}" * 1000}"', "characters"),
        (doubling("'abcdefgh'", "_ + _", 20) + '\nString x = "~{sep=", " prefix(x19, range(1000))}"', "characters"),
        (doubling("'abcdefgh'", "_ + _", 20) + "\nFile x = write_json(cross(range(1000), [x19]))", "characters"),
        (
            doubling("'abcdefgh'", "_ + _", 20) + "\nArray[Pair[Int, String]] x = cross(range(999), [x19])",
            "characters",
        ),
        (doubling("[1, 2]", "flatten([_, _])", 60, "Array[Int]"), "items"),
        (doubling("['ab', 'cd']", "[sep('', _), sep('', _)]", 60, "Array[String]"), "characters"),
        ("Boolean x = matches('" + "a" * 40 + "!', '^(a|a|aa)+$')", "timed out"),
        (f"Boolean x = matches('a', '{'a' * 20000}')", "10000 is the most"),
    ],
    ids=lambda text: text[:50],
)
def test_what_would_grow_without_end_is_refused(body, limit, monkeypatch):
    monkeypatch.setattr(text_functions, "_REGEX_SECONDS", 2)
    started = time.process_time()
    with pytest.raises(EvaluationError, match=limit) as caught:
        outputs_of(f"{body}\noutput {{ Int done = 1 }}")
    assert time.process_time() - started < 20
    assert caught.value.position is not None


def test_parts_that_are_one_object_count_as_often_as_they_are_named():
    """A thousand lists of a thousand lists of one list of a thousand take no more memory than three lists."""
    value: WDL.Value.Base = WDL.Value.Int(1)
    wdl_type: WDL.Type.Base = WDL.Type.Int()
    for _ in range(3):
        value, wdl_type = WDL.Value.Array(wdl_type, [value] * 1000), WDL.Type.Array(wdl_type)
    with pytest.raises(EvaluationError, match="4000000 parts"):
        check_value(value)
    assert check_value(value.value[0]) is value.value[0]


@pytest.mark.parametrize(
    ("call", "data"),
    [
        ("Array[String] x = read_lines(f)", b"\n" * 2_000_000),
        ("Array[Array[String]] x = read_tsv(f)", b"\t" * 2_000_000),
        ("Array[Int] x = read_json(f)", b"[" + b"1," * 2_000_000 + b"1]"),
        ("Array[Int] x = read_json(f)", b"[" * 100_000 + b"]" * 100_000),
        ("Int x = read_int(f)", b"9" * 1_000_000),
        ("Float x = read_float(f)", b"1e999999"),
        ("Float x = read_json(f)", b"NaN"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_files_that_hold_too_much_are_refused(call, data):
    started = time.process_time()
    with pytest.raises(EvaluationError):
        outputs_of(f"input {{ File f }} {call}\noutput {{ Int done = 1 }}", {"f": "s3://b/f"}, f=data)
    assert time.process_time() - started < 20


def test_what_is_within_the_limits_is_evaluated():
    found = outputs_of(
        """
        Array[Int] a = range(50000)
        String s = sep("", a)
        Int most = 9223372036854775807
        output { Int n = length(flatten([a, a]))  Int length_of_s = length(s)  Int m = most - 1  Int p = 2 ** 62 }
        """
    )
    assert found == {"n": 100_000, "length_of_s": 238_890, "m": 2**63 - 2, "p": 2**62}


STRING = "String s = '" + "x" * 1000 + "'\n"


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ("\n".join(f"Array[Int] r{n} = range(900)" for n in range(20)), "declarations hold more than 10000 values"),
        (STRING + "\n".join(f"String y{n} = s + '{n}'" for n in range(20)), "hold strings of more than 10000 char"),
        (f"Array[Array[Int]] r = [{', '.join(['range(900)'] * 20)}]", "the expression makes more than 10000 values"),
        (f"Int n = {' + '.join(['length(range(900))'] * 20)}", "the expression makes more than 10000 values"),
        (STRING + "Array[String] y = [" + ", ".join(['"~{s}a"'] * 20) + "]", "the expression makes strings of more"),
        ("scatter (a in range(900)) { Array[Int] r = range(100) }", "declarations hold more than 10000 values"),
    ],
    ids=["declarations", "strings", "in a literal", "one after the other", "strings in a literal", "in shards"],
)
def test_what_is_large_only_together_is_refused(body, limit, monkeypatch):
    monkeypatch.setattr(limits, "MOST_PARTS_HELD", 10_000)
    monkeypatch.setattr(limits, "MOST_CHARACTERS_HELD", 10_000)
    with pytest.raises(EvaluationError, match=limit) as caught:
        outputs_of(f"{body}\noutput {{ Int done = 1 }}")
    assert caught.value.position is not None


def test_all_that_a_task_declares_is_bounded_too(monkeypatch):
    monkeypatch.setattr(limits, "MOST_PARTS_HELD", 10_000)
    declared = "\n".join(f"Array[Int] r{n} = range(900)" for n in range(20))
    plan = compile_wdl(f"version 1.2\ntask t {{ {declared}\ncommand <<< >>> }}")
    with pytest.raises(EvaluationError, match="task's declarations hold more than 10000 values"):
        TaskEvaluation(next(iter(plan.tasks.values())), {}, folder="/f", files=MemoryFiles())


@pytest.mark.parametrize(
    "body",
    [
        "scatter (a in range(1000)) { scatter (b in range(1000)) { scatter (c in range(1000)) { Int x = a } } }",
        "scatter (a in range(1000)) { scatter (b in range(1000)) { Int x = a } }\nInt n = length(x)",
        "scatter (a in range(100001)) { Int x = a }",
    ],
)
def test_scatters_that_are_wide_together_are_refused(body):
    started = time.process_time()
    with pytest.raises(EvaluationError, match="max_shards allows 100000") as caught:
        outputs_of(f"{body}\noutput {{ Int done = 1 }}")
    assert time.process_time() - started < 20
    assert caught.value.position is not None


def test_a_map_has_as_many_items_as_it_has_keys():
    keys = [(WDL.Value.Int(n), WDL.Value.Int(n)) for n in range(600_000)]
    value = WDL.Value.Map((WDL.Type.Int(), WDL.Type.Int()), keys)
    assert check_value(value) is value
