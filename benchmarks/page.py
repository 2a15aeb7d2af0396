"""Writes docs/benchmarks.md from the results in benchmarks/results: ``python benchmarks/page.py``."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from airflow_wdl_ecs.scatter import WIDEST

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

What this package costs, beside what a user would take instead. Ratios are of medians, taken in one run on one machine,
in turn; times are context. What is not in the table yet was not measured yet. Each line is one command,
`.venv-bench/bin/python benchmarks/NAME.py`, after `make bench` (Debian's `postgresql` has to be there for those with a
deployment: Airflow's own processes at their own pace on PostgreSQL). `make bench-guard` runs the cheap ones. The
results are in `benchmarks/results/`, and this page is made of them by `python benchmarks/page.py`.

"""
THEIACOV = "wf_theiacov_illumina_pe.wdl"
FORK = "WDL.load in a fork of miniwdl"
ALONE = "Airflow alone"
PROVIDER = "the amazon provider's deferrable `EcsRunTaskOperator`"
STEPS = (
    "Airflow's own steps take a part of it, up to about half; the rest is, for each call, three containers one after "
    "the other, their files through S3, a record and a log, where miniwdl starts one process. The next section has the "
    "seconds."
)
SECOND = (
    "The result is put after all files, by a second start of the tool, which takes the AWS CLI 0.5 s of CPU, however "
    "many files there are."
)
SAME = "Two runs of one of them differ by more than that."
FRESH = "Of a process that imports nothing else; Airflow parses a DAG file in a fork, which is the next line."


class Row(NamedTuple):
    """A line of the page: where its ratio stands in a result, what it is to reach, and why if it does not."""

    result: str
    where: tuple[str, ...]
    what: str
    against: str
    reach: str
    why: str = ""

    def misses(self, ratio: float) -> bool:
        """Whether a ratio is above what was to be reached."""
        return round(ratio, 2) > round(float(Fraction(re.findall(r"[\d./]+", self.reach)[-1])), 2)


ROWS = [
    Row(
        "against_provider",
        ("ratios", "CPU seconds a call"),
        "Airflow's CPU seconds for a call that does nothing, in a scatter",
        f"the same by hand with {PROVIDER}",
        "1/4",
    ),
    Row("against_provider", ("ratios", "wall"), "wall time of that run", "the same", "1/3"),
    Row(
        "waiting",
        ("ratios", "ECS API calls a task-minute"),
        "ECS API calls for a minute of a waiting call, 500 waiting",
        f"the trigger of {PROVIDER}",
        "1/50",
    ),
    Row(
        "waiting_1000",
        ("ratios", "triggerer's KiB a waiting call"),
        "memory of the triggerer for a waiting call, 1,000 waiting",
        "the same",
        "1/5",
    ),
    *(
        Row(
            "engines",
            (name, "ratios", f"airflow-wdl-ecs / {engine}"),
            f"wall time: {name}",
            f"`{engine}`",
            reach,
            STEPS,
        )
        for name, reach in (
            ("one call", "2"),
            ("12 calls", "2"),
            ("a chain of 6", "1"),
            ("a scatter of 100, then a gather", "1"),
        )
        for engine in ("miniwdl", "toil")
    ),
    *(
        Row(
            "engines",
            (name, "ratios", f"airflow-wdl-ecs / {ALONE}"),
            f"wall time: {name}",
            "the embedded Airflow with a DAG of the same shape, in which no task does anything",
            "",
        )
        for name in ("one call", "12 calls", "a chain of 6", "a scatter of 100, then a gather")
    ),
    Row(
        "many_shards",
        ("ratios", "start of all / limit"),
        "time until 10,000 shards of a scatter have been started",
        "ECS's own limit (RunTask: 40 a second after 100)",
        "1.2",
    ),
    Row(
        "many_shards_fargate",
        ("ratios", "start of all / limit"),
        "the same on Fargate",
        "ECS's own limit (launches: 20 a second after 100)",
        "1.2",
    ),
    Row(
        "large_workflow",
        (THEIACOV, "ratios", "DAG file beyond importing Airflow / WDL.load"),
        "import of the DAG file of a workflow of 122 calls, beyond importing Airflow",
        "`WDL.load` of its source",
        "1/50",
        FRESH,
    ),
    Row(
        "large_workflow",
        (THEIACOV, "ratios", f"DAG file in a fork of Airflow / {FORK}"),
        "the same in a fork of a process that has imported Airflow, as its DAG processor makes one for each file",
        "`WDL.load` in a fork of a process that has imported miniwdl",
        "1/50",
    ),
    Row(
        "large_workflow",
        (THEIACOV, "ratios", f"DAG file in a fork of Airflow and this package / {FORK}"),
        "the same, of a process that has imported this package, too",
        "the same",
        "1/50",
    ),
    Row(
        "large_workflow",
        (THEIACOV, "seconds beyond importing Airflow", "DAG file"),
        "seconds of the DAG file beyond importing Airflow",
        "",
        "0.5",
    ),
    Row(
        "large_workflow",
        (THEIACOV, "seconds beyond importing Airflow", "start of a call"),
        "seconds that a call of it takes in a fresh process to be ready for RunTask, beyond importing Airflow",
        "",
        "1",
    ),
    Row(
        "large_workflow",
        (THEIACOV, "ratios", "compile / WDL.load"),
        "compiling that workflow",
        "`WDL.load` of its source",
        "1.2",
    ),
    *(
        Row(
            "staging",
            (what, "ratios", f"{way}: {tool} / aws s3 cp --recursive"),
            f"staging {way}: {what}, {tool}",
            plain,
            "1",
            SECOND if (way, tool) == ("out", "aws") else SAME,
        )
        for what in ("small files", "one large file")
        for way in ("in", "out")
        for tool in ("aws", "s5cmd")
        for plain in ["`aws s3 cp --recursive`"]
    ),
]


def at(figures: Any, where: tuple[str, ...]) -> Any:
    """What stands at a place of the figures; None if nothing does."""
    for name in where:
        figures = figures.get(name) if isinstance(figures, dict) else None
    return figures


def repeats(figures: Any) -> int:
    """How often what a result tells of was run: the length of the first list in it."""
    if isinstance(figures, list):
        return len(figures)
    found = (repeats(value) for value in figures.values()) if isinstance(figures, dict) else ()
    return next((number for number in found if number), 0)


def table(results: dict[str, Any]) -> str:
    """The table of ratios."""
    lines = ["| what | against | ratio, or seconds | to reach | runs |", "|---|---|---|---|---|"]
    for row in ROWS:
        figures = results.get(row.result, {}).get("figures", {})
        ratio = at(figures, row.where)
        if ratio is not None:
            runs = 1 if row.result.startswith("many_shards") else repeats(figures) or 1
            lines.append(f"| {row.what} | {row.against} | {ratio:.3g} | {row.reach} | {runs} |")
    return "\n".join(lines)


def missed(results: dict[str, Any]) -> str:
    """What is above what was to be reached, and why."""
    found: dict[str, list[str]] = {}
    for row in ROWS:
        ratio = at(results.get(row.result, {}).get("figures", {}), row.where)
        if ratio is not None and row.reach and row.why and row.misses(ratio):
            against = f" ({row.against})" if row.result == "engines" else ""
            found.setdefault(row.why, []).append(f"{row.what}{against}: {ratio:.3g} instead of {row.reach}")
    lines = (f"- {'; '.join(rows)}. {why}\n" for why, rows in found.items())
    return "## What is not reached, and why\n\n" + "".join(lines) if found else ""


def local_cpu(result: dict[str, Any]) -> str:
    """What takes the CPU of a run on the embedded default."""
    figures = result["figures"]
    totals: dict[str, float] = {}
    for found in figures.values():
        for part, spent in found["CPU seconds a run"].items():
            totals[part] = totals.get(part, 0) + spent
    parts = sorted(totals, key=lambda part: -totals[part])
    lines = [f"| | wall | {' | '.join(parts)} |", f"|---|---|{'---|' * len(parts)}"]
    for name, found in figures.items():
        spent = (f"{found['CPU seconds a run'].get(part, 0):.2f}" for part in parts)
        lines.append(f"| {name} | {found['median']:.2f} | {' | '.join(spent)} |")
    return (
        "CPU seconds of such a run, by what takes them (`benchmarks/local_cpu.py`, another time; a container is a "
        "process here, and its time that of its shell, of the command and of the tool that moves its files):\n\n"
        + "\n".join(lines)
        + "\n"
    )


def local_runs(result: dict[str, Any]) -> str:
    """Where the time of a run on the embedded default goes."""
    figures = result["figures"]
    engines = [ALONE, "airflow-wdl-ecs", "miniwdl", "toil"]
    names = [name for name in engines if any(name in found for found in figures.values())]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for workflow, found in figures.items():
        seconds = (f"{found[name]['median']:.2f}" if name in found else "" for name in names)
        lines.append(f"| {workflow} | {' | '.join(seconds)} |")
    return (
        "## Where the time of a local run goes\n\n"
        "Seconds of whole commands (`benchmarks/engines.py`). *Airflow alone* is the embedded Airflow with a DAG of "
        "the same shape in which no task does anything: what its scheduler, triggerer and workers take by themselves. "
        "What is above that is this package's: for each call three containers as on ECS (here processes), its files "
        "through S3, its record, its log.\n\n" + "\n".join(lines) + "\n"
    )


def many_shards(results: Mapping[str, dict[str, Any]]) -> str:
    """How a very wide scatter begins at ECS's limits."""
    lines = ["| RunTask a second | seconds to start all | the limit | throttled requests | small run, s | MiB |"]
    lines.append("|---|---|---|---|---|---|")
    for result in results.values():
        figures = result["figures"]
        small, memory = figures["seconds of a small run beside it"], figures["MiB"]["triggerer"]
        lines.append(
            f"| {figures['RunTask a second']:g} | {figures['seconds to start all']} "
            f"| {figures['seconds that the limit allows']} | {figures['requests refused']['RunTask']} "
            f"| {small['median']} | {memory['first']:.0f}, {memory['most']:.0f}, {memory['last']:.0f} |"
        )
    calls = next(iter(results.values()))["figures"]["calls"]
    return (
        f"## {calls:,} shards\n\n"
        "`benchmarks/many_shards.py`: PostgreSQL, one triggerer, and an ECS that refuses what is above its published "
        "rates and runs nothing. No refusal reaches a call. *small run* is the median time of a DAG of one small task "
        "that is run again and again meanwhile; *MiB* the triggerer's at the start, at the most and at the end.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def soak(result: dict[str, Any]) -> str:
    """What the soak found, in words."""
    figures = result["figures"]
    wide, small, memory = figures["one run of many calls"], figures["many runs at once"], figures["MiB"]
    grown = ", ".join(
        f"{name} {memory[name]['first']:.0f}, {memory[name]['most']:.0f}, {memory[name]['last']:.0f}"
        for name in ("triggerer", "scheduler")
    )
    return (
        "## Soak\n\n"
        f"`benchmarks/soak.py`: on PostgreSQL, with {100 * figures['faults']:.0f} % of all requests to ECS and S3 "
        "refused, throttled, not answered, answered but not heard, or cut short.\n\n"
        "| | calls | calls lost | calls run twice | seconds |\n|---|---|---|---|---|\n"
        f"| one run | {wide['expected']} | {wide['never ran']} | {wide['ran twice']} | {wide['seconds']} |\n"
        f"| many runs at once | {small['expected']} | {small['never ran']} | {small['ran twice']} "
        f"| {small['seconds']} |\n\n"
        f"MiB at the start, at the most and at the end, children included: {grown}.\n"
    )


def wide_scatter(result: dict[str, Any]) -> str:
    """What the scheduler bears, in words; of several runs the medians."""
    figures = result["figures"]
    lines = []
    for width, runs in figures["widths"].items():

        def middle(*where: str, runs: list[Any] = runs) -> float:
            return statistics.median(at(run, where) for run in runs)

        cpu = (f"{middle(f'{name} CPU milliseconds an instance'):.0f}" for name in ("scheduler's", "database's"))
        small, loops = "seconds of a small run meanwhile", "seconds of the scheduler's loops"
        lines.append(
            f"| {width} | {' | '.join(cpu)} | {middle('seconds a shard'):.2f} "
            f"| {middle(loops, 'longest'):.1f} | {middle(loops, 'longest, CPU'):.1f} "
            f"| {middle(small, 'median'):.0f} | {middle(small, 'longest'):.0f} | {len(runs)} |\n"
        )
    return (
        "## Wide scatters\n\n"
        "`benchmarks/wide_scatter.py`: on PostgreSQL, a mapped task group of two tasks that end at once in the "
        "triggerer, over more and more instances; meanwhile a small workflow, which takes "
        f"{figures['seconds of a small run alone']:.0f} s alone. A scatter of more than {WIDEST} shards is divided "
        "into chunks because of this.\n\n"
        "| mapped over | scheduler's CPU ms a task instance | database's | seconds a shard | longest loop of the "
        "scheduler, s | of it CPU, s | small run, s | the longest | runs |\n|---|---|---|---|---|---|---|---|---|\n"
        + "".join(lines)
    )


def main() -> None:
    """Write the page."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))}
    about = next(iter(results.values()))
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    machine = (
        f"{about['machine']['cores']} cores ({about['machine']['processor']}), Python {about['machine']['python']}"
    )
    parts = [HEAD, table(results), "\n\n", f"Taken on {machine}; {versions}.\n"]
    if text := missed(results):
        parts += ["\n", text]
    if "engines" in results:
        parts += ["\n", local_runs(results["engines"])]
    if "local_cpu" in results:
        parts += ["\n", local_cpu(results["local_cpu"])]
    if many := {name: result for name, result in results.items() if name.startswith("many_shards")}:
        parts += ["\n", many_shards(many)]
    if "soak" in results:
        parts += ["\n", soak(results["soak"])]
    if "wide_scatter" in results:
        parts += ["\n", wide_scatter(results["wide_scatter"])]
    PAGE.write_text("".join(parts))


if __name__ == "__main__":
    main()
