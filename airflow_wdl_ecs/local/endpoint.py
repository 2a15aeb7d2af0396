"""How other processes find, start and stop the embedded AWS: through the file ``aws.json`` in its state folder.

Imports neither moto nor boto3, so that asking costs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from ..errors import SettingsError

FILE = "aws.json"
LOG = "aws.log"


@dataclass(frozen=True)
class Endpoint:
    """A running embedded AWS.

    :param containers: the way in which it runs containers: plain, bwrap, docker or podman.
    :param container_root: the provider's setting ``container_root`` for it.
    :param bucket: an S3 bucket, :param cluster: an ECS cluster, :param log_group: a log group that are there from the
        start.
    """

    pid: int
    port: int
    url: str
    nonce: str
    access_key: str
    secret_key: str
    region: str
    containers: str
    container_root: str
    bucket: str
    cluster: str
    log_group: str

    def environment(self) -> dict[str, str]:
        """The variables by which boto3, s5cmd and the AWS command line talk to it and to nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, timeout: float = 15.0) -> bytes:
        """What the server answers on its own interface, such as ``/_wdl/stats``.

        :raises OSError: if it does not answer, or not with success.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers={"X-Wdl-Access-Key": self.access_key})
            response = connection.getresponse()
            answer = response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(f"{path}: HTTP {response.status}: {answer.decode(errors='replace')}")
        return answer

    def calls(self) -> dict[str, int]:
        """How often each operation was called since the start, such as ``{"ecs:DescribeTasks": 7, "s3:GET": 3}``."""
        counts: dict[str, int] = json.loads(self.ask("/_wdl/stats"))["calls"]
        return counts

    def requests(self) -> list[dict[str, str]]:
        """The latest requests, oldest first: ``operation`` as in `calls`, ``path``, ``query`` and ``agent``, who asked.

        What runs in a container says ``exec-env/AWS_ECS_FARGATE`` in its agent, as it does on AWS.
        """
        found: list[dict[str, str]] = json.loads(self.ask("/_wdl/requests"))
        return found

    def set_faults(self, **faults: Any) -> None:
        """Replace what goes wrong on purpose (see `faults.Faults`); without arguments nothing does any more.

        :raises OSError: if there is no such fault, or no such task.
        """
        self.ask("/_wdl/faults", "PUT", json.dumps(faults).encode())

    def held(self) -> list[str]:
        """The requests that a fault holds, such as ``["s3:PUT /bucket/key"]``; `set_faults` lets them go."""
        found: list[str] = json.loads(self.ask("/_wdl/held"))
        return found


def write_endpoint(state: Path, endpoint: Endpoint) -> None:
    """Publish an endpoint, readable by this user alone."""
    partial = state / f".{FILE}.{os.getpid()}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(asdict(endpoint), stream, indent=2)
    partial.replace(state / FILE)


def read_endpoint(state: Path) -> Endpoint | None:
    """The embedded AWS of a state folder, if it runs and answers; else None."""
    try:
        endpoint = Endpoint(**json.loads((state / FILE).read_text()))
        if psutil.pid_exists(endpoint.pid) and json.loads(endpoint.ask("/_wdl/nonce"))["nonce"] == endpoint.nonce:
            return endpoint
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def start_server(
    state: Path, *, port: int = 0, containers: str | None = None, options: tuple[str, ...] = (), timeout: float = 120.0
) -> Endpoint:
    """The embedded AWS of a state folder: the one that runs, or a new one that outlives this process.

    :param containers: the container way (auto, plain, bwrap, docker, podman); by default the server's own choice.
    :param options: more options of ``python -m airflow_wdl_ecs.local.server``.
    :raises SettingsError: if it does not come up within ``timeout`` seconds; the end of its log is in the error.
    """
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    with _locked(state / "start.lock"):
        running = read_endpoint(state)
        if running is not None:
            return running
        command = [sys.executable, "-m", "airflow_wdl_ecs.local.server", "--state", str(state), "--port", str(port)]
        command += ["--containers", containers] if containers else []
        with (state / LOG).open("ab") as log:
            process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=state,
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            endpoint = read_endpoint(state)
            if endpoint is not None and endpoint.pid == process.pid:
                return endpoint
            if process.poll() is not None:
                break
            time.sleep(0.05)
        else:
            process.terminate()
        tail = "\n".join((state / LOG).read_text(errors="replace").splitlines()[-15:])
        raise SettingsError(f"The embedded AWS did not start:\n{tail}", hint=f"The whole log is {state / LOG}.")


def stop_server(state: Path, timeout: float = 30.0) -> bool:
    """Stop the embedded AWS of a state folder, and with it every task. Returns whether there was one."""
    endpoint = read_endpoint(state.resolve())
    if endpoint is None:
        return False
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(endpoint.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)
    return True
