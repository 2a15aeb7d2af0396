"""List the ECS tasks of runs that nobody waits for any more, and stop them with --stop.

Looked at are the tasks of this package in one cluster and workspace: those of the embedded Airflow if it runs, else
those that Airflow's settings name. For DAGs of this Airflow that override either, name it with --cluster or
--workspace. A task is an orphan if its shard has succeeded, if another attempt has taken its place, or if Airflow says
that its DAG run or task instance has ended or is gone. What cannot be known is said, and is never stopped. The exit
code is 0.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from ..local import client
from ..local.airflow_home import user_home
from ..printable import printable
from .option import Option
from .own_stdout import own_stdout

NAME = "orphans"
HELP = "list the ECS tasks that no run waits for any more, or stop them"
OPTIONS = (
    Option("--cluster", metavar="NAME", help="look at this ECS cluster (default: the one of the settings)"),
    Option("--workspace", metavar="URI", help="look at runs in this workspace (default: the one of the settings)"),
    Option("--stop", action="store_true", help="stop them"),
    Option("--json", dest="as_json", action="store_true", help="print JSON: a list of tasks, with why each is listed"),
)


def execute(options: argparse.Namespace) -> int:
    """List the orphans."""
    given = {"cluster": options.cluster, "workspace": options.workspace}
    where = {name: value for name, value in given.items() if value is not None}
    service = client.running(user_home())
    if service is not None:
        tasks: list[dict[str, Any]] = service.ask("orphans", stop=options.stop, where=where)["tasks"]
    else:
        tasks = [asdict(task) for task in _of_deployment(stop=options.stop, where=where)]
    listed = [task for task in tasks if task["orphaned"] or task["unknown"]]
    if options.as_json:
        print(json.dumps(listed, indent=2))
        return 0
    for task in listed:
        print(printable(_line(task, stopped=options.stop)))
    orphans = sum(bool(task["orphaned"]) for task in listed)
    done = " stopped" if options.stop else ""
    said = f"{len(tasks)} ECS tasks, {orphans} orphaned{done}"
    if len(listed) > orphans:
        said += f", {len(listed) - orphans} of which it is not known"
    print(said, file=sys.stderr)
    return 0


def _line(task: dict[str, Any], *, stopped: bool) -> str:
    where = f"{task['dag_id']}/{task['run_id']} {task['call']}" + (f"[{task['shard']}]" if task["shard"] else "")
    what = ("stopped: " if stopped else "") + task["orphaned"] if task["orphaned"] else f"unknown: {task['unknown']}"
    return f"{task['arn']}  {where}, attempt {task['attempt']}, {task['age']:.0f} s old: {what}"


@own_stdout()
def _of_deployment(*, stop: bool, where: dict[str, str]) -> Any:
    from ..airflow_states import ask_airflow
    from ..host import airflow_clients, resolve_settings
    from ..orphans import find_tasks, stop_tasks

    settings = resolve_settings(where)
    settings.check()
    clients = airflow_clients(settings)
    tasks = find_tasks(settings, clients, ask_airflow)
    if stop:
        stop_tasks(clients, [task for task in tasks if task.orphaned])
    return tasks
