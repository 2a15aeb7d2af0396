"""The embedded Airflow as one background service: a supervisor and the components that it forks and restarts.

The supervisor imports Airflow once, starts no thread and opens no database connection, and forks every component from
itself: starting one costs no imports, at first and after a crash. It owns the service's lock, the sockets that must
outlive a component, and the decision to end. It does not know what a workflow is; requests are for `control`.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import secrets
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from ..garbage import spare_what_is_there
from . import components
from .airflow_home import AirflowHome, airflow_environment, code_version, idle_seconds, write_private
from .sessions import Session, end_sessions, fork_component, is_alive

LOCK_WAIT = 5.0
"""Seconds to wait for the lock of a service that is just ending."""
GRACE = 4.0
"""Seconds that components have to end."""
BACKOFF_LIMIT = 30.0
STEADY = 60.0
"""A component that ran for so many seconds before it ended is restarted at once."""


@dataclass
class Component:
    """One process of the service.

    :param run: what the forked process does.
    :param closing: the supervisor's file descriptors that it must not keep.
    :param failures: how often in a row it ended before it was steady.
    :param due: the monotonic time at which it is to be restarted.
    """

    name: str
    run: Callable[[], int | None]
    closing: list[int]
    session: Session | None = None
    started: float = 0.0
    failures: int = 0
    due: float = 0.0


@dataclass
class Service:
    """The supervisor of one embedded Airflow.

    :param dags: the DAG folder.
    :param port: of the API server; 0 takes a free one, the same as last time if it can.
    :param dag_processor: scan the DAG folder, as an Airflow that people put DAG files into does.
    :param idle: seconds without a request or a run after which the service ends; None for never.
    """

    home: AirflowHome
    dags: Path
    port: int = 0
    dag_processor: bool = False
    idle: float | None = None
    components: dict[str, Component] = field(default_factory=dict)
    inherited: list[int] = field(default_factory=list)
    stopping: bool = False

    def serve(self, on_ready: Callable[[str], None] = lambda url: None) -> int:
        """Run until told to stop; give the exit status. Another supervisor of the same home: return at once.

        :param on_ready: called once with the URL of Airflow's UI when every component has been started.
        """
        self.home.create()
        lock = _lock(self.home.service_lock)
        if lock is None:
            return 0
        wakeup = self._wake_on_signals()
        sweep(self.home)
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        execution = socket.create_server(("127.0.0.1", 0), backlog=128)
        # Its connections have it from here, as asyncio sets it on none that were accepted by a descriptor; without it
        # every second answer waits 40 ms for the acknowledgement of its first part.
        execution.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = free_port(self.port or kept_port(self.home, "airflow"))
        token = secrets.token_urlsafe(32)
        os.environ.update(airflow_environment(self.home, self.dags, self.port, execution.getsockname()[1]))
        os.environ.update(kept_secrets(self.home))
        self.inherited = [lock, *wakeup, listener.fileno(), execution.fileno()]
        try:
            self._write_endpoint(listener.getsockname()[1], token)
            self._start(listener, execution, token)
            on_ready(f"http://127.0.0.1:{self.port}")
            self._watch(wakeup[0], lock)
        finally:
            if self._has_home(lock):
                self.home.endpoint.unlink(missing_ok=True)
            listener.close()
            execution.close()
            sessions = [found.session for found in self.components.values() if found.session]
            end_sessions(sessions, GRACE)
            if self._has_home(lock):
                self.home.busy.unlink(missing_ok=True)
                self.home.processes.unlink(missing_ok=True)
        return 0

    def _has_home(self, lock: int) -> bool:
        """Whether the home is still the one that was locked, and not deleted or made anew."""
        try:
            return os.path.samestat(os.fstat(lock), self.home.service_lock.stat())
        except OSError:
            return False

    def _start(self, listener: socket.socket, execution: socket.socket, token: str) -> None:
        """Fork the components, as soon as what they need is there; the embedded AWS comes up meanwhile."""
        home = self.home
        self._add("aws", lambda: components.run_aws(home, free_port(kept_port(home, "aws"))))
        components.import_airflow()
        if not self.dag_processor:
            components.forgo_callbacks()
        spare_what_is_there()  # the components are forked with it
        self._prepare_database()
        components.prepare_execution_api()
        aws = self.components["aws"].session
        endpoint = components.await_aws(home, lambda: aws is not None and is_alive(aws))
        os.environ.update(components.aws_environment(endpoint))
        components.prepare_clients()
        self._add("control", lambda: components.run_control(home, listener, token, self.idle), keeping=listener)
        self._add("execution-api", lambda: components.run_execution_api(home, execution), keeping=execution)
        self._add("scheduler", lambda: components.run_scheduler(home))
        self._add("triggerer", lambda: components.run_triggerer(home))
        if self.dag_processor:
            self._add("dag-processor", components.run_dag_processor)
        # It knows the embedded AWS as the others do, for its page about runs; and no run waits for it.
        self._add("api-server", lambda: components.run_api_server(home))

    def _prepare_database(self) -> None:
        log = self.home.log("database")
        prepare = partial(components.prepare_database, self.home, callbacks=self.dag_processor)
        session = fork_component(prepare, log, self.inherited)
        if os.waitpid(session.pid, 0)[1] != 0:
            raise RuntimeError(f"the metadata database could not be prepared; see {log}")

    def _add(self, name: str, run: Callable[[], int | None], keeping: socket.socket | None = None) -> None:
        closing = [found for found in self.inherited if keeping is None or found != keeping.fileno()]
        self.components[name] = Component(name, run, closing)
        self._launch(self.components[name])

    def _launch(self, component: Component) -> None:
        component.session = fork_component(component.run, self.home.log(component.name), component.closing)
        component.started = time.monotonic()
        component.due = 0.0
        _say(f"{component.name}: process {component.session.pid}")
        self._write_processes()

    def _watch(self, wakeup: int, lock: int) -> None:
        """Restart what ends, with a growing delay, until a signal says to stop or the home is gone."""
        while not self.stopping and self._has_home(lock):
            self._reap()
            now = time.monotonic()
            for component in self.components.values():
                if component.session is None and now >= component.due:
                    self._launch(component)
            delays = [component.due - now for component in self.components.values() if component.session is None]
            ready, _, _ = select.select([wakeup], [], [], max(0.0, min([5.0, *delays])))
            if ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wakeup, 4096)

    def _reap(self) -> None:
        """Take note of components that have ended, and end what they left behind."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for component in self.components.values():
                if component.session and component.session.pid == pid:
                    self._ended(component, status)

    def _ended(self, component: Component, status: int) -> None:
        assert component.session is not None
        end_sessions([component.session], grace=0)
        component.session = None
        lived = time.monotonic() - component.started
        component.failures = 0 if lived >= STEADY else component.failures + 1
        delay = restart_delay(component.failures)
        component.due = time.monotonic() + delay
        _say(f"{component.name}: ended after {lived:.0f} s with {_wording(status)}; restart in {delay:g} s")

    def _wake_on_signals(self) -> tuple[int, int]:
        """Let signals end the waiting in `_watch`; SIGTERM, SIGINT and SIGHUP ask for the end of the service."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)

        def stop(number: int, frame: object) -> None:
            self.stopping = True

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        return reading, writing

    def _write_endpoint(self, port: int, token: str) -> None:
        endpoint = {
            "port": port,
            "token": token,
            "pid": os.getpid(),
            "ui": f"http://127.0.0.1:{self.port}",
            "version": code_version(),
        }
        write_private(self.home.endpoint, json.dumps(endpoint))

    def _write_processes(self) -> None:
        sessions = {name: asdict(found.session) for name, found in self.components.items() if found.session}
        write_private(self.home.processes, json.dumps(sessions))


def restart_delay(failures: int) -> float:
    """Seconds to wait before a component that ended ``failures`` times in a row is started again."""
    return 0.0 if failures <= 1 else min(BACKOFF_LIMIT, float(2 ** (failures - 2)))


def sweep(home: AirflowHome) -> None:
    """End what a supervisor that did not end in order has left behind."""
    try:
        recorded = json.loads(home.processes.read_text())
    except (OSError, ValueError):
        return
    end_sessions([Session(**found) for found in recorded.values()], GRACE)
    home.processes.unlink(missing_ok=True)


def free_port(wanted: int) -> int:
    """``wanted`` if nothing listens there, else a free port of loopback."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def kept_port(home: AirflowHome, name: str) -> int:
    """The port that something of this home had before, so that what refers to it stays valid."""
    kept = home.folder / f"{name}.port"
    try:
        return int(kept.read_text())
    except (OSError, ValueError):
        port = free_port(0)
        write_private(kept, str(port))
        return port


def kept_secrets(home: AirflowHome) -> Mapping[str, str]:
    """Airflow's keys, made once per home: what one service has encrypted or signed, the next must be able to read."""
    kept = home.folder / "secrets.json"
    try:
        found: dict[str, str] = json.loads(kept.read_text())
    except (OSError, ValueError):
        found = {
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        }
        write_private(kept, json.dumps(found))
    return found


def _lock(path: Path) -> int | None:
    """Take a lock for as long as this process lives; None if another keeps it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.05)


def _wording(status: int) -> str:
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit status {os.WEXITSTATUS(status)}"


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", flush=True)


def main() -> int:
    """``python -m airflow_wdl_ecs.local.service FOLDER``: serve the embedded Airflow of a folder until it is idle."""
    home = AirflowHome(Path(sys.argv[1]))
    return Service(home, dags=home.dags, idle=idle_seconds()).serve()


if __name__ == "__main__":
    sys.exit(main())
