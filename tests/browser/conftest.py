"""One Airflow for all browser tests, the product's own ``standalone``, and a Chromium that looks at it.

Its DAGs are those of ``dags/``, and one of ``trial.wdl``, which can be made to fail.

``make browser`` runs them, and with ``ARGS=--screenshots`` takes the pictures of ``docs/images`` anew. Without
``-m browser`` they are left out: they take minutes. The Chromium is the system's (``apt-get install chromium``), or
what the variable ``CHROMIUM`` names.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from airflow_wdl_ecs.wdl.lower import compile_wdl

from .airflow_pages import Airflow

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
START_LIMIT = 300.0
"""Seconds that Airflow may take to start on a busy machine."""
PATIENCE = 180.0
"""Seconds that anything may take to appear."""
WINDOW = {"width": 1280, "height": 800}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("the browser tests").addoption(
        "--screenshots", action="store_true", help="take the pictures in docs/images anew"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if re.search(r"\bbrowser\b", config.getoption("markexpr", default="")):
        return
    slow = [item for item in items if item.get_closest_marker("browser")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)


@pytest.fixture(scope="session")
def airflow_url(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A standalone Airflow; started only where there is a browser."""
    folder = tmp_path_factory.mktemp("standalone")
    dags = shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    (dags / "trial.plan.json").write_bytes(compile_wdl(Path(__file__).with_name("trial.wdl")).to_json())
    (dags / "trial.py").write_text('from airflow_wdl_ecs import wdl_dag\n\ndag = wdl_dag("trial.plan.json")\n')
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = [sys.executable, "-m", "airflow_wdl_ecs", "standalone", "--dags", dags, "--port", port]
    environment = {
        **os.environ,
        "AIRFLOW_WDL_ECS_HOME": str(folder / "home"),
        "AIRFLOW_WDL_ECS_CONTAINERS": "plain",
        "PYTHONPATH": str(ROOT),
    }
    with (folder / "output").open("w") as output:
        service = subprocess.Popen(
            [str(word) for word in words], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_for_dags(f"http://127.0.0.1:{port}", service, folder / "output")
        yield f"http://127.0.0.1:{port}"
    finally:
        service.send_signal(signal.SIGINT)
        try:
            service.wait(60)
        except subprocess.TimeoutExpired:
            service.kill()
            pytest.fail("the standalone Airflow did not end")


def _wait_for_dags(url: str, service: subprocess.Popen[bytes], output: Path) -> None:
    """Return when Airflow answers and knows the DAGs of the tests."""
    deadline = time.monotonic() + START_LIMIT
    while not all(map(Airflow(url).knows, ("motif_counts", "kmer_study", "trial"))):
        if service.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"no Airflow: {output.read_text()}")
        time.sleep(1)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium, or set CHROMIUM to one")
    with sync_playwright() as driver:
        # Chromium's own sandbox needs a user other than root; the pages are our own.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--force-color-profile=srgb"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A window of a reader who has never been here."""
    expect.set_options(timeout=PATIENCE * 1000)
    context = chromium.new_context(
        viewport=WINDOW, color_scheme="light", locale="en-US", timezone_id="UTC", reduced_motion="reduce"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE * 1000)
    yield context.new_page()
    context.close()


@pytest.fixture
def airflow(airflow_url: str, page: Page) -> Airflow:
    """Airflow as the reader's window has it."""
    return Airflow(airflow_url, page)


@pytest.fixture
def screenshot(request: pytest.FixtureRequest, page: Page) -> Callable[[str], None]:
    """Takes a picture for the docs, if that is asked for."""
    wanted = request.config.getoption("screenshots", default=False)

    def take(name: str) -> None:
        if wanted:
            IMAGES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=IMAGES / f"{name}.png", animations="disabled", caret="hide")

    return take
