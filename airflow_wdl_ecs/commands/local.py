"""See and stop the embedded Airflow and AWS that serve local runs.

They start by themselves at the first run, stay for the next ones, and end when nobody has used them for half an hour
(AIRFLOW_WDL_ECS_IDLE_MINUTES). What they keep is in AIRFLOW_WDL_ECS_HOME (default: ~/.local/state/airflow-wdl-ecs).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ..errors import InputsError
from ..local import client
from ..local.airflow_home import AirflowHome, user_home
from .option import Option

NAME = "local"
HELP = "see and stop the embedded Airflow: status, start, stop, logs"
OPTIONS = (
    Option("action", choices=("status", "start", "stop", "logs"), help="what to do"),
    Option("component", nargs="?", metavar="COMPONENT", help="for logs: which one's (default: the service's own)"),
    Option("-f", "--follow", action="store_true", help="for logs: go on as they grow"),
    Option("-n", "--lines", type=int, default=40, help="for logs: how many lines from the end (default: 40)"),
)


def execute(options: argparse.Namespace) -> int:
    """Do the action."""
    home = user_home()
    if options.action == "logs":
        return _logs(home, options.component or "service", options.lines, options.follow)
    if options.component:
        raise InputsError(f"local {options.action} takes no component")
    if options.action == "start":
        found = client.connect(home, _say)
        found.ask("status")
    if options.action == "stop":
        running = client.running(home)
        if running:
            client.end(running, _say)
        print("the embedded Airflow has ended" if running else "no embedded Airflow runs")
        return 0
    return _status(home)


def _status(home: AirflowHome) -> int:
    found = client.running(home)
    print(f"home:       {home.folder}")
    if found is None:
        print("service:    not running")
        return 0
    status = found.ask("status")
    components = json.loads(home.processes.read_text())
    print(f"service:    process {found.endpoint.pid}, idle for {status['idle']:.0f} s")
    print(f"Airflow UI: {found.endpoint.ui}")
    print("components: " + ", ".join(f"{name} ({session['pid']})" for name, session in components.items()))
    for dag_id, run_id in status["runs"]:
        print(f"active run: {dag_id} {run_id}")
    return 0


def _logs(home: AirflowHome, component: str, lines: int, follow: bool) -> int:
    path = log_of(home, component)
    with path.open(errors="replace") as log:
        print("".join(log.readlines()[-lines:]) if lines > 0 else "", end="", flush=True)
        while follow:
            text = log.read()
            print(text, end="", flush=True)
            if not text:
                time.sleep(0.2)
    return 0


def log_of(home: AirflowHome, component: str) -> Path:
    """The log file of a component.

    :raises InputsError: if there is none, naming those that there are.
    """
    logs = {path.stem: path for path in sorted(home.logs.glob("*.log"))}
    if (home.aws / "aws.log").exists():
        logs["aws"] = home.aws / "aws.log"
    if component not in logs:
        known = ", ".join(logs) or "none yet"
        raise InputsError(f"there is no log of {component!r}; there are logs of: {known}")
    return logs[component]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
