"""The files in a task's inputs and outputs, found by the types that the task declares for them.

A call's bound inputs and its outputs are JSON, in which the URI of a file is a text like any other. Nothing is
evaluated here, and no file is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import WDL

from ..plan import Task
from .inputs import PathAt, map_value
from .slices import parse_task
from .stdlib import BEFORE_1_2

WHOLE = frozenset({"id", "attempt", "runtime"})
"""What counts as used where ``task`` is used as a whole: what differs between runs, attempts and runtime attributes."""


def map_task_inputs(task: Task, inputs: Mapping[str, Any], fn: Callable[[PathAt], str]) -> dict[str, Any]:
    """A call's bound inputs with every File and Directory replaced by what ``fn`` gives for it."""
    tree = parse_task(task)
    # Before WDL 1.0 there is no input section, and every declaration is an input.
    return _mapped(tree.postinputs if tree.inputs is None else tree.inputs, inputs, fn)


def input_paths(task: Task, inputs: Mapping[str, Any]) -> list[str]:
    """The URIs of a call's input files, each once, in order; see `uri_of`."""
    return _noted(lambda note: map_task_inputs(task, inputs, note))


def output_paths(task: Task, outputs: Mapping[str, Any]) -> list[str]:
    """The URIs of a call's output files, each once, in order; see `uri_of`."""
    return _noted(lambda note: _mapped(parse_task(task).outputs, outputs, note))


def uri_of(path: PathAt) -> str:
    """The URI of a file; that of a directory ends with ``/``."""
    return f"{path.value.rstrip('/')}/" if path.directory else path.value


def _noted(walk: Callable[[Callable[[PathAt], str]], object]) -> list[str]:
    found: dict[str, None] = {}

    def note(path: PathAt) -> str:
        found[uri_of(path)] = None
        return path.value

    walk(note)
    return list(found)


def runtime_facts_used(task: Task) -> frozenset[str]:
    """The members of WDL 1.2's ``task`` variable that a task's expressions read; `WHOLE` where they read all of it."""
    if task.wdl_version in BEFORE_1_2:
        return frozenset()
    found: set[str] = set()
    pending: list[tuple[WDL.SourceNode, str]] = [(parse_task(task), "")]
    while pending:
        node, member = pending.pop()
        if isinstance(node, WDL.Expr.Ident) and node.name == "task":
            found |= {member} if member else WHOLE
        # An identifier stands in a Get without a member, which stands in the one with its member.
        inner = (node.member or member) if isinstance(node, WDL.Expr.Get) else ""
        pending.extend((child, inner) for child in node.children)
    return frozenset(found)


def _mapped(decls: Iterable[WDL.Tree.Decl], values: Mapping[str, Any], fn: Callable[[PathAt], str]) -> dict[str, Any]:
    types = {decl.name: decl.type for decl in decls}
    return {name: map_value(types[name], value, fn) if name in types else value for name, value in values.items()}
