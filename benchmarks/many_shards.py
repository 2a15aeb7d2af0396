"""How fast a scatter of very many shards is started, beside the limit that ECS itself sets.

On an Airflow as deployments have it and an ECS that refuses what is above its published rates (``fake_aws``; nothing
runs, so that this machine is Airflow's alone). While the shards are started, a DAG of one small task is run again and
again: how long it takes says whether the scheduler goes on scheduling.

python benchmarks/many_shards.py [--calls 10000] [--rate 40] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployment import Deployment, Memory, deployment, free_port
from measure import report

from airflow_wdl_ecs import compile_wdl
from airflow_wdl_ecs.generate import write_dag
from airflow_wdl_ecs.local.endpoint import Endpoint

WDL = """version 1.0
workflow many {
    input { Int calls }
    scatter (i in range(calls)) { call work { input: i = i } }
    output { Array[Int] same = work.same }
}
task work {
    input { Int i }
    command { true }
    output { Int same = i }
    runtime { cpu: 1  memory: "2 GiB" }
}
"""
IN_FLIGHT = "wdl_ecs__max_tasks"
"""More than can be in flight at these rates: what is measured is how fast they are started."""
OTHER = '''"""Somebody else's DAG."""

from airflow.sdk import DAG, task

with DAG("other", schedule=None, max_active_runs=100):

    @task
    def small():
        return 1

    small()
'''


@contextlib.contextmanager
def fake_aws(rate: float, burst: float, seconds: float) -> Iterator[Endpoint]:
    """An ECS with these rates, whose tasks run so many seconds."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("fake_aws.py")), str(port)]
    process = subprocess.Popen([*command, "--rate", str(rate), "--burst", str(burst), "--seconds", str(seconds)])
    url = f"http://127.0.0.1:{port}"
    try:
        yield Endpoint(process.pid, port, url, "", "key", "secret", "us-east-1", "plain", "/wdl", "bucket", "c", "/wdl")
    finally:
        process.kill()


def stats(endpoint: Endpoint) -> dict[str, Any]:
    """What the fake has counted."""
    with urllib.request.urlopen(f"{endpoint.url}/_stats", timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def beside(airflow: Deployment, every: float, until: float, endpoint: Endpoint, calls: int) -> list[float]:
    """Seconds that a small run takes, again and again until all calls have been started."""
    taken = []
    while len(stats(endpoint)["starts"]) < calls and time.monotonic() < until:
        start = time.monotonic()
        airflow.wait("other", airflow.trigger("other", {}), limit=600)
        taken.append(round(time.monotonic() - start, 1))
        time.sleep(max(0.0, every - taken[-1]))
    return taken


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=40, help="RunTask a second; of Fargate's launches: 20")
    parser.add_argument("--burst", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=60, help="that a task runs")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        folder.chmod(0o711)
        dags = folder / "dags"
        dags.mkdir()
        write_dag(compile_wdl(WDL), dags)
        (dags / "other.py").write_text(OTHER)
        endpoint = stack.enter_context(fake_aws(options.rate, options.burst, options.seconds))
        airflow = stack.enter_context(deployment(folder / "deployment", dags, endpoint, **{IN_FLIGHT: "5000"}))
        airflow.wait_for_dags({"many", "other"})
        airflow.wait("other", airflow.trigger("other", {}), limit=120)
        memory, cpu, start = Memory(airflow, every=5), airflow.cpu_seconds(), time.monotonic()
        run = airflow.trigger("many", {"calls": options.calls})
        limit = options.calls / options.rate * 5 + 600
        small = beside(airflow, 15, start + limit, endpoint, options.calls)
        state = airflow.wait("many", run, limit=limit)
        wall = time.monotonic() - start
        memory.stop()
        found = stats(endpoint)
        starts = sorted(found["starts"])
        least = (options.calls - options.burst) / options.rate
        report(
            "many shards at ECS's limits",
            {
                "calls": options.calls,
                "RunTask a second": options.rate,
                "state": state,
                "tasks started": len(starts),
                "seconds to start all": round(starts[-1] - starts[0], 1),
                "seconds that the limit allows": least,
                "ratios": {"start of all / limit": round((starts[-1] - starts[0]) / least, 3)},
                "seconds of the whole run": round(wall, 1),
                "requests refused": found["refused"],
                "API calls": found["calls"],
                "seconds of a small run beside it": {"median": statistics.median(small), "all": small},
                "CPU seconds": {name: round(used - cpu[name], 1) for name, used in airflow.cpu_seconds().items()},
                "MiB": memory.summary(),
            },
            options.output,
        )


if __name__ == "__main__":
    main()
