"""The supervisor's decisions and what it does with processes, without Airflow."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from airflow_wdl_ecs.errors import SettingsError
from airflow_wdl_ecs.local import client, components
from airflow_wdl_ecs.local.airflow_home import (
    AirflowHome,
    airflow_environment,
    idle_seconds,
    user_home,
    without_airflow,
    write_private,
)
from airflow_wdl_ecs.local.service import BACKOFF_LIMIT, free_port, kept_port, kept_secrets, restart_delay, sweep
from airflow_wdl_ecs.local.sessions import Session, end_sessions, is_alive, members


@pytest.fixture
def home(tmp_path: Path) -> AirflowHome:
    found = AirflowHome(tmp_path / "home")
    found.create()
    return found


def test_the_home_is_in_the_users_state_folder() -> None:
    assert user_home({"AIRFLOW_WDL_ECS_HOME": "/some/where"}).folder == Path("/some/where")
    assert user_home({"XDG_STATE_HOME": "/state"}).folder == Path("/state/airflow-wdl-ecs")
    assert user_home({"XDG_STATE_HOME": "relative"}).folder == Path.home() / ".local/state/airflow-wdl-ecs"
    assert user_home({"AIRFLOW_HOME": "/mine"}).folder == Path.home() / ".local/state/airflow-wdl-ecs"


def test_the_home_is_for_its_owner_alone(home: AirflowHome) -> None:
    assert home.folder.stat().st_mode & 0o777 == 0o700
    write_private(home.endpoint, "secret")
    assert home.endpoint.stat().st_mode & 0o777 == 0o600
    assert home.endpoint.read_text() == "secret"


def test_idle_minutes() -> None:
    assert idle_seconds({}) == 1800
    assert idle_seconds({"AIRFLOW_WDL_ECS_IDLE_MINUTES": "0.5"}) == 30
    for wrong in ("0", "-1", "soon", "nan"):
        with pytest.raises(SettingsError, match="AIRFLOW_WDL_ECS_IDLE_MINUTES"):
            idle_seconds({"AIRFLOW_WDL_ECS_IDLE_MINUTES": wrong})


def test_the_users_airflow_and_aws_do_not_reach_the_embedded_ones(home: AirflowHome) -> None:
    mine = {"AIRFLOW_HOME": "/m", "AIRFLOW__CORE__X": "1", "AIRFLOW_CONN_AWS_DEFAULT": "c", "AWS_PROFILE": "p"}
    kept = {"HOME": "/h", "AIRFLOW_WDL_ECS_HOME": "/w", "AIRFLOW_WDL_ECS_CONTAINERS": "plain"}
    assert without_airflow({**mine, **kept}) == kept
    environment = airflow_environment(home, home.dags, 8080, 8081)
    assert environment["AIRFLOW_HOME"] == str(home.airflow)
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8081/execution/"
    assert str(home.airflow) in environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


def test_a_component_that_keeps_failing_is_restarted_ever_later() -> None:
    delays = [restart_delay(failures) for failures in range(12)]
    assert delays[:5] == [0, 0, 1, 2, 4]
    assert delays == sorted(delays)
    assert delays[-1] == BACKOFF_LIMIT


def test_what_is_made_once_stays(home: AirflowHome) -> None:
    assert kept_secrets(home) == kept_secrets(home)
    assert kept_port(home, "airflow") == kept_port(home, "airflow")
    assert kept_port(home, "airflow") != kept_port(home, "aws")
    other = AirflowHome(home.folder / "other")
    other.create()
    assert kept_secrets(home) != kept_secrets(other)


def test_a_port_that_is_taken_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert free_port(taken) != taken


def start_component(log: Path, program: str) -> Session:
    """A component of a process that does little else than to run a program; the tests' own process must not fork."""
    parent = (
        "import sys, time; from pathlib import Path; from airflow_wdl_ecs.local.sessions import fork_component\n"
        f"def run():\n{program}\n"
        f"print(fork_component(run, Path({str(log)!r})).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    pid = int(started.stdout.readline())
    _parents[pid] = started
    return Session.of(pid)


_parents: dict[int, subprocess.Popen[str]] = {}
SLEEPERS = """
    import subprocess
    subprocess.Popen(["sleep", "61"])
    print("started", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def component(tmp_path: Path) -> Session:
    session = start_component(tmp_path / "log", SLEEPERS)
    wait_until(lambda: (tmp_path / "log").exists() and "started" in (tmp_path / "log").read_text())
    wait_until(lambda: len(members(session)) == 2)
    yield session
    end_sessions([session], 0)
    _parents.pop(session.pid).kill()


def wait_until(condition, limit: float = 20) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_component_is_ended_with_all_that_it_started(component: Session) -> None:
    assert os.getsid(component.pid) == component.pid
    end_sessions([component], 2)
    wait_until(lambda: not members(component))
    assert not is_alive(component)


def test_what_a_killed_component_leaves_behind_is_found(component: Session) -> None:
    os.kill(component.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(component))
    assert [process.name() for process in members(component)] == ["sleep"]
    end_sessions([component], 0)
    wait_until(lambda: not members(component))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process of its parent's death")
def test_a_component_ends_with_its_supervisor(component: Session) -> None:
    _parents[component.pid].kill()
    wait_until(lambda: not is_alive(component))


def test_the_next_supervisor_sweeps_what_the_last_has_left(component: Session, home: AirflowHome) -> None:
    other = psutil.Process()
    recorded = {
        "scheduler": {"pid": component.pid, "created": component.created},
        # A process number that now belongs to another: this test's own.
        "triggerer": {"pid": other.pid, "created": other.create_time() - 1000},
    }
    home.processes.write_text(json.dumps(recorded))
    sweep(home)
    wait_until(lambda: not members(component))
    assert not home.processes.exists()


def test_the_exit_status_and_the_log_of_a_component(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        "import os; from pathlib import Path; from airflow_wdl_ecs.local.sessions import fork_component\n"
        "def run():\n    print('said'); raise ValueError('wrong')\n"
        f"session = fork_component(run, Path({str(log)!r}))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(session.pid, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert "said" in log.read_text()
    assert "ValueError: wrong" in log.read_text()


def test_a_home_without_a_service_has_none(home: AirflowHome) -> None:
    assert client.running(home) is None
    assert not client.is_supervised(home)
    home.endpoint.write_text('{"port": 1, "token": "", "pid": 1, "ui": "", "version": ""}')
    assert client.running(home) is None


def test_what_only_local_runs_need_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "moto" else object())
    with pytest.raises(SettingsError, match=r"moto\n.*airflow-wdl-ecs\[local\]"):
        client.require_installed()


def test_an_embedded_aws_that_has_died_is_not_waited_for(home: AirflowHome) -> None:
    began = time.monotonic()
    with pytest.raises(SettingsError, match=r"aws\.log"):
        components.await_aws(home, lambda: False)
    assert time.monotonic() - began < 5


def test_whoever_has_the_lock_supervises(home: AirflowHome) -> None:
    import fcntl

    with home.service_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert client.is_supervised(home)
    assert not client.is_supervised(home)
