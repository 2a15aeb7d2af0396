"""How deep and how large a WDL source may be: limits that no workflow of a person meets.

Checking a source takes stack with every level of nesting, and miniwdl takes twice the time with every literal inside
a literal. What is beyond a limit is refused where it stands, before it is checked, so that whoever evaluates it later
has stack enough. This module knows syntax trees only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import WDL
from WDL import Expr, Tree, Type

LARGEST_DOCUMENT = 4 * 1024 * 1024
"""Bytes of one document."""

MOST_DOCUMENTS = 2000
"""Documents of one source, each counted once."""

LARGEST_SOURCE = 16 * LARGEST_DOCUMENT
"""Bytes of all documents of a source."""

LONGEST_IMPORTS = 64
"""Documents that import one another in a row."""

MOST_NODES = 5_000
"""Declarations, calls, scatters, conditionals and subworkflows of a compiled workflow, subworkflows written out."""

MOST_INPUTS = 50_000
"""Inputs and outputs of all calls of a compiled workflow, subworkflows written out."""

DEEPEST_EXPRESSION = 100
"""Expressions within expressions; a sum is one level deeper with every term."""

DEEPEST_LITERAL = 10
"""Array, map and object literals within one another."""

DEEPEST_MEMBER = 16
"""Members of members."""

DEEPEST_SECTION = 40
"""Scatters and conditionals within one another."""

DEEPEST_TYPE = 16
"""Types within types."""

MOST_MEMBERS = 2000
"""Members of a struct, those of the structs in it written out."""

LONGEST_ID = 200
"""Characters of a call's id, which is the names of the subworkflow calls around it and its own, and of a workflow's
name: Airflow takes ids of 250, and those of task groups come before them."""

_LITERALS = (Expr.Array, Expr.Map, Expr.Struct)
_SECTIONS = (Tree.Scatter, Tree.Conditional)


def too_deep(document: Tree.Document) -> tuple[str, WDL.SourceNode] | None:
    """The first thing in a document that is nested too deeply, or a number that is none of WDL's.

    :return: what is wrong, and where; None if nothing is.
    """
    for node, expressions, literals, members, sections in _walk(document):
        for what, depth, deepest in (
            ("expressions", expressions, DEEPEST_EXPRESSION),
            ("array, map and object literals", literals, DEEPEST_LITERAL),
            ("members", members, DEEPEST_MEMBER),
            ("scatters and conditionals", sections, DEEPEST_SECTION),
        ):
            if depth > deepest:
                return f"more than {deepest} {what} within one another", node
        if isinstance(node, Expr.Int) and node.value > 2**63:  # which is the digits of the least Int
            return "an integer beyond the 64 bits of an Int", node
        if isinstance(node, Expr.Float) and not math.isfinite(node.value):
            return "a number too large for a Float", node
        if isinstance(node, Tree.Decl) and deeper_than(node.type, DEEPEST_TYPE):
            return f"more than {DEEPEST_TYPE} types within one another", node
        if isinstance(node, Tree.StructTypeDef) and any(deeper_than(t, DEEPEST_TYPE) for t in node.members.values()):
            return f"more than {DEEPEST_TYPE} types within one another", node
    return None


def nodes_written_out(document: Tree.Document, known: dict[int, int]) -> int:
    """How many nodes a document's workflow has when the subworkflows that it calls are written out.

    :param known: the answers for the documents that it imports, by their ids; the document's own is added.
    """
    called = {statement.namespace: known.get(id(statement.doc), 0) for statement in document.imports}
    count = 0
    for node in _body(document):
        count += 1
        if isinstance(node, Tree.Call) and len(node.callee_id) > 1:
            count += called.get(node.callee_id[0], 0)
    known[id(document)] = count
    return count


def inputs_written_out(document: Tree.Document, known: dict[int, int]) -> int:
    """How many inputs and outputs all calls of a document's workflow have, subworkflows written out.

    :param known: the answers for the documents that it imports, by their ids; the document's own is added.
    """
    imported = {statement.namespace: statement.doc for statement in document.imports if statement.doc is not None}
    tasks = {key: {task.name: task for task in each.tasks} for key, each in [("", document), *imported.items()]}
    count = 0
    for call in (node for node in _body(document) if isinstance(node, Tree.Call)):
        where, name = "" if len(call.callee_id) == 1 else call.callee_id[0], call.callee_id[-1]
        task = tasks.get(where, {}).get(name)
        if task is not None:
            count += len(task.postinputs if task.inputs is None else task.inputs) + len(task.outputs)
        elif where in imported and (workflow := imported[where].workflow) is not None:
            count += len(workflow.inputs or ()) + len(workflow.outputs or ()) + known.get(id(imported[where]), 0)
    known[id(document)] = count
    return count


def _body(document: Tree.Document) -> Iterator[Tree.WorkflowNode]:
    """What stands in a document's workflow, at every depth."""
    pending = list(document.workflow.body) if document.workflow is not None else []
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, _SECTIONS):
            pending.extend(node.body)


def members_written_out(document: Tree.Document, known: dict[int, dict[str, int]]) -> Tree.StructTypeDef | None:
    """The first struct of a document that has too many members when those of the structs in it are written out.

    miniwdl, and a schema of the struct, visit every one of them: 40 structs of two members each are enough for ever.

    :param known: name -> members for the documents that it imports, by their ids; the document's own are added.
    """
    found: dict[str, int] = {}
    for statement in document.imports:
        aliases = dict(statement.aliases)
        for name, members in known.get(id(statement.doc), {}).items():
            found[aliases.get(name, name)] = members
    known[id(document)] = found
    own = {binding.name: binding.value for binding in document.struct_typedefs}
    for name in own:
        pending = [name]
        while pending:
            at = pending[-1]
            inner = [each for each in _structs_in(own[at]) if each in own and each not in found]
            if at in found or not inner or set(inner) & set(pending):  # a circle is found when types are checked
                count = len(own[at].members) + sum(found.get(each, 0) for each in _structs_in(own[at]))
                found[pending.pop()] = count
                if count > MOST_MEMBERS:
                    return own[at]
            else:
                pending.append(inner[0])
    return None


def _structs_in(definition: Tree.StructTypeDef) -> list[str]:
    """The names of the structs that a struct's members are of, each as often as it stands there."""
    names: list[str] = []
    pending = list(definition.members.values())
    while pending:
        at = pending.pop()
        if isinstance(at, Type.StructInstance):
            names.append(at.type_name)
        else:
            pending.extend(at.parameters)
    return names


def deeper_than(wdl_type: Type.Base, deepest: int) -> bool:
    """Whether a type has more types within one another, other than the members of structs."""
    pending = [(wdl_type, 1)]
    while pending:
        at, depth = pending.pop()
        if depth > deepest:
            return True
        if not isinstance(at, Type.StructInstance):
            pending.extend((parameter, depth + 1) for parameter in at.parameters)
    return False


def _walk(document: Tree.Document) -> Iterator[tuple[WDL.SourceNode, int, int, int, int]]:
    """Every node of a document, with how many expressions, literals, members and sections it is in."""
    structs = [binding.value for binding in document.struct_typedefs]
    tops = [*structs, *document.tasks, *([document.workflow] if document.workflow is not None else [])]
    pending: list[tuple[WDL.SourceNode, int, int, int, int]] = [(top, 0, 0, 0, 0) for top in reversed(tops)]
    while pending:
        at = pending.pop()
        yield at
        node, expressions, literals, members, sections = at
        if isinstance(node, Tree.StructTypeDef):
            continue
        # what is before a dot counts as no child until it is known what it is
        children = [node.expr] if isinstance(node, Expr.Get) else list(node.children)
        for child in reversed(children):
            pending.append(
                (
                    child,
                    expressions + isinstance(child, Expr.Base),
                    literals + isinstance(child, _LITERALS),
                    members + 1 if isinstance(child, Expr.Get) else 0,
                    sections + isinstance(child, _SECTIONS),
                )
            )
