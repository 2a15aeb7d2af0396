"""Tell what became of a run: its calls, shards and attempts, where their time went, and why one failed.

RUN is DAG_ID/RUN_ID, or a run's folder in S3 (s3://...). Runs of the embedded Airflow are looked for first, and without
RUN its latest one is told of; then those in the workspace that Airflow's settings name. The exit code is 0, or 1 if
there is no such run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ..errors import InputsError, WdlEcsError
from ..local import client
from ..printable import printable
from ..report import AttemptReport, CallReport, PhaseName, RunReport, ShardReport, to_json
from .cost_table import cost_lines
from .option import Option
from .own_stdout import own_stdout
from .which_run import homes, run_of_deployment

NAME = "report"
HELP = "tell what became of a run, and where its time went"
OPTIONS = (
    Option("run", nargs="?", metavar="RUN", help="DAG_ID/RUN_ID, or s3://.../runs/DAG/RUN/ (default: the latest here)"),
    Option(
        "--task", metavar="TASK_ID", dest="scope", help="the run of a WdlEcsTaskOperator on its own in that DAG run"
    ),
    Option("--by-shard", action="store_true", help="say of each shard, too, what it has used and cost"),
    Option("--json", dest="as_json", action="store_true", help="print the report as JSON"),
)
COLUMNS: tuple[PhaseName, ...] = ("queue", "wait", "pull", "stage_in", "command", "stage_out")
STDERR_LINES = 20
CACHE_LINES = 10
"""Lines about the call cache for each call."""
LONGEST_VALUE = 4000
"""Characters of an input or output: a Map of thousands would push all else out of the terminal."""
_STDERR = "the last lines of its stderr:"
_TAIL = 16 * 1024

Tails = Mapping[str, str]
"""The end of the stderr of each failed shard, by ``call/shard``."""


def execute(options: argparse.Namespace) -> int:
    """Print the report."""
    found = find(options.run, options.scope)
    if options.as_json:
        print(json.dumps(to_json(found[0]), indent=2, ensure_ascii=False))
    else:
        print("\n".join(printable(line) for line in text_of(*found, by_shard=options.by_shard)))
    return 0


def find(run: str | None, scope: str | None) -> tuple[RunReport, Tails]:
    """The report of a run, wherever it is.

    :raises WdlEcsError: if there is no such run.
    """
    folder = run if run and run.startswith("s3://") else None
    if run and folder is None and "/" not in run:
        raise InputsError(f"{run} is no run", hint="give DAG_ID/RUN_ID, or a run's folder, s3://.../")
    for home in homes():
        answer = client.connect(home, _say).ask("report", run=run, scope=scope)
        if answer.get("not_begun"):
            raise WdlEcsError(answer["not_begun"])
        if "report" in answer:
            return msgspec.convert(answer["report"], RunReport), answer["stderr"]
    if run is None:
        raise WdlEcsError("no workflow has been run on this machine", hint="name a run: DAG_ID/RUN_ID, or its folder")
    return of_deployment(run, scope)


@own_stdout()
def of_deployment(run: str, scope: str | None) -> tuple[RunReport, Tails]:
    """The report of a run in the workspace of Airflow's settings, or in a folder; from S3 alone."""
    from ..price_file import prices_or_none
    from ..report_reading import read_not_begun, read_report, stderr_of_failures
    from ..storage import RunStore

    settings, clients, layout = run_of_deployment(run, scope)
    store = RunStore(clients("s3"), layout)
    prices = prices_or_none(settings, clients)
    report = read_report(store, prices=prices) or read_not_begun(store)
    if report is None:
        raise WdlEcsError(f"there is no run in {layout.folder}", hint="check DAG_ID/RUN_ID and the workspace")
    return report, stderr_of_failures(store, report, _TAIL)


def text_of(report: RunReport, tails: Tails, *, by_shard: bool = False) -> Iterator[str]:
    """The report for a terminal, line by line.

    :param by_shard: say of each shard what it has used and cost.
    """
    yield f"{report.workflow}: {_word(report.state)}"
    yield f"  run      {report.dag_id}/{report.run_id}" + (f", task {report.scope}" if report.scope else "")
    yield f"  folder   {report.folder}"
    if report.started is not None:
        lasted = f", {seconds(report.ended - report.started)}" if report.ended is not None else ""
        yield f"  started  {datetime.fromtimestamp(report.started):%Y-%m-%d %H:%M:%S}{lasted}"
    if report.published:
        yield f"  published  {report.published}"
    if report.error:
        yield from ("", *report.error.splitlines())
    yield from _failures(report, tails)
    if report.calls:
        yield ""
        yield from _table(report.calls)
        yield from _usage(report.calls)
        yield from cost_lines(report, name_of=_name if by_shard else None)
    if report.digest:  # a run that has not begun has no inputs yet
        yield from _values("inputs", report.inputs)
    if report.outputs is not None:
        yield from _values("outputs", report.outputs)


def _failures(report: RunReport, tails: Tails) -> Iterator[str]:
    failed = sum(call.counts.get("failed", 0) for call in report.calls)
    for task in report.tasks:
        yield ""
        yield f"FAILED {task.task}" + (f"[{task.map_index}]" if task.map_index >= 0 else "")
        yield from (f"  {line}" for line in task.reason.splitlines())
    for shard in report.failures:
        yield ""
        yield f"FAILED {_name(shard)}"
        yield from (f"  {line}" for line in shard.reason.splitlines())
        tail = tails.get(f"{shard.call}/{shard.key}", "").splitlines()[-STDERR_LINES:]
        if tail and _STDERR not in shard.reason:
            yield f"  {_STDERR}"
            yield from (f"    {line}" for line in tail)
        if shard.attempts:
            yield from (f"  {line}" for line in _where(shard.attempts[-1], shard.reason))
    if failed > len(report.failures):
        yield f"and {failed - len(report.failures)} more failures"


def _where(attempt: AttemptReport, said: str) -> Iterator[str]:
    """Where all of an attempt is, without what is ``said`` already."""
    stream = attempt.log_streams.get("command")
    if attempt.folder not in said:
        yield f"everything of it is in {attempt.folder}"
    if stream:
        yield f"its log is {attempt.log_group} {stream}"


def _table(calls: Sequence[CallReport]) -> Iterator[str]:
    heads = ("call", "state", "tasks", *(name.replace("_", "-") for name in COLUMNS))
    rows = [heads, *(_row(call) for call in calls)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        left = (text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True))
        right = (text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True))
        yield "  ".join((*left, *right)).rstrip()
    if any(call.scattered for call in calls):
        yield "(times are medians over the shards)"
    told = list(cache_lines(calls))
    if told:
        yield from ("", "call cache:", *(f"  {line}" for line in told))


def cache_lines(calls: Sequence[CallReport]) -> Iterator[str]:
    """What became of looking for calls in the call cache, in lines, each with how many shards it has happened to."""
    for call in calls:
        ways = Counter(shard.cache for shard in call.shards if shard.cache)
        for way, count in ways.most_common(CACHE_LINES):
            yield f"{call.id}: {way}" + (f" ({count} shards)" if count > 1 else "")
        if len(ways) > CACHE_LINES:
            yield f"{call.id}: and {len(ways) - CACHE_LINES} other answers, which --json has"


def _row(call: CallReport) -> tuple[str, ...]:
    counts = [f"{count} {_word(state)}" for state, count in call.counts.items()]
    state = ", ".join(counts) if call.scattered and counts else _word(call.state)
    times = (seconds(call.seconds[name]) if name in call.seconds else "" for name in COLUMNS)
    return (call.id, state, str(call.attempts), *times)


def _usage(calls: Sequence[CallReport]) -> Iterator[str]:
    """What commands have used of what they asked for, where it was measured, and what may be worth to change."""
    measured = [(call.id, call.usage) for call in calls if call.usage]
    if measured:
        yield ""
        yield "memory and CPU that commands used, of what was asked for:"
    width = max((len(name) for name, _ in measured), default=0)
    for name, used in measured:
        shards = f" ({used.shards} shards)" if used.shards > 1 else ""
        yield f"  {name.ljust(width)}  {used.in_words}{shards}"
        yield from (f"  {'':{width}}  {advice}" for advice in used.advice)


def _values(title: str, values: Mapping[str, Any]) -> Iterable[str]:
    yield ""
    yield f"{title}:" if values else f"{title}: none"
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False)
        more = f"... ({len(text)} characters, which --json has)" if len(text) > LONGEST_VALUE else ""
        yield f"  {name} = {text[:LONGEST_VALUE] if more else text}{more}"


def _name(shard: ShardReport) -> str:
    if shard.key == "_":
        return shard.call
    return f"{shard.call}[{shard.key.replace('.', ', ')}]" + (f" ({shard.label})" if shard.label else "")


def _word(state: str) -> str:
    return state.replace("_", " ")


def seconds(length: float) -> str:
    """A length of time in words."""
    if length < 120:
        return f"{length:.1f} s" if length < 10 else f"{length:.0f} s"
    minutes = round(length / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
