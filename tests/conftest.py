"""Fixtures for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_wdl_ecs.local.endpoint import Endpoint, start_server, stop_server

from .airflow_home import choose_home, settings_for

AIRFLOW_HOME = choose_home()


@pytest.fixture(scope="session")
def embedded_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """One embedded AWS for the whole session, with containers as plain processes."""
    state: Path = tmp_path_factory.mktemp("aws")
    endpoint = start_server(state, containers="plain")
    yield endpoint
    stop_server(state)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """The metadata database of this session's Airflow."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def airflow_on_embedded_aws(
    embedded_aws: Endpoint, airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> Endpoint:
    """Airflow whose calls run on the embedded AWS."""
    for name, value in settings_for(embedded_aws).items():
        monkeypatch.setenv(name, value)
    return embedded_aws


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh-golden", action="store_true", help="write the answers in tests/golden anew")


@pytest.fixture
def refresh_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden answers are to be written rather than compared."""
    return bool(request.config.getoption("--refresh-golden"))
