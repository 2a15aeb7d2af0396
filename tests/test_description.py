"""What a person reads about a workflow in Airflow."""

from __future__ import annotations

from dataclasses import replace

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.description import LONGEST_LABEL, MOST_ROWS, describe_call, describe_dag, group_display
from airflow_wdl_ecs.errors import Position
from airflow_wdl_ecs.plan import Input, Section
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
    assert page.startswith("Counts.\n\n- **author**: Ada\n\n### Inputs")
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


def compiled(meta: str):
    return compile_wdl(SOURCE.replace('description: "Counts." author: "Ada"', meta))


def test_author_and_address_are_one_line_and_what_speaks_to_engines_is_none():
    page = describe_dag(compiled('author: "Ada" email: "ada@example.org" version: 2 allowNestedInputs: true'))
    assert page.startswith("- **author**: Ada (ada@example.org)\n- **version**: 2\n\n### Inputs")
    assert "allowNestedInputs" not in page.partition("### Source")[0]


def test_a_dag_has_the_workflows_tags_and_the_plans_digest():
    plan = compiled('keywords: ["rna", "wdl"] tags: "qc, short reads"')
    dag = build_dag(plan)
    assert dag.tags == {"wdl", "wdl 1.0", "rna", "qc", "short reads"}
    assert plan.digest[:12] in dag.doc_md
    assert build_dag(plan, tags=["mine"]).tags == {"mine"}


def test_a_title_is_shown_for_the_dag_that_has_the_workflows_name():
    plan = compiled('title: "Word counts"')
    assert build_dag(plan).dag_display_name == "Word counts"
    assert build_dag(plan, dag_id="w_nightly").dag_display_name == "w_nightly"


def test_a_long_condition_is_shortened_in_the_graph_and_whole_in_its_tooltip():
    label = f"if {' || '.join('abcdefgh')}" + " || defined(something)" * 3
    shown = group_display(Section("if_x", "if", "0", Position("w.wdl", 3, 5), "", label))
    assert len(shown["group_display_name"]) == LONGEST_LABEL
    assert label.startswith(shown["group_display_name"][:-1])
    assert shown["tooltip"] == f"{label}, at w.wdl:3:5"
