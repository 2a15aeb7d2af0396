"""Files beside a WDL source that its declarations name: ``File table = "data/table.tsv"``.

A relative path in a declaration is one from the document's own folder (WDL 1.2, "Input and Output Formats"; older
versions leave it open at workflow level). When the source is loaded the files are found and read, and the plan
carries them, so that a DAG runs without its source's folder; a run has them in its own folder. Which paths will be
named is told from the text: a string literal where a file is due. A path that is composed is not found.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import WDL
from WDL import Expr

from ..errors import AuthorError
from .beside import LARGEST, holds_path
from .stdlib import BEFORE_1_2

LARGEST_TOGETHER = 8 * LARGEST
"""Bytes of all files of a document that a plan carries; those beyond count as too large."""

MOST_FILES = 10_000
"""Files and folders below a directory that are looked at."""

_NOTE = "_files_beside"
"""The attribute of a document that holds what was read for it."""


def read_beside(document: WDL.Tree.Document, folder: Path) -> None:
    """Read the files in a document's folder that its declarations name, for `files_beside` to tell.

    :param document: with types.
    """
    found: dict[str, str | None] = {}
    whole = folder.resolve()
    total = 0
    for literal in dict.fromkeys(_named(document)):
        path = folder / literal
        if literal.startswith("/") or "://" in literal or "\n" in literal or not _is_below(path, whole):
            continue
        below = sorted(islice(path.rglob("*"), MOST_FILES)) if path.is_dir() else [path]
        for file in below:
            if file.is_file() and _is_below(file, whole):
                size = file.stat().st_size
                total += size
                fits = size <= LARGEST and total <= LARGEST_TOGETHER
                name = posixpath.normpath(file.relative_to(folder).as_posix())
                found[name] = base64.b64encode(file.read_bytes()).decode() if fits else None
    setattr(document, _NOTE, found)


def _is_below(path: Path, folder: Path) -> bool:
    try:
        return path.exists() and path.resolve().is_relative_to(folder)
    except (OSError, ValueError):
        return False  # too long for a path, say


def files_beside(document: WDL.Tree.Document) -> dict[str, str | None]:
    """What a document and its imports name: path as it is written, normalised -> contents in base64, or None if large.

    :raises AuthorError: if two documents call different files by the same path.
    """
    together: dict[str, str | None] = {}
    pending, seen = [document], set[int]()
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        pending.extend(statement.doc for statement in each.imports if statement.doc is not None)
        for path, data in getattr(each, _NOTE, {}).items():
            if together.setdefault(path, data) != data:
                raise AuthorError(
                    f"{each.pos.uri}: {path!r} is another file here than in another document",
                    hint="Give one of the two another name, or make it an input.",
                )
    return dict(sorted(together.items()))


# --- which paths a document names


def _named(document: WDL.Tree.Document) -> Iterator[str]:
    if document.workflow is not None:
        for decl in [*(document.workflow.inputs or []), *(document.workflow.outputs or [])]:
            yield from _in_decl(decl)
        yield from _in_body(document.workflow.body)
    if document.effective_wdl_version not in BEFORE_1_2:
        for task in document.tasks:
            for decl in [*(task.inputs or []), *task.postinputs]:
                yield from _in_decl(decl)


def _in_body(body: list[WDL.Tree.WorkflowNode]) -> Iterator[str]:
    for node in body:
        if isinstance(node, WDL.Tree.Decl):
            yield from _in_decl(node)
        elif isinstance(node, WDL.Tree.Call):
            for name, expr in node.inputs.items():
                callee = node.callee
                assert callee is not None
                due = callee.available_inputs.get(name)
                yield from _literals(expr, wanted=due is not None and holds_path(due.type))
        elif isinstance(node, (WDL.Tree.Scatter, WDL.Tree.Conditional)):
            yield from _literals(node.expr, wanted=False)
            yield from _in_body(node.body)


def _in_decl(decl: WDL.Tree.Decl) -> Iterator[str]:
    if decl.expr is not None:
        yield from _literals(decl.expr, wanted=holds_path(decl.type))


def _literals(expr: Expr.Base, *, wanted: bool) -> Iterator[str]:
    """String literals where a file may be due: the value's own, and what ``read_*`` and ``size`` are asked."""
    if isinstance(expr, Expr.String):
        literal = expr.literal
        if wanted and literal is not None and literal.value:
            yield literal.value
    reads = isinstance(expr, Expr.Apply) and expr.function_name.startswith(("read_", "size"))
    for child in expr.children:
        if isinstance(child, Expr.Base):
            yield from _literals(child, wanted=wanted or reads)
