"""Fixtures for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_wdl_ecs.local.endpoint import Endpoint, start_server, stop_server


@pytest.fixture(scope="session")
def embedded_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """One embedded AWS for the whole session, with containers as plain processes."""
    state: Path = tmp_path_factory.mktemp("aws")
    endpoint = start_server(state, containers="plain")
    yield endpoint
    stop_server(state)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh-golden", action="store_true", help="write the answers in tests/golden anew")


@pytest.fixture
def refresh_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden answers are to be written rather than compared."""
    return bool(request.config.getoption("--refresh-golden"))
