"""The command line's side of the embedded Airflow's service: start it when it is needed, and ask it for things.

Imports nothing slow, neither Airflow nor an AWS library. Any number of processes may use one service: whoever finds
none starts it, under a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .. import errors
from .airflow_home import AirflowHome, code_version, without_airflow

START_LIMIT = 180.0
"""Seconds that the service may take to start."""


class ServiceError(errors.WdlEcsError):
    """The embedded Airflow does not start, or failed in a way that it should not."""


class ServiceLostError(ServiceError):
    """The connection to the service broke off: a part of it, or all, has ended."""


@dataclass(frozen=True)
class Endpoint:
    """How to reach a service.

    :param port: on loopback. :param token: proves that the caller may read the user's files.
    :param pid: the supervisor's. :param ui: the URL of Airflow's UI.
    :param version: of the code that it runs, see `code_version`.
    """

    port: int
    token: str
    pid: int
    ui: str
    version: str


@dataclass(frozen=True)
class Client:
    """A service that runs."""

    home: AirflowHome
    endpoint: Endpoint

    def stream(self, request: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The answers to a request, as they come.

        :raises ServiceLostError: if the connection breaks off; what the request asked for may have happened.
        :raises WdlEcsError: the error that the service reports.
        """
        body = json.dumps({"token": self.endpoint.token, "request": request, **arguments})
        try:
            with socket.create_connection(("127.0.0.1", self.endpoint.port)) as connection:
                connection.sendall(body.encode() + b"\n")
                with connection.makefile("rb") as lines:
                    for line in lines:
                        answer = json.loads(line)
                        if answer.get("done"):
                            return
                        if "error" in answer:
                            raise _error(answer["error"])
                        yield answer
        except OSError as error:
            raise self._lost() from error
        raise self._lost()

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """All answers to a request in one."""
        found: dict[str, Any] = {}
        for answer in self.stream(request, **arguments):
            found.update(answer)
        return found

    def _lost(self) -> ServiceLostError:
        if not is_supervised(self.home):
            return ServiceLostError(*_not_started(self.home).args, hint=f"its logs are in {self.home.logs}")
        return ServiceLostError("lost the connection to the embedded Airflow", hint=f"its logs are in {self.home.logs}")


def running(home: AirflowHome) -> Client | None:
    """The service of this home, if one runs and accepts connections."""
    try:
        endpoint = Endpoint(**json.loads(home.endpoint.read_text()))
        socket.create_connection(("127.0.0.1", endpoint.port), timeout=5).close()
    except (OSError, ValueError, TypeError):
        return None
    return Client(home, endpoint)


def connect(home: AirflowHome, say: Callable[[str], None]) -> Client:
    """The service of this home, started if there is none, or none that runs this code.

    It may still be coming up: a request waits until it can be answered.

    :param say: told what takes long.
    :raises ServiceError: if it does not start, or one of other code is busy.
    """
    version = code_version()
    found = running(home)
    if found and found.endpoint.version == version:
        return found
    home.create()
    with _locked(home):
        found = running(home)
        if found and found.endpoint.version != version:
            _replace(found, say)
            found = None
        if found is None:
            say("starting the embedded Airflow (it stays for the next runs)")
            found = _start(home)
    return found


def end(client: Client, say: Callable[[str], None]) -> None:
    """Stop the runs of a service and end it; wait until it has ended."""
    with contextlib.suppress(ServiceLostError):
        for dag_id, run_id in client.ask("end").get("runs", []):
            say(f"stopped run {run_id} of {dag_id}")
    await_end(client.home)


def await_end(home: AirflowHome, limit: float = 30.0) -> None:
    """Wait until no supervisor has this home.

    :raises ServiceError: if one still has after ``limit`` seconds.
    """
    deadline = time.monotonic() + limit
    while is_supervised(home):
        if time.monotonic() > deadline:
            raise ServiceError(f"the embedded Airflow does not end; see {home.log('service')}")
        time.sleep(0.05)


def is_supervised(home: AirflowHome) -> bool:
    """Whether a supervisor lives, however far it has come."""
    try:
        descriptor = os.open(home.service_lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _replace(old: Client, say: Callable[[str], None]) -> None:
    active = old.ask("status")["runs"]
    if active:
        raise ServiceError(
            f"the embedded Airflow runs another version of this package and is busy with {len(active)} run(s)",
            hint="wait for them to end, or stop them with: airflow-wdl-ecs local stop",
        )
    say("replacing the embedded Airflow, which runs another version of this package")
    end(old, say)


def _start(home: AirflowHome) -> Client:
    """Start a supervisor, unless one is just starting; wait until it listens."""
    require_installed()
    deadline = time.monotonic() + START_LIMIT
    process: subprocess.Popen[bytes] | None = None
    while True:
        found = running(home)
        if found:
            return found
        if process is None and not is_supervised(home):
            process = _spawn(home)
        if process is not None and process.poll() is not None:
            raise _not_started(home)
        if time.monotonic() > deadline:
            raise ServiceError(
                f"the embedded Airflow did not start within {START_LIMIT:g} s", hint=f"see {home.log('service')}"
            )
        time.sleep(0.02)


def require_installed() -> None:
    """Check that what only local runs need is installed.

    :raises SettingsError: if it is not.
    """
    missing = [name for name in ("moto", "psutil", "airflow") if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.SettingsError(
            f"not installed, and needed to run workflows on this machine: {', '.join(missing)}",
            hint="install it with: pip install 'airflow-wdl-ecs[local]'",
        )


def _not_started(home: AirflowHome) -> ServiceError:
    log = home.log("service")
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    said = f": {lines[-1]}" if lines else ""
    return ServiceError(f"the embedded Airflow did not start{said}", hint=f"see {log}")


def _spawn(home: AirflowHome) -> subprocess.Popen[bytes]:
    with home.log("service").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "airflow_wdl_ecs.local.service", str(home.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=without_airflow(os.environ),
            cwd=home.folder,
            start_new_session=True,
        )


@contextlib.contextmanager
def _locked(home: AirflowHome) -> Iterator[None]:
    with home.start_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _error(found: dict[str, Any]) -> errors.WdlEcsError:
    kind = getattr(errors, found["kind"], None)
    message = found["message"]
    if isinstance(kind, type) and issubclass(kind, errors.ProblemsError):
        return kind(message)
    if isinstance(kind, type) and issubclass(kind, errors.WdlEcsError):
        return kind(message)
    return ServiceError(f"{found['kind']}: {message}", hint=f"see {found['log']}" if "log" in found else None)
