"""What the size of a workflow costs: a DAG file's import, compiling, and the start of one call, each a fresh process.

Beside them, in turn: a process that only imports Airflow's SDK, one that makes a DAG without tasks, and ``WDL.load`` of
the same workflow. The start of a call goes from nothing to a request that is ready for RunTask: imports, the run's
folder, binding, evaluating.

Airflow's DAG processor forks a process for each parse of a file; it has imported Airflow, and not this package (the
service of ``airflow-wdl-ecs run`` has imported both). So a DAG file's import is measured in such forks as well, and
beside it ``WDL.load`` in a fork of a process that has imported miniwdl, which is all that this one can spare.

As on a machine that has run it before, Python's bytecode and the parsers' cache are there: a first turn is not counted.

python benchmarks/large_workflow.py [WORKFLOW.wdl ...] [-n RUNS] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import os
import statistics
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
FORKS = """
import importlib, os, runpy, sys, time
turns, modules, run, *arguments = sys.argv[1:]
for module in modules.split():
    importlib.import_module(module)
for _ in range(int(turns)):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        start = time.perf_counter()
        if run == "DAG file":
            runpy.run_path(arguments[0])
        else:
            sys.modules["WDL"].load(arguments[0])
        print(time.perf_counter() - start, flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
AIRFLOW = "airflow.dag_processing.processor airflow.sdk.execution_time.task_runner"
"""What a DAG processor has imported before it forks."""
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


def in_forks(workflow: Path, dag_file: Path, runs: int, environment: dict[str, str]) -> dict[str, Any]:
    """Seconds in a forked process, without its imports."""
    commands = {
        "DAG file in a fork of Airflow": (AIRFLOW, "DAG file", dag_file),
        "DAG file in a fork of Airflow and this package": (f"{AIRFLOW} airflow_wdl_ecs.dag", "DAG file", dag_file),
        "WDL.load in a fork of miniwdl": ("WDL", "WDL.load", workflow),
    }
    found = {}
    for name, (modules, run, path) in commands.items():
        command = [sys.executable, "-c", FORKS, str(runs + 1), modules, run, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        times = [round(float(line), 3) for line in done.stdout.splitlines()[1:]]
        found[name] = {"median": statistics.median(times), "all": times}
    return found


def measured(workflow: Path, endpoint: Endpoint, folder: Path, runs: int) -> dict[str, Any]:
    """The figures of one workflow: seconds, and ratios."""
    folder.mkdir()
    plan = compile_wdl(workflow)
    generate = [sys.executable, "-m", "airflow_wdl_ecs", "generate", str(workflow), "-o", str(folder / "dags")]
    subprocess.run(generate, check=True, capture_output=True)
    (dag_file,) = (folder / "dags").glob("*.py")
    commands = {
        "airflow.sdk alone": ["-c", "from airflow.sdk import DAG"],
        "DAG without tasks": ["-c", "from airflow.sdk import DAG; DAG('none', schedule=None)"],
        "DAG file": [str(dag_file)],
        "WDL.load": ["-c", f"import WDL; WDL.load({str(workflow)!r})"],
        "compile": ["-c", f"from airflow_wdl_ecs.wdl.lower import compile_wdl; compile_wdl({str(workflow)!r})"],
        "start of a call": ["-c", START, *begin(plan, endpoint, folder)],
    }
    environment = {**os.environ, **settings_for(endpoint), "AIRFLOW_HOME": str(folder / "airflow")}
    environment |= {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times = interleaved({name: [sys.executable, *command] for name, command in commands.items()}, runs, environment)
    median = {name: found["median"] for name, found in times.items()}
    forks = in_forks(workflow, dag_file, runs, environment)
    median |= {name: taken["median"] for name, taken in forks.items()}
    beyond = {name: round(median[name] - median["airflow.sdk alone"], 3) for name in ("DAG file", "start of a call")}
    return {
        "calls": len(plan.calls),
        **times,
        **forks,
        "seconds beyond importing Airflow": beyond,
        "ratios": {
            "DAG file beyond importing Airflow / WDL.load": round(beyond["DAG file"] / median["WDL.load"], 3),
            "DAG file beyond a DAG without tasks / WDL.load": round(
                (median["DAG file"] - median["DAG without tasks"]) / median["WDL.load"], 3
            ),
            **ratios(median, "DAG file in a fork of Airflow", "WDL.load in a fork of miniwdl"),
            **ratios(median, "DAG file in a fork of Airflow and this package", "WDL.load in a fork of miniwdl"),
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
