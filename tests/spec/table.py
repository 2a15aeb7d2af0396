"""The results as a page of the documentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .expectations import CAUSES, Expectation

STATUSES = ("passed", "failed", "not run")
_HEAD = """\
# The WDL specification's examples

Every example of the specification's text is run as a test, through Airflow on the embedded ECS and S3
(`make spec` writes this page; `tests/spec/expectations.json` has the reasons). An example passes if its outputs are
those that it gives, or if it must fail and does, for whatever reason. The record says where exactly each other one
fails, and a test fails when that changes, for the better too.
"""


@dataclass(frozen=True)
class Row:
    """What became of one example, and why it was expected not to pass, if it was."""

    version: str
    name: str
    status: str
    expected: Expectation | None = None


def table(rows: Iterable[Row]) -> str:
    """The page in Markdown."""
    found = sorted(set(rows), key=lambda row: (row.version, row.name))
    versions = sorted({row.version for row in found})
    counts = Counter((row.version, row.status) for row in found)
    lines = [_HEAD, f"| WDL | {' | '.join(STATUSES)} |", "|---|" + "---|" * len(STATUSES)]
    lines += [f"| {v} | {' | '.join(str(counts[v, status]) for status in STATUSES)} |" for v in versions]
    for version in versions:
        lines += ["", f"## WDL {version}", ""]
        lines += _version([row for row in found if row.version == version])
    return "\n".join(lines) + "\n"


def _version(rows: list[Row]) -> Iterable[str]:
    for cause, words in CAUSES.items():
        these = [row for row in rows if row.status != "passed" and row.expected and row.expected.cause == cause]
        if these:
            yield from (f"{words[0].upper()}{words[1:]}:", "", "| example | where | reason |", "|---|---|---|")
            for row in these:
                assert row.expected is not None
                yield f"| {row.name} | {', '.join(row.expected.at) or 'not run'} | {row.expected.reason} |"
            yield ""
    surprises = [row.name for row in rows if row.status == "failed" and row.expected is None]
    if surprises:
        yield from (f"Failed, and should not: {', '.join(surprises)}.", "")
    yield f"Passed: {', '.join(row.name for row in rows if row.status == 'passed') or 'none'}."
