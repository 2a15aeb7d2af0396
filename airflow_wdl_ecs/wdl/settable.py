"""What a run may set: the inputs of a plan, with their defaults, schemas and documentation.

WDL lets a run set the inputs of the workflow, and those of the calls below it that the calls leave unbound
(``align.x``, ``align.sort.threads``). Runtime overrides (``sort.runtime.memory``) are not listed: any attribute may be
one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import WDL
from WDL import Expr

from ..plan import Input
from .documents import Documents, NoSuchTypeError, position, refuse, source_slice
from .schema import schema_of
from .task_slices import plain_meta


@dataclass
class InputsOf:
    """The inputs of a plan, in source order."""

    documents: Documents
    found: list[Input] = field(default_factory=list)

    def of_task(self, task: WDL.Tree.Task, call: str, path: str, bound: frozenset[str]) -> None:
        """Add the inputs that a call leaves unbound.

        :param path: what their names start with, before a dot; empty where the task itself is what runs.
        """
        for decl in task.inputs if task.inputs is not None else task.postinputs:
            if decl.name not in bound:
                name = f"{path}.{decl.name}" if path else decl.name
                self.of_decl(decl, call, name, task.parent, task.parameter_meta)

    def of_decl(self, decl: WDL.Tree.Decl, node: str, name: str, document: WDL.Tree.Document, meta: dict[str, Any]) -> None:
        """Add one input declaration."""
        key = self.documents.key(document)
        try:
            written = self.documents.type_text(key, decl.type)
        except NoSuchTypeError as error:
            raise refuse(str(error), decl, document) from None
        known, default = literal_default(decl)
        self.found.append(
            Input(
                name=name,
                node=node,
                type=written,
                document=key,
                required=decl.expr is None and not decl.type.optional,
                position=position(decl),
                has_default=known,
                default=default,
                default_text=source_slice(document, decl.expr.pos) if decl.expr is not None else "",
                schema=schema_of(decl.type),
                meta=plain_meta(meta.get(decl.name)),
            )
        )


def literal_default(decl: WDL.Tree.Decl) -> tuple[bool, Any]:
    """Whether a declaration's default is a literal, and if so, what it is as JSON."""
    if decl.expr is None:
        return False, None
    if isinstance(decl.expr, Expr.Null):
        return True, None
    try:
        literal = decl.expr.literal
        return (False, None) if literal is None else (True, literal.coerce(decl.type).json)
    except Exception:
        return False, None
