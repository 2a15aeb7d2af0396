"""The cheap ratios, with loose bounds: what has become several times slower than it was shows here.

It reports, and fails only with ``--strict``: times on a machine with other work say little.

python benchmarks/guard.py [-n RUNS] [--strict]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BENCHMARKS: dict[str, list[str]] = {
    "large_workflow.py": [str(HERE.parent / "dags" / "wdl" / "kmers.wdl")],
    "engines.py": ["--only", "one call", "a chain of 6", "--without", "toil"],
}
BOUNDS = {
    "compile / WDL.load": 2.5,
    "airflow-wdl-ecs / miniwdl": 12.0,
}
"""Ratio, wherever it stands in the figures -> how much it may be."""


def ratios_in(figures: Mapping[str, Any], at: str = "") -> dict[str, float]:
    """Every ratio of a benchmark's figures: where it stands -> its value."""
    found: dict[str, float] = {}
    for name, value in figures.items():
        if name == "ratios":
            found.update({f"{at}{pair}": ratio for pair, ratio in value.items()})
        elif isinstance(value, dict):
            found.update(ratios_in(value, f"{at}{name}: "))
    return found


def main() -> int:
    """Run them; the exit status is 1 with ``--strict`` if a ratio is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--runs", type=int, default=3)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args()
    over = 0
    with tempfile.TemporaryDirectory() as folder:
        for script, arguments in BENCHMARKS.items():
            result = Path(folder) / f"{script}.json"
            command = [sys.executable, str(HERE / script), *arguments, "-n", str(options.runs), "-o", str(result)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            for where, ratio in ratios_in(json.loads(result.read_text())["figures"]).items():
                bound = next((most for pair, most in BOUNDS.items() if where.endswith(pair)), None)
                verdict = "" if bound is None else f"at most {bound}: {'over it' if ratio > bound else 'well'}"
                over += bound is not None and ratio > bound
                print(f"{where:70} {ratio:8.3f}  {verdict}")
    return 1 if options.strict and over else 0


if __name__ == "__main__":
    sys.exit(main())
