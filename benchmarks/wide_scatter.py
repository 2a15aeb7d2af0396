"""How wide a scatter Airflow's scheduler bears: what `scatter.WIDEST` was chosen by.

On an Airflow as deployments have it, a mapped task group of two tasks in a row over more and more instances. The tasks
start in the triggerer, as calls do, and end at once, so that all there is to do is Airflow's own. Meanwhile a small DAG
runs again and again: what a user of the same Airflow waits for. How long the scheduler's loop takes is its own metric.

python benchmarks/wide_scatter.py [--widths 250 500 1000 2000 5000] [--repeats 1] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from deployment import Deployment, deployment
from measure import report

TRIGGER = '''"""A trigger that ends its task instance at once."""

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent


class AtOnce(BaseTrigger):
    def serialize(self):
        return "at_once.AtOnce", {}

    async def run(self):
        yield TaskSuccessEvent(xcoms={"return_value": {"number": 1}})
'''
DAGS = '''"""A scatter of calls that cost nothing, and a small workflow."""

from airflow.sdk import DAG, BaseOperator, task, task_group
from airflow.triggers.base import StartTriggerArgs


class Call(BaseOperator):
    def __init__(self, **kwargs):
        super().__init__(trigger_rule="none_failed", **kwargs)
        self.start_from_trigger = True
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="at_once.AtOnce", trigger_kwargs={}, next_method="execute_complete", timeout=None
        )


with DAG("wide", schedule=None, params={"width": 1}, max_active_tasks=100000):

    @task
    def shards(params=None):
        return [str(index) for index in range(params["width"])]

    @task_group
    def scatter(shard):
        Call(task_id="first") >> Call(task_id="second")

    @task(trigger_rule="none_failed")
    def outputs():
        return {}

    scatter.expand(shard=shards()) >> outputs()

with DAG("small", schedule=None, max_active_tasks=100000):

    @task
    def inputs():
        return {}

    @task(trigger_rule="none_failed", task_id="outputs")
    def last():
        return {}

    inputs() >> Call(task_id="call") >> last()
'''
CALLS = 2
"""Task instances for each shard."""
LOOP = "scheduler.scheduler_loop_duration"


class Loops:
    """How long the scheduler's loops take, as Airflow tells a StatsD server, which this is.

    ``seconds`` are wall time, ``cpu`` what the scheduler's process itself has used: that is true on a busy machine too.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.scheduler: psutil.Process | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        before = 0.0
        while True:
            for line in self._socket.recv(65536).decode(errors="replace").splitlines():
                name, _, value = line.partition(":")
                if name.endswith(LOOP) and self.scheduler is not None:
                    now = own_cpu(self.scheduler)
                    self.seconds.append(float(value.partition("|")[0]) / 1000)
                    self.cpu.append(now - before)
                    before = now


def own_cpu(process: psutil.Process) -> float:
    """CPU seconds of a process without its children."""
    used = process.cpu_times()
    return float(used.user + used.system)


class SmallRuns:
    """Runs of the small workflow, one after the other, in a thread: how many seconds each takes."""

    def __init__(self, airflow: Deployment, name: str) -> None:
        self._airflow = airflow
        self._name = name
        self._done = threading.Event()
        self.seconds: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.is_set():
            start = time.monotonic()
            run = self._airflow.trigger("small", {}, f"{self._name}_{len(self.seconds)}")
            state = self._airflow.wait("small", run, limit=3600)
            assert state == "success", state
            self.seconds.append(time.monotonic() - start)

    def stop(self) -> None:
        """Start no more; wait for the one that runs."""
        self._done.set()
        self._thread.join()


def cpu(airflow: Deployment, folder: Path) -> dict[str, float]:
    """CPU seconds of what scheduling takes: without those of the workers, which are the scheduler's children."""
    server = psutil.Process(int((folder / "postgresql" / "data" / "postmaster.pid").read_text().split()[0]))
    database = 0.0
    for process in [server, *server.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            used = process.cpu_times()
            database += used.user + used.system + used.children_user + used.children_system
    return {
        "scheduler": own_cpu(airflow.processes["scheduler"]),
        "database": database,
        "triggerer": airflow.cpu_seconds()["triggerer"],
    }


def scatter(airflow: Deployment, folder: Path, loops: Loops, width: int, limit: float) -> dict[str, Any]:
    """One run of a scatter; what it took, and what it did to others."""
    time.sleep(10)
    before, first = cpu(airflow, folder), len(loops.seconds)
    start = time.monotonic()
    run = airflow.trigger("wide", {"width": width})
    small = SmallRuns(airflow, f"beside_{run}")
    try:
        state = airflow.wait("wide", run, limit)
    except TimeoutError:
        state = f"not at its end after {limit:.0f} s"
        airflow.ask(f"/api/v2/dags/wide/dagRuns/{run}", {"state": "failed"}, method="PATCH")
    taken, after = time.monotonic() - start, cpu(airflow, folder)
    durations, used = loops.seconds[first:], loops.cpu[first:]
    small.stop()
    return {
        "state": state,
        "seconds": round(taken, 1),
        "seconds a shard": round(taken / width, 4),
        **{
            f"{name}'s CPU milliseconds an instance": round(1000 * (after[name] - before[name]) / (CALLS * width), 2)
            for name in before
        },
        "seconds of the scheduler's loops": {
            "median": round(statistics.median(durations), 2),
            "longest": round(max(durations), 2),
            "longest, CPU": round(max(used), 2),
        },
        "seconds of a small run meanwhile": {
            "median": round(statistics.median(small.seconds), 1),
            "longest": round(max(small.seconds), 1),
            "runs": len(small.seconds),
        },
    }


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let the processes of the deployment import what is in a folder."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PYTHONPATH"] = before


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[250, 500, 1000, 2000, 5000])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--limit", type=float, default=3600, help="seconds that a run may take")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder, loops = Path(temporary), Loops()
        folder.chmod(0o711)
        for name, file, text in (("dags", "dags.py", DAGS), ("modules", "at_once.py", TRIGGER)):
            (folder / name).mkdir()
            (folder / name / file).write_text(text)
        statsd = {
            "metrics__statsd_on": "True",
            "metrics__statsd_host": "127.0.0.1",
            "metrics__statsd_port": str(loops.port),
            "metrics__metrics_allow_list": LOOP,
        }
        with (
            importable(folder / "modules"),
            deployment(folder / "deployment", folder / "dags", **statsd) as airflow,
        ):
            airflow.wait_for_dags({"wide", "small"})
            loops.scheduler = airflow.processes["scheduler"]
            scatter(airflow, folder / "deployment", loops, 5, options.limit)
            alone = SmallRuns(airflow, "alone")
            time.sleep(45)
            alone.stop()
            figures: dict[str, Any] = {"seconds of a small run alone": round(statistics.median(alone.seconds), 1)}
            figures["widths"] = {}
            for _ in range(options.repeats):
                for width in options.widths:
                    found = scatter(airflow, folder / "deployment", loops, width, options.limit)
                    figures["widths"].setdefault(str(width), []).append(found)
                    print(width, found, flush=True)
            report("the widest scatter", figures, options.output)


if __name__ == "__main__":
    main()
