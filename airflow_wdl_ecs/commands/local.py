"""See and stop the embedded Airflow and AWS that serve local runs.

They start by themselves at the first run, stay for the next ones, and end when nobody has used them for half an hour
(AIRFLOW_WDL_ECS_IDLE_MINUTES). What they keep is in AIRFLOW_WDL_ECS_HOME (default: ~/.local/state/airflow-wdl-ecs).
With env they are started, if need be, and the variables are printed by which the AWS command line finds the embedded S3
and its key: eval "$(airflow-wdl-ecs local env)"; aws s3 ls s3://wdl/. With upload files and folders are put there, and
their addresses printed, for a form or an inputs file.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ..errors import InputsError, SettingsError
from ..local import client
from ..local.airflow_home import AirflowHome, standalone_home, user_home
from ..local.machine import WAYS
from .option import Option

NAME = "local"
HELP = "see and stop the embedded Airflow: status, start, stop, logs, env, upload"
OPTIONS = (
    Option("action", choices=("status", "start", "stop", "logs", "env", "upload"), help="what to do"),
    Option(
        "names",
        nargs="*",
        metavar="NAME",
        help="for logs: a component (default: the service itself); for upload: files and folders",
    ),
    Option("--standalone", action="store_true", help="of the Airflow that standalone has brought up"),
    Option("-f", "--follow", action="store_true", help="for logs: go on as they grow"),
    Option("-n", "--lines", type=int, default=40, help="for logs: how many lines from the end (default: 40)"),
)
TRAILING = "names"


def execute(options: argparse.Namespace) -> int:
    """Do the action."""
    home = standalone_home() if options.standalone else user_home()
    action, names = options.action, options.names
    if len(names) > {"logs": 1, "upload": sys.maxsize}.get(action, 0):
        raise InputsError(f"local {action} takes {'one' if action == 'logs' else 'no'} component, not {names[-1]!r}")
    if action == "logs":
        return _logs(home, names[0] if names else "service", options.lines, options.follow)
    if action == "stop":
        running = client.running(home)
        if running:
            client.end(running, _say)
        print("the embedded Airflow has ended" if running else "no embedded Airflow runs")
        return 0
    if action == "status":
        return _status(home)
    found = _started(home, options.standalone)
    if action == "upload":
        return _upload(found, names)
    return _environment(home) if action == "env" else _status(home)


def _started(home: AirflowHome, standalone: bool) -> client.Client:
    """The service, which is started unless it is that of standalone.

    :raises SettingsError: if that does not run.
    """
    found = client.running(home) if standalone else client.connect(home, _say)
    if found is None:
        raise SettingsError("no standalone Airflow runs", hint="bring it up with: airflow-wdl-ecs standalone")
    found.ask("status")
    return found


def _upload(service: client.Client, names: Sequence[str]) -> int:
    """Put files and folders into the embedded S3, and print where each is, a line each."""
    if not names:
        raise InputsError("local upload: which files or folders?")
    paths = [os.path.abspath(os.path.expanduser(name)) for name in names]  # noqa: PTH100, PTH111 - a link keeps its name
    uris = service.ask("upload", paths=paths)["uris"]
    print("\n".join(uris[path] for path in paths))
    return 0


def _status(home: AirflowHome) -> int:
    found = client.running(home)
    print(f"home:       {home.folder}")
    if found is None:
        print("service:    not running")
        return 0
    import psutil  # of the extra, as what the endpoint's module imports

    from ..local.endpoint import read_endpoint

    status = found.ask("status")
    components = json.loads(home.processes.read_text())
    began = datetime.fromtimestamp(psutil.Process(found.endpoint.pid).create_time())
    print(f"service:    process {found.endpoint.pid}, since {began:%Y-%m-%d %H:%M:%S}, idle for {status['idle']:.0f} s")
    print(f"Airflow UI: {found.endpoint.ui}")
    if aws := read_endpoint(home.aws):
        print(f"AWS:        {aws.url}, bucket {aws.bucket}")
        print(f"containers: {WAYS[aws.containers]}")
    print("components: " + ", ".join(f"{name} ({session['pid']})" for name, session in components.items()))
    for dag_id, run_id in status["runs"]:
        print(f"active run: {dag_id} {run_id}")
    return 0


def _environment(home: AirflowHome) -> int:
    from ..local.endpoint import read_endpoint

    aws = read_endpoint(home.aws)
    if aws is None:
        raise SettingsError("the embedded AWS does not answer", hint="airflow-wdl-ecs local logs aws says why")
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in aws.environment().items()))
    print("unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL_S3")  # they would go before, or beside the key
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
