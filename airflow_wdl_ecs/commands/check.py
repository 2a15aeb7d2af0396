"""Check WDL sources and print what is wrong with them, as FILE:LINE:COLUMN: MESSAGE.

Exit code 2 if there is an error; warnings alone are no failure.
"""

from __future__ import annotations

import argparse

from .option import Option

NAME = "check"
HELP = "check WDL sources"
OPTIONS = (
    Option("sources", metavar="WORKFLOW.wdl", nargs="+", help="WDL sources: files, URLs or miniwdl zips"),
    Option("--no-warnings", action="store_true", help="print errors only"),
)


def execute(options: argparse.Namespace) -> int:
    """Print the problems of every source."""
    from ..wdl.check import problems

    failed = False
    for source in options.sources:
        for problem in problems(source):
            failed = failed or problem.severity == "error"
            if problem.severity == "error" or not options.no_warnings:
                print(problem)
    return 2 if failed else 0
