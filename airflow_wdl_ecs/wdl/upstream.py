"""Which calls must be done before a node can be evaluated.

Declarations, guards and scatter collections are evaluated on demand, so a call waits for every call that it needs
through them, at any distance. Pure graph work on the plan's own parts; it knows no WDL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from ..plan import Call, Decl, Expression, Section

_Node = tuple[str, str]
"""What a node's calls are asked for: ("value", id of a decl, call or scatter variable) or ("guards", section id)."""


def with_upstream(
    sections: Iterable[Section],
    decls: Iterable[Decl],
    calls: Iterable[Call],
    after: Mapping[str, Iterable[str]],
) -> tuple[tuple[Section, ...], tuple[Call, ...]]:
    """The sections and calls with their ``upstream``, in the calls' order.

    :param after: call id -> ids of the calls after which it is ordered without using their outputs.
    """
    sections, calls = tuple(sections), tuple(calls)
    graph = _Graph(sections, tuple(decls), calls)
    found_sections = tuple(
        replace(section, upstream=graph.ids(graph.expression_needs(section.expression))) for section in sections
    )
    found_calls = []
    for call in calls:
        needs: list[_Node] = [("guards", call.section)]
        for expression in call.inputs.values():
            needs.extend(graph.expression_needs(expression))
        found_calls.append(replace(call, upstream=graph.ids(needs, after.get(call.id, ()))))
    return found_sections, tuple(found_calls)


class _Graph:
    """Sets of calls as bits of integers, since a call is in many of them."""

    def __init__(self, sections: tuple[Section, ...], decls: tuple[Decl, ...], calls: tuple[Call, ...]) -> None:
        self.sections = {section.id: section for section in sections}
        self.decls = {decl.id: decl for decl in decls}
        self.calls = {call.id: call for call in calls}
        self.order = tuple(self.calls)
        self.bits = {call: 1 << index for index, call in enumerate(self.order)}
        self.known: dict[_Node, int] = {}

    def expression_needs(self, expression: Expression | None) -> list[_Node]:
        return [("value", ref.node) for ref in expression.refs.values()] if expression else []

    def needs(self, node: _Node) -> list[_Node]:
        kind, id_ = node
        if kind == "guards":
            section = self.sections[id_]
            outer: list[_Node] = [] if section.parent is None else [("guards", section.parent)]
            return [*outer, *self.expression_needs(section.expression)]
        if id_ in self.calls:
            return [("guards", self.calls[id_].section)]
        if id_ in self.decls:
            decl = self.decls[id_]
            inner = [*self.expression_needs(decl.expression), *self.expression_needs(decl.bound)]
            return [("guards", decl.section), *inner]
        return [("guards", id_)]

    def solve(self, start: _Node) -> int:
        """The calls that a node needs; a walk without recursion, because chains of declarations are long."""
        pending = [start]
        while pending:
            node = pending[-1]
            if node in self.known:
                pending.pop()
                continue
            needs = self.needs(node)
            missing = [need for need in needs if need not in self.known]
            if missing:
                pending.extend(missing)
                continue
            found = self.bits.get(node[1], 0) if node[0] == "value" else 0
            for need in needs:
                found |= self.known[need]
            self.known[node] = found
            pending.pop()
        return self.known[start]

    def ids(self, needs: Iterable[_Node], also: Iterable[str] = ()) -> tuple[str, ...]:
        found = 0
        for need in needs:
            found |= self.solve(need)
        for call in also:
            found |= self.bits[call]
        return tuple(call for call, bit in self.bits.items() if found & bit)
