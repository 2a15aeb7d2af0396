"""One workflow-level expression: from its place in the syntax tree to text that parses alone, with its references.

The text is the source's own, because miniwdl's printer drops parentheses (``a - (b - c)``), struct names and the
escapes of placeholder options. This module must not know how sections and calls become a plan.
"""

from __future__ import annotations

from collections.abc import Iterator

import WDL
from WDL import Expr, Type

from ..plan import Expression, Ref
from .documents import Documents, NoSuchTypeError, refuse, source_slice
from .problems import position
from .scopes import Scope


def lower_expression(
    expression: Expr.Base, scope: Scope, section: str, documents: Documents, target: Type.Base | None = None
) -> Expression:
    """Compile an expression that stands in a workflow.

    :param section: the id of the section in which it is evaluated.
    :param target: the type that it is bound to, which stands in where its own has no name in WDL.
    :raises AuthorError: if its type, or that of a name in it, cannot be written in its document.
    """
    # an output that draft-2 lists by name alone has no text of its own
    text = expression.name if isinstance(expression, Expr.Ident) else source_slice(scope.document, expression.pos)
    try:
        refs = {name.name: _ref(name, scope, documents) for name in names_in(expression)}
        written = _type_text(expression.type, target, scope.key, documents)
    except NoSuchTypeError as error:
        raise refuse(str(error), expression, scope.document) from None
    return Expression(text, written, section, position(expression), refs)


def names_in(expression: Expr.Base) -> Iterator[Expr.Ident]:
    """The names that an expression refers to, from left to right."""
    pending: list[WDL.SourceNode] = [expression]
    while pending:
        node = pending.pop()
        if isinstance(node, Expr.Ident):
            yield node
        else:
            pending.extend(reversed(list(node.children)))


def _type_text(found: Type.Base, target: Type.Base | None, key: str, documents: Documents) -> str:
    try:
        return documents.type_text(key, found)
    except NoSuchTypeError:
        if target is None:
            raise
        return documents.type_text(key, target)


def _ref(name: Expr.Ident, scope: Scope, documents: Documents) -> Ref:
    node: WDL.Tree.WorkflowNode | None = name.referee
    if isinstance(node, WDL.Tree.Gather):
        node = node.final_referee
    assert node is not None
    written = documents.type_text(scope.key, name.type)
    if not isinstance(node, WDL.Tree.Call):
        return Ref(scope.ids[node.workflow_node_id], written)
    output = name.name.removeprefix(f"{node.name}.")
    called = scope.called.get(node.name)
    if called is not None:
        return Ref(called.outputs[output], written)
    return Ref(scope.ids[node.workflow_node_id], written, output)
