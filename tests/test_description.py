"""What a person reads about a workflow in Airflow."""

from __future__ import annotations

from dataclasses import replace

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.description import MOST_ROWS, describe_call, describe_dag
from airflow_wdl_ecs.plan import Input
from airflow_wdl_ecs.wdl.lower import compile_wdl

SOURCE = """version 1.0
workflow w {
    meta { description: "Counts." author: "Ada" }
    input { String who  Int? times  File? extra }
    call t { input: who = who }
    output { Int n = t.n }
    parameter_meta { who: { help: "Whom | what." } }
}
task t {
    meta { description: "Counts one." }
    input { String who }
    command <<< echo '~{who}' | wc -c >>>
    output { Int n = read_int(stdout()) }
}
"""


def test_the_dags_page_says_what_goes_in_and_what_comes_out():
    page = describe_dag(compile_wdl(SOURCE))
    assert page.startswith("Counts.\n- **author**: Ada")
    assert "| `who` | `String` | required | Whom \\| what. |" in page
    assert "| `n` | `Int` |" in page
    assert "```wdl\nversion 1.0\nworkflow w {" in page


def test_a_calls_page_shows_its_command_as_written():
    plan = compile_wdl(SOURCE)
    page = describe_call(plan, plan.calls[0])
    assert page.startswith("Counts one.")
    assert "echo '~{who}' | wc -c" in page
    assert build_dag(plan).get_task("t").doc_md == page


def test_a_source_with_fences_stays_in_its_block():
    page = describe_dag(replace(compile_wdl(SOURCE), source="# ```\nversion 1.0"))
    assert "````wdl\n# ```\nversion 1.0\n````" in page


def test_a_workflow_of_many_inputs_lists_the_required_ones_first_and_not_all():
    plan = compile_wdl(SOURCE)
    first = plan.inputs[0]
    many = tuple(Input(f"i{n}", "i", "Int?", "0", False, first.position) for n in range(2 * MOST_ROWS))
    page = describe_dag(replace(plan, inputs=(*many, first)))
    assert page.index("`who`") < page.index("`i0`")
    assert f"and {MOST_ROWS + 1} more" in page
