"""Runs a DAG of the shape of a benchmark's workflow on the embedded Airflow, in which no task does anything.

It has the task instances that this package's DAG has: a task on a worker before the calls and one after them, one that
says how many shards a scatter has, and for each call a task that starts in the triggerer and ends there at once. What
it takes is what Airflow takes: its scheduler, its triggerer, its workers.

python benchmarks/airflow_alone.py SHAPE      (a name in SHAPES)
"""

from __future__ import annotations

import secrets
import sys

from airflow_wdl_ecs.local import client
from airflow_wdl_ecs.local.airflow_home import user_home

HEAD = '''"""A DAG in which no task does anything."""

from datetime import datetime, timezone

from airflow.sdk import DAG, BaseOperator, task, task_group
from airflow.triggers.base import StartTriggerArgs


class Step(BaseOperator):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.start_from_trigger = True
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
            trigger_kwargs=dict(moment=datetime(2020, 1, 1, tzinfo=timezone.utc), end_from_trigger=True),
            next_method="execute_complete",
            timeout=None,
        )


with DAG("{dag_id}", schedule=None):

    @task
    def inputs():
        return None

    @task
    def shards():
        return list(range(100))

    @task
    def outputs():
        return None

    @task_group
    def each(shard):
        Step(task_id="step")

    first, last = inputs(), outputs()
'''
SCATTER = """    listed = shards()
    first >> listed
    each.expand(shard=listed) >> Step(task_id="gather") >> last
"""


def steps(count: int, beside: int) -> str:
    """The steps of a workflow: each waits for the one that is ``beside`` before it."""
    lines = [f"    steps = [Step(task_id=f'step{{i}}') for i in range({count})]", f"    first >> steps[:{beside}]"]
    lines += [f"    for i in range({beside}, {count}):", f"        steps[i - {beside}] >> steps[i]"]
    return "\n".join([*lines, "    steps >> last", ""])


SHAPES = {
    "one call": steps(1, 1),
    "a chain of 6": steps(6, 1),
    "12 calls": steps(12, 4),
    "a scatter of 100, then a gather": SCATTER,
}


def main() -> int:
    """Run one."""
    shape = sys.argv[1]
    dag_id = "airflow_alone_" + "_".join(shape.replace(",", "").split())
    service = client.connect(user_home(), print)
    run_id = secrets.token_hex(8)
    files = {f"{dag_id}.py": HEAD.format(dag_id=dag_id) + SHAPES[shape]}
    service.ask("submit", dag_id=dag_id, run_id=run_id, files=files, inputs={})
    state = ""
    for answer in service.stream("watch", dag_id=dag_id, run_id=run_id, owned=True):
        state = answer["state"]
    print(state)
    return 0 if state == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
