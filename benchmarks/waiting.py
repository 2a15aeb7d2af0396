"""What it takes to wait: ECS API calls and the triggerer's memory, beside the amazon provider's trigger.

On an Airflow as deployments have it and one embedded ECS, a scatter of calls that sleep, and as many triggers with
which ``EcsRunTaskOperator(deferrable=True)`` waits (they start in the triggerer too here, which spares that operator
its start on a worker), all on one ECS task. When all wait, API calls are counted for a while, and the triggerer's
memory is compared with what it was with none waiting.

python benchmarks/waiting.py [--calls 500] [--seconds 120] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from against_provider import DEFINITION, clients
from deployment import Deployment, deployment
from measure import report

from airflow_wdl_ecs import compile_wdl
from airflow_wdl_ecs.generate import write_dag

WDL = """version 1.0
workflow sleepers {
    input { Int calls }
    scatter (i in range(calls)) { call doze { input: i = i } }
}
task doze {
    input { Int i }
    command { sleep 3600 }
    output { Int same = i }
    runtime { cpu: 0.25  memory: "128 MiB" }
}
"""
THEIRS = '''"""As many of the provider's triggers as are asked for."""

from airflow.sdk import DAG, BaseOperator, task, task_group
from airflow.triggers.base import StartTriggerArgs


class Wait(BaseOperator):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.start_from_trigger = True
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow.providers.amazon.aws.triggers.ecs.TaskDoneTrigger",
            trigger_kwargs=dict(
                cluster="{cluster}",
                task_arn="{arn}",
                waiter_delay=6,
                waiter_max_attempts=1000,
                aws_conn_id="aws_default",
            ),
            next_method="execute_complete",
            timeout=None,
        )


with DAG("their_triggers", schedule=None, params={{"calls": 1}}, max_active_tasks=10000):

    @task
    def shards(params=None):
        return list(range(params["calls"]))

    @task_group
    def each(shard):
        Wait(task_id="wait")

    each.expand(shard=shards())
'''


def sleeping_task(airflow: Deployment) -> str:
    """The ARN of an ECS task that sleeps."""
    ecs = clients(airflow, "ecs")
    container = {**DEFINITION["containerDefinitions"][0], "command": ["sleep", "3600"]}
    ecs.register_task_definition(**{**DEFINITION, "containerDefinitions": [container]})
    started = ecs.run_task(cluster=airflow.endpoint.cluster, taskDefinition=DEFINITION["family"], launchType="EC2")
    return str(started["tasks"][0]["taskArn"])


def in_flight(airflow: Deployment) -> int:
    """ECS tasks that have not stopped."""
    pages = clients(airflow, "ecs").get_paginator("list_tasks").paginate(cluster=airflow.endpoint.cluster)
    return sum(len(page["taskArns"]) for page in pages)


def describes(airflow: Deployment) -> int:
    """DescribeTasks that ECS has been asked."""
    return airflow.endpoint.calls().get("ecs:DescribeTasks", 0)


def deferred(airflow: Deployment, dag_id: str, run: str) -> int:
    """Task instances of a run that are with the triggerer."""
    path = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances?state=deferred&limit=1"
    return int(airflow.ask(path)["total_entries"])


def waiting(airflow: Deployment, dag_id: str, calls: int, seconds: float) -> dict[str, Any]:
    """Start the calls, see what their waiting takes, and end them."""
    time.sleep(20)
    before, start = airflow.memory()["triggerer"], time.monotonic()
    others, asked = in_flight(airflow), describes(airflow)
    run = airflow.trigger(dag_id, {"calls": calls}, f"waiting_{calls}")
    ours = dag_id == "sleepers"
    while (in_flight(airflow) - others if ours else deferred(airflow, dag_id, run)) < calls:
        if time.monotonic() - start > 10 * calls + 300:
            raise TimeoutError(f"{dag_id}: not all {calls} have started")
        time.sleep(2)
    # That a task instance is deferred does not say that its trigger runs: each has looked a few times when it does.
    while not ours and describes(airflow) - asked < 3 * calls:
        if time.monotonic() - start > 10 * calls + 300:
            raise TimeoutError(f"{dag_id}: the triggers hardly look at their tasks")
        time.sleep(2)
    began = time.monotonic() - start
    time.sleep(15)
    api, cpu, since = airflow.endpoint.calls(), airflow.cpu_seconds()["triggerer"], time.monotonic()
    time.sleep(seconds)
    made, window = airflow.endpoint.calls(), time.monotonic() - since
    used = airflow.cpu_seconds()["triggerer"] - cpu
    memory = airflow.memory()["triggerer"] - before
    airflow.ask(f"/api/v2/dags/{dag_id}/dagRuns/{run}", {"state": "failed"}, method="PATCH")
    of_ecs = {name: made[name] - api.get(name, 0) for name in made if name.startswith("ecs:")}
    stopped = time.monotonic()
    while ours and in_flight(airflow) > others and time.monotonic() - stopped < 300:
        time.sleep(1)
    return {
        "seconds until all waited": round(began),
        "ECS API calls": {name: count for name, count in sorted(of_ecs.items()) if count},
        "ECS API calls a task-minute": round(sum(of_ecs.values()) / calls / (window / 60), 4),
        "triggerer's CPU seconds a minute": round(used / (window / 60), 1),
        "triggerer's KiB a waiting call": round(memory * 1024 / calls),
        **({"left running after the run was marked failed": in_flight(airflow) - others} if ours else {}),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o711)
        dags = folder / "dags"
        dags.mkdir()
        write_dag(compile_wdl(WDL), dags)
        with deployment(folder / "deployment", dags) as airflow:
            text = THEIRS.format(cluster=airflow.endpoint.cluster, arn=sleeping_task(airflow))
            (dags / "their_triggers.py").write_text(text)
            airflow.wait_for_dags({"sleepers", "their_triggers"})
            figures: dict[str, Any] = {"calls": options.calls, "seconds": options.seconds}
            for name, dag_id in (("wdl_call", "sleepers"), ("EcsRunTaskOperator", "their_triggers")):
                # What a triggerer has used once, it keeps: each is measured in a new one.
                airflow.kill("triggerer")
                airflow.start("triggerer")
                waiting(airflow, dag_id, 2, 1)
                figures[name] = waiting(airflow, dag_id, options.calls, options.seconds)
            mine, others = figures["wdl_call"], figures["EcsRunTaskOperator"]
            figures["ratios"] = {
                figure: round(mine[figure] / others[figure], 4)
                for figure in ("ECS API calls a task-minute", "triggerer's KiB a waiting call")
            }
            report("waiting, beside EcsRunTaskOperator's trigger", figures, options.output)


if __name__ == "__main__":
    main()
