"""What measuring memory and CPU time adds to a command: the wrapper with and without it, in turn, in bash alone.

Milliseconds of wall time (of `true` alone; of a longer command they show what else the machine does) and of CPU time,
of all processes of the wrapper: as a process of this machine, and as the first of a namespace of its own, as in a
container.

python benchmarks/measuring.py [-n RUNS] [-o RESULT.json]

Namespaces want root, and Linux; without them they are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import report

from airflow_wdl_ecs.ecs.staging import run_script
from airflow_wdl_ecs.task import CallIdentity, TaskRequest

CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")
PR_SET_CHILD_SUBREAPER = 36


def wrapper(folder: Path, command: str, *, measure: bool) -> Path:
    """The wrapper's script, in an attempt's folder of its own."""
    (folder / "work").mkdir(parents=True)
    request = TaskRequest(CallIdentity("d", "r", "c"), 0, "none", command, str(folder), "s3://b/", measure=measure)
    (folder / "command.sh").write_text(command)
    (folder / "run.sh").write_text(run_script(request))
    return folder / "run.sh"


def taken(argv: list[str]) -> tuple[float, float]:
    """Milliseconds of wall time until a command ends, and of CPU time of all that it has started."""
    start, wall, cpu = time.perf_counter(), 0.0, 0.0
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    while True:
        try:
            ended, _, used = os.wait4(-1, 0)
        except ChildProcessError:  # nothing is left, also of what the command had left
            return wall, cpu
        cpu += (used.ru_utime + used.ru_stime) * 1000
        if ended == pid:
            wall = (time.perf_counter() - start) * 1000


def compared(command: str, runs: int, before: tuple[str, ...]) -> dict[str, Any]:
    """The medians without and with measuring, and of their differences in each turn."""
    times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        scripts = {way: str(wrapper(Path(folder) / str(way), command, measure=way)) for way in times}
        for turn in range(runs):
            for way in (False, True) if turn % 2 else (True, False):
                times[way].append(taken([*before, "bash", scripts[way]]))
    found: dict[str, Any] = {"runs": runs}
    for at, name in enumerate(("wall", "cpu")):
        if name == "wall" and command != "true":
            continue
        found[name] = {
            "without": round(statistics.median(each[at] for each in times[False]), 1),
            "with": round(statistics.median(each[at] for each in times[True]), 1),
            "added": round(
                statistics.median(one[at] - other[at] for other, one in zip(times[False], times[True], strict=True)), 1
            ),
        }
    return found


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--runs", type=int, default=300, help="of `true`; fewer of longer commands")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ways = {"of this machine": (), "as in a container": CONTAINER}
    try:
        subprocess.run([*CONTAINER, "true"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        del ways["as in a container"]
    runs = {"true": options.runs, "sleep 10": max(1, options.runs // 50), "sleep 60": max(1, options.runs // 150)}
    figures = {
        name: {command: compared(command, many, before) for command, many in runs.items()}
        for name, before in ways.items()
    }
    processes = sum(entry.name.isdecimal() for entry in Path("/proc").iterdir()) if Path("/proc").exists() else 0
    report("measuring", {"processes of this machine": processes, **figures}, options.output)


if __name__ == "__main__":
    main()
