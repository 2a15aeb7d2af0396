"""One warm embedded Airflow for all tests of faults and of a user's control."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from airflow_wdl_ecs.local import client
from airflow_wdl_ecs.local.airflow_home import AirflowHome

from .embedded_airflow import EmbeddedAirflow


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
