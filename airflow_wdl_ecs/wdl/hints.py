"""The ``hints`` section of a WDL 1.2 task, which miniwdl parses and drops.

The section is found in the task's text and its attributes are parsed one by one, as expressions over the task's
inputs and declarations. An attribute that is no expression (``hints``, ``input`` and ``output`` objects, which say
nothing about resources) is left out: an engine may ignore any hint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import WDL

from ..plan import Task
from .slices import parse_task_source

_TOKEN = re.compile(r"#[^\n]*|<<<.*?>>>|[A-Za-z_]\w*|.", re.DOTALL)
_OPENING, _CLOSING = "{[(", "}])"


def hint_expressions(task: Task) -> dict[str, WDL.Expr.Base]:
    """The hints of a task: attribute -> its expression, with types, at its position in the task's slice."""
    if "hints" not in task.source:
        return {}
    return _hint_expressions(task.source, task.name, task.wdl_version)


@lru_cache(maxsize=256)
def _hint_expressions(source: str, name: str, wdl_version: str) -> dict[str, WDL.Expr.Base]:
    tree = parse_task_source(source, name, wdl_version)
    text = _without_command(source, tree.command.pos)
    body = _section(text)
    if body is None:
        return {}
    types: WDL.Env.Bindings[WDL.Type.Base] = WDL.Env.Bindings()
    for decl in [*(tree.inputs or []), *tree.postinputs]:
        types = types.bind(decl.name, decl.type)
    library = WDL.StdLib.Base(wdl_version, write_dir="unused")
    found: dict[str, WDL.Expr.Base] = {}
    for attribute, start, end in _attributes(text, *body):
        # what stands before the expression is blanked, so that its positions are those of the slice
        blank = re.sub(r"[^\n]", " ", text[:start])
        try:
            expr = WDL.parse_expr(blank + text[start:end].rstrip().removesuffix(","), wdl_version)
            found[attribute] = expr.infer_type(types, library)
        except (WDL.Error.SyntaxError, WDL.Error.ValidationError, WDL.Error.MultipleValidationErrors):
            continue
    return found


LEFT = ("localization_optional", "localizationOptional")
"""By which names an input says that its files need not be staged: Cromwell's, and other engines'."""


def without_localization(task: Task) -> frozenset[str]:
    """The inputs whose files the command can read where they are.

    An author says so in ``parameter_meta``, as for Cromwell (``x: { localization_optional: true }``), or in the
    ``hints`` of WDL 1.2 ("inputs": ``inputs: input { x: hints { localization_optional: true } }``).
    """
    said = {
        name
        for name, meta in task.parameter_meta.items()
        if isinstance(meta, dict) and any(meta.get(word) is True for word in LEFT)
    }
    hinted = any(word in task.source for word in LEFT) and "hints" in task.source
    return frozenset(said | (_left_by_hints(task.source, task.name, task.wdl_version) if hinted else set()))


@lru_cache(maxsize=256)
def _left_by_hints(source: str, name: str, wdl_version: str) -> frozenset[str]:
    tree = parse_task_source(source, name, wdl_version)
    text = _without_command(source, tree.command.pos)
    body = _section(text)
    return frozenset(
        found
        for attribute, start, end in (_attributes(text, *body) if body else ())
        if attribute == "inputs"
        for found, begin, last in _attributes(text, *_body(text, start, end))
        if text[begin:last].split("{")[0].strip() == "hints"
        for hint, at, to in _attributes(text, *_body(text, begin, last))
        if hint in LEFT and re.sub(r"#[^\n]*", "", text[at:to]).strip(" \t\r\n,}") == "true"
    )


def _body(text: str, start: int, end: int) -> tuple[int, int]:
    """What stands within the braces that open after ``start``; nothing if there are none."""
    opening = text.find("{", start, end)
    return (opening + 1, max(text.rfind("}", opening, end), opening + 1)) if opening >= 0 else (end, end)


def _without_command(source: str, position: WDL.SourcePosition) -> str:
    """The text with the command blanked, since shell code looks like anything."""
    starts = [0]
    for line in source.split("\n"):  # nothing else ends a line for the parser
        starts.append(starts[-1] + len(line) + 1)
    begin = starts[position.line - 1] + position.column - 1
    end = starts[position.end_line - 1] + position.end_column - 1
    return source[:begin] + re.sub(r"[^\n]", " ", source[begin:end]) + source[end:]


def _tokens(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Each symbol outside comments and strings, its place, and how many brackets are open around it."""
    depth, at = 0, start
    while at < end:
        matched = _TOKEN.match(text, at)
        assert matched is not None
        symbol = matched.group()
        at = matched.end()
        if symbol in ("'", '"'):
            at = _end_of_string(text, at, symbol)
        elif symbol in _CLOSING:
            depth -= 1
            yield symbol, matched.start(), depth
        elif not symbol.startswith(("#", "<<<")) and not symbol.isspace():
            yield symbol, matched.start(), depth
            depth += symbol in _OPENING


def _end_of_string(text: str, at: int, quote: str) -> int:
    """Where a string literal ends; a placeholder in it may hold literals of its own."""
    depth = 0
    while at < len(text):
        if depth and text[at] in ("'", '"'):
            at = _end_of_string(text, at + 1, text[at])
            continue
        if text[at] == "\\":
            at += 1
        elif text[at : at + 2] in ("~{", "${"):
            depth += 1
            at += 1
        elif depth:
            depth += (text[at] == "{") - (text[at] == "}")
        elif text[at] == quote:
            return at + 1
        at += 1
    return at


def _section(text: str) -> tuple[int, int] | None:
    """Where the body of the section begins and ends."""
    begin: int | None = None
    before = ""
    for symbol, at, depth in _tokens(text, 0, len(text)):
        if begin is None and depth == 1 and before == "hints" and symbol == "{":
            begin = at + 1
        elif begin is not None and depth == 1 and symbol == "}":
            return begin, at
        before = symbol
    return None


def _attributes(text: str, begin: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Each attribute's name, and where its value begins and ends: before the next ``NAME :``."""
    names: list[tuple[str, int, int]] = []
    before, before_at = "", begin
    for symbol, at, depth in _tokens(text, begin, end):
        if symbol == ":" and depth == 0:
            names.append((before, before_at, at + 1))
        before, before_at = symbol, at
    for number, (name, _, value) in enumerate(names):
        yield name, value, names[number + 1][1] if number + 1 < len(names) else end
