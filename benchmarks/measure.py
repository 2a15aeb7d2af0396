"""What the benchmarks share: interleaved runs of whole commands, medians, and a JSON result that names its machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("apache-airflow", "apache-airflow-providers-amazon", "miniwdl", "moto", "boto3")


def seconds(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Wall time of one run of a command, in seconds; its output is dropped, and a failure ends the benchmark."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    taken = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return taken


def interleaved(commands: dict[str, list[str]], runs: int, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run every command in turn, ``runs`` times after one warm-up; medians and all times, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            taken = seconds(command, environment)
            if turn:
                times[name].append(round(taken, 3))
    return {name: {"median": statistics.median(taken), "all": taken} for name, taken in times.items()}


def ratios(medians: Mapping[str, float], ours: str, *others: str) -> dict[str, float]:
    """How one median compares with others: ``"ours / other"`` -> the ratio."""
    return {f"{ours} / {other}": round(medians[ours] / medians[other], 3) for other in others}


def report(name: str, figures: dict[str, Any], output: Path | None = None) -> None:
    """Print the figures as JSON, and keep them in ``output`` if it is given."""
    result = {
        "benchmark": name,
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {package: version(package) for package in PACKAGES},
        "figures": figures,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if output is not None:
        output.write_text(text + "\n")
