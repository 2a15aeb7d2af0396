"""A task's slice: a WDL document of its own, cut from the user's source with the structs that it names.

Lines and columns of the task survive, up to an offset of lines, so that an error in the slice can be shown in the
source. This module knows nothing of workflows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import WDL
from WDL import Expr

from ..plan import Task
from .documents import Documents, document_of, source_slice
from .problems import position


@dataclass
class TaskSlices:
    """Every task met so far; equal slices are one."""

    documents: Documents
    tasks: list[Task] = field(default_factory=list)
    by_task: dict[int, int] = field(default_factory=dict)
    by_source: dict[str, int] = field(default_factory=dict)

    def index(self, task: WDL.Tree.Task) -> int:
        """The place of a task's slice in ``tasks``."""
        index = self.by_task.get(id(task))
        if index is None:
            made = slice_task(task, self.documents)
            index = self.by_source.setdefault(made.source, len(self.tasks))
            if index == len(self.tasks):
                self.tasks.append(made)
            self.by_task[id(task)] = index
        return index

    def keys(self) -> list[str]:
        """A key for each slice: the task's name, and the start of a digest where two tasks share the name."""
        names = Counter(task.name for task in self.tasks)
        return [
            task.name
            if names[task.name] == 1
            else f"{task.name}-{hashlib.sha256(task.source.encode()).hexdigest()[:8]}"
            for task in self.tasks
        ]


def slice_task(task: WDL.Tree.Task, documents: Documents) -> Task:
    """Cut a task out of its document."""
    document = document_of(task)
    text = source_slice(document, task.pos)
    key = documents.key(document)
    head = f"version {document.wdl_version}\n" if document.wdl_version else ""
    head += documents.structs_of(key, text)
    return Task(
        name=task.name,
        source=f"{head}{' ' * (task.pos.column - 1)}{text}\n",
        wdl_version=document.effective_wdl_version,
        position=position(task),
        line_offset=task.pos.line - 1 - head.count("\n"),
        command=_command(task, document),
        meta=plain_meta(task.meta),
        parameter_meta=plain_meta(task.parameter_meta),
    )


def _command(task: WDL.Tree.Task, document: WDL.Tree.Document) -> str:
    text = source_slice(document, task.command.pos)
    inner = text.removeprefix("command").lstrip()
    for start, end in (("<<<", ">>>"), ("{", "}")):
        if inner.startswith(start):
            return inner[len(start) :].removesuffix(end)
    return inner


def plain_meta(value: Any) -> Any:
    """A meta section, or a value in one, as JSON."""
    if isinstance(value, dict):
        return {name: plain_meta(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain_meta(each) for each in value]
    if isinstance(value, Expr.String):
        literal = value.literal
        return literal.value if literal is not None else str(value)
    if isinstance(value, Expr.Null):
        return None
    if isinstance(value, Expr.Base):
        return value.literal.json if value.literal is not None else str(value)
    return value
