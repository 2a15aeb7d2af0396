"""Airflow's pages in the words of who uses them: the trigger form, a run, a task's page, the page "WDL runs"."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Airflow:
    """An Airflow, and the window that looks at it."""

    url: str
    page: Page | None = None

    def api(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """What the REST API answers: the status, and the JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v2{path}", data, {"Content-Type": "application/json"})
        try:
            with _LOOPBACK.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def knows(self, dag_id: str) -> bool:
        try:
            return self.api(f"/dags/{dag_id}")[0] == 200
        except OSError:
            return False

    def open(self, path: str) -> Page:
        assert self.page is not None
        self.page.goto(f"{self.url}{path}")
        return self.page

    def trigger_form(self, dag_id: str) -> TriggerForm:
        """Open a DAG's page, and its trigger form."""
        page = self.open(f"/dags/{dag_id}")
        page.get_by_test_id("trigger-dag-button").click()
        return TriggerForm(page, dag_id)


@dataclass(frozen=True)
class TriggerForm:
    """The form in which a run's inputs are given."""

    page: Page
    dag_id: str

    @property
    def form(self) -> Locator:
        return self.page.get_by_test_id("config-form")

    @property
    def submit(self) -> Locator:
        return self.page.get_by_test_id("trigger-dag-submit")

    def section(self, name: str) -> None:
        """Open a section; the one that was open closes."""
        self.form.get_by_role("button", name=name, exact=True).click()

    def field(self, name: str) -> Locator:
        """A field of text, or of one item a line."""
        return self.page.locator(f"[id='element_{name}']")

    def fill(self, name: str, text: str) -> None:
        self.field(name).fill(text)

    def fill_number(self, name: str, text: str) -> None:
        self.page.locator(f"input[name='element_{name}']").fill(text)

    def choose(self, name: str, option: str) -> None:
        """Choose from a drop-down."""
        self.field(name).click()
        self.page.get_by_role("option", name=option).click()

    def name_run(self, run_id: str) -> None:
        self.section("Advanced Options")
        self.page.locator("input[name='dagRunId']").fill(run_id)

    def paste(self, inputs: dict[str, Any]) -> None:
        """Replace the configuration's JSON by what is in the clipboard, as a person does."""
        self.section("Advanced Options")
        self.form.locator(".monaco-editor .view-lines").last.click()
        self.page.keyboard.press("Control+A")
        self.page.evaluate("text => navigator.clipboard.writeText(text)", json.dumps(inputs, indent=2))
        self.page.keyboard.press("Control+V")
        self.form.get_by_text("Dag Run Note").click()

    def trigger(self) -> str:
        """Send the form; the run's id."""
        self.submit.click()
        self.page.wait_for_url("**/runs/*")
        return self.page.url.partition("?")[0].rsplit("/", 1)[1]


def run_state(page: Page) -> Locator:
    """The state of the DAG run or task instance whose page this is."""
    return page.get_by_test_id("header-card").get_by_test_id("state-badge")
