"""The page about a run while its reader uses it, on answers that are made here: no Airflow is asked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from airflow_wdl_ecs.attempts import Attempt
from airflow_wdl_ecs.report import CallReport, Instance, call_report, shortened, to_json
from airflow_wdl_ecs.report_shards import shard_report
from airflow_wdl_ecs.runs_page.app import MOST_SHARDS
from airflow_wdl_ecs.runs_page.reports import FIRST_SHARDS

from ..fabricated_run import T0, attempt, report_of
from .test_costs import STATIC

pytestmark = pytest.mark.browser
ADDRESS = "http://page.test/wdl-runs/page?dag_id=d&run_id=r"
LONG = replace(attempt().times, stopped=T0 + 3 * 3600 + 1500)


def instance(map_index: int, first: Attempt) -> Instance:
    return Instance("work", map_index, "failed" if map_index == 0 and first.kind == "command_failed" else "success", 1)


def scattered(shards: int, *, failed: bool = False) -> CallReport:
    """A call that is scattered, of which one shard may have failed."""
    first = attempt(kind="command_failed" if failed else "succeeded", times=LONG)
    found = [
        shard_report("work", str(key), [first if key == 0 else attempt()], instance(key, first), run_has_outputs=False)
        for key in range(shards)
    ]
    return call_report("work", "work", "work", found, command="echo work", scattered=True)


@pytest.fixture
def opened(page: Page) -> Callable[[CallReport], Page]:
    """Opens the page on a run that goes on, with this call."""

    def open_page(call: CallReport) -> Page:
        inputs = {"samples": [f"sample-{number}" for number in range(9)]}
        report = report_of(call, inputs=inputs, defaults={"depth": "30"}, started=T0)
        run = {"dag_id": "d", "run_id": "r", "state": "running", "started": T0, "ended": None}
        told = to_json(shortened(report, FIRST_SHARDS))
        page.route("http://page.test/**", lambda route: route.fulfill(**answer(route.request.url, call, run, told)))
        page.goto(ADDRESS)
        expect(page.get_by_test_id("run-header")).to_be_visible()
        return page

    return open_page


def answer(url: str, call: CallReport, run: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """What the server says."""
    name = urlsplit(url).path.rsplit("/", 1)[-1]
    if name == "page":
        return {"path": STATIC / "page.html", "content_type": "text/html"}
    if "/static/" in url:
        return {"path": STATIC / name}
    if name == "r":
        body: Any = {"run": run, "wdl": True, "scopes": [], "report": told, "failed": []}
    elif name == "shards":
        asked = parse_qs(urlsplit(url).query)
        limit, offset = int(asked["limit"][0]), int(asked.get("offset", ["0"])[0])
        assert limit <= MOST_SHARDS
        body = {"total": len(call.shards), "shards": [to_json(one) for one in call.shards[offset : offset + limit]]}
    else:
        return {"status": 404, "body": "{}"}
    return {"body": json.dumps(body), "content_type": "application/json"}


def looks_again(page: Page) -> None:
    """Wait until the page has asked for its run once more, and has drawn what it was told."""
    with page.expect_response(lambda response: response.url.endswith("/runs/d/r")):
        pass
    page.wait_for_timeout(200)


def test_what_its_reader_has_opened_stays_open(opened: Callable[[CallReport], Page]) -> None:
    page = opened(scattered(3))
    page.get_by_test_id("toggle").first.click()
    summaries = page.locator("summary")
    expect(summaries).to_have_text(["command of the task", "9 values", "1 with their defaults"])
    for summary in summaries.all():
        summary.click()
    summaries.first.focus()
    looks_again(page)
    expect(page.locator("details[open]")).to_have_count(3)
    expect(page.get_by_text("sample-8")).to_be_visible()
    expect(summaries.first).to_be_focused()
    page.get_by_text("9 values").click()
    looks_again(page)
    expect(page.locator("details[open]")).to_have_count(2)


def test_all_shards_of_a_wide_scatter_can_be_seen(opened: Callable[[CallReport], Page]) -> None:
    page = opened(scattered(2 * MOST_SHARDS + 7))
    page.get_by_test_id("toggle").first.click()
    shards, more, before = (page.get_by_test_id(name) for name in ("shard", "more", "before"))
    for shown in (225, 425, 625, 825, 1000):
        more.click()
        expect(shards).to_have_count(shown)
    expect(more).to_have_text("1007 more")
    expect(before).to_have_count(0)
    more.click()
    expect(shards.first).to_contain_text("[1000]")
    expect(before).to_have_text("1000 before these")
    more.click()
    expect(shards).to_have_count(7)
    expect(shards.last).to_contain_text("[2006]")
    expect(more).to_have_count(0)
    looks_again(page)
    expect(shards.last).to_contain_text("[2006]")
    before.click()
    expect(shards.first).to_contain_text("[1000]")
    before.click()
    expect(shards.first).to_contain_text("[0]")
    expect(before).to_have_count(0)


@pytest.mark.parametrize("width", [400, 760, 1000, 1280, 1600])
def test_the_moments_of_the_axis_can_be_read(opened: Callable[[CallReport], Page], width: int) -> None:
    page = opened(scattered(2))
    page.set_viewport_size({"width": width, "height": 700})
    ticks = [tick.bounding_box() for tick in page.locator(".axis small").all() if tick.is_visible()]
    assert len(ticks) >= 2
    assert all(one["x"] + one["width"] <= other["x"] for one, other in itertools.pairwise(ticks)), ticks
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_states_can_be_read(opened: Callable[[CallReport], Page], scheme: str) -> None:
    page = opened(scattered(2, failed=True))
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for state in ("failed", "succeeded", "running", "waiting", "skipped"):
        contrast = page.evaluate(CONTRAST, f"state {state}")
        assert contrast >= 4.5, f"{state}: {contrast:.2f} to 1 (WCAG 2.2, 1.4.3)"


CONTRAST = """(name) => {
  const main = document.getElementById("wdl-runs").shadowRoot.querySelector("main");
  const text = document.createElement("span");
  text.className = name;
  main.append(text);
  const luminance = (color) => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255);
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const of = (color, ground) => [luminance(color), luminance(ground)].sort((one, other) => other - one);
  const [bright, dim] = of(getComputedStyle(text).color, getComputedStyle(main).backgroundColor);
  text.remove();
  return (bright + 0.05) / (dim + 0.05);
}"""


def test_the_focus_stays_on_the_same_of_two_links(opened: Callable[[CallReport], Page]) -> None:
    page = opened(scattered(3, failed=True))
    for number in range(2):
        page.get_by_test_id("toggle").nth(number).click()
    links = page.locator("a[href$='/dags/d/runs/r/tasks/work/mapped/0']")
    expect(links).to_have_count(2)
    links.last.focus()
    looks_again(page)
    expect(links.last).to_be_focused()
