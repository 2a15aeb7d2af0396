"""A run in a browser, from the form to a downloaded output, and what its pages show of it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from .airflow_pages import Airflow, run_state
from .conftest import PATIENCE

pytestmark = pytest.mark.browser
DAG = "motif_counts"
RUN = "tumor-1"


@pytest.fixture(scope="module")
def finished(airflow_url, chromium):
    """A run that somebody started with the form, and saw succeed."""
    context = chromium.new_context(locale="en-US", timezone_id="UTC")
    context.set_default_timeout(PATIENCE * 1000)
    expect.set_options(timeout=PATIENCE * 1000)
    form = Airflow(airflow_url, context.new_page()).trigger_form(DAG)
    form.fill("sample", "tumor-1")
    form.fill("motifs", "TATA\nGATTACA\nACGT")
    form.section("Counting")
    form.fill_number("at_least", "0")
    form.choose("strand", "forward strand")
    form.name_run(RUN)
    run = form.trigger()
    expect(run_state(form.page)).to_have_text("Success")
    context.close()
    return f"/dags/{DAG}/runs/{run}"


def test_the_graph_reads_like_the_workflow(airflow, finished, screenshot):
    page = airflow.open(finished)
    page.get_by_role("button", name="Show Graph").click()
    graph = page.locator(".react-flow")
    expect(graph.get_by_text("scatter motif")).to_be_visible()
    expect(graph.get_by_text("if !defined(reads)")).to_be_visible()
    page.get_by_test_id("expand-all-button").click()
    for name in ("inputs", "simulate", "shards of motif", "search", "report", "outputs"):
        expect(graph.get_by_text(re.compile(rf"^{name}( \[\d*\])?$")).first).to_be_visible()
    screenshot("graph")


def test_the_dags_page_has_the_workflow(airflow, finished):
    page = airflow.open(f"/dags/{DAG}")
    expect(page.get_by_role("link", name="wdl 1.1", exact=True)).to_be_visible()
    page.get_by_role("button", name="Dag Docs").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("paragraph").filter(has_text="Counts motifs in a sample's reads")).to_be_visible()
    expect(dialog.get_by_role("cell", name="What to call the sample in the report.")).to_be_visible()
    expect(dialog.get_by_text("scatter (motif in motifs)")).to_be_visible()


def test_a_calls_log_has_its_command_and_its_outputs(airflow, finished, screenshot):
    page = airflow.open(f"{finished}/tasks/simulate")
    expect(page.get_by_text("the command succeeded with exit code 0")).to_be_visible()
    expect(page.get_by_text("output reads =")).to_be_visible()
    expect(page.get_by_text("done > reads.txt")).to_be_visible()
    screenshot("task-log")


def test_a_calls_link_leads_to_what_is_known_of_it(airflow, finished):
    page = airflow.open(f"{finished}/tasks/report/details")
    page.get_by_role("link", name="ECS task").click()
    expect(page.get_by_test_id("run-header")).to_contain_text(RUN)
    expect(page.locator("[data-testid=call][data-call=report]")).to_have_attribute("data-state", "succeeded")


def test_the_run_page_has_the_outputs_and_gives_the_files(airflow, finished, screenshot, tmp_path):
    page = airflow.open(f"{finished}/plugin/wdl-run")
    outputs = page.get_by_test_id("wdl-runs").get_by_test_id("outputs")
    expect(outputs).to_contain_text("found")
    for call in ("simulate", "search", "report"):
        expect(page.locator(f"[data-testid=call][data-call={call}]")).to_have_attribute("data-state", "succeeded")
    screenshot("run-page")
    with page.expect_download() as download:
        outputs.get_by_test_id("file").click()
    assert download.value.suggested_filename == "tumor-1.motifs.tsv"
    download.value.save_as(tmp_path / "table.tsv")
    rows = (tmp_path / "table.tsv").read_text().splitlines()
    assert rows[0] == "sample\tmotif\tcount\tname"
    assert {row.split("\t")[1] for row in rows[1:]} == {"TATA", "GATTACA", "ACGT"}


def test_the_run_page_says_what_commands_used(airflow, finished):
    page = airflow.open(f"{finished}/plugin/wdl-run")
    simulate = page.locator("[data-testid=call][data-call=simulate]")
    simulate.get_by_test_id("toggle").first.click()
    expect(simulate.get_by_test_id("attempt")).to_contain_text(" vCPU on average")
    search = page.locator("[data-testid=call][data-call=search]")
    search.get_by_test_id("toggle").first.click()
    expect(search.get_by_test_id("usage")).to_contain_text("in the busiest shard (3 shards)")


def test_the_list_of_runs_leads_to_the_run(airflow, finished):
    page = airflow.open("/plugin/wdl-runs")
    page.get_by_test_id("run-row").filter(has_text=RUN).get_by_role("link").first.click()
    expect(page.get_by_test_id("run-header")).to_contain_text(RUN)
