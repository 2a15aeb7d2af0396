"""Print a template of a workflow's inputs as JSON, to be filled in and given to run -i.

Required inputs have an example of their type's form; with --all, optional ones are there too, with their defaults.
"""

from __future__ import annotations

import argparse
import json

from ..input_form import example
from .option import LANGUAGE, SOURCE, TASK, Option

NAME = "inputs"
HELP = "print a JSON template of a workflow's inputs"
OPTIONS = (
    SOURCE,
    TASK,
    *LANGUAGE,
    Option("--all", action="store_true", help="optional inputs too"),
    Option("--no-namespace", action="store_true", help="names without the workflow's own"),
)


def execute(options: argparse.Namespace) -> int:
    """Print the template."""
    from ..wdl.lower import compile_wdl

    plan = compile_wdl(options.source, task=options.task, check_quant=options.check_quant, path=options.path)
    prefix = "" if options.no_namespace else f"{plan.name}."
    template = {
        f"{prefix}{found.name}": found.default if not found.required else example(found.schema)
        for found in plan.inputs
        if found.required or options.all
    }
    print(json.dumps(template, indent=2))
    return 0
