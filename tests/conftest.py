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
