"""An Airflow as deployments have it: PostgreSQL, Airflow's own processes with its own pace, and the embedded AWS.

Needs Debian's ``postgresql`` and, in the environment, ``psycopg2-binary`` and ``asyncpg`` (requirements/bench.txt).
Nothing of Airflow is changed, unlike in the local default: what is measured here is what a deployment would see.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from airflow_wdl_ecs.local.airflow_home import without_airflow
from airflow_wdl_ecs.local.endpoint import Endpoint, start_server, stop_server

COMPONENTS = ("scheduler", "triggerer", "dag-processor", "api-server")
_READY = 180.0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL server of its own; gives the SQLAlchemy URL of its database.

    It refuses to run as root, so root runs it as Debian's user ``postgres``.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if not found:
        sys.exit("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    data, port = folder / "data", free_port()
    folder.mkdir(parents=True)
    if as_user:
        shutil.chown(folder, "postgres")
    tool = str(found[-1])
    _quietly([*as_user, f"{tool}/initdb", "-D", str(data), "-A", "trust", "-U", "airflow"])
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c max_connections=300 -k {folder}"
    control = [*as_user, f"{tool}/pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log")]
    _quietly([*control, "-o", options, "start"])
    try:
        address = ["-h", "127.0.0.1", "-p", str(port), "-U", "airflow"]
        _quietly([*as_user, f"{tool}/createdb", *address, "airflow"])
        yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/airflow"
    finally:
        _quietly([*control, "-m", "immediate", "stop"])


def _quietly(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


@dataclass
class Deployment:
    """A running Airflow.

    :param environment: what its processes were started with. :param processes: component -> its process.
    """

    url: str
    endpoint: Endpoint
    environment: Mapping[str, str]
    folder: Path
    processes: dict[str, psutil.Process] = field(default_factory=dict)
    _token: str = ""

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        """What the REST API answers: JSON. :raises OSError: if it does not, or not with success."""
        request = urllib.request.Request(
            f"{self.url}/{path.lstrip('/')}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            raise OSError(f"{path}: HTTP {error.code}: {error.read().decode(errors='replace')[:500]}") from error

    def log_in(self) -> None:
        """Get a token of the simple auth manager, to which everybody is an admin here."""
        self._token = self.ask("/auth/token")["access_token"]

    def trigger(self, dag_id: str, conf: Mapping[str, Any], run_id: str | None = None) -> str:
        """Start a run; gives its id."""
        body = {"conf": dict(conf), "logical_date": None, **({"dag_run_id": run_id} if run_id else {})}
        return str(self.ask(f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def state(self, dag_id: str, run_id: str) -> str:
        """A run's state."""
        return str(self.ask(f"/api/v2/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}")["state"])

    def wait(self, dag_id: str, run_id: str, limit: float) -> str:
        """Wait until a run has ended; gives its state."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            state = self.state(dag_id, run_id)
            if state in ("success", "failed"):
                return state
            time.sleep(0.5)
        raise TimeoutError(f"{dag_id} {run_id} is {state} after {limit:.0f} s")

    def wait_for_dags(self, dag_ids: set[str], limit: float = _READY) -> None:
        """Wait until the DAG processor has found these DAGs."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            found = {dag["dag_id"] for dag in self.ask("/api/v2/dags?limit=500")["dags"]}
            if dag_ids <= found:
                return
            time.sleep(1)
        raise TimeoutError(f"Airflow has not found {', '.join(sorted(dag_ids - found))}")

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds that each component has used since its start, with its children, living and dead."""
        return {name: sum(_cpu(found) for found in _tree(process)) for name, process in self.processes.items()}

    def memory(self) -> dict[str, float]:
        """MiB that each component has to itself (USS), with its children."""
        return {name: sum(_own(found) for found in _tree(process)) / 2**20 for name, process in self.processes.items()}

    def start(self, component: str) -> None:
        """Start a component of Airflow."""
        with (self.folder / f"{component}.log").open("ab") as log:
            command = [sys.executable, "-m", "airflow", component]
            command += ["--port", self.url.rpartition(":")[2]] if component == "api-server" else []
            child = subprocess.Popen(
                command, env=dict(self.environment), stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self.processes[component] = psutil.Process(child.pid)

    def kill(self, component: str) -> None:
        """Kill a component and its children at once."""
        for process in _tree(self.processes[component]):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        with contextlib.suppress(psutil.Error, ChildProcessError):
            self.processes[component].wait(10)


class Memory:
    """MiB of each component over time, in a thread."""

    def __init__(self, airflow: Deployment, every: float) -> None:
        self._airflow = airflow
        self._every = every
        self._done = threading.Event()
        self._start = time.monotonic()
        self.samples: list[dict[str, float]] = []
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.wait(self._every):
            memory = {name: round(size, 1) for name, size in self._airflow.memory().items()}
            self.samples.append({"seconds": round(time.monotonic() - self._start), **memory})

    def stop(self) -> None:
        """Take no more samples."""
        self._done.set()
        self._thread.join()

    def summary(self) -> dict[str, Any]:
        """At the start, at the most and at the end, per component; and the samples, at most forty."""
        names = [name for name in self.samples[0] if name != "seconds"] if self.samples else []
        step = -(-len(self.samples) // 40) or 1
        return {
            **{
                name: {
                    "first": self.samples[0][name],
                    "most": max(sample[name] for sample in self.samples),
                    "last": self.samples[-1][name],
                }
                for name in names
            },
            "samples": self.samples[::step],
        }


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _cpu(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(used.user + used.system + used.children_user + used.children_system)


def _own(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:
        return 0


def _environment(folder: Path, dags: Path, database: str, port: int, endpoint: Endpoint) -> dict[str, str]:
    """What the processes of the deployment are started with."""
    url = f"http://127.0.0.1:{port}"
    connection = {
        "conn_type": "aws",
        "login": endpoint.access_key,
        "password": endpoint.secret_key,
        "extra": {"endpoint_url": endpoint.url, "region_name": endpoint.region},
    }
    options = {
        "core__dags_folder": str(dags),
        "core__load_examples": "False",
        "core__executor": "LocalExecutor",
        "core__parallelism": "16",
        "core__max_active_tasks_per_dag": "10000",
        "core__max_active_runs_per_dag": "1000",
        "core__max_map_length": "10000",
        "core__dags_are_paused_at_creation": "False",
        "core__simple_auth_manager_all_admins": "True",
        "core__execution_api_server_url": f"{url}/execution/",
        "core__hostname_callable": "airflow_wdl_ecs.local.airflow_home.loopback",
        "api__base_url": url,
        "api__host": "127.0.0.1",
        "api__workers": "1",
        "api_auth__jwt_secret": "only for this benchmark and its one machine",
        "database__sql_alchemy_conn": database,
        "logging__base_log_folder": str(folder / "logs"),
        # The API server imports much at its first request, which may take longer than the five seconds by default.
        "workers__execution_api_timeout": "60",
        "triggerer__capacity": "5000",
        "dag_processor__refresh_interval": "5",
        "usage_data_collection__enabled": "False",
        "wdl_ecs__cluster": endpoint.cluster,
        "wdl_ecs__workspace": f"s3://{endpoint.bucket}/benchmarks",
        "wdl_ecs__log_group": endpoint.log_group,
        "wdl_ecs__launch_type": "EC2",
        "wdl_ecs__container_root": endpoint.container_root,
        "wdl_ecs__staging_tool": "s5cmd",
        "wdl_ecs__image": "none",
    }
    return {
        **without_airflow(os.environ),
        **{f"AIRFLOW__{name.upper()}": value for name, value in options.items()},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


@contextlib.contextmanager
def deployment(folder: Path, dags: Path, endpoint: Endpoint | None = None, **options: str) -> Iterator[Deployment]:
    """Start everything, and stop it afterwards.

    :param folder: for the database, logs and state. :param dags: the DAG folder.
    :param endpoint: an AWS to use in place of an embedded one.
    :param options: more of Airflow's options, as ``section__option="value"``.
    """
    (folder / "logs").mkdir(parents=True)
    with postgresql(folder / "postgresql") as database:
        own = endpoint is None
        endpoint = endpoint or start_server(folder / "aws", containers="plain")
        environment = _environment(folder, dags, database, free_port(), endpoint)
        environment |= {f"AIRFLOW__{name.upper()}": value for name, value in options.items()}
        airflow = Deployment(environment["AIRFLOW__API__BASE_URL"], endpoint, environment, folder / "logs")
        try:
            migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
            subprocess.run(migrate, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for component in COMPONENTS:
                airflow.start(component)
            deadline = time.monotonic() + _READY
            while True:
                with contextlib.suppress(OSError):
                    airflow.log_in()
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Airflow did not start; its logs are in {airflow.folder}")
                time.sleep(0.5)
            yield airflow
        finally:
            for component in reversed(list(airflow.processes)):
                airflow.kill(component)
            if own:
                stop_server(folder / "aws")
