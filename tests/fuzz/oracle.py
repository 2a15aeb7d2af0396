"""What must be true of whatever a compilation, or a check of inputs, makes of a bad text or value.

It ends in time, in a plan that its own readers take or in an error that says where; nothing else may come out of it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_wdl_ecs.errors import AuthorError, InputsError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.inputs import bind_inputs, file_values
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.slices import parse_expression, parse_task

SECONDS = 20.0
"""What one case may take, on a machine that does other things as well."""


class TooSlow(BaseException):
    """A case took longer than it may; no ``except Exception`` on the way takes it for an error of its own."""


@contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """Raise `TooSlow` if what is inside takes longer; in the main thread of a process only."""

    def late(number: int, frame: object) -> None:
        raise TooSlow(f"took more than {seconds} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def check_compilation(compile_it: Callable[[], Plan]) -> Plan | None:
    """Compile; the plan, or None where the text was refused as it should be."""
    with limited():
        try:
            plan = compile_it()
        except AuthorError as error:
            refusal = error
        else:
            check_plan(plan)
            return plan
    assert refusal.problems, "an error without a problem"
    for problem in refusal.problems:
        assert problem.message.strip()
        assert problem.position is None or (problem.position.line >= 1 and problem.position.column >= 1)
        assert "cannot be read as WDL (" not in problem.message, f"an error that nobody foresaw: {problem}"
    return None


def check_plan(plan: Plan) -> None:
    """A plan crosses as JSON, and every slice of it can be read alone."""
    assert Plan.from_json(plan.to_json()) == plan
    for task in plan.tasks.values():
        parse_task(task)
    for expression in plan.expressions():
        parse_expression(expression, plan.documents[plan.section_by_id[expression.section].document])


def check_text(text: str) -> Plan | None:
    """As `check_compilation`, of WDL text."""
    # a text without a line break might be a path
    return check_compilation(lambda: compile_wdl(text + "\n"))


def check_inputs(plan: Plan, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Bind; the inputs, which bind to themselves, or None where they were refused as they should be."""
    with limited():
        try:
            bound = bind_inputs(plan, values)
            list(file_values(plan, bound))
        except InputsError as error:
            refusal = error
        else:
            assert bind_inputs(plan, bound) == bound
            return bound
    assert refusal.problems, "an error without a problem"
    assert all(len(problem.message) < 2000 for problem in refusal.problems), "a value of any length in a message"
    return None
