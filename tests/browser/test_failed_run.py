"""Runs that fail, side by side with others, and what their pages and logs show."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from .airflow_pages import Airflow
from .conftest import PATIENCE

pytestmark = pytest.mark.browser
SAMPLES = ["normal", "tumor", "relapse"]
CONFS = {
    "call": {"bad": "tumor"},
    "outputs": {"divide": True},
    "refused": {"samples": [], "bad": "none", "trial.sample": "x"},
}


@pytest.fixture(scope="module")
def ended(airflow_url) -> None:
    """Runs of ``trial``, named after what fails of them, and one of ``kmer_study``, all at the same time."""
    airflow = Airflow(airflow_url)
    runs = {("trial", name): {"sizes": [50], "samples": SAMPLES, **conf} for name, conf in CONFS.items()}
    runs["kmer_study", "groups"] = {}
    for (dag, name), conf in runs.items():
        status, answer = airflow.api(f"/dags/{dag}/dagRuns", {"dag_run_id": name, "logical_date": None, "conf": conf})
        assert status == 200, answer
    deadline = time.monotonic() + PATIENCE
    while {airflow.api(f"/dags/{dag}/dagRuns/{name}")[1]["state"] for dag, name in runs} & {"queued", "running"}:
        assert time.monotonic() < deadline
        time.sleep(1)


def test_the_shard_that_failed_comes_first_under_its_value(airflow, ended):
    page = airflow.open("/dags/trial/runs/call/plugin/wdl-run")
    failure = page.get_by_test_id("failure")
    expect(failure).to_have_count(1)
    expect(failure).to_contain_text("align[1] tumor")
    expect(failure.get_by_test_id("reason")).to_have_text("the command failed with exit code 3")
    failure.get_by_role("button", name="stderr").click()
    expect(failure.get_by_test_id("log")).to_contain_text("no reads of tumor")
    page.locator("[data-testid=call][data-call=align]").get_by_test_id("toggle").first.click()
    shards = page.get_by_test_id("shard")
    expect(shards).to_have_count(len(SAMPLES))
    expect(shards.first).to_contain_text("tumor")
    expect(shards.last).to_contain_text("relapse")


@pytest.mark.parametrize(
    ("run", "task", "reason"),
    [
        ("outputs", "outputs", re.compile("quotient: .* by zero")),
        ("refused", "inputs", re.compile(r"unknown input trial\.sample")),
    ],
)
def test_what_failed_before_or_after_the_calls_leads_to_its_log(airflow, ended, run, task, reason):
    page = airflow.open(f"/dags/trial/runs/{run}/plugin/wdl-run")
    failure = page.get_by_test_id("failure-beside")
    expect(failure).to_have_count(1)
    expect(failure).to_have_attribute("data-task", task)
    failure.get_by_role("link").click()
    expect(page.get_by_text(reason).first).to_be_visible()


def test_a_call_of_a_task_group_has_its_own_run_on_its_tab(airflow, ended):
    for group in ("short", "longer"):
        page = airflow.open(f"/dags/kmer_study/runs/groups/tasks/{group}.compare/plugin/wdl-call")
        expect(page.get_by_test_id("run-header")).to_contain_text(f"task {group}")
        expect(page.get_by_test_id("call")).to_have_count(1)
        expect(page.get_by_test_id("attempts").get_by_role("link", name="task instance in Airflow")).to_be_visible()


def test_each_log_has_the_states_and_lines_of_its_own_task_alone(airflow, ended):
    for index, sample in enumerate(SAMPLES):
        log = text_of_log(airflow, "call", "align", index)
        said = re.findall(r"\[(\d)\] ECS task is (\w+)", log)
        assert {shard for shard, _ in said} == {str(index)}, log
        assert [state for _, state in said].count("STOPPED") == 1, log
        assert re.findall(r"no reads of (\w+)$", log, re.MULTILINE)[0] == sample
        assert not any(other in log for other in SAMPLES if other != sample)


def text_of_log(airflow: Airflow, run: str, task: str, map_index: int) -> str:
    """The messages in the log of a task instance's first try."""
    place = f"/dags/trial/dagRuns/{run}/taskInstances/{task}/logs/1?map_index={map_index}&full_content=true"
    status, answer = airflow.api(place)
    assert status == 200, answer
    return "\n".join(str(line["event"]) for line in answer["content"])
