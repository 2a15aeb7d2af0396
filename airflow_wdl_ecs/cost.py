"""What ECS tasks have used and cost: decided from what their ledgers have recorded, and from a list of prices (pure).

Hours are counted as AWS bills them, from ECS's own times: on Fargate from the beginning of the pull of the images until
the task has stopped, in whole seconds, a minute at least; elsewhere without the minute, as the task's share of its
instance. What is not known stays unknown: a task whose times nobody has told has no hours, and one whose capacity,
region or architecture has no price has no amount. Every attempt counts, however it has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from .attempts import Attempt
from .ecs.console import region_of
from .prices import Prices

SECONDS = 3600
_MIB = 1024
FREE_DISK = 20
"""GiB of ephemeral storage that every Fargate task has at no cost."""
FARGATE_MINIMUM = 60
"""Seconds that a Fargate task is billed at least."""


class Span(NamedTuple):
    """For how long a task is billed.

    :param seconds: whole ones. :param estimated: whether a time of ECS's was missing, so that they may be too few.
    """

    seconds: int
    estimated: bool


@dataclass(frozen=True)
class Cost:
    """What some ECS tasks have used and cost; the fields of several are added (see `total`).

    :param tasks: that have ended, and whose hours are known.
    :param unknown: tasks that have ended, and whose hours are not known. :param running: tasks that have not ended.
    :param estimated: those of ``tasks`` for which a time of ECS's is missing: their hours are at least these.
    :param vcpu_hours: vCPUs times hours. :param gb_hours: GB (of 1024 MiB) of memory times hours.
    :param storage_gb_hours: of Fargate's ephemeral storage beyond the 20 GiB that cost nothing.
    :param ebs_gb_hours: of EBS volumes. :param gpu_hours: GPUs times hours.
    :param amount: in the currency of the prices, for those of ``tasks`` that have a price; None if none has.
    :param unpriced: those of ``tasks`` that have no price. :param why: why not, each reason once.
    """

    tasks: int = 0
    unknown: int = 0
    running: int = 0
    estimated: int = 0
    vcpu_hours: float = 0.0
    gb_hours: float = 0.0
    storage_gb_hours: float = 0.0
    ebs_gb_hours: float = 0.0
    gpu_hours: float = 0.0
    amount: float | None = None
    unpriced: int = 0
    why: tuple[str, ...] = ()


NOTHING = Cost()
"""The cost of no task."""


def cost_of(attempt: Attempt, prices: Prices) -> Cost:
    """What one attempt has used and cost; a hit of the call cache had no task."""
    if attempt.cached:
        return NOTHING
    span = billed(attempt)
    if span is None:
        return Cost(running=1) if attempt.kind is None else Cost(unknown=1)
    hours = span.seconds / SECONDS
    fargate = capacity_of(attempt).startswith("FARGATE")
    storage = max(0, attempt.disk - FREE_DISK) if fargate and not attempt.ebs else 0
    used = Cost(
        tasks=1,
        estimated=int(span.estimated),
        vcpu_hours=attempt.cpu * hours,
        gb_hours=attempt.memory_given / _MIB * hours,
        storage_gb_hours=storage * hours,
        ebs_gb_hours=attempt.disk * hours if attempt.ebs else 0.0,
        gpu_hours=attempt.gpu * hours,
    )
    return _priced(used, attempt, prices)


def billed(attempt: Attempt) -> Span | None:
    """For how long AWS bills an attempt; None if that is not known (yet).

    A task that ECS has stopped before it began to pull an image costs nothing. Where ECS has told nothing of the
    beginning, or of the end, the clock of the containers says how long they ran at least.
    """
    t = attempt.times
    begins = [at for at in (t.stage_in_started, t.command_started, t.stage_out_started) if at is not None]
    ends = [at for at in (t.stage_out_ended, t.command_ended, t.stage_in_ended) if at is not None]
    begun = t.pull_started if t.pull_started is not None else min(begins, default=None)
    told = t.gone if t.gone is not None else t.stopped
    ended = told if told is not None else max(ends, default=None)
    if begun is None:
        return None if told is None else Span(0, estimated=False)
    if ended is None:
        return None
    # Moments are floats: what is whole but for their last digit is whole.
    seconds = math.ceil(round(max(0.0, ended - begun), 3))
    if capacity_of(attempt).startswith("FARGATE"):
        seconds = max(seconds, FARGATE_MINIMUM)
    return Span(seconds, estimated=t.pull_started is None or told is None or attempt.kind is None)


def total(costs: Iterable[Cost]) -> Cost:
    """Several costs together."""
    found = list(costs)
    amounts = [cost.amount for cost in found if cost.amount is not None]
    return Cost(
        tasks=sum(cost.tasks for cost in found),
        unknown=sum(cost.unknown for cost in found),
        running=sum(cost.running for cost in found),
        estimated=sum(cost.estimated for cost in found),
        vcpu_hours=math.fsum(cost.vcpu_hours for cost in found),
        gb_hours=math.fsum(cost.gb_hours for cost in found),
        storage_gb_hours=math.fsum(cost.storage_gb_hours for cost in found),
        ebs_gb_hours=math.fsum(cost.ebs_gb_hours for cost in found),
        gpu_hours=math.fsum(cost.gpu_hours for cost in found),
        amount=math.fsum(amounts) if amounts else None,
        unpriced=sum(cost.unpriced for cost in found),
        why=tuple(dict.fromkeys(reason for cost in found for reason in cost.why)),
    )


def capacity_of(attempt: Attempt) -> str:
    """On which capacity an attempt ran: FARGATE, FARGATE_SPOT, EC2, or a capacity provider's name.

    Before ECS has said which one it took, an attempt knows those that it might have: several, separated by commas.
    """
    names = dict.fromkeys(text.split(":")[0].strip() for text in attempt.launch_type.split(","))
    return ", ".join(names)


def _priced(used: Cost, attempt: Attempt, prices: Prices) -> Cost:
    amounts: list[float] = []
    quantities = {
        "vcpu_hour": used.vcpu_hours,
        "gb_hour": used.gb_hours,
        "storage_gb_hour": used.storage_gb_hours,
        "ebs_gb_hour": used.ebs_gb_hours,
        "gpu_hour": used.gpu_hours,
    }
    wanted = {name: quantity for name, quantity in quantities.items() if quantity}
    if wanted:
        where = (capacity_of(attempt), region_of(attempt.arn), attempt.architecture)
        price = prices.find(*where)
        if price is None:
            return replace(used, unpriced=1, why=(_without_price(*where),))
        for name, quantity in wanted.items():
            each: float | None = getattr(price, name)
            if each is None:
                return replace(used, unpriced=1, why=(f"{_without_price(*where)}: {name} is not in it",))
            amounts.append(quantity * each)
    return replace(used, amount=math.fsum(amounts))


def _without_price(capacity: str, region: str, architecture: str) -> str:
    what = f"{capacity or 'unknown capacity'} in {region or 'an unknown region'}"
    return f"no price for {what} ({architecture or 'CPU architecture not recorded'})"
