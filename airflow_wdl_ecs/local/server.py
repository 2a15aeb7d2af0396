"""The process of the embedded AWS: ``python -m airflow_wdl_ecs.local.server --state DIR``.

Puts the parts together (moto's application behind the front, the agent, the container way), publishes ``aws.json``,
and ends cleanly on SIGTERM. The state folder belongs to one server at a time.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import logging
import os
import re
import resource
import secrets
import shutil
import signal
import string
import sys
import tempfile
import threading
from pathlib import Path
from typing import TextIO

import psutil
from moto.ecs.models import ecs_backends
from moto.logs.models import logs_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from .account import ACCOUNT, LOG_GROUP, NAME
from .agent import Agent, Budget
from .containers import ContainerWayError
from .ecs_api import EcsApi
from .endpoint import FILE, Endpoint, write_endpoint
from .faults import FaultDesk
from .front import Front
from .journal import Journal
from .probe import CHOICES, choose_way
from .process_records import ProcessRecords
from .processes import adopt_orphans, kill_marked
from .s3_state import ObjectFolder

MAX_FILES = 65536
STATE_MARK = "AIRFLOW_WDL_ECS_STATE"
"""The variable in every container's environment that says which server started it."""

log = logging.getLogger(__name__)


class QuietHandler(MotoRequestHandler):
    """Does not write a line for each request, nor wait with an answer's body until its head has been acknowledged."""

    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m airflow_wdl_ecs.local.server", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the folder that keeps S3 objects and keys")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument(
        "--containers",
        choices=CHOICES,
        default=os.environ.get("AIRFLOW_WDL_ECS_CONTAINERS", "auto"),
        help="how containers run",
    )
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--max-tasks", type=int, default=64, help="tasks that run at once; more wait in PROVISIONING")
    parser.add_argument("--cpu-factor", type=float, default=10, help="vCPUs handed out for each core of this machine")
    parser.add_argument("--memory-factor", type=float, default=4, help="memory handed out, times this machine's")
    parser.add_argument("--forget-after", type=float, default=3600, help="seconds that a stopped task can be described")
    options = parser.parse_args(arguments)
    if options.containers not in CHOICES:
        parser.error(f"AIRFLOW_WDL_ECS_CONTAINERS is {options.containers}; it must be one of {', '.join(CHOICES)}")
    return options


def container_root(state: Path) -> Path:
    """A short path without blanks for containers' volumes: in the state folder if that is such a path."""
    inside = state / "c"
    if len(str(inside)) <= 80 and re.fullmatch(r"[\w./-]+", str(inside)):
        return inside
    digest = hashlib.sha256(str(state).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"wdl-{os.getuid()}-{digest}"


def make_private(folder: Path) -> None:
    """Make a folder for this user alone. :raises SystemExit: if somebody else has made it, which matters in
    ``/tmp``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        sys.exit(f"{folder} belongs to somebody else; choose another --state.")
    folder.chmod(0o700)


def access_keys(state: Path) -> tuple[str, str]:
    """This install's access key and secret key, made at the first start and readable by this user alone."""
    path = state / "keys.json"
    if not path.exists():
        letters = string.ascii_uppercase + "234567"
        access_key = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump({"access_key": access_key, "secret_key": secrets.token_urlsafe(30)}, stream)
    keys = json.loads(path.read_text())
    return keys["access_key"], keys["secret_key"]


def own_folder(state: Path) -> TextIO:
    """Take the state folder for this process as long as the answer is open. :raises SystemExit: if another one has
    it.
    """
    stream = (state / "server.lock").open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"Another embedded AWS already runs on {state}.")
    return stream


def allow_many_files() -> None:
    """Raise the soft limit of open files: every running container takes two or three of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    state: Path = options.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    lock = own_folder(state)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    adopt_orphans()
    allow_many_files()
    records = ProcessRecords(state / "processes")
    way = choose_way(options.containers, state, container_root(state))
    make_private(container_root(state))
    swept = records.sweep() + kill_marked(STATE_MARK, str(state)) + way.sweep()
    if swept:
        log.warning("Ended %s processes that an earlier server had left behind", swept)
    way.clean_idle()
    shutil.rmtree(state / "tasks", ignore_errors=True)

    access_key, secret_key = access_keys(state)
    objects = ObjectFolder(state / "s3")
    objects.install(options.region)
    memory = psutil.virtual_memory().total // 1024**2
    budget = Budget(
        cpu=int((os.cpu_count() or 1) * 1024 * options.cpu_factor),
        memory=int(memory * options.memory_factor),
        tasks=options.max_tasks,
    )
    environment: dict[str, str] = {}
    agent = Agent(way, budget, environment, records)
    faults = FaultDesk()
    api = EcsApi(agent, state / "tasks", faults, options.forget_after)
    nonce = secrets.token_hex(16)
    moto = DomainDispatcherApplication(create_backend_app)
    journal = Journal(state / "registered.jsonl")
    journal.replay(moto, access_key)
    front = Front(moto, api, objects, faults, journal, access_key=access_key, nonce=nonce)
    server = make_server("127.0.0.1", options.port, front, threaded=True, request_handler=QuietHandler)
    server.daemon_threads = True  # type: ignore[attr-defined]
    front.listen(server.server_port)
    endpoint = Endpoint(
        pid=os.getpid(),
        port=server.server_port,
        url=f"http://127.0.0.1:{server.server_port}",
        nonce=nonce,
        access_key=access_key,
        secret_key=secret_key,
        region=options.region,
        containers=way.name,
        container_root=way.root,
        bucket=NAME,
        cluster=NAME,
        log_group=LOG_GROUP,
    )
    agent.environment.update({**endpoint.environment(), "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", STATE_MARK: str(state)})
    objects.ensure_bucket(NAME, options.region)
    if NAME not in ecs_backends[ACCOUNT][options.region].clusters:
        ecs_backends[ACCOUNT][options.region].create_cluster(NAME)
    logs_backends[ACCOUNT][options.region].ensure_log_group(LOG_GROUP)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    write_endpoint(state, endpoint)
    print(f"Embedded AWS at {endpoint.url}, containers: {way.name}, container root: {way.root}", flush=True)

    ended.wait()
    (state / FILE).unlink(missing_ok=True)
    agent.close()
    server.shutdown()
    server.server_close()
    lock.close()


def main() -> None:
    """The command."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        serve(parse_arguments())
    except ContainerWayError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
