"""Whether a shard may be tried again in the same try, and how: what its attempts leave of each budget (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from .attempts import Attempt
from .ecs.attributes import Policy
from .ecs.resources import more_memory
from .ecs.settings import EcsSettings
from .ecs.status import Budget


def budget_of(budget: Budget, policy: Policy, settings: EcsSettings) -> int:
    """How many fresh attempts a budget pays for, within one try."""
    sizes: dict[Budget, int] = {
        "none": 0,
        "command": policy.max_retries,
        "memory": max(policy.max_retries, settings.out_of_memory_retries),
        # Spot capacity may be taken away as often as the author allowed for, and then a host may be lost besides.
        "interruption": policy.preemptible + settings.infrastructure_retries,
        "infrastructure": settings.infrastructure_retries,
        # A budget of time: see `may_try_again`.
        "capacity": 0,
    }
    return sizes[budget]


def may_try_again(attempts: Sequence[Attempt], try_number: int, policy: Policy, settings: EcsSettings) -> bool:
    """Whether there is to be a fresh attempt in this try after the last one, which has failed."""
    last = attempts[-1]
    if last.budget == "capacity":
        return _waited(attempts, try_number) < settings.capacity_timeout
    if last.budget == "memory" and last.memory_given >= more_memory(last.memory_given, policy, settings) > 0:
        return False
    return _used(attempts, try_number) <= budget_of(last.budget, policy, settings)


def decision(attempts: Sequence[Attempt], try_number: int, policy: Policy, settings: EcsSettings) -> str:
    """What `may_try_again` says, and why, in words."""
    last, again = attempts[-1], may_try_again(attempts, try_number, policy, settings)
    if last.budget == "none":
        return "not trying again: it would end in the same way"
    if last.budget == "capacity":
        what = f"waiting for capacity for {_waited(attempts, try_number):.0f} of {settings.capacity_timeout:.0f} s"
        return f"{'trying' if again else 'not trying'} again: {what} (capacity_timeout)"
    size, used = budget_of(last.budget, policy, settings), _used(attempts, try_number)
    if again:
        more = more_memory(last.memory_given, policy, settings) if last.budget == "memory" else 0
        return f"trying again{f' with {more} MiB' if more else ''}: {used} of {size} times ({_PAID_BY[last.budget]})"
    if used <= size:
        return f"not trying again: it cannot have more than {last.memory_given} MiB ({_limited_by(policy, settings)})"
    return f"not trying again: {_PAID_BY[last.budget]} allows {size} fresh attempts" + (" in one try" if size else "")


def _limited_by(policy: Policy, settings: EcsSettings) -> str:
    """What keeps a task from having more memory."""
    limits = {"out_of_memory_limit": settings.out_of_memory_limit, "max_memory": policy.memory_limit}
    return " and ".join(name for name, limit in limits.items() if limit) or "out_of_memory_limit"


_PAID_BY: dict[Budget, str] = {
    "command": "maxRetries",
    "memory": "out_of_memory_retries",
    "interruption": "preemptible and infrastructure_retries",
    "infrastructure": "infrastructure_retries",
}


def _used(attempts: Sequence[Attempt], try_number: int) -> int:
    """How many attempts of this try have been paid from the last one's budget."""
    return sum(a.budget == attempts[-1].budget for a in attempts if a.try_number == try_number)


def _without_capacity(attempts: Sequence[Attempt], try_number: int) -> list[Attempt]:
    """The last attempts of this try, all of which failed for want of capacity."""
    of_try = [a for a in attempts if a.try_number == try_number]
    return list(takewhile(lambda a: a.budget == "capacity", reversed(of_try)))[::-1]


def _waited(attempts: Sequence[Attempt], try_number: int) -> float:
    """Seconds for which there has been no capacity."""
    lacking = _without_capacity(attempts, try_number) or attempts[-1:]
    return (lacking[-1].times.stopped or lacking[-1].started) - (lacking[0].times.submitted or lacking[0].started)


def runs_on_spot(attempts: Sequence[Attempt], try_number: int, policy: Policy, settings: EcsSettings) -> bool:
    """Whether the next attempt is for capacity that can be taken away: so often as ``preemptible`` says, per try.

    One that ECS took, and then had no capacity for, counts like one that was interrupted.
    """
    lost = sum(
        a.spot and (a.kind == "interrupted" or a.budget == "capacity") for a in attempts if a.try_number == try_number
    )
    return bool(settings.spot_capacity_providers) and lost < policy.preemptible


def pause_before(attempts: Sequence[Attempt], try_number: int) -> float:
    """Seconds to wait before a fresh attempt: none after a failure of the command, more each time after others."""
    if not attempts or attempts[-1].budget not in ("infrastructure", "capacity"):
        return 0.0
    if attempts[-1].budget == "capacity":
        return min(5.0 * 1.5 ** (len(_without_capacity(attempts, try_number)) - 1), 60.0)
    used = sum(a.budget == "infrastructure" for a in attempts if a.try_number == try_number)
    return min(2.0**used, 60.0)
