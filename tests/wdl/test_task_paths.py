"""What a task's text says of the facts about its own execution that it reads."""

from __future__ import annotations

import pytest

from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.task_paths import WHOLE, runtime_facts_used

TASK = """version 1.2
task t {
  meta { about: "task.id" }
  command <<< COMMAND >>>
  output { String out = read_string(stdout())  OUTPUT }
  requirements { container: "debian:12" }
}
"""


@pytest.mark.parametrize(
    ("command", "output", "used"),
    [
        ("echo task", "", set()),
        ("~{task.id} task.cpu", "", {"id"}),
        ("~{task  # the one that runs\n .memory}", "", {"memory"}),
        ("~{if task.attempt > 0 then 1 else 2}", "Int? code = task.return_code", {"attempt", "return_code"}),
        ("~{task.meta.about}", "", {"meta"}),
        ("~{write_json(task)}", "", WHOLE),
        ("~{write_json([task])} ~{task.cpu}", "", {*WHOLE, "cpu"}),
        ("", "File all = write_json({'x': task})".replace("'", '"'), WHOLE),
    ],
)
def test_the_members_of_task_that_are_read_and_all_where_it_is_taken_as_a_whole(
    command: str, output: str, used: set[str]
) -> None:
    plan = compile_wdl(TASK.replace("COMMAND", command).replace("OUTPUT", output))
    assert runtime_facts_used(plan.tasks["t"]) == used
