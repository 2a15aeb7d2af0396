"""Strings with placeholders that are bounded while they are built, and not only when they are whole.

A string may name a long value in every one of its placeholders, so that its pieces fit where it does not. The nodes
here take the place of miniwdl's in a parsed tree; what they evaluate to is the same.
"""

from __future__ import annotations

import copy
from typing import Any

import WDL
from WDL import Expr

from .limits import check_text, text_length


class _Pieces:
    """A string of any kind: its placeholders are evaluated one by one, as long as they fit together."""

    parts: list[str | Expr.Placeholder]

    def _eval(self, env: Any, stdlib: Any, *more: Any, **other: Any) -> WDL.Value.String:
        total = 0
        parts: list[str | Expr.Placeholder] = []
        for part in self.parts:
            if isinstance(part, Expr.Placeholder):
                value = part.eval(env, stdlib)
                total += len(value.value)
                check_text(total)
                part = _Known(part, value)  # noqa: PLW2901
            parts.append(part)
        stdlib.made.count(1, total)
        whole = copy.copy(self)
        whole.parts = parts
        found: WDL.Value.String = super(_Pieces, whole)._eval(env, stdlib, *more, **other)  # type: ignore[misc]
        return found


class _Known(Expr.Placeholder):
    """A placeholder that has been evaluated."""

    def __init__(self, placeholder: Expr.Placeholder, value: WDL.Value.Base) -> None:
        self.pos = placeholder.pos
        self.value = value

    def eval(self, env: Any, stdlib: Any, **more: Any) -> WDL.Value.Base:
        return self.value


class _KnownExpression(Expr.Base):
    """The expression of a placeholder that has been evaluated."""

    def __init__(self, expression: Expr.Base, value: WDL.Value.Base) -> None:
        super().__init__(expression.pos)
        self.value = value

    def _eval(self, env: Any, stdlib: Any) -> WDL.Value.Base:
        return self.value

    def _infer_type(self, type_env: Any) -> WDL.Type.Base:
        return self.value.type


class Placeholder(Expr.Placeholder):
    """A placeholder that measures its value before it writes it as text."""

    def _eval_impl(self, env: Any, stdlib: Any) -> WDL.Value.String:
        value = self.expr.eval(env, stdlib)
        length = text_length(value)
        if isinstance(value, WDL.Value.Array):
            length += len(self.options.get("sep", "")) * len(value.value)
        check_text(length)
        known = copy.copy(self)
        known.expr = _KnownExpression(self.expr, value)
        return super(Placeholder, known)._eval_impl(env, stdlib)


class String(_Pieces, Expr.String):
    """A string in quotes."""


class TaskCommand(_Pieces, Expr.TaskCommand):
    """A task's command."""


class MultiLineString(_Pieces, Expr.MultiLineString):
    """A string of several lines."""


_BOUNDED: dict[type, type] = {
    Expr.Placeholder: Placeholder,
    Expr.String: String,
    Expr.TaskCommand: TaskCommand,
    Expr.MultiLineString: MultiLineString,
}


def bound_strings(node: WDL.SourceNode) -> None:
    """Let a node of a parsed tree be bounded, if it is a string or a placeholder; its children are not looked at."""
    kind = _BOUNDED.get(type(node))
    if kind is not None:
        node.__class__ = kind
