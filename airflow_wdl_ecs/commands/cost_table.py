"""What a run's ECS tasks have used and cost, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..cost import NOTHING, Cost
from ..report import RunReport, ShardReport

QUANTITIES: tuple[tuple[str, Callable[[Cost], float]], ...] = (
    ("vCPU-h", lambda cost: cost.vcpu_hours),
    ("GB-h", lambda cost: cost.gb_hours),
    ("disk GB-h", lambda cost: cost.storage_gb_hours),
    ("EBS GB-h", lambda cost: cost.ebs_gb_hours),
    ("GPU-h", lambda cost: cost.gpu_hours),
)
ALWAYS = 2
"""Quantities that have a column also where there is nothing of them."""
_SMALLEST = 0.0001


def cost_lines(report: RunReport, *, name_of: Callable[[ShardReport], str] | None = None) -> Iterator[str]:
    """The table, line by line, and what is not in it; nothing for a run without ECS tasks.

    :param name_of: if there is to be a row for each shard, what it is called.
    """
    total, currency = report.cost, report.prices.currency
    if not (total.tasks or total.unknown or total.running):
        return
    columns = [at for at, (_, amount) in enumerate(QUANTITIES) if at < ALWAYS or amount(total)]
    rows: list[tuple[str, ...]] = [("used and cost", *(QUANTITIES[at][0] for at in columns), "cost")]

    def add(name: str, cost: Cost) -> None:
        rows.append((name, *(_number(QUANTITIES[at][1](cost)) for at in columns), _amount(cost, currency)))

    for call in report.calls:
        add(call.id, call.cost)
        for shard in call.shards if name_of and call.scattered else ():
            if shard.attempts or shard.cost != NOTHING:
                add(f"  {name_of(shard)}" if name_of else "", shard.cost)
    add("all", total)
    yield ""
    yield from _aligned(rows)
    yield from _remarks(report)


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        right = (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join((row[0].ljust(widths[0]), *right)).rstrip()


def _remarks(report: RunReport) -> Iterator[str]:
    cost, prices = report.cost, report.prices
    if cost.unpriced:
        reasons = f": {'; '.join(cost.why)}" if not prices.problem else ""
        yield f"({_tasks(cost.unpriced)} without a price{reasons})"
    if cost.estimated:
        yield f"({_tasks(cost.estimated)} of which ECS has not told all times: at least these hours)"
    if cost.unknown:
        yield f"(in no sum: {_tasks(cost.unknown)} of which no time is known)"
    if cost.running:
        yield f"(in no sum: {_tasks(cost.running)} not known to have ended)"
    if prices.problem:
        yield f"(no prices: {prices.problem})"
    elif cost.amount is not None:
        yield f"(prices of {prices.date}: {prices.source})"


def _tasks(count: int) -> str:
    return f"{count} ECS task" + ("" if count == 1 else "s")


def _number(amount: float) -> str:
    if not amount:
        return ""
    return f"{amount:.4f}" if amount >= _SMALLEST else f"<{_SMALLEST}"


def _amount(cost: Cost, currency: str) -> str:
    if cost.amount is None:
        return "no price" if cost.unpriced else ""
    # What has no price would make it more.
    more = "+" if cost.unpriced or cost.unknown else ""
    return f"{_number(cost.amount) or '0'}{more} {currency}"
