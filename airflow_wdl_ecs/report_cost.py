"""What a report tells of costs: put into the reports of shards and calls from the ledgers, and added up (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .attempts import Attempt, Stop
from .cost import cost_of, total
from .prices import Prices
from .report import CallReport, PriceList, ShardReport

Stops = Mapping[int, Stop]
"""Attempt -> what ECS said of it when it was told to stop it, if nobody has waited for its end."""


def may_be_stopped(attempts: Sequence[Attempt], *, hosted: bool) -> list[int]:
    """The numbers of those attempts of a shard of whose end the ledger does not know, and which may have been stopped.

    The one after the last is among them where the shard has not succeeded: a host that dies just after RunTask records
    nothing. So are those that `Ledger.supersede` has found without a record.

    :param hosted: whether somebody waits for the last attempt, or for the one after it.
    """
    last = attempts[-1] if attempts else None
    unknown = [
        attempt.number
        for attempt in attempts
        if (attempt.kind is None and not (hosted and attempt is last)) or (attempt.kind == "lost" and not attempt.arn)
    ]
    more = last is None or bool(last.superseded) or last.kind not in (None, "succeeded")
    return [*unknown, _next(attempts)] if more and not hosted else unknown


def shard_with_cost(report: ShardReport, attempts: Sequence[Attempt], stops: Stops, prices: Prices) -> ShardReport:
    """A shard's report with the cost of each attempt, and of all; also of one that is in no ledger.

    :param attempts: those of the report, in its order.
    """
    costs = [cost_of(_as_stopped(attempt, stops.get(attempt.number)), prices) for attempt in attempts]
    told = tuple(replace(made, cost=cost) for made, cost in zip(report.attempts, costs, strict=True))
    beside = stops.get(_next(attempts))
    if beside is not None:
        costs.append(cost_of(_as_stopped(Attempt(_next(attempts), 0, "", "", 0.0, kind="lost"), beside), prices))
    return replace(report, attempts=told, cost=total(costs))


def _next(attempts: Sequence[Attempt]) -> int:
    return attempts[-1].number + 1 if attempts else 0


def _as_stopped(attempt: Attempt, stop: Stop | None) -> Attempt:
    if stop is None or stop.arn not in ("", attempt.arn or stop.arn):
        return attempt
    # Without what it was given there are no hours to be counted.
    return attempt.stopped(stop) if attempt.arn or stop.arn else attempt


def calls_with_cost(calls: Iterable[CallReport]) -> tuple[CallReport, ...]:
    """Calls' reports with the cost of their shards."""
    return tuple(replace(call, cost=total(shard.cost for shard in call.shards)) for call in calls)


def price_list(prices: Prices) -> PriceList:
    """What is told of a list of prices."""
    return PriceList(prices.currency, prices.date, prices.source, prices.file, prices.problem)
