"""How many ECS API calls it takes to wait: a scatter of calls that sleep side by side, on the embedded default.

python benchmarks/waiting.py [--calls 20] [--seconds 60] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import report

from airflow_wdl_ecs.local.airflow_home import user_home
from airflow_wdl_ecs.local.endpoint import read_endpoint

SLEEPERS = """version 1.0
workflow sleepers {
    input { Int calls  Int seconds }
    scatter (i in range(calls)) { call doze { input: seconds = seconds } }
}
task doze {
    input { Int seconds }
    command { sleep ~{seconds} }
    output { Int done = 1 }
    runtime { cpu: 0.25  memory: "128 MiB" }
}
"""


def counted() -> dict[str, int]:
    endpoint = read_endpoint(user_home().aws)
    return endpoint.calls() if endpoint else {}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=20)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workflow = Path(folder, "sleepers.wdl")
        workflow.write_text(SLEEPERS)
        run = [sys.executable, "-m", "airflow_wdl_ecs", "run", str(workflow), "-d", folder]
        # The first run starts the service, so that the second counts nothing but itself.
        subprocess.run([*run, "calls=1", "seconds=0"], check=True, capture_output=True)
        before, start = counted(), time.perf_counter()
        subprocess.run([*run, f"calls={options.calls}", f"seconds={options.seconds}"], check=True, capture_output=True)
        taken, after = time.perf_counter() - start, counted()
    made = {name: after[name] - before.get(name, 0) for name in sorted(after) if name.startswith("ecs:")}
    report(
        "waiting",
        {
            "calls": options.calls,
            "seconds each": options.seconds,
            "wall seconds": round(taken, 1),
            "ECS API calls": {name: count for name, count in made.items() if count},
        },
        options.output,
    )


if __name__ == "__main__":
    main()
