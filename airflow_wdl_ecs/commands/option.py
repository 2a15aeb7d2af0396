"""Options of the command line as data: the same for ``airflow-wdl-ecs`` and for ``airflow wdl``."""

from __future__ import annotations

import argparse
from typing import Any


class Option:
    """One argument, as `argparse.ArgumentParser.add_argument` takes it."""

    def __init__(self, *flags: str, **settings: Any) -> None:
        self.flags = flags
        self.settings = settings

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add it to a parser."""
        parser.add_argument(*self.flags, **self.settings)


SOURCE = Option("source", metavar="WORKFLOW.wdl", help="the WDL source: a file, a URL or a miniwdl zip")
PATH = Option(
    "-p", "--path", metavar="DIR", action="append", default=[], help="look for imports there too (may be repeated)"
)
NO_QUANT_CHECK = Option(
    "--no-quant-check",
    dest="check_quant",
    action="store_false",
    help="do not check ? and + of types, for older workflows",
)
LANGUAGE = (PATH, NO_QUANT_CHECK)
"""How a source is read."""
TASK = Option("--task", metavar="NAME", help="run this task of the source instead of its workflow")
