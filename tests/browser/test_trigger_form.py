"""The trigger form of a workflow, in a browser and as the REST API sees it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from .airflow_pages import Airflow, run_state

pytestmark = pytest.mark.browser
DAG = "motif_counts"


def test_what_is_required_stands_open_and_must_not_be_empty(airflow, screenshot):
    form = airflow.trigger_form(DAG)
    expect(form.field("sample")).to_be_visible()
    expect(form.form.get_by_text("This field is required")).to_have_count(2)
    expect(form.field("strand")).not_to_be_visible()
    expect(form.submit).to_be_disabled()
    form.fill("sample", "tumor-1")
    form.fill("motifs", "TATA\nGATTACA\nACGT")
    expect(form.form.get_by_text("This field is required")).to_have_count(0)
    expect(form.submit).to_be_enabled()
    screenshot("trigger-form")


def test_optional_inputs_have_their_defaults_and_no_asterisk(airflow, screenshot):
    form = airflow.trigger_form(DAG)
    form.fill("sample", "tumor-1")
    form.fill("motifs", "TATA")
    form.section("Counting")
    expect(form.field("strand")).to_contain_text("both strands")
    expect(form.page.locator("input[name='element_at_least']")).to_have_value("1")
    expect(form.form.get_by_role("checkbox")).to_be_checked()
    expect(form.form.locator("label", has_text="at_least")).not_to_contain_text("*")
    form.section("Reads")
    expect(form.form.get_by_text("WDL type File?, usually *.txt, in S3")).to_be_visible()
    expect(form.form.locator(".monaco-editor").first).to_contain_text('"length": 60')
    form.section("Counting")
    expect(form.field("strand")).to_be_visible()
    screenshot("trigger-form-options")


def test_numbers_can_be_chosen_from_a_list(airflow):
    form = airflow.trigger_form("trial")
    form.choose("sizes", "75")
    form.choose("sizes", "150")
    form.fill("samples", "tumor")
    run = form.trigger()
    expect(run_state(form.page)).to_have_text("Success")
    assert outcome(airflow, run, "inputs", "trial")["inputs"]["sizes"] == [75, 150]


def test_wrong_input_is_refused_with_its_reason(airflow):
    form = airflow.trigger_form(DAG)
    form.fill("sample", "tumor 1")
    form.fill("motifs", "TATA")
    form.submit.click()
    reason = form.page.get_by_text("Invalid input for param sample: 'tumor 1' does not match")
    expect(reason.first).to_be_visible()
    assert "/runs/" not in form.page.url


def test_an_existing_inputs_json_can_be_pasted(airflow):
    form = airflow.trigger_form(DAG)
    expect(form.submit).to_be_disabled()
    form.paste(
        {
            f"{DAG}.sample": "pasted",
            f"{DAG}.motifs": ["TATA", "ACGT"],
            f"{DAG}.simulation": {"reads": 20, "length": 30},
            f"{DAG}.simulate.seed": 3,
        }
    )
    expect(form.submit).to_be_enabled()
    run = form.trigger()
    expect(run_state(form.page)).to_have_text("Success")
    inputs = outcome(airflow, run, "inputs")
    assert inputs["inputs"]["simulate.seed"] == 3
    assert inputs["inputs"]["motifs"] == ["TATA", "ACGT"]


def test_the_inputs_task_tells_all_problems_at_once(airflow):
    form = airflow.trigger_form(DAG)
    form.paste({f"{DAG}.sampel": "a", f"{DAG}.motifs": "TATA", f"{DAG}.at_least": "many"})
    run = form.trigger()
    expect(run_state(form.page)).to_have_text("Failed")
    airflow.open(f"/dags/{DAG}/runs/{run}/tasks/inputs")
    for problem in (
        re.compile(r"unknown input motif_counts\.sampel; did you mean sample\?"),
        re.compile(r"input motif_counts\.motifs: expected Array\[String\]\+"),
        re.compile(r"input motif_counts\.at_least: expected Int"),
        re.compile(r"missing input sample \(String\)"),
    ):
        expect(airflow.page.get_by_text(problem).first).to_be_visible()


def test_the_api_takes_names_in_full_and_refuses_what_no_input_can_be(airflow_url):
    airflow = Airflow(airflow_url)
    path = f"/dags/{DAG}/dagRuns"
    status, answer = airflow.api(path, {"logical_date": None, "conf": {"sample": 3, "motifs": ["TATA"]}})
    assert status == 400
    assert "Invalid input for param sample" in answer["detail"]
    status, answer = airflow.api(
        path, {"logical_date": None, "conf": {f"{DAG}.sample": "a", f"{DAG}.motifs": ["TATA"]}}
    )
    assert status == 200, answer


def outcome(airflow: Airflow, run: str, task: str, dag: str = DAG) -> dict:
    """What a task returned."""
    status, answer = airflow.api(f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value")
    assert status == 200, answer
    return answer["value"]
