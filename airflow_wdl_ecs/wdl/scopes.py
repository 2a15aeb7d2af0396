"""Ids for everything in a workflow with its subworkflows inlined.

A scope is one workflow where it is called; it knows the plan's id of each of its declarations, calls and sections.
Ids come from names, never from positions, so that an edit elsewhere in the source leaves them as they are. They are
all claimed before any expression is compiled, because WDL allows forward references. This module decides ids and
nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import WDL

from ..plan import ROOT
from .documents import Documents, document_of, refuse, source_slice

_LONGEST_CONDITION = 40
"""Characters of a condition that become part of a section's id."""


@dataclass
class Scope:
    """One workflow, at the place where it is called.

    :param section: the id of its section; also what its own nodes' ids start with, before a dot.
    :param key: its document's key.
    :param ids: miniwdl's node id (unique within one workflow) -> the plan's id: declarations, outputs, task calls,
        scatters and conditionals.
    :param called: a call's name -> the scope of the subworkflow that it calls.
    :param outputs: the name of each output declaration -> its id.
    """

    workflow: WDL.Tree.Workflow
    document: WDL.Tree.Document
    section: str
    key: str
    ids: dict[str, str] = field(default_factory=dict)
    called: dict[str, Scope] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def inside(self, name: str) -> str:
        """A name with the scope's path before it."""
        return f"{self.section}.{name}" if self.section else name

    def calls_of(self, name: str) -> tuple[str, ...]:
        """The ids of all task calls behind a call's name: one, or those of a subworkflow."""
        scope = self.called.get(name)
        if scope is None:
            return (self.ids[f"call-{name}"],)
        return tuple(scope.all_calls())

    def all_calls(self) -> Iterator[str]:
        """The ids of all task calls in the workflow and its subworkflows."""
        for call in calls_in(self.workflow.body):
            yield from self.calls_of(call.name)


@dataclass
class Ids:
    """Claims ids: the first candidate that is free, else the last one with a number."""

    taken: set[str] = field(default_factory=lambda: {ROOT})

    def claim(self, *candidates: str) -> str:
        """An id that nothing else has."""
        for candidate in candidates:
            if candidate not in self.taken:
                self.taken.add(candidate)
                return candidate
        number = 2
        while f"{candidates[-1]}_{number}" in self.taken:
            number += 1
        return self.claim(f"{candidates[-1]}_{number}")


def calls_in(body: Iterable[WDL.Tree.WorkflowNode]) -> Iterator[WDL.Tree.Call]:
    """The calls of a workflow's body, those in its sections too, in source order."""
    for node in body:
        if isinstance(node, WDL.Tree.Call):
            yield node
        elif isinstance(node, WDL.Tree.WorkflowSection):
            yield from calls_in(node.body)


def open_scope(
    workflow: WDL.Tree.Workflow, document: WDL.Tree.Document, section: str, documents: Documents, ids: Ids
) -> Scope:
    """Claim the ids of a workflow and of all that it calls. ``section`` is claimed already."""
    scope = Scope(workflow, document, section, documents.key(document))
    sections: list[WDL.Tree.WorkflowSection] = []
    pending = [*reversed(workflow.body), *reversed(workflow.inputs or [])]
    while pending:
        node = pending.pop()
        if isinstance(node, WDL.Tree.Decl):
            scope.ids[node.workflow_node_id] = ids.claim(scope.inside(node.name))
        elif isinstance(node, WDL.Tree.Call):
            if isinstance(node, WDL.Tree.CallTry):
                raise refuse("call? (a call that may fail) is not supported: use call", node, document)
            called = ids.claim(scope.inside(node.name))
            scope.ids[node.workflow_node_id] = called
            if isinstance(node.callee, WDL.Tree.Workflow):
                scope.called[node.name] = open_scope(node.callee, document_of(node.callee), called, documents, ids)
        elif isinstance(node, WDL.Tree.WorkflowSection):
            sections.append(node)
            pending.extend(reversed(node.body))
    for output in workflow.outputs or []:
        # in draft-2 an output may have the name of what it exposes
        found = ids.claim(scope.inside(output.name), scope.inside(f"output_{output.name}"))
        scope.ids[output.workflow_node_id] = scope.outputs[output.name] = found
    _name_sections(scope, sections, ids)
    return scope


def _name_sections(scope: Scope, sections: list[WDL.Tree.WorkflowSection], ids: Ids) -> None:
    """Sections are named for their variable or condition; those that share it, also for the first name inside."""
    names = [_section_name(section, scope.document) for section in sections]
    shared = Counter(names)
    for section, name in zip(sections, names, strict=True):
        first = next(_names_in(section.body), "empty")
        longer = scope.inside(f"{name}_{first}")
        candidates = (scope.inside(name), longer) if shared[name] == 1 else (longer,)
        scope.ids[section.workflow_node_id] = ids.claim(*candidates)


def _names_in(body: Iterable[WDL.Tree.WorkflowNode]) -> Iterator[str]:
    for node in body:
        if isinstance(node, WDL.Tree.WorkflowSection):
            yield from _names_in(node.body)
        elif isinstance(node, (WDL.Tree.Decl, WDL.Tree.Call)):
            yield node.name


def _section_name(section: WDL.Tree.WorkflowSection, document: WDL.Tree.Document) -> str:
    if isinstance(section, WDL.Tree.Scatter):
        return f"scatter_{section.variable}"
    assert isinstance(section, WDL.Tree.Conditional)
    condition = source_slice(document, section.expr.pos)
    words = re.findall(r"!(?!=)|\w+", re.sub(r"#.*", "", condition))
    slug = "_".join("not" if word == "!" else word for word in words if word.isascii())
    return f"if_{slug[:_LONGEST_CONDITION].strip('_')}" if slug else "if"
