"""What miniwdl finds wrong with a source, as problems that its author can read: in words, at a place, with its line.

This module knows miniwdl's errors and positions; it reads and parses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import WDL

from ..errors import Position, Problem

_LONGEST_EXCERPT = 160


def problem_at(message: str, pos: WDL.SourcePosition | None, name: str, text: str) -> Problem:
    """A problem at a place of a source, with the line and a caret below its column."""
    lines = text.split("\n")
    line = pos.line if pos and isinstance(pos.line, int) else 0
    column = pos.column if pos and isinstance(pos.column, int) else 0
    if pos is not None and line < 1:  # the parser has no place for "the file ended" and for the version
        at_end = "end of file" in message
        line = len(text.rstrip().split("\n")) if at_end else _version_line(lines)
        column = len(lines[line - 1]) + 1 if at_end and line <= len(lines) else 1
    if pos is None:
        return Problem(message, Position(name, 1, 1))
    position = Position(name, line, max(column, 1))
    shown = lines[line - 1] if line <= len(lines) else ""
    if not shown.strip():
        return Problem(message, position)
    start = max(0, position.column - _LONGEST_EXCERPT // 2) if len(shown) > _LONGEST_EXCERPT else 0
    # tabs stay, so that the caret stands below its column whatever their width
    margin = "".join(c if c == "\t" else " " for c in shown[start : position.column - 1])
    return Problem(message, position, f"{shown[start : start + _LONGEST_EXCERPT]}\n{margin}^")


def _version_line(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines, 1) if line.strip() and line.strip()[0] != "#"), 1)


def causes(error: Exception) -> Iterator[tuple[str, WDL.SourcePosition | None]]:
    """What an error of miniwdl's is about, in words, each with its place, if that is known.

    :param error: anything that it has raised; what it did not mean to raise is said to be so.
    """
    if isinstance(error, WDL.Error.MultipleValidationErrors):
        for each in error.exceptions:
            yield from causes(each)
    elif isinstance(error, WDL.Error.SyntaxError):
        yield _syntax(str(error)), error.pos
    elif isinstance(error, WDL.Error.ValidationError):
        name = getattr(error.node, "name", None) if isinstance(error, WDL.Error.CircularDependencies) else None
        message = f"{error} involving {name}" if name else str(error)
        yield _HINTS.get(message, message), error.pos
    elif isinstance(error, ValueError) and "digits" in str(error):  # Python's own limit, which has no place
        yield "an integer of thousands of digits", None
    else:
        yield f"cannot be read as WDL ({type(error).__name__}: {error})", getattr(error, "pos", None)


_HINTS = {
    "Unknown type Directory": "Unknown type Directory (it needs version 1.2)",
    "Unknown type Object": "Unknown type Object (it is not supported: declare a struct)",
}
_TERMINALS = {"CNAME": "a name", "ESCAPED_STRING": "a string", "ESCAPED_STRING1": "a string", "$END": "end of file"}
_SIGNS = {
    "LBRACE": "{",
    "RBRACE": "}",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "PLUS": "+",
    "QMARK": "?",
    "EQUAL": "=",
    "COMMA": ",",
    "COLON": ":",
    "DOT": ".",
}


def _syntax(message: str) -> str:
    """The parser's message without its own names and repeated position; what was expected if that is short."""
    expected = [_terminal(word) for word in re.findall(r"^\t\* (.*)$", message, flags=re.M)]
    first = message.split("\n", 1)[0]
    if match := re.match(r"Unexpected token Token\('([^']+)', (.*)\) at line", first):
        word = re.match(r"\s*(\w+|\S)", match[2][1:-1])
        what = "unexpected end of file" if match[1] == "$END" or word is None else f"unexpected {word[1]!r}"
    elif match := re.match(r"No terminal matches '(.*)' in the current parser context", first):
        what = f"unexpected character {match[1]!r}"
    else:
        return first if "\n" not in message.strip() else message.strip()
    few = sorted(set(expected))
    return f"{what}, expected {' or '.join(few)}" if 0 < len(few) <= 6 else what


def _terminal(word: str) -> str:
    if word in _TERMINALS:
        return _TERMINALS[word]
    return repr(_SIGNS[word]) if word in _SIGNS else repr(word.lower()) if word.isalpha() else repr(word.strip('"'))


def in_order(found: list[Problem]) -> list[Problem]:
    """By document, in the order in which they were met, and in a document by place."""
    files = {problem.position.file: 0 for problem in found if problem.position}
    order = {file: number for number, file in enumerate(files)}
    return sorted(found, key=lambda each: (order[each.position.file], each.position) if each.position else (-1,))


def position(node: WDL.SourceNode) -> Position:
    """Where a syntax node stands, in the words of the plan."""
    return Position(node.pos.uri, max(node.pos.line, 1), max(node.pos.column, 1))
