"""Answers the command line's requests to the embedded Airflow: submit a run, watch it, stop it, move its files.

A request is one line of JSON over a connection on loopback, with the service's token; the answer is lines of JSON, the
last of which has ``done`` or ``error``. The component can be killed at any time: what it knows is in Airflow's
database, and a client that loses its connection asks again.
"""

from __future__ import annotations

import hmac
import json
import os
import select
import signal
import socket
import socketserver
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from ..ecs.request import attempt_prefix
from ..errors import WdlEcsError
from ..layout import Layout
from ..storage import RunStore
from . import components, runs, transfer
from .airflow_home import AirflowHome
from .components import WORKSPACE
from .endpoint import Endpoint

WATCH_PACE = 0.05
"""Seconds between two looks at a run that is watched."""

CLAIM_LIMIT = 15.0
"""Seconds after which a run that somebody started for themselves, and does not watch, is nobody's."""

STOP_LIMIT = 40.0
"""Seconds that the ECS tasks of a run that is stopped may take to end; their commands have 30 after SIGTERM."""

STARTING = 1.0
"""Seconds for which a run that is stopped must have no ECS tasks to count as ended."""

Answer = dict[str, Any]


class Control:
    """The requests that the service answers; each method named ``on_...`` is one.

    :param idle: seconds without a request or a run after which the service is asked to end; None for never.
    """

    def __init__(self, home: AirflowHome, token: str, *, idle: float | None) -> None:
        self.home = home
        self.token = token
        self.idle = idle
        self.lock = threading.Lock()
        self._clients: dict[tuple[str, Endpoint], Any] = {}
        self._unclaimed: dict[tuple[str, str], float] = {}
        self.requests = 0
        self.last_use = time.monotonic()

    def serve(self, listener: socket.socket) -> None:
        """Answer requests until the process is ended."""
        threading.Thread(target=self._keep_house, daemon=True).start()
        with _Server(self, listener) as server:
            server.serve_forever(poll_interval=60)

    def answer(self, line: bytes, gone: Callable[[], bool]) -> Iterator[Answer]:
        """The answers to one request.

        :param gone: tells whether the client has closed its connection.
        """
        try:
            request = json.loads(line)
            if not hmac.compare_digest(str(request.pop("token", "")), self.token):
                yield {"error": {"kind": "SettingsError", "message": "wrong token"}}
                return
            handle = getattr(self, f"on_{request.pop('request')}")
            with self._in_use():
                yield from handle(**request, **({"gone": gone} if handle.__name__ == "on_watch" else {}))
            yield {"done": True}
        except WdlEcsError as error:
            yield {"error": {"kind": type(error).__name__, "message": str(error)}}
        except Exception as error:
            traceback.print_exc()
            yield {"error": {"kind": type(error).__name__, "message": str(error), "log": str(self.home.log("control"))}}

    def on_submit(
        self, dag_id: str, run_id: str, files: dict[str, str], inputs: dict[str, Any], owned: bool = False
    ) -> Iterator[Answer]:
        """Register the DAG and trigger the run of it that ``run_id`` names.

        :param owned: stop the run if nobody begins to watch it, as whoever is killed between the two does not.
        """
        self.home.busy.touch()
        runs.register(self.home.dags, dag_id, files)
        runs.trigger(dag_id, run_id, inputs)
        if owned:
            self._unclaimed[dag_id, run_id] = time.monotonic()
        yield {"run_id": run_id}

    def on_watch(self, dag_id: str, run_id: str, owned: bool, gone: Callable[[], bool]) -> Iterator[Answer]:
        """Every change of a task instance's state, then the run's final ``state``.

        :param owned: stop the run if the client closes its connection before the end.
        """
        known: dict[tuple[str, int], tuple[str, int]] = {}
        self._unclaimed.pop((dag_id, run_id), None)
        while True:
            found = runs.look(dag_id, run_id)
            if found is None:
                raise WdlEcsError(f"there is no run {run_id} of {dag_id}")
            for instance in found.instances:
                now = (instance.state, instance.tries)
                if known.get((instance.task, instance.index), ("", 0)) != now:
                    known[instance.task, instance.index] = now
                    self.home.busy.touch()
                    yield {"task": instance.task, "index": instance.index, "state": now[0], "try": now[1]}
            if found.ended:
                yield {"state": found.state}
                return
            if gone():
                if owned:
                    runs.stop(dag_id, run_id)
                return
            time.sleep(WATCH_PACE)

    def on_failures(self, dag_id: str, run_id: str) -> Iterator[Answer]:
        """For every task instance of a run that failed: its ``task``, ``index``, and the ``errors`` in its log."""
        found = runs.look(dag_id, run_id)
        logs = self.home.airflow / "logs"
        for instance in found.instances if found else ():
            if instance.state == "failed":
                errors = runs.errors_in_log(logs, dag_id, run_id, instance)
                yield {"task": instance.task, "index": instance.index, "errors": errors}

    def on_outputs(self, dag_id: str, run_id: str) -> Iterator[Answer]:
        """The run's ``outputs``: output name -> value, files as URIs; and what it has ``published`` of them."""
        s3, endpoint = self._client("s3")
        layout = Layout(f"s3://{endpoint.bucket}/{WORKSPACE}", dag_id, run_id)
        store = RunStore(s3, layout)
        yield {"outputs": store.get_json(layout.named("outputs.json")), "published": store.published()}

    def on_report(self, run: str | None, scope: str | None) -> Iterator[Answer]:
        """What became of a run: its ``report`` with the ``stderr`` of what failed in it, or why it has ``not_begun``;
        nothing if there is no such run.

        :param run: ``DAG_ID/RUN_ID``, or its folder; None for the latest of all.
        """
        s3, endpoint = self._client("s3")
        found = runs.report(s3, f"s3://{endpoint.bucket}/{WORKSPACE}", run, scope, self.home.airflow / "logs")
        if found is not None:
            yield found

    def on_orphans(self, stop: bool, where: dict[str, str]) -> Iterator[Answer]:
        """The ECS ``tasks`` that run, and which of them nobody waits for (``orphans.FoundTask``).

        :param stop: stop those. :param where: the ``cluster`` and ``workspace`` of DAGs that override them.
        """
        from ..airflow_states import ask_airflow
        from ..host import resolve_settings
        from ..orphans import find_tasks, stop_tasks

        def clients(service: str) -> Any:
            return self._client(service)[0]

        tasks = find_tasks(resolve_settings(where), clients, ask_airflow)
        if stop:
            stop_tasks(clients, [task for task in tasks if task.orphaned])
        yield {"tasks": [asdict(task) for task in tasks]}

    def on_doctor(self) -> Iterator[Answer]:
        """What an examination of the embedded AWS finds: one ``finding`` after the other (``findings.Finding``)."""
        from ..doctor.deployment import Deployment, embedded_checks
        from ..doctor.findings import examine
        from ..host import resolve_settings

        for finding in examine(embedded_checks(Deployment(resolve_settings(), lambda name: self._client(name)[0]))):
            yield {"finding": asdict(finding)}

    def on_clean(self, run: str, scope: str | None, **how: bool) -> Iterator[Answer]:
        """What was ``cleaned`` of a run (``clean.Cleaning``), as ``clean.clean_run`` is told to; nothing if there is no
        such run.

        :param run: ``DAG_ID/RUN_ID``, or its folder.
        """
        from ..clean import clean_run

        s3, endpoint = self._client("s3")
        layout = runs.layout_here(s3, f"s3://{endpoint.bucket}/{WORKSPACE}", run, scope)
        if layout is not None:
            yield {"cleaned": clean_run(s3, layout, runs.state_of, **how).to_json()}

    def on_upload(self, paths: list[str]) -> Iterator[Answer]:
        """Upload local files and folders, by absolute paths; answers with their ``uris`` and the bytes ``sent``."""
        s3, endpoint = self._client("s3")
        uris, uploads = transfer.plan_uploads(paths, endpoint.bucket)
        yield {"uris": uris, "sent": transfer.upload(s3, endpoint.bucket, uploads)}

    def on_download(self, targets: dict[str, str]) -> Iterator[Answer]:
        """Fetch files and folders, URI -> absolute path; answers with the ``size`` in bytes."""
        yield {"size": transfer.download(self._client("s3")[0], targets)}

    def on_stop_run(self, dag_id: str, run_id: str) -> Iterator[Answer]:
        """Stop a run; answers whether it was active, when its ECS tasks have ended (``ended``) or take too long."""
        yield {"stopped": runs.stop(dag_id, run_id)}
        quiet = time.monotonic()
        deadline = quiet + STOP_LIMIT
        # One that a trigger is just having started is there only in a moment, and is stopped then.
        while time.monotonic() - quiet < STARTING and time.monotonic() < deadline:
            time.sleep(WATCH_PACE)
            if self._tasks_of(dag_id, run_id):
                quiet = time.monotonic()
        yield {"ended": time.monotonic() - quiet >= STARTING}

    def _tasks_of(self, dag_id: str, run_id: str) -> list[str]:
        """The ARNs of a run's ECS tasks that have not ended."""
        ecs, endpoint = self._client("ecs")
        folder = Layout(f"s3://{endpoint.bucket}/{WORKSPACE}", dag_id, run_id).folder
        found = []
        for status in ("RUNNING", "STOPPED"):
            for page in ecs.get_paginator("list_tasks").paginate(cluster=endpoint.cluster, desiredStatus=status):
                arns = page["taskArns"]
                tasks = ecs.describe_tasks(cluster=endpoint.cluster, tasks=arns)["tasks"] if arns else []
                found += [
                    task["taskArn"]
                    for task in tasks
                    if task["lastStatus"] != "STOPPED" and (attempt_prefix(task) or "").startswith(folder)
                ]
        return found

    def on_status(self) -> Iterator[Answer]:
        """The runs that are active, and for how long the service has been idle."""
        with self.lock:
            idle = time.monotonic() - self.last_use if self.requests <= 1 else 0.0
        yield {"runs": [list(run) for run in runs.active()], "idle": round(idle, 1)}

    def on_end(self) -> Iterator[Answer]:
        """Stop every run and end the service."""
        found = runs.active()
        for dag_id, run_id in found:
            runs.stop(dag_id, run_id)
        yield {"runs": [list(run) for run in found]}
        os.kill(os.getppid(), signal.SIGTERM)

    def _client(self, service: str) -> tuple[Any, Endpoint]:
        """A client of the embedded AWS, and where that is."""
        endpoint = components.await_aws(self.home)
        with self.lock:
            if (service, endpoint) not in self._clients:
                self._clients[service, endpoint] = _aws_client(service, endpoint)
            return self._clients[service, endpoint], endpoint

    def _in_use(self) -> _Use:
        return _Use(self)

    def stop_unclaimed(self, now: float) -> None:
        """Stop what was submitted as somebody's own, and has not been watched for `CLAIM_LIMIT`.

        :param now: by the clock that only goes forward, in seconds.
        """
        for (dag_id, run_id), since in list(self._unclaimed.items()):
            if now - since > CLAIM_LIMIT and self._unclaimed.pop((dag_id, run_id), None) is not None:
                print(f"run {run_id} of {dag_id} is stopped: whoever has started it is gone", flush=True)
                runs.stop(dag_id, run_id)

    def _keep_house(self) -> None:
        """Keep the mark of a busy service right, and ask for its end when it has long been idle."""
        while True:
            time.sleep(2)
            try:
                self.stop_unclaimed(time.monotonic())
                if runs.active():
                    if not self.home.busy.exists():
                        self.home.busy.touch()
                    self.last_use = time.monotonic()
                elif self.requests == 0:
                    self.home.busy.unlink(missing_ok=True)
            except Exception:
                traceback.print_exc()
            if self.idle is not None and self.requests == 0 and time.monotonic() - self.last_use > self.idle:
                print(f"idle for {self.idle:g} s: ending the service", flush=True)
                os.kill(os.getppid(), signal.SIGTERM)
                return


def _aws_client(service: str, endpoint: Endpoint) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name=endpoint.region,
    )
    return session.client(service, endpoint_url=endpoint.url, config=Config(max_pool_connections=32))


class _Use:
    """Counts a request as use of the service from its beginning to its end."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def __enter__(self) -> None:
        with self.control.lock:
            self.control.requests += 1

    def __exit__(self, *_: object) -> None:
        with self.control.lock:
            self.control.requests -= 1
            self.control.last_use = time.monotonic()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, control: Control, listener: socket.socket) -> None:
        super().__init__(listener.getsockname(), _Connection, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.control = control

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that went away is no error
            super().handle_error(request, client_address)


class _Connection(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return
        for answer in self.server.control.answer(line, self._gone):
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    def _gone(self) -> bool:
        ready, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(ready) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True
