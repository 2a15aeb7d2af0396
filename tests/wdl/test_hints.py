"""The hints of a task, found in its text."""

from __future__ import annotations

import pytest
from test_task_evaluation import evaluation, task

from airflow_wdl_ecs.ecs.attributes import policy_of
from airflow_wdl_ecs.errors import EvaluationError, Position
from airflow_wdl_ecs.wdl.hints import hint_expressions

BODY = """  input { Int n = 3  File? f }
  # hints { no: 1 }
  command <<< hints { cpu: 5 } " ' }} >>>
  String s = "hints { x: ~{sep="," ["}"]} "
  String m = <<< hints { y: 1 } >>>
  requirements { cpu: n }
  hints {
    preemptible: n + 1, max_memory: "~{n} GB"
    cpu: 99
    inputs: input { f: hints { localization_optional: true } }  # hint: not this
    custom: { "a": [1, 2] }
  }
  output { String o = s }"""


def test_they_are_found_among_what_looks_like_them():
    found = hint_expressions(task(BODY, "1.2"))
    assert {name: str(expr.type) for name, expr in found.items()} == {
        "preemptible": "Int",
        "max_memory": "String",
        "cpu": "Int",
        "custom": "Map[String,Array[Int]+]",
    }


def test_a_requirement_wins_over_a_hint_and_an_override_over_both():
    assert evaluation(BODY, version="1.2").runtime == {
        "preemptible": 4,
        "max_memory": "3 GB",
        "cpu": 3,
        "custom": {"a": [1, 2]},
    }
    assert evaluation(BODY, version="1.2", runtime_overrides={"cpu": 8, "preemptible": 0}).runtime["preemptible"] == 0


def test_hints_say_how_memory_grows():
    hints = 'hints { memory_retry_multiplier: 1.25  max_memory: "8 GiB" }'
    policy = policy_of(evaluation(f"command <<<>>> {hints}", version="1.2").runtime)
    assert (policy.memory_factor, policy.memory_limit) == (1.25, 8192)


def test_a_hint_that_describes_a_requirement_is_none():
    text = "command <<<>>> requirements {{ {} }} hints {{ gpu: 4  disks: 'SSD'  fpga: 1 }}"
    assert evaluation(text.format("gpu: true"), version="1.2").runtime == {"gpu": True, "gpuCount": 4}
    assert evaluation(text.format("gpu: false"), version="1.2").runtime == {"gpu": False}


@pytest.mark.parametrize("odd", ["\u2028", "\x0c", "\x85", "\x1c"])
def test_only_an_end_of_line_ends_a_line(odd: str) -> None:
    """What else Python takes for one is no reason to look for hints in the wrong place, and to find none."""
    text = f"# form{odd}feed\n command <<< hints {{ }} {{ ( >>>\n hints {{ max_memory: '8 GiB' }}"
    assert evaluation(text, version="1.2").runtime == {"max_memory": "8 GiB"}


def test_an_error_in_a_hint_has_its_position():
    with pytest.raises(EvaluationError) as caught:
        evaluation("command <<<>>>\n hints {\n  a: 1\n  b: [1][5]\n }", version="1.2")
    assert caught.value.position == Position("flow.wdl", 7, 10)


def test_a_task_without_hints():
    assert hint_expressions(task("command <<<>>>", "1.2")) == {}
