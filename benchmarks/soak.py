"""Many calls and many runs for a long time, with faults: whether any call is lost or run twice, and what grows.

On an Airflow as deployments have it (PostgreSQL, its own pace) and the embedded AWS, of whose API calls a share fails:
one run of a scatter of many calls, then many runs of a small workflow at once. Every command leaves its name in a
file, so that a command that ran twice, or never, is seen whatever Airflow and ECS believe.

python benchmarks/soak.py [--calls 2000] [--runs 50] [--faults 0.05] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from deployment import Deployment, Memory, deployment
from measure import report

from airflow_wdl_ecs import compile_wdl
from airflow_wdl_ecs.generate import write_dag

WIDE = """version 1.0
workflow wide {
    input { Int calls  String journal }
    scatter (i in range(calls)) { call note { input: i = i, journal = journal } }
    output { Array[Int] numbers = note.number }
}
task note {
    input { Int i  String journal }
    command { echo wide-~{i} >> ~{journal}; echo ~{i} }
    output { Int number = read_int(stdout()) }
    runtime { cpu: 0.25  memory: "128 MiB" }
}
"""
SMALL = """version 1.0
workflow small {
    input { Int run  String journal }
    call first { input: run = run, journal = journal }
    scatter (i in range(3)) { call each { input: run = run, i = i, before = first.text, journal = journal } }
    call last { input: run = run, texts = each.text, journal = journal }
    output { String text = last.text }
}
task first {
    input { Int run  String journal }
    command { echo small-~{run}-first >> ~{journal}; echo first }
    output { String text = read_string(stdout()) }
    runtime { cpu: 0.25  memory: "128 MiB" }
}
task each {
    input { Int run  Int i  String before  String journal }
    command { echo small-~{run}-each-~{i} >> ~{journal}; echo ~{before}-~{i} }
    output { String text = read_string(stdout()) }
    runtime { cpu: 0.25  memory: "128 MiB" }
}
task last {
    input { Int run  Array[String] texts  String journal }
    command { echo small-~{run}-last >> ~{journal}; echo ~{sep="," texts} }
    output { String text = read_string(stdout()) }
    runtime { cpu: 0.25  memory: "128 MiB" }
}
"""
CALLS_OF_SMALL = 5


def journal(path: Path, expected: set[str]) -> dict[str, Any]:
    """Which commands ran never, or more than once."""
    ran = Counter(path.read_text().split()) if path.exists() else Counter()
    return {
        "expected": len(expected),
        "never ran": len(expected - set(ran)),
        "ran twice": sum(count > 1 for count in ran.values()),
    }


def wide(airflow: Deployment, folder: Path, calls: int) -> dict[str, Any]:
    """One run of many calls."""
    path, start = folder / "wide.journal", time.monotonic()
    run = airflow.trigger("wide", {"calls": calls, "journal": str(path)})
    state = airflow.wait("wide", run, limit=3 * calls + 600)
    taken = time.monotonic() - start
    found = journal(path, {f"wide-{i}" for i in range(calls)})
    return {"state": state, "seconds": round(taken), "calls per second": round(calls / taken, 2), **found}


def small(airflow: Deployment, folder: Path, runs: int) -> dict[str, Any]:
    """Many runs at once."""
    path, start = folder / "small.journal", time.monotonic()
    ids = [airflow.trigger("small", {"run": number, "journal": str(path)}) for number in range(runs)]
    states = Counter(airflow.wait("small", run, limit=60 * runs + 600) for run in ids)
    names = {f"small-{run}-{name}" for run in range(runs) for name in ("first", "each-0", "each-1", "each-2", "last")}
    return {"states": dict(states), "seconds": round(time.monotonic() - start), **journal(path, names)}


def faults(share: float) -> list[dict[str, Any]]:
    """Faults of this share of the requests: refused, throttled, not answered, answered but not heard, cut short."""
    kinds: list[dict[str, Any]] = [
        {"kind": "error"},
        {"kind": "error", "code": "SlowDown", "status": 503},
        {"kind": "drop"},
        {"kind": "drop", "after": True},
        {"kind": "truncate", "after": True},
    ]
    # Of several faults the first that is meant counts; so rarely, that makes no difference.
    return [{"operation": "*", "times": None, "rate": share / len(kinds), **kind} for kind in kinds] if share else []


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--faults", type=float, default=0.05, help="share of the ECS and S3 API calls that fail")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--keep", type=Path, help="an empty folder for logs and state, which stay (default: none do)")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        folder = Path(options.keep or temporary).absolute()
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
        dags = folder / "dags"
        dags.mkdir()
        for source, text in (("wide", WIDE), ("small", SMALL)):
            (folder / f"{source}.wdl").write_text(text)
            write_dag(compile_wdl(folder / f"{source}.wdl"), dags)
        with deployment(folder / "deployment", dags) as airflow:
            airflow.wait_for_dags({"wide", "small"})
            airflow.endpoint.set_faults(requests=faults(options.faults))
            memory = Memory(airflow, every=5)
            figures: dict[str, Any] = {"faults": options.faults}
            try:
                figures["one run of many calls"] = wide(airflow, folder, options.calls)
                figures["many runs at once"] = small(airflow, folder, options.runs)
            finally:
                memory.stop()
            figures["MiB"] = memory.summary()
            figures["API calls"] = airflow.endpoint.calls()
            report("soak", figures, options.output)


if __name__ == "__main__":
    main()
