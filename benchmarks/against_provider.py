"""What a call that does nothing costs Airflow, beside the same DAG written by hand with the amazon provider.

A scatter of such calls as this package's DAG, and a mapped ``EcsRunTaskOperator(deferrable=True)`` over as many ECS
tasks, in turn on one Airflow as deployments have it and one embedded ECS. The hand-written task is one container that
ends at once; a call's is three, which move files.

python benchmarks/against_provider.py [--calls 200] [-n RUNS] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from deployment import Deployment, deployment
from measure import report

from airflow_wdl_ecs import compile_wdl
from airflow_wdl_ecs.generate import write_dag

OURS, THEIRS = "wdl_call", "EcsRunTaskOperator"
WDL = """version 1.0
workflow nothing {
    input { Int calls }
    scatter (i in range(calls)) { call nop { input: i = i } }
}
task nop {
    input { Int i }
    command { true }
    output { Int same = i }
    runtime { cpu: 0.25  memory: "128 MiB" }
}
"""
BY_HAND = '''"""The hand-written DAG."""

from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator
from airflow.sdk import DAG, task

with DAG("by_hand", schedule=None, params={{"calls": 1}}, max_active_tasks=10000):

    @task
    def shards(params=None):
        return [
            {{"containerOverrides": [{{"name": "command", "environment": [{{"name": "SHARD", "value": str(i)}}]}}]}}
            for i in range(params["calls"])
        ]

    EcsRunTaskOperator.partial(
        task_id="nop",
        cluster="{cluster}",
        task_definition="by-hand",
        launch_type="EC2",
        deferrable=True,
        # Now and then a trigger fires before the executor has reported the deferral, and Airflow fails the task.
        retries=3,
        retry_delay=1,
    ).expand(overrides=shards())
'''
DEFINITION = {
    "family": "by-hand",
    "requiresCompatibilities": ["EC2"],
    "networkMode": "bridge",
    "containerDefinitions": [
        {"name": "command", "image": "none", "essential": True, "cpu": 64, "memory": 64, "command": ["true"]}
    ],
}


def clients(airflow: Deployment, service: str) -> Any:
    """A boto3 client of the embedded AWS."""
    endpoint = airflow.endpoint
    return boto3.client(
        service,
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
    )


def one_run(airflow: Deployment, dag_id: str, calls: int) -> dict[str, Any]:
    """Run a DAG once: wall seconds, Airflow's CPU seconds for a call, and ECS API calls."""
    cpu, api, start = airflow.cpu_seconds(), airflow.endpoint.calls(), time.monotonic()
    run = airflow.trigger(dag_id, {"calls": calls})
    state = airflow.wait(dag_id, run, limit=30 * calls + 600)
    taken = time.monotonic() - start
    if state != "success":
        raise RuntimeError(f"{dag_id} has {state}: its figures would mean nothing")
    used = {name: round((after - cpu[name]) / calls, 3) for name, after in airflow.cpu_seconds().items()}
    made = airflow.endpoint.calls()
    ecs = {name: made[name] - api.get(name, 0) for name in sorted(made) if name.startswith("ecs:")}
    return {
        "state": state,
        "wall": round(taken, 1),
        "CPU seconds a call": round(sum(used.values()), 3),
        "of which": used,
        "ECS API calls": {name: count for name, count in ecs.items() if count},
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("-n", "--runs", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o711)
        dags = folder / "dags"
        dags.mkdir()
        write_dag(compile_wdl(WDL), dags)
        with deployment(folder / "deployment", dags) as airflow:
            (dags / "by_hand.py").write_text(BY_HAND.format(cluster=airflow.endpoint.cluster))
            clients(airflow, "ecs").register_task_definition(**DEFINITION)
            airflow.wait_for_dags({"nothing", "by_hand"})
            runs: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: []}
            one_run(airflow, "nothing", 2), one_run(airflow, "by_hand", 2)
            for _ in range(options.runs):
                runs[OURS].append(one_run(airflow, "nothing", options.calls))
                runs[THEIRS].append(one_run(airflow, "by_hand", options.calls))

    def median(which: str, figure: str) -> float:
        return statistics.median(run[figure] for run in runs[which])

    figures = {
        "calls": options.calls,
        **runs,
        "ratios": {
            figure: round(median(OURS, figure) / median(THEIRS, figure), 3) for figure in ("wall", "CPU seconds a call")
        },
    }
    report("a call that does nothing, beside EcsRunTaskOperator", figures, options.output)


if __name__ == "__main__":
    main()
