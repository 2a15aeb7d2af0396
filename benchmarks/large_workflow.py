"""What the size of a workflow costs: a DAG file's import, compiling, and the start of one call, each a fresh process.

Beside them, in turn: a process that only imports Airflow's SDK, and ``WDL.load`` of the same workflow. The start of a
call goes from nothing to a request that is ready for RunTask: imports, the run's folder, binding, evaluating.

python benchmarks/large_workflow.py [WORKFLOW.wdl ...] [-n RUNS] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import interleaved, ratios, report

from airflow_wdl_ecs import compile_wdl
from airflow_wdl_ecs.local.endpoint import Endpoint, start_server, stop_server
from airflow_wdl_ecs.plan import Plan
from tests.airflow_home import settings_for
from tests.direct import DirectRunner

EXAMPLES = Path(__file__).parent.parent / "dags" / "wdl"
START = """
import asyncio, sys
from airflow.sdk import DAG
from airflow_wdl_ecs.host import airflow_clients, resolve_settings
from airflow_wdl_ecs.preparation import prepare
from airflow_wdl_ecs.run import open_run
from airflow_wdl_ecs.task import CallIdentity
dag_id, run_id, call = sys.argv[1:]
settings = resolve_settings()
run = open_run(settings, airflow_clients(settings), dag_id, run_id)
inputs = run.evaluation.call_inputs(call, ())
prepared = prepare(run, CallIdentity(dag_id, run_id, call, (), 1), inputs, attempt=0, memory=0)
assert prepared.request.command
"""
VALUES: dict[str, Any] = {"String": "x", "Int": 1, "Float": 1.0, "Boolean": True}


def example(declared_type: str, file: str) -> Any:
    """A value of a WDL type, for a required input."""
    name = declared_type.rstrip("?+")
    if name.startswith("Array["):
        return [example(name[6:-1], file)]
    return file if name == "File" else VALUES.get(name, "x")


def begin(plan: Plan, endpoint: Endpoint, folder: Path) -> tuple[str, str, str]:
    """Begin a run of a workflow; gives the DAG's id, the run's, and a call that waits for no other."""
    from airflow_wdl_ecs.run import begin_run

    runner = DirectRunner(endpoint, workspace=f"s3://{endpoint.bucket}/tests")  # where `settings_for` looks
    (folder / "input.txt").write_text("1\n")
    file = runner.upload(folder / "input.txt", "input.txt")
    inputs = {declared.name: example(declared.type, file) for declared in plan.inputs if declared.required}
    begin_run(runner.settings, runner.client, plan, inputs, dag_id=plan.name, run_id="run")
    call = next(call.id for call in plan.calls if not call.upstream and not plan.scatters(call.section))
    return plan.name, "run", call


def measured(workflow: Path, endpoint: Endpoint, folder: Path, runs: int) -> dict[str, Any]:
    """The figures of one workflow: seconds, and ratios."""
    folder.mkdir()
    plan = compile_wdl(workflow)
    generate = [sys.executable, "-m", "airflow_wdl_ecs", "generate", str(workflow), "-o", str(folder / "dags")]
    subprocess.run(generate, check=True, capture_output=True)
    (dag_file,) = (folder / "dags").glob("*.py")
    commands = {
        "airflow.sdk alone": ["-c", "from airflow.sdk import DAG"],
        "DAG file": [str(dag_file)],
        "WDL.load": ["-c", f"import WDL; WDL.load({str(workflow)!r})"],
        "compile": ["-c", f"from airflow_wdl_ecs.wdl.lower import compile_wdl; compile_wdl({str(workflow)!r})"],
        "start of a call": ["-c", START, *begin(plan, endpoint, folder)],
    }
    environment = {**os.environ, **settings_for(endpoint), "AIRFLOW_HOME": str(folder / "airflow")}
    times = interleaved({name: [sys.executable, *command] for name, command in commands.items()}, runs, environment)
    median = {name: found["median"] for name, found in times.items()}
    beyond = {name: round(median[name] - median["airflow.sdk alone"], 3) for name in ("DAG file", "start of a call")}
    return {
        "calls": len(plan.calls),
        **times,
        "seconds beyond importing Airflow": beyond,
        "ratios": {
            "DAG file beyond importing Airflow / WDL.load": round(beyond["DAG file"] / median["WDL.load"], 3),
            **ratios(median, "compile", "WDL.load"),
        },
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflows", nargs="*", type=Path, default=[EXAMPLES / "kmers.wdl"])
    parser.add_argument("-n", "--runs", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        endpoint = start_server(folder / "aws", containers="plain")
        try:
            figures = {
                workflow.name: measured(workflow, endpoint, folder / str(number), options.runs)
                for number, workflow in enumerate(options.workflows)
            }
        finally:
            stop_server(folder / "aws")
    report("a workflow's size", figures, options.output)


if __name__ == "__main__":
    main()
