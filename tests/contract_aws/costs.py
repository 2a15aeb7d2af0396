"""What the contract may cost, said before it runs and kept while it runs.

Every test says how many ECS tasks it starts at the most and how large they are (`planned`). The plan's price is that of
so many tasks that all run for as long as a task may (`LONGEST`), at list prices; the suite refuses to begin if that is
more than the limit. While it runs, a `Budget` sees every RunTask before it is sent, and refuses what the plan has no
money for. Not counted is what is far below a cent: requests to S3, and some kilobytes of logs in CloudWatch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

LONGEST = 600.0
"""Seconds that a task may be there, from its start to its end; `target.Target` sees to it."""

VCPU = 0.04048
GIB = 0.004445
"""US dollars an hour for a vCPU and a GiB of memory (Fargate, Linux on x86, us-east-1); ARM and Spot are cheaper."""
DISK_GIB = 0.000111
"""US dollars an hour for a GiB of ephemeral storage beyond the 20 that are free."""
ADDRESS = 0.005
"""US dollars an hour for a public IPv4 address."""
ELSEWHERE = 2.0
"""By how much any region is dearer than us-east-1 at the most."""


class OverBudgetError(Exception):
    """A task would cost what the plan has no money for."""


@dataclass(frozen=True)
class Plan:
    """The ECS tasks that a test starts at the most.

    :param cpu: CPU units, :param memory: MiB, :param disk: GiB of each.
    :param once: a name, if several tests look at the same tasks.
    """

    tasks: int
    cpu: int = 256
    memory: int = 512
    disk: int = 20
    once: str | None = None


def planned(tasks: int, **more: Any) -> pytest.MarkDecorator:
    """The mark of a test that starts so many tasks; ``more`` as in `Plan`."""
    return pytest.mark.planned(Plan(tasks, **more))


def plan_of(items: Iterable[pytest.Item]) -> list[Plan]:
    """The plans of tests; one that several share is there once."""
    found: dict[Any, Plan] = {}
    for item in items:
        for mark in item.iter_markers("planned"):
            (plan,) = mark.args
            found[plan.once or (item.nodeid, len(found))] = plan
    return list(found.values())


def price(plans: Iterable[Plan], region: str) -> float:
    """US dollars for tasks that all run for `LONGEST`, in a region."""
    return sum(plan.tasks * _task(plan.cpu, plan.memory, plan.disk) for plan in plans) * _factor(region)


def _task(cpu: int, memory: int, disk: int) -> float:
    hourly = cpu / 1024 * VCPU + memory / 1024 * GIB + max(disk - 20, 0) * DISK_GIB + ADDRESS
    return hourly * LONGEST / 3600


def _factor(region: str) -> float:
    return 1.0 if region == "us-east-1" else ELSEWHERE


class Budget:
    """The money of one session. May be used from any thread.

    :param limit: US dollars; the plan's price, so that nothing is started that is not planned.
    :param region: where they are spent.
    """

    def __init__(self, limit: float, region: str) -> None:
        self.limit = limit
        self.spent = 0.0
        self.region = region
        self._lock = threading.Lock()
        self._tokens: set[str] = set()

    @property
    def tasks(self) -> int:
        """How many tasks were asked for."""
        return len(self._tokens)

    def allow(self, request: Mapping[str, Any]) -> None:
        """Take what a RunTask may cost; asked again for the same task (clientToken), nothing.

        :raises OverBudgetError: if so much is not left, or if nobody can say what it costs.
        """
        overrides = request.get("overrides", {})
        token = request.get("clientToken")
        if not token or not {"cpu", "memory"} <= set(overrides) or request.get("count", 1) != 1:
            raise OverBudgetError("a RunTask without clientToken, cpu and memory, or for several tasks, has no price")
        disk = overrides.get("ephemeralStorage", {}).get("sizeInGiB", 20)
        dollars = _task(int(overrides["cpu"]), int(overrides["memory"]), disk) * _factor(self.region)
        with self._lock:
            if token in self._tokens:
                return
            if self.spent + dollars > self.limit + 1e-9:
                raise OverBudgetError(
                    f"another task may cost {dollars:.4f} US dollars, and of {self.limit:.4f} the {len(self._tokens)} "
                    f"tasks so far may take {self.spent:.4f}; it was not started"
                )
            self._tokens.add(token)
            self.spent += dollars
