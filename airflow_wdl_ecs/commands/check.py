"""Check WDL sources and print what is wrong with them, as FILE:LINE:COLUMN: MESSAGE.

Exit code 2 if there is an error; warnings alone are no failure, unless with --strict.
"""

from __future__ import annotations

import argparse

from ..printable import printable_lines
from .option import LANGUAGE, Option

NAME = "check"
HELP = "check WDL sources"
OPTIONS = (
    Option("sources", metavar="WORKFLOW.wdl", nargs="+", help="WDL sources: files, URLs or miniwdl zips"),
    *LANGUAGE,
    Option("--no-warnings", action="store_true", help="print errors only"),
    Option("--strict", action="store_true", help="warnings are a failure too"),
    Option("--suppress", metavar="NAME,NAME", default="", help="warnings not to be given, such as UnusedDeclaration"),
)


def execute(options: argparse.Namespace) -> int:
    """Print the problems of every source."""
    from ..wdl.check import problems

    failed = False
    unwanted = tuple(f"({name.strip()})" for name in options.suppress.split(",") if name.strip())
    for source in options.sources:
        for problem in problems(source, check_quant=options.check_quant, path=options.path):
            if problem.severity == "warning" and problem.message.endswith(unwanted):
                continue
            failed = failed or problem.severity == "error" or options.strict
            if problem.severity == "error" or not options.no_warnings:
                print(printable_lines(str(problem)))
    return 2 if failed else 0
