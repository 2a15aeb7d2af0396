"""The folder of the embedded Airflow, and the environment that its parts run with.

Everything of the embedded Airflow lives in one folder of the user's own (mode 0700): its database, its DAGs, its logs,
the state of the embedded AWS, the service's lock and its endpoint. The user's own Airflow is never touched: neither
its ``AIRFLOW_HOME`` nor its ``AIRFLOW__*`` variables reach the embedded one. This module imports neither Airflow nor
anything slow: the command line imports it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError

HOME_VARIABLE = "AIRFLOW_WDL_ECS_HOME"
IDLE_VARIABLE = "AIRFLOW_WDL_ECS_IDLE_MINUTES"
MOUNTS_VARIABLE = "AIRFLOW_WDL_ECS_MOUNTS"
"""The setting ``mounts`` of the embedded Airflow, which reads no configuration of the user's; read when it starts."""
DEFAULT_IDLE_MINUTES = 30.0


@dataclass(frozen=True)
class AirflowHome:
    """Where the parts of one embedded Airflow keep what they have."""

    folder: Path

    @property
    def airflow(self) -> Path:
        """``AIRFLOW_HOME`` of the embedded Airflow."""
        return self.folder / "airflow"

    @property
    def dags(self) -> Path:
        """The DAG files and plans of submitted workflows."""
        return self.folder / "dags"

    @property
    def aws(self) -> Path:
        """The state of the embedded AWS."""
        return self.folder / "aws"

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.folder / "logs"

    @property
    def start_lock(self) -> Path:
        """Locked by whoever starts or stops the service."""
        return self.folder / "start.lock"

    @property
    def service_lock(self) -> Path:
        """Locked by the service as long as it lives; the operating system lets go of it however the service ends."""
        return self.folder / "service.lock"

    @property
    def endpoint(self) -> Path:
        """How to reach the service: JSON, mode 0600."""
        return self.folder / "service.json"

    @property
    def processes(self) -> Path:
        """The service's processes: JSON, for whoever has to clean up after it."""
        return self.folder / "processes.json"

    @property
    def busy(self) -> Path:
        """Exists while a run is active, and is as old as the last thing that happened in one."""
        return self.folder / "busy"

    def wakeup(self, component: str) -> Path:
        """The named pipe by which a component is told that there is something to do."""
        return self.folder / f"{component}.wakeup"

    def log(self, component: str) -> Path:
        """The log file of a component."""
        return self.logs / f"{component}.log"

    def create(self) -> None:
        """Make the folders, for their owner alone."""
        for folder in (self.folder, self.airflow, self.dags, self.aws, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)


def user_home(environment: Mapping[str, str] = os.environ) -> AirflowHome:
    """The user's embedded Airflow: ``AIRFLOW_WDL_ECS_HOME``, else ``airflow-wdl-ecs`` in the user's state folder."""
    chosen = environment.get(HOME_VARIABLE)
    if chosen:
        return AirflowHome(Path(chosen).expanduser().absolute())
    state = environment.get("XDG_STATE_HOME")
    base = Path(state) if state and Path(state).is_absolute() else Path.home() / ".local" / "state"
    return AirflowHome(base / "airflow-wdl-ecs")


def standalone_home(environment: Mapping[str, str] = os.environ) -> AirflowHome:
    """The Airflow that ``standalone`` brings up: it has a folder of its own, within that of `user_home`."""
    return AirflowHome(user_home(environment).folder / "standalone")


def idle_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """After how many idle seconds the service ends: ``AIRFLOW_WDL_ECS_IDLE_MINUTES``, 30 minutes by default.

    :raises SettingsError: if the variable is not a positive number.
    """
    text = environment.get(IDLE_VARIABLE, "")
    try:
        minutes = float(text) if text else DEFAULT_IDLE_MINUTES
    except ValueError:
        minutes = -1
    if not minutes > 0:
        raise SettingsError(f"{IDLE_VARIABLE}={text}: expected a positive number of minutes")
    return minutes * 60


def without_airflow(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what configures an Airflow or an AWS of the user's own."""
    foreign = ("AIRFLOW_", "_AIRFLOW_", "AWS_")
    kept = ("AIRFLOW_WDL_ECS_",)
    return {name: value for name, value in environment.items() if not name.startswith(foreign) or name.startswith(kept)}


def airflow_environment(home: AirflowHome, dags: Path, port: int, execution_port: int) -> dict[str, str]:
    """The variables that configure the embedded Airflow.

    Its scheduler and triggerer are alone on one machine and serve a person who waits, so they look at their queues
    often, and give up soon on one of themselves, or on a worker, that died.

    :param port: of the API server with the UI, on loopback.
    :param execution_port: of the interface that task instances report to, on loopback.
    """
    url = f"http://127.0.0.1:{port}"
    options = {
        "core": {
            "dags_folder": str(dags),
            "load_examples": "False",
            "executor": "LocalExecutor",
            "parallelism": str(max(4, min(16, 2 * (os.cpu_count() or 1)))),
            "max_active_tasks_per_dag": "1000",
            "max_active_runs_per_dag": "1000",
            "dags_are_paused_at_creation": "False",
            "simple_auth_manager_all_admins": "True",
            "execution_api_server_url": f"http://127.0.0.1:{execution_port}/execution/",
            "hostname_callable": "airflow_wdl_ecs.local.airflow_home.loopback",
            "dagbag_import_timeout": "120",
        },
        "api": {
            "base_url": url,
            "host": "127.0.0.1",
            "port": str(port),
            "workers": "1",
            "instance_name": "WDL on Amazon ECS (local)",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{home.airflow}/airflow.db?timeout=60"},
        "logging": {"base_log_folder": str(home.airflow / "logs"), "logging_level": "INFO"},
        "scheduler": {
            "scheduler_idle_sleep_time": "2",
            "max_tis_per_query": "512",
            "orphaned_tasks_check_interval": "30",
            "task_instance_heartbeat_timeout": "120",
            "parsing_cleanup_interval": "86400",  # no DAG is stale for not having been parsed lately
        },
        "triggerer": {
            "capacity": "10000",
            "job_heartbeat_sec": "2",
            "max_trigger_to_select_per_loop": "500",
            "blocked_main_thread_warning_threshold": "1.0",
        },
        "workers": {"execution_api_retry_wait_min": "0.2", "execution_api_timeout": "30"},
        "usage_data_collection": {"enabled": "False"},
    }
    variables = {
        f"AIRFLOW__{section.upper()}__{option.upper()}": value
        for section, found in options.items()
        for option, value in found.items()
    }
    return {
        **variables,
        "AIRFLOW_HOME": str(home.airflow),
        "SCARF_ANALYTICS": "false",
        # Names of this machine and proxies are nobody's business on loopback.
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1", "localhost"])),
        "no_proxy": ",".join(filter(None, [os.environ.get("no_proxy", ""), "127.0.0.1", "localhost"])),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def loopback() -> str:
    """The host name that the embedded Airflow's parts know each other by."""
    return "127.0.0.1"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all at once."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def code_version() -> str:
    """What the service runs: this package's code and the Python environment, as a digest.

    A service that was started from other code than the command line's is replaced.
    """
    package = Path(__file__).parent.parent
    digest = hashlib.sha256(f"{sys.prefix} {sys.version}".encode())
    for path in sorted(package.rglob("*.py")):
        status = path.stat()
        digest.update(f"{path.relative_to(package)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
