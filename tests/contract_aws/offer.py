"""What the contract will run on and what it may cost, before anything is started; or why it is not started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from airflow_wdl_ecs.errors import SettingsError

from . import costs
from .target import LIMIT, Target, aws_target

REGION = "us-east-1"
"""Where the embedded ECS would be, for its price."""


@dataclass(frozen=True)
class Offer:
    """What is going to be done.

    :param target: the account of AWS; None for the embedded ECS, which is started when it is needed.
    :param tasks: that are started at the most. :param dollars: what they cost at the most, and :param limit: may cost.
    """

    target: Target | None
    tasks: int
    dollars: float
    limit: float

    def __str__(self) -> str:
        settings = self.target.settings if self.target else None
        where = f"AWS, {settings.region}, cluster {settings.cluster}" if settings else "the embedded ECS"
        price = f"{self.dollars:.3f} US dollars at most of {self.limit:g}"
        return f"contract on {where}: {self.tasks} tasks at most, for {price}"


def offer(plans: Sequence[costs.Plan], environment: Mapping[str, str]) -> Offer:
    """What tests with these plans run on and cost.

    :raises pytest.UsageError: if they cost more than they may, or if the environment does not say where.
    """
    try:
        most = float(environment.get(LIMIT) or 1.0)
    except ValueError:
        raise pytest.UsageError(f"{LIMIT} is no number: {environment[LIMIT]}") from None
    target = None
    if environment.get("AWS_CONTRACT", "") not in ("", "0"):
        budget = costs.Budget(0, "")
        try:
            target = aws_target(environment, budget)
        except (SettingsError, ValueError) as error:
            raise pytest.UsageError(f"AWS_CONTRACT=1: {error}") from None
        budget.region = str(target.settings.region)
    dollars = costs.price(plans, target.budget.region if target else REGION)
    if target:
        # Nothing is started that is not planned.
        target.budget.limit = dollars
    found = Offer(target, sum(plan.tasks for plan in plans), dollars, most)
    if not dollars <= most:
        raise pytest.UsageError(f"{found}. Select fewer tests, or raise {LIMIT}")
    return found
