"""Delete the intermediate files of a run that has ended: what its calls have handed to each other, and nobody needs.

RUN is DAG_ID/RUN_ID, or a run's folder in S3 (s3://...). Runs of the embedded Airflow are looked for first, then those
in the workspace that Airflow's settings name. The run's outputs stay, and whatever other runs of the workspace were
given or have given; so do its records and logs. With --dry-run nothing is deleted. The exit code is 0, or 1 if there is
no such run, it may still run, it has failed (see --failed), or something could not be deleted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import InputsError
from ..local import client
from ..printable import printable
from .option import Option
from .own_stdout import own_stdout
from .which_run import homes, run_of_deployment

NAME = "clean"
HELP = "delete the intermediate files of a run that has ended"
OPTIONS = (
    Option("run", metavar="RUN", help="DAG_ID/RUN_ID, or s3://.../runs/DAG/RUN/"),
    Option(
        "--task", metavar="TASK_ID", dest="scope", help="the run of a WdlEcsTaskOperator on its own in that DAG run"
    ),
    Option("-n", "--dry-run", action="store_true", help="say what would be deleted, and delete nothing"),
    Option("--failed", action="store_true", help="also of a run that has failed, which then starts from its beginning"),
    Option(
        "--ended", action="store_true", help="the run has ended, and Airflow need not know it (of a deleted DAG run)"
    ),
    Option("--json", dest="as_json", action="store_true", help="print JSON: files and bytes, by call"),
)


def execute(options: argparse.Namespace) -> int:
    """Clean the run, and say what that was."""
    if not options.run.startswith("s3://") and not all(options.run.partition("/")):
        raise InputsError(f"{options.run} is no run", hint="give DAG_ID/RUN_ID, or a run's folder, s3://.../")
    how = {"dry_run": options.dry_run, "failed": options.failed, "ended": options.ended}
    found = _of_this_machine(options.run, options.scope, how) or _of_deployment(options.run, options.scope, how)
    if options.as_json:
        print(json.dumps({**found, "deleted": not options.dry_run}, indent=2))
        return 0
    for group in found["of"]:
        print(printable(f"{group['name']}  {_amount(group)}"))
    done = "to be deleted" if options.dry_run else "deleted"
    print(f"{_amount(found)} {done}; {_amount(found['kept'])} kept for outputs", file=sys.stderr)
    return 0


def _of_this_machine(run: str, scope: str | None, how: Mapping[str, bool]) -> dict[str, Any] | None:
    """What was cleaned in an embedded Airflow; None if none has such a run."""
    for home in homes():
        answer = client.connect(home, _say).ask("clean", run=run, scope=scope, **how)
        if "cleaned" in answer:
            found: dict[str, Any] = answer["cleaned"]
            return found
    return None


@own_stdout()
def _of_deployment(run: str, scope: str | None, how: Mapping[str, bool]) -> dict[str, Any]:
    from ..airflow_states import ask_airflow
    from ..clean import clean_run

    def state(dag_id: str, run_id: str) -> str | None:
        found = ask_airflow(dag_id, run_id)
        return found.state if found else None

    _, clients, layout = run_of_deployment(run, scope)
    return clean_run(clients("s3"), layout, state, **how).to_json()


def _amount(group: Mapping[str, Any]) -> str:
    files, size = group["files"], float(group["bytes"])
    unit = "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    number = f"{size:.0f}" if unit == "bytes" or size >= 100 else f"{size:.1f}"
    return f"{files} file{'' if files == 1 else 's'}, {number} {unit}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
