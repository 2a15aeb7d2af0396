"""What the page says of costs, by its own script alone: no Airflow is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

import airflow_wdl_ecs.runs_page
from airflow_wdl_ecs.cost import Cost
from airflow_wdl_ecs.report import CallReport, PriceList, to_json

from ..fabricated_run import report_of

pytestmark = pytest.mark.browser
STATIC = Path(airflow_wdl_ecs.runs_page.__file__).parent / "static"
PRICED = Cost(tasks=2, vcpu_hours=0.5, gb_hours=1.0, amount=0.25)


@pytest.fixture
def costs(page: Page) -> Page:
    """A window with the script of costs, as ``costs``."""

    def answer(route: Route) -> None:
        name = route.request.url.rsplit("/", 1)[-1]
        if name.endswith(".js"):
            route.fulfill(path=STATIC / name, content_type="text/javascript")
        else:
            route.fulfill(body="", content_type="text/html")

    page.route("http://page.test/**", answer)
    page.goto("http://page.test/")
    page.evaluate("async () => { globalThis.costs = await import('/costs.js'); }")
    return page


def call_of(cost: Cost, unread: int) -> CallReport:
    return CallReport("work", "work", "work", "running", {"succeeded": 2}, unread, 2, {}, None, None, cost=cost)


def said(costs: Page, cost: Cost, *unread: int) -> str:
    """The run's costs, of calls of which so many shards have not been read."""
    report = report_of(
        *(call_of(cost, shards) for shards in unread), cost=cost, prices=PriceList("USD", "2026-01-31", "ours")
    )
    shown: str = costs.evaluate("(report) => costs.section(report).innerText", to_json(report))
    return shown


def cell(costs: Page, cost: Cost, unread: int) -> dict[str, Any]:
    found: dict[str, Any] = costs.evaluate(
        """([call, prices]) => {
          const cell = costs.cell(call.cost, prices, call.unread);
          return { text: cell.textContent, title: cell.title };
        }""",
        [to_json(call_of(cost, unread)), {"currency": "USD"}],
    )
    return found


def test_the_costs_of_what_has_been_read_are_exact(costs: Page) -> None:
    text = said(costs, PRICED, 0, 0)
    assert "0.5000 vCPU-h · 1.0000 GB-h · 0.2500 USD" in text
    assert "in no sum" not in text
    assert cell(costs, PRICED, 0) == {"text": "0.2500 USD", "title": "0.5000 vCPU-h · 1.0000 GB-h · 0.2500 USD"}


def test_what_has_not_been_read_yet_is_said_to_be_in_no_sum(costs: Page) -> None:
    text = said(costs, PRICED, 0, 9700, 44)
    assert "0.2500+ USD" in text
    assert "in no sum: 9744 shards that are still being read" in text
    assert cell(costs, PRICED, 1) == {
        "text": "0.2500+ USD",
        "title": "0.5000 vCPU-h · 1.0000 GB-h · 0.2500+ USD · in no sum: 1 shard that is still being read",
    }
    # Nothing is known of an amount; it is not said that it is 0.
    assert cell(costs, Cost(), 7) == {"text": "", "title": "in no sum: 7 shards that are still being read"}
