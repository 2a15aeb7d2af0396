"""What a report tells of costs: put into the reports of shards and calls from the ledgers, and added up (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .attempts import Attempt
from .cost import cost_of, total
from .prices import Prices
from .report import CallReport, PriceList, ShardReport

Stops = Mapping[int, Mapping[str, float]]
"""Attempt -> what ECS said of its times when it was asked to stop it, if nobody has waited for its end."""


def shard_with_cost(report: ShardReport, attempts: Sequence[Attempt], stops: Stops, prices: Prices) -> ShardReport:
    """A shard's report with the cost of each attempt, and of all.

    :param attempts: those of the report, in its order.
    """
    costs = [cost_of(_with_stop(attempt, stops.get(attempt.number, {})), prices) for attempt in attempts]
    told = (replace(made, cost=cost) for made, cost in zip(report.attempts, costs, strict=True))
    return replace(report, attempts=tuple(told), cost=total(costs))


def _with_stop(attempt: Attempt, stop: Mapping[str, float]) -> Attempt:
    return replace(attempt, times=attempt.times.with_those(stop)) if stop else attempt


def calls_with_cost(calls: Iterable[CallReport]) -> tuple[CallReport, ...]:
    """Calls' reports with the cost of their shards."""
    return tuple(replace(call, cost=total(shard.cost for shard in call.shards)) for call in calls)


def price_list(prices: Prices) -> PriceList:
    """What is told of a list of prices."""
    return PriceList(prices.currency, prices.date, prices.source, prices.file, prices.problem)
