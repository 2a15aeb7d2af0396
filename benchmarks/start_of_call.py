"""What it costs to start one call, beside the size of its workflow: bind and evaluate the first call of each.

    python benchmarks/start_of_call.py WORKFLOW.wdl [WORKFLOW.wdl ...] [-n RUNS] [-o RESULT.json]

Each measurement is a fresh evaluation in one process that has its imports; the plan's reading, which a process does
once for a run, stands beside it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import report

from airflow_wdl_ecs.errors import WdlEcsError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl import slices
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.task_evaluation import TaskEvaluation
from airflow_wdl_ecs.wdl.workflow_evaluation import WorkflowEvaluation


class NoFiles:
    """Files that are all there, and empty."""

    def read(self, uri: str) -> bytes:
        return b""

    def size(self, uri: str) -> int | None:
        return 1 << 30

    def list(self, uri: str) -> Iterator[tuple[str, int]]:
        return iter(())

    def write(self, data: bytes, name: str) -> str:
        return f"s3://bench/{name}"


EXAMPLES: dict[str, Any] = {"File": "s3://bench/x.fq", "String": "x", "Int": 1, "Float": 1.0, "Boolean": True}


def example(declared_type: str) -> Any:
    """A value of a WDL type, for a required input."""
    name = declared_type.rstrip("?+")
    if name.startswith("Array["):
        return [example(name[6:-1])]
    return EXAMPLES.get(name, "x")


def first_call(plan: Plan) -> str:
    """The first call that waits for no other and is in no scatter."""
    return next(call.id for call in plan.calls if not call.upstream and not plan.scatters(call.section))


def seconds_to_start(plan: Plan, call: str, inputs: dict[str, Any]) -> float:
    for cached in vars(slices).values():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    start = time.perf_counter()
    evaluation = WorkflowEvaluation(plan, inputs, NoFiles(), lambda call, shard: {})
    bound = evaluation.call_inputs(call, ())
    task = plan.tasks[plan.call_by_id[call].task]
    if bound is not None:
        attempt = TaskEvaluation(task, bound, folder="/wdl/x", files=NoFiles())
        attempt.command()
        attempt.output_request()
    return time.perf_counter() - start


def measured(path: Path, runs: int) -> dict[str, Any]:
    plan = compile_wdl(path)
    data = plan.to_json()
    start = time.perf_counter()
    plan = Plan.from_json(data)
    read = time.perf_counter() - start
    call = first_call(plan)
    inputs = {declared.name: example(declared.type) for declared in plan.inputs if declared.required}
    try:
        taken = [seconds_to_start(plan, call, inputs) for _ in range(runs)]
    except WdlEcsError as error:
        return {"calls": len(plan.calls), "call": call, "error": str(error)}
    return {
        "calls": len(plan.calls),
        "declarations": len(plan.decls),
        "call": call,
        "milliseconds to start it": round(1000 * statistics.median(taken), 1),
        "milliseconds to read the plan, once per run and process": round(1000 * read, 1),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("workflows", nargs="+", type=Path)
    arguments.add_argument("-n", "--runs", type=int, default=5)
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    report("start of a call", {path.name: measured(path, options.runs) for path in options.workflows}, options.output)


if __name__ == "__main__":
    main()
