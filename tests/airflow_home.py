"""An Airflow of the test session's own: its home, its database, and its settings for the embedded AWS.

Airflow reads its home when it is first imported, so the root conftest calls `choose_home` before anything else does.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from airflow_wdl_ecs.local.endpoint import Endpoint

OWN = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


def choose_home() -> Path:
    """Point Airflow at a new folder, whatever the caller's environment says."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_") and not name.startswith("AIRFLOW_WDL_ECS")]:
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="wdl-airflow-"))
    os.environ.update(OWN, AIRFLOW_HOME=str(home), AIRFLOW__CORE__DAGS_FOLDER=str(home / "dags"))
    (home / "dags").mkdir()
    return home


def settings_for(endpoint: Endpoint) -> dict[str, str]:
    """Environment variables by which this Airflow's calls run on an embedded AWS."""
    options = {
        "cluster": endpoint.cluster,
        "workspace": f"s3://{endpoint.bucket}/tests",
        "log_group": endpoint.log_group,
        "launch_type": "EC2",
        "container_root": endpoint.container_root,
        "staging_tool": "s5cmd",
        "image": "none",
        "poll_fastest": "0.1",
    }
    connection = {
        "conn_type": "aws",
        "login": endpoint.access_key,
        "password": endpoint.secret_key,
        "extra": {"endpoint_url": endpoint.url, "region_name": endpoint.region},
    }
    return {
        **{f"AIRFLOW__WDL_ECS__{name.upper()}": value for name, value in options.items()},
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
    }


def dag_serialization() -> Any:
    """What writes a DAG as JSON and reads it again, by the name that the installed Airflow has for it."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
    return DagSerialization


def bags() -> tuple[Any, Any]:
    """``DagBag`` and ``sync_bag_to_db``, where the installed Airflow has them."""
    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag, sync_bag_to_db
    return DagBag, sync_bag_to_db
