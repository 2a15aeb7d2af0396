"""One warm embedded Airflow for all tests of faults and of a user's control."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from airflow_wdl_ecs.local import client
from airflow_wdl_ecs.local.airflow_home import AirflowHome

from .embedded_airflow import EmbeddedAirflow
from .table import PAGE, page


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-promises", action="store_true", help="write the table of faults to docs/promises.md")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless it is asked for."""
    if "faults_in_full" in config.getoption("markexpr", default=""):
        return
    full = [item for item in items if item.get_closest_marker("faults_in_full")]
    if full:
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if item not in full]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("write_promises", default=False):
        PAGE.write_text(page())


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAirflow]:
    """A running embedded Airflow, whose containers are plain processes."""
    home = AirflowHome(tmp_path_factory.mktemp("home"))
    before = os.environ.get("AIRFLOW_WDL_ECS_CONTAINERS")
    os.environ["AIRFLOW_WDL_ECS_CONTAINERS"] = "plain"
    found = EmbeddedAirflow(home, tmp_path_factory.mktemp("marks"))
    try:
        found.start()
        yield found
    finally:
        if before is None:
            del os.environ["AIRFLOW_WDL_ECS_CONTAINERS"]
        service = client.running(home)
        if service is not None:
            os.kill(service.endpoint.pid, signal.SIGTERM)
            client.await_end(home)
