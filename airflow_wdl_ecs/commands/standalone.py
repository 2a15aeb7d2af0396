"""Bring up an Airflow of your own with its UI, on a folder of DAG files, beside the embedded AWS; Ctrl-C ends it.

DAG files in the folder run on the embedded ECS as they are. For trying things out, not for production.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..errors import InputsError
from ..local import client
from ..local.airflow_home import AirflowHome, user_home, without_airflow
from .option import Option

NAME = "standalone"
HELP = "bring up Airflow with its UI on a DAG folder"
OPTIONS = (
    Option("--dags", metavar="DIR", default="dags", help="the DAG folder (default: dags)"),
    Option("--port", type=int, default=8080, help="of the UI, on loopback (default: 8080)"),
)


def execute(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    dags = Path(options.dags).absolute()
    if not dags.is_dir():
        raise InputsError(f"--dags {options.dags}: no such folder")
    home = AirflowHome(user_home().folder / "standalone")
    if client.is_supervised(home):
        raise InputsError(f"a standalone Airflow runs already on {home.folder}")
    environment = without_airflow(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    from ..local.service import Service, free_port

    if free_port(options.port) != options.port:
        raise InputsError(f"--port {options.port}: something listens there already")
    print(f"bringing up Airflow on {dags}; its logs are in {home.logs}", file=sys.stderr, flush=True)
    service = Service(home, dags, port=options.port, dag_processor=True)
    return service.serve(on_ready=lambda url: print(f"Airflow: {url} (Ctrl-C ends it)", flush=True))
