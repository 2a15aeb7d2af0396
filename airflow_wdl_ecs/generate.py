"""Writes a compiled workflow as files of a DAG folder: the plan, and the DAG file that a person may edit."""

from __future__ import annotations

import re
from pathlib import Path

from .errors import InputsError
from .plan import Plan

DAG_FILE = '''\
"""The WDL {kind} {workflow} as an Airflow DAG.

Compiled by airflow-wdl-ecs generate, which rewrites {plan} beside this file, and never this file.
"""

from pathlib import Path

from airflow_wdl_ecs import wdl_dag

dag = wdl_dag(
    Path(__file__).with_name("{plan}"),
    dag_id="{dag_id}",
    # schedule="@daily", and anything else that an Airflow DAG takes
    # settings={{"cluster": "genomics"}}, for what differs from the deployment's [wdl_ecs] section
    # call_args={{"{call}": {{"pool": "default_pool"}}}}, for what an Airflow operator takes
)
'''
LONGEST_NAME = 200
"""Characters of a name: Airflow takes ids of 250, and file systems names of 255 with their ending."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


def dag_file(plan: Plan, *, plan_name: str, dag_id: str) -> str:
    """The text of the DAG file for a plan that lies beside it as ``plan_name``."""
    call = plan.calls[0].id if plan.calls else "align"
    is_task = len(plan.calls) == 1 and call == plan.name
    kind = "task" if is_task else "workflow"
    return DAG_FILE.format(kind=kind, workflow=plan.name, plan=plan_name, dag_id=dag_id, call=call)


def write_dag(plan: Plan, folder: Path, *, name: str | None = None, dag_id: str | None = None) -> dict[Path, bool]:
    """Write ``NAME.plan.json`` and, if it is not there, ``NAME.py``.

    :param name: default: the workflow's name. :param dag_id: default: ``name``.
    :return: each path, and whether it was written.
    :raises InputsError: for a name or id that Airflow would refuse.
    """
    name = name or plan.name
    dag_id = dag_id or name
    for what, text in (("--name", name), ("--dag-id", dag_id)):
        if not _NAME.fullmatch(text):
            raise InputsError(f"{what} {text!r}: only letters, digits, '_', '-' and '.' are allowed")
        if ".." in text:
            raise InputsError(f"{what} {text!r}: Airflow takes no id with two dots in a row")
        if len(text) > LONGEST_NAME:
            raise InputsError(f"{what} has {len(text)} characters; {LONGEST_NAME} is the most")
    folder.mkdir(parents=True, exist_ok=True)
    plan_path, dag_path = folder / f"{name}.plan.json", folder / f"{name}.py"
    plan_path.write_bytes(plan.to_json(indent=1) + b"\n")
    fresh = not dag_path.exists()
    if fresh:
        dag_path.write_text(dag_file(plan, plan_name=plan_path.name, dag_id=dag_id))
    return {plan_path: True, dag_path: fresh}
