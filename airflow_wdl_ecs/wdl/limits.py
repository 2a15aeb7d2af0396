"""How large a value may become while a run's expressions are evaluated.

Evaluation happens in processes that many runs share, so an expression that asks for too much (``range(1000000000000)``,
a string that doubles with every declaration) is refused before it has taken the memory, and says which limit it met.
The limits are far beyond what XCom, a command line or a scatter can carry. Nothing here reads a file.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import WDL

from ..errors import EvaluationError
from ..task import MAX_READ
from .values import in_range

MOST_ITEMS = 1_000_000
"""Items of one array or map."""

LARGEST_TEXT = MAX_READ
"""Characters of one string; as much as a function may read of a file."""

MOST_PARTS = 4_000_000
"""Values in one value, at every depth: of an array of arrays, all their items."""

LARGEST_VALUE = 4 * LARGEST_TEXT
"""Characters of all strings in one value, counted as `MOST_PARTS` are: as many as it would have in JSON."""

MOST_PARTS_HELD = 2 * MOST_PARTS
"""Values that an evaluation makes in one expression, or keeps of all its declarations."""

MOST_CHARACTERS_HELD = 2 * LARGEST_VALUE
"""Characters, likewise."""

MOST_SHARDS = 100_000
"""Shards for which a declaration is evaluated, or from which a value is gathered, unless a setting says otherwise."""

_HINT = "Keep so much in a file, and work on it in a task."


def check_text(length: int) -> None:
    """:raises EvaluationError: if a string would be too long."""
    if length > LARGEST_TEXT:
        raise EvaluationError(f"a string of {length} characters; {LARGEST_TEXT} is the most", hint=_HINT)


def check_items(count: int) -> None:
    """:raises EvaluationError: if an array or map would have too many items."""
    if count > MOST_ITEMS:
        raise EvaluationError(f"an array or map of {count} items; {MOST_ITEMS} is the most", hint=_HINT)


def check_separators(text: str, marks: str) -> None:
    """Refuse a file whose contents, read by a function, would be too many items.

    :raises EvaluationError: counting the characters after which an item begins.
    """
    check_items(sum(text.count(mark) for mark in marks))


def check_value(value: WDL.Value.Base) -> WDL.Value.Base:
    """The value, if its parts are within the limits; parts that are one object are counted as often as they are named.

    :raises EvaluationError: if not.
    """
    _measure(value)
    return value


def text_length(value: WDL.Value.Base) -> int:
    """Characters of all strings in a value, counted as often as they are named.

    :raises EvaluationError: if its parts are not within the limits.
    """
    return _measure(value)[1]


def _measure(value: WDL.Value.Base) -> tuple[int, int]:
    """Parts and characters of a value."""
    if not isinstance(value, _COMPOUND):
        return _own(value)
    sizes: dict[int, tuple[int, int]] = {}
    pending: list[tuple[WDL.Value.Base, bool]] = [(value, False)]
    while pending:
        at, known = pending.pop()
        if id(at) in sizes:
            continue
        children = list(at.children)
        inner = [child for child in children if _is_compound(type(child))]
        if not known:
            check_items(len(at.value))
            if inner:
                pending.append((at, True))
                pending.extend((child, False) for child in inner)
                continue
        # what has no parts of its own is many times as frequent, and counted without a place in the dictionary
        texts = [child.value for child in children if _is_text(type(child))]
        check_text(max(map(len, texts), default=0))
        parts = 1 + len(children) - len(inner) + sum(sizes[id(child)][0] for child in inner)
        characters = sum(map(len, texts)) + sum(sizes[id(child)][1] for child in inner)
        if parts > MOST_PARTS:
            raise EvaluationError(f"a value of more than {MOST_PARTS} parts", hint=_HINT)
        if characters > LARGEST_VALUE:
            raise EvaluationError(f"a value with more than {LARGEST_VALUE} characters", hint=_HINT)
        sizes[id(at)] = parts, characters
    return sizes[id(value)]


_COMPOUND = (WDL.Value.Array, WDL.Value.Map, WDL.Value.Pair, WDL.Value.Struct)


# An abstract class is slow to ask about each of a million values.


@cache
def _is_compound(kind: type) -> bool:
    return issubclass(kind, _COMPOUND)


@cache
def _is_text(kind: type) -> bool:
    return issubclass(kind, WDL.Value.String)


def _own(value: WDL.Value.Base) -> tuple[int, int]:
    if not isinstance(value, WDL.Value.String):
        return 1, 0
    check_text(len(value.value))
    return 1, len(value.value)


class Held:
    """How much has been made, or is kept: so that many values, each within the limits, do not take all memory.

    :param what: who makes or keeps it, for the error.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._parts = 0
        self._characters = 0

    def forget(self) -> None:
        """Begin anew."""
        self._parts = self._characters = 0

    def add(self, value: WDL.Value.Base) -> None:
        """Count a value.

        :raises EvaluationError: if it is not within the limits, or all together are not.
        """
        self.count(*_measure(value))

    def count(self, parts: int, characters: int) -> None:
        """Count so many; raises as `add`."""
        self._parts += parts
        self._characters += characters
        if self._parts > MOST_PARTS_HELD:
            raise EvaluationError(f"{self.what} more than {MOST_PARTS_HELD} values", hint=_HINT)
        if self._characters > MOST_CHARACTERS_HELD:
            raise EvaluationError(f"{self.what} strings of more than {MOST_CHARACTERS_HELD} characters", hint=_HINT)


class Bounded(WDL.StdLib.EagerFunction):
    """A function or operator whose result is within the limits, and is not made if it can be told before.

    :param name: the name of the function among the library's attributes.
    :param made: counts what the functions of the library have made.
    """

    def __init__(self, name: str, function: WDL.StdLib.EagerFunction, made: Held) -> None:
        self.name = name
        self.function = function
        self.made = made

    def infer_type(self, expr: WDL.Expr.Apply) -> WDL.Type.Base:
        """The type of an application, as the function has it."""
        return self.function.infer_type(expr)

    def _call_eager(self, expr: WDL.Expr.Apply, arguments: list[WDL.Value.Base]) -> WDL.Value.Base:
        try:
            _check_arguments(self.name, arguments)
            found: WDL.Value.Base = self.function._call_eager(expr, arguments)
            _check_result(found)
            if self.name not in _PICKS:
                self.made.add(found)
        except WDL.Error.RuntimeError:
            raise
        except Exception as error:
            raise WDL.Error.EvalError(expr, f"{_SHOWN.get(self.name, f'{self.name}()')}: {error}") from error
        return found


def bound(library: Any, made: Held) -> None:
    """Put every function of a miniwdl library within the limits.

    :param made: counts what they make.
    """
    for name, function in list(vars(library).items()):
        if isinstance(function, WDL.StdLib.EagerFunction) and not isinstance(function, Bounded):
            setattr(library, name, Bounded(name, function, made))


_PICKS = ("_at", "select_first", "_interpolation_select_first")
"""Functions that give a part of what is there already."""


_SHOWN = {"_add": "+", "_interpolation_add": "+", "_sub": "-", "_mul": "*", "_div": "/", "_rem": "%", "_pow": "**"}


def _check_arguments(name: str, arguments: list[WDL.Value.Base]) -> None:
    values = [argument.value for argument in arguments]
    if name == "range":
        check_items(int(values[0]))
    elif name == "cross":
        check_items(len(values[0]) * len(values[1]))
    elif name == "flatten":
        check_items(sum(len(inner.value) for inner in values[0]))
    elif name == "_pow" and all(isinstance(value, int) for value in values):
        base, exponent = values
        if abs(base) > 1 and exponent > 63:
            raise EvaluationError(f"{base} ** {exponent} is beyond the 64 bits of an Int")
    elif name in ("_add", "_interpolation_add"):
        check_text(sum(len(value) for value in values if isinstance(value, str)))
    elif name.startswith("write_"):
        check_text(text_length(arguments[0]))
    elif name in ("sep", "prefix", "suffix") and isinstance(values[0], str) and isinstance(values[1], list):
        items = sum(len(item.value) for item in values[1] if isinstance(item.value, str))
        check_text(len(values[0]) * len(values[1]) + items)


def _check_result(found: WDL.Value.Base) -> None:
    if isinstance(found, WDL.Value.Int) and not in_range(found.value):
        raise EvaluationError("the result is beyond the 64 bits of an Int")
    if isinstance(found, WDL.Value.String):
        check_text(len(found.value))
    elif isinstance(found, (WDL.Value.Array, WDL.Value.Map)):
        check_items(len(found.value))
