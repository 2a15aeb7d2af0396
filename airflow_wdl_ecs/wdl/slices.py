"""Parse and typecheck a plan's slices of WDL - a task's source, a workflow-level expression - once per process.

What is parsed is kept by its text, so equal slices of different plans share it. Nothing here is evaluated, and
nothing knows a run.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import WDL

from ..errors import AuthorError, Position, Problem
from ..plan import Document, Expression, Task
from .interpolation import bound_strings
from .stdlib import BEFORE_1_2, INTERPOLATED_SELECT_FIRST
from .values import parse_type, struct_members

_Node = TypeVar("_Node", bound=WDL.SourceNode)
_TOO_DEEP = "expressions or types are nested too deeply to be read here"
_STATIC_ERRORS = (WDL.Error.ValidationError, WDL.Error.MultipleValidationErrors)


@lru_cache(maxsize=256)
def parse_task_source(source: str, name: str, wdl_version: str) -> WDL.Tree.Task:
    """As `parse_task`, from the parts of a slice, and with miniwdl's own errors."""
    try:
        document = WDL.parse_document(source, wdl_version)
        document.typecheck()
    except _STATIC_ERRORS:
        # Workflows are also accepted with unchecked quantifiers (an X? where an X is due): types can be inferred
        # only once, hence the second parse.
        document = WDL.parse_document(source, wdl_version)
        document.typecheck(check_quant=False)
    return _mended(next(task for task in document.tasks if task.name == name), wdl_version)


def parse_task(task: Task) -> WDL.Tree.Task:
    """The syntax tree of a task's slice, with types; shared, so it must not be changed.

    :raises AuthorError: if it is not WDL, which a plan that this version compiled always is.
    """
    try:
        return parse_task_source(task.source, task.name, task.wdl_version)
    except RecursionError:
        raise AuthorError([Problem(f"task {task.name}: {_TOO_DEEP}", task.position)]) from None
    except (WDL.Error.SyntaxError, StopIteration, *_STATIC_ERRORS) as error:
        raise AuthorError([Problem(f"task {task.name}: {error}", task.position)]) from error


@lru_cache(maxsize=16384)
def _parse_expression(text: str, document: Document, names: tuple[tuple[str, str], ...]) -> WDL.Expr.Base:
    types: WDL.Env.Bindings[WDL.Type.Base] = WDL.Env.Bindings()
    for name, type_text in names:
        types = types.bind(name, parse_type(type_text, document))
    structs: WDL.Env.Bindings[dict[str, WDL.Type.Base]] = WDL.Env.Bindings()
    for name, members in struct_members(document).items():
        structs = structs.bind(name, members)
    library = WDL.StdLib.Base(document.wdl_version, write_dir="unused")
    try:
        parsed = WDL.parse_expr(text, document.wdl_version).infer_type(types, library, struct_types=structs)
    except _STATIC_ERRORS:
        parsed = WDL.parse_expr(text, document.wdl_version).infer_type(
            types, library, check_quant=False, struct_types=structs
        )
    return _mended(parsed, document.wdl_version)


def _mended(tree: _Node, wdl_version: str) -> _Node:
    """The tree, with its placeholders as the specification has them, and its strings bounded.

    Options are text: miniwdl keeps ``default=250`` as a number's node. From 1.2 on, where a ``None`` makes an
    expression in a placeholder fail, the placeholder is empty ("Expression Placeholder Coercion"); the function that
    fails for want of anything but ``None`` is ``select_first``.
    """
    pending: list[tuple[WDL.SourceNode, bool]] = [(tree, False)]
    while pending:
        node, interpolated = pending.pop()
        bound_strings(node)
        if isinstance(node, WDL.Expr.Placeholder):
            node.options = {name: str(option) for name, option in node.options.items()}
            interpolated = wdl_version not in BEFORE_1_2
        elif interpolated and isinstance(node, WDL.Expr.Apply) and node.function_name == "select_first":
            node.function_name = INTERPOLATED_SELECT_FIRST
        pending.extend((child, interpolated) for child in node.children)
    return tree


def parse_expression(expression: Expression, document: Document) -> WDL.Expr.Base:
    """The syntax tree of a workflow-level expression, with types; shared, so it must not be changed.

    :raises AuthorError: if it is not WDL, which a plan that this version compiled always is.
    """
    names = tuple((name, ref.type) for name, ref in expression.refs.items())
    try:
        return _parse_expression(expression.text, document, names)
    except RecursionError:
        raise AuthorError([Problem(f"{expression.text[:80]}: {_TOO_DEEP}", expression.position)]) from None
    except (WDL.Error.SyntaxError, ValueError, *_STATIC_ERRORS) as error:
        raise AuthorError([Problem(f"{expression.text}: {error}", expression.position)]) from error


def position_in_task(task: Task, position: WDL.SourcePosition) -> Position:
    """Where a place in a task's slice is in the user's source."""
    return Position(task.position.file, max(1, position.line + task.line_offset), max(1, position.column))


def position_in_expression(expression: Expression, position: WDL.SourcePosition) -> Position:
    """Where a place in an expression's text is in the user's source."""
    start = expression.position
    if position.line <= 1:
        return Position(start.file, start.line, start.column + max(0, position.column - 1))
    return Position(start.file, start.line + position.line - 1, max(1, position.column))
