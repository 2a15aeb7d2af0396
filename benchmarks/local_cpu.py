"""CPU seconds of whole local runs, by what takes them: where the time of a run on the embedded default goes.

The workflows of ``engines`` on this package's warm service, alone on the machine; for each part of the service, the
processes that it has and had, as the operating system counts them.

python benchmarks/local_cpu.py [--only NAME ...] [-n RUNS] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from engines import TASK, WORKFLOWS
from measure import report, seconds

from airflow_wdl_ecs.local.airflow_home import user_home

CONTAINERS, SERVER, CLIENT = "containers", "embedded ECS and S3", "command line"
OTHERS = {
    "scheduler": ("scheduler", "workers"),
    "triggerer": ("triggerer's supervisor", "triggers"),
    "execution-api": ("interface for task instances", ""),
    "control": ("control", ""),
    "api-server": ("API server", ""),
}
"""Component of the service -> what its own process is called here, and what those that it starts are."""


def spent() -> Counter[str]:
    """CPU seconds so far, by part."""
    found: Counter[str] = Counter()
    of_client = resource.getrusage(resource.RUSAGE_CHILDREN)
    found[CLIENT] = of_client.ru_utime + of_client.ru_stime
    for component, session in json.loads(user_home().processes.read_text()).items():
        leader = psutil.Process(session["pid"])
        if component == "aws":
            for server in leader.children():
                found[SERVER] += own(server)
                # A container that still runs is nobody's yet: a run has ended when its containers have.
                found[CONTAINERS] += ended(server)
            continue
        name, below = OTHERS[component]
        found[name] += own(leader)
        for process in leader.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found[below] += own(process) + ended(process)
        if below:
            found[below] += ended(leader)
    return found


def own(process: psutil.Process) -> float:
    """CPU seconds of a process itself."""
    times = process.cpu_times()
    return float(times.user + times.system)


def ended(process: psutil.Process) -> float:
    """CPU seconds of the processes that it has started, and that have ended."""
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def measured(name: str, folder: Path, runs: int) -> dict[str, Any]:
    """Seconds of a workflow's run, by the clock and by part."""
    workflow = folder / f"{name.replace(' ', '_').replace(',', '')}.wdl"
    workflow.write_text(WORKFLOWS[name] + TASK.format(name="step", inputs="String x"))
    command = [sys.executable, "-m", "airflow_wdl_ecs", "run", str(workflow), "-d", str(folder / "runs")]
    for _ in range(2):
        seconds(command)
    before = spent()
    wall = [round(seconds(command), 3) for _ in range(runs)]
    parts = {part: round((total - before[part]) / runs, 3) for part, total in spent().items()}
    return {
        "median": statistics.median(wall),
        "all": wall,
        "CPU seconds a run": dict(sorted(parts.items(), key=lambda item: -item[1])),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WORKFLOWS, default=list(WORKFLOWS))
    parser.add_argument("-n", "--runs", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures = {name: measured(name, Path(temporary), options.runs) for name in options.only}
    report("CPU of local runs", figures, options.output)


if __name__ == "__main__":
    main()
