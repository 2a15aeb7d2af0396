"""What an examination finds: checks, in order, each with what was found and how to mend it.

A check yields findings. One that cannot be made, since another it builds on has failed, is said to be skipped; one
whose question AWS does not answer, and no run depends on, is said to be one that could not be looked at. This module
knows no check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..aws import is_unanswered, was_denied
from ..errors import ProblemsError, WdlEcsError

Verdict = Literal["ok", "problem", "unknown", "skipped"]
"""``unknown``: it could not be looked at, which is no reason against the installation."""

OUT_OF_REACH = "see whether AWS can be reached from here: the region, a proxy, the connection's endpoint_url"
"""What to do where AWS has not answered at all."""


@dataclass(frozen=True)
class Finding:
    """One line of an examination.

    :param check: the name of the check; filled in by `examine` where the check itself leaves it empty.
    :param found: what was found. :param mend: what to do about it; empty if there is nothing to do.
    """

    verdict: Verdict
    found: str
    mend: str = ""
    check: str = ""


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    :param look: gives what it finds; a `WdlEcsError` that it raises is a finding, too.
    :param after: names of checks without which this one makes no sense.
    :param needed: whether runs need the answers that the check asks AWS for. If not, a refusal is no problem.
    """

    name: str
    look: Callable[[], Iterable[Finding]]
    after: Sequence[str] = ()
    needed: bool = True


def ok(found: str, mend: str = "") -> Finding:
    """As it should be."""
    return Finding("ok", found, mend)


def problem(found: str, mend: str) -> Finding:
    """What keeps runs from succeeding."""
    return Finding("problem", found, mend)


def unknown(found: str, mend: str = "") -> Finding:
    """What could not be looked at."""
    return Finding("unknown", found, mend)


def skipped(found: str) -> Finding:
    """What makes no sense to look at; nor does what builds on it."""
    return Finding("skipped", found)


def examine(checks: Iterable[Check]) -> Iterator[Finding]:
    """Make the checks one after the other; every one has at least one finding.

    The names of what failed or was skipped are remembered, and what builds on them is skipped.
    """
    failed: set[str] = set()
    for check in checks:
        missing = [name for name in check.after if name in failed]
        if missing:
            failed.add(check.name)
            yield replace(skipped(f"builds on: {', '.join(missing)}"), check=check.name)
            continue
        for finding in _looked(check):
            if finding.verdict in ("problem", "skipped"):
                failed.add(check.name)
            yield finding if finding.check else replace(finding, check=check.name)


def _looked(check: Check) -> Iterator[Finding]:
    try:
        yield from check.look()
    except WdlEcsError as error:
        unanswered = is_unanswered(error)
        mend = error.hint or (OUT_OF_REACH if unanswered and not was_denied(error) else "")
        if unanswered and not check.needed:
            yield unknown(error.message, mend)
            return
        for text in map(str, error.problems) if isinstance(error, ProblemsError) else (error.message,):
            yield problem(text, mend)
    except Exception as error:
        # A check that is mistaken itself says nothing about the installation, and must not end the examination.
        yield unknown(f"the check itself failed: {type(error).__name__}: {error}")
