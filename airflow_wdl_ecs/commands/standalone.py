"""Bring up an Airflow of your own with its UI, on a folder of DAG files, beside the embedded AWS; Ctrl-C ends it.

DAG files in the folder run on the embedded ECS as they are. For trying things out, not for production.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..errors import InputsError
from ..local import client
from ..local.airflow_home import standalone_home, without_airflow
from .option import Option

NAME = "standalone"
HELP = "bring up Airflow with its UI on a DAG folder"
OPTIONS = (
    Option("--dags", metavar="DIR", default="dags", help="the DAG folder (default: dags)"),
    Option("--port", type=int, default=8080, help="of the UI, on loopback (default: 8080)"),
)
READY_LIMIT = 120.0
"""Seconds that the UI may take to answer before its address is printed all the same."""


def execute(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    dags = Path(options.dags).absolute()
    if not dags.is_dir():
        raise InputsError(f"--dags {options.dags}: no such folder")
    home = standalone_home()
    if client.is_supervised(home):
        raise InputsError(f"a standalone Airflow runs already on {home.folder}")
    environment = without_airflow(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    from ..local.service import Service, free_port

    if free_port(options.port) != options.port:
        raise InputsError(f"--port {options.port}: something listens there already")
    print(f"bringing up Airflow on {dags}; its logs are in {home.logs}", file=sys.stderr, flush=True)
    home.create()
    with _output_to(home.log("service")) as terminal:
        service = Service(home, dags, port=options.port, dag_processor=True)
        return service.serve(on_ready=lambda url: _announce(url, options.port, terminal))


def _announce(url: str, port: int, terminal: TextIO) -> None:
    """Say where the UI is, once it answers."""
    deadline = time.monotonic() + READY_LIMIT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        time.sleep(0.1)
    print(f"Airflow: {url} (Ctrl-C ends it)", file=terminal, flush=True)


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[TextIO]:
    """Let what this process prints go to a file, as a service's does; gives what was standard output."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as out, os.fdopen(os.dup(2), "w") as err, log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield out
        finally:
            sys.stdout.flush()
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
