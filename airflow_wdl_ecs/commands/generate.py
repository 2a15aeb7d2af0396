"""Compile a WDL workflow into a DAG folder: NAME.plan.json, and a short NAME.py that defines the DAG.

NAME.plan.json is written anew each time. NAME.py is yours to edit (schedule, pools, settings ...): it is written
only if it is not there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import InputsError
from .option import LANGUAGE, SOURCE, TASK, Option

NAME = "generate"
HELP = "write a DAG file for a workflow"
OPTIONS = (
    SOURCE,
    TASK,
    *LANGUAGE,
    Option("-o", "--output-dir", metavar="DIR", default=".", help="the DAG folder (default: the current folder)"),
    Option("--dag-id", metavar="ID", help="the DAG's id (default: NAME)"),
    Option("--name", metavar="NAME", help="of the two files (default: the workflow's name)"),
)


def execute(options: argparse.Namespace) -> int:
    """Write the files, and say which."""
    from ..generate import write_dag
    from ..wdl.lower import compile_wdl

    plan = compile_wdl(options.source, task=options.task, check_quant=options.check_quant, path=options.path)
    folder = Path(options.output_dir)
    try:
        files = write_dag(plan, folder, name=options.name, dag_id=options.dag_id)
    except OSError as error:
        raise InputsError(f"-o {folder}: {error.strerror}") from error
    for path, written in files.items():
        print(path if written else f"{path} (kept as it is)", file=sys.stdout if written else sys.stderr)
    return 0
