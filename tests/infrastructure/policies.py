"""What IAM decides of requests by the statements of a policy: as much of it as the template uses.

A request is what the calling service asks IAM: an action, a resource, and the values of condition keys. An operator or
a form that is not known here is an error, not a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Statement = Mapping[str, Any]

_EQUAL = {"StringEquals": False, "ArnEquals": True, "ArnLike": True}
"""Operators of conditions, and whether their values are patterns."""


@dataclass(frozen=True)
class Request:
    """What is asked of IAM.

    :param call: the API operation that it comes from. :param context: condition key -> value.
    """

    call: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        context = ", ".join(f"{key}={value}" for key, value in sorted(self.context.items()))
        return f"{self.call}: {self.action} on {self.resource} ({context})"


def refused(statements: Sequence[Statement], requests: Iterable[Request]) -> list[str]:
    """The requests that no statement allows."""
    return sorted({str(request) for request in requests if not any(_allows(s, request) for s in statements)})


def unneeded(statements: Sequence[Statement], requests: Sequence[Request]) -> list[str]:
    """What is granted that none of the requests needs: actions on resources, and values of conditions."""
    found = []
    for statement in statements:
        for part in _parts(statement):
            if not any(_allows(part, request) for request in requests):
                found.append(f"{statement['Sid']}: {part['Action']} on {part['Resource']} {part.get('Condition', '')}")
    return found


def _parts(statement: Statement) -> Iterator[Statement]:
    """A statement as many: each with one action and resource, or with all of these and one value of a condition."""
    for action in _list(statement["Action"]):
        for resource in _list(statement["Resource"]):
            yield {**statement, "Action": action, "Resource": resource}
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            for value in _list(values):
                yield {**statement, "Condition": {**statement["Condition"], operator: {**keys, key: value}}}


def _allows(statement: Statement, request: Request) -> bool:
    assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}, statement
    assert statement["Effect"] == "Allow", statement
    return (
        any(_matches(pattern.lower(), request.action.lower()) for pattern in _list(statement["Action"]))
        and any(_matches(pattern, request.resource) for pattern in _list(statement["Resource"]))
        and all(
            _holds(operator, values, request.context.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _holds(operator: str, values: Any, value: str | None) -> bool:
    """Whether a condition holds; a key that the request does not have never does."""
    pattern = _EQUAL[operator]
    return value is not None and any(_matches(v, value) if pattern else v == value for v in _list(values))


def _matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: ``*`` for any characters, ``?`` for one."""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
