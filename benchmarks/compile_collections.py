"""Compile every workflow of folders of WDL, and build its DAG; count what works, and name the slowest.

    python benchmarks/compile_collections.py FOLDER [FOLDER ...] [-o RESULT.json]

A workflow counts if miniwdl loads it; then it must compile, its plan must survive JSON, and its DAG must be built and
serialised. Failures are listed with their reason, and make the exit code 1.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import WDL
from airflow.serialization.serialized_objects import DagSerialization
from measure import report

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.errors import WdlEcsError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.lower import compile_wdl


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folders", nargs="+", type=Path)
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    figures = {folder.name: collection(folder) for folder in options.folders}
    report("compile collections", figures, options.output)
    return int(any(figure["failed"] for figure in figures.values()))


def collection(folder: Path) -> dict[str, Any]:
    """What became of every workflow below a folder."""
    found: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    skipped = 0
    for path in sorted(folder.rglob("*.wdl")):
        start = time.perf_counter()
        try:
            document = WDL.load(str(path))
        except Exception:
            skipped += 1
            continue
        if document.workflow is None:
            continue
        loaded = time.perf_counter() - start
        try:
            found.append({"workflow": str(path.relative_to(folder)), "WDL.load": loaded, **measured(path)})
        except (WdlEcsError, Exception) as error:
            failed[str(path.relative_to(folder))] = f"{type(error).__name__}: {error}"[:500]
    slowest = sorted(found, key=lambda row: -row["compile"])[:3]
    return {
        "workflows": len(found) + len(failed),
        "compiled, DAG built": len(found),
        "not loaded by miniwdl": skipped,
        "failed": failed,
        "WDL.load seconds": round(sum(row["WDL.load"] for row in found), 1),
        "compile seconds": round(sum(row["compile"] for row in found), 1),
        "most calls": max((row["calls"] for row in found), default=0),
        "slowest": [{key: round(v, 2) if isinstance(v, float) else v for key, v in row.items()} for row in slowest],
    }


def measured(path: Path) -> dict[str, Any]:
    """Compile one workflow and build its DAG from the plan's JSON; seconds for each step."""
    start = time.perf_counter()
    plan = compile_wdl(path)
    compiled = time.perf_counter()
    data = plan.to_json()
    again = Plan.from_json(data)
    assert again == plan
    decoded = time.perf_counter()
    dag = build_dag(again)
    built = time.perf_counter()
    DagSerialization.to_dict(dag)
    return {
        "calls": len(plan.calls),
        "plan bytes": len(data),
        "compile": compiled - start,
        "plan to JSON and back": decoded - compiled,
        "build DAG": built - decoded,
        "serialise DAG": time.perf_counter() - built,
    }


if __name__ == "__main__":
    raise SystemExit(main())
