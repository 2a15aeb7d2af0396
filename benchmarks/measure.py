"""What the benchmarks share: interleaved runs of whole commands, medians, and a JSON result that names its machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("apache-airflow", "apache-airflow-providers-amazon", "miniwdl", "moto", "boto3")


class RunFailedError(Exception):
    """A command that was measured has failed; the text has the end of what it said."""


def seconds(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Wall time of one run of a command, in seconds; its output is dropped.

    :raises RunFailedError: if it fails.
    """
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    taken = time.perf_counter() - start
    if done.returncode != 0:
        raise RunFailedError(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-6000:]}")
    return taken


def interleaved(
    commands: dict[str, list[str]], runs: int, environment: dict[str, str] | None = None, *, failures: int = 0
) -> dict[str, Any]:
    """Run every command in turn, ``runs`` times after one warm-up; medians and all times, in seconds.

    :param failures: how often a command may fail and is run again; the result says how often it has.
    :raises RunFailedError: for one failure more.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    failed: Counter[str] = Counter()
    for turn in range(runs + 1):
        for name, command in commands.items():
            while True:
                try:
                    taken = seconds(command, environment)
                    break
                except RunFailedError as error:
                    failed[name] += 1
                    if failed[name] > failures:
                        raise
                    print(error, file=sys.stderr, flush=True)
            if turn:
                times[name].append(round(taken, 3))
    return {
        name: {"median": statistics.median(taken), "all": taken, **({"failed": failed[name]} if failed[name] else {})}
        for name, taken in times.items()
    }


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
