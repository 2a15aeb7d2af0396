"""What a run may set: the inputs of a plan, with their defaults, schemas and documentation.

WDL lets a run set the inputs of the workflow, and those of the calls below it that the calls leave unbound
(``align.x``, ``align.sort.threads``). Runtime overrides (``sort.runtime.memory``) are not listed: any attribute may be
one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import WDL

from ..plan import Input
from .documents import Documents, NoSuchTypeError, document_of, refuse, source_slice
from .problems import position
from .schema import schema_of
from .task_slices import plain_meta
from .values import to_json


@dataclass
class InputsOf:
    """The inputs of a plan, in source order."""

    documents: Documents
    found: list[Input] = field(default_factory=list)

    def of_task(self, task: WDL.Tree.Task, call: str, path: str, bound: frozenset[str]) -> None:
        """Add the inputs that a call leaves unbound.

        :param path: what their names start with, before a dot; empty where the task itself is what runs.
        """
        for decl in task_inputs(task):
            if decl.name not in bound and not is_private(decl, task):
                name = f"{path}.{decl.name}" if path else decl.name
                self.of_decl(decl, call, name, document_of(task), task.parameter_meta)

    def of_decl(
        self, decl: WDL.Tree.Decl, node: str, name: str, document: WDL.Tree.Document, meta: dict[str, Any]
    ) -> None:
        """Add one input declaration."""
        key = self.documents.key(document)
        try:
            written = self.documents.type_text(key, decl.type)
        except NoSuchTypeError as error:
            raise refuse(str(error), decl, document) from None
        self.found.append(
            Input(
                name=name,
                node=node,
                type=written,
                document=key,
                required=decl.expr is None and not decl.type.optional,
                position=position(decl),
                has_default=decl.expr is not None,
                default=literal_default(decl),
                default_text=source_slice(document, decl.expr.pos) if decl.expr is not None else "",
                schema=schema_of(decl.type),
                meta=plain_meta(meta.get(decl.name)),
            )
        )


def task_inputs(task: WDL.Tree.Task) -> list[WDL.Tree.Decl]:
    """A task's inputs; without an input section (as in draft-2), every declaration before its outputs."""
    return task.inputs if task.inputs is not None else task.postinputs


def is_private(decl: WDL.Tree.Decl, owner: WDL.Tree.Task | WDL.Tree.Workflow) -> bool:
    """Whether a declaration of a task or workflow without an input section is one that a run may not set.

    In draft-2 such a declaration is an input. From 1.0 on it is private if it has a value ("Private Declarations");
    one without a value is taken for an input, as miniwdl does.
    """
    return owner.inputs is None and decl.expr is not None and owner.effective_wdl_version != "draft-2"


def literal_default(decl: WDL.Tree.Decl) -> Any:
    """A declaration's default as JSON; None if it has none, or one that is no literal."""
    try:
        literal = decl.expr.literal if decl.expr is not None else None
        return None if literal is None else to_json(literal.coerce(decl.type))
    except (ValueError, WDL.Error.RuntimeError):
        return None  # a literal that does not fit its type fails when it is evaluated
