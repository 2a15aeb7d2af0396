"""Everything that can be said about a WDL source before it runs: errors, and miniwdl's warnings.

For people and editors; compiling needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import WDL
from WDL import Lint

from ..errors import AuthorError, Position, Problem
from .load import Read, load, read_location
from .lower import lower
from .problems import problem_at

MOST_WAYS = 5000
"""Documents that are looked at for warnings, one that several import as often as it is imported."""


def problems(
    source: str | Path, *, read: Read = read_location, check_quant: bool = True, path: Iterable[str | Path] = ()
) -> list[Problem]:
    """What is wrong or doubtful with a source (see `load`), in order of position; errors first.

    A document with several tasks and no workflow is complete: there, each task is compiled.
    A warning is suppressed by a comment on its line, ``# !NameOfTheWarning``, as in ``miniwdl check``.
    """
    try:
        document = load(source, read=read, check_quant=check_quant, path=path)
    except AuthorError as error:
        return list(error.problems)
    return [*_refused(document), *_warnings(document)]


def _refused(document: WDL.Tree.Document) -> list[Problem]:
    tasks = [None] if document.workflow is not None else [task.name for task in document.tasks]
    for task in tasks:
        try:
            lower(document, task=task)
        except AuthorError as error:
            return list(error.problems)
    return []


def _warnings(document: WDL.Tree.Document) -> list[Problem]:
    if _ways(document) > MOST_WAYS:
        where = Position(document.pos.uri, 1, 1)
        text = f"no warnings are looked for: its documents import one another along more than {MOST_WAYS} ways"
        return [Problem(text, where, severity="warning")]
    texts = _texts(document)
    found: dict[Problem, None] = {}  # a document that several others import is linted once for each
    for pos, kind, message, suppressed, *_ in Lint.collect(Lint.lint(document)):  # type: ignore[no-untyped-call]
        if not suppressed:
            place = problem_at(f"{message} ({kind})", pos, pos.uri, texts.get(pos.uri, ""))
            found[Problem(place.message, place.position, place.excerpt, severity="warning")] = None
    return sorted(found, key=lambda problem: (problem.position is None, problem.position))


def _ways(document: WDL.Tree.Document) -> int:
    """Along how many ways of imports a document and those below it are reached: so often each is looked at."""
    found: dict[int, int] = {}

    def of(each: WDL.Tree.Document) -> int:
        if id(each) not in found:
            found[id(each)] = 1 + sum(of(statement.doc) for statement in each.imports if statement.doc is not None)
        return found[id(each)]

    return of(document)


def _texts(document: WDL.Tree.Document) -> dict[str, str]:
    texts: dict[str, str] = {}
    pending = [document]
    while pending:
        each = pending.pop()
        if each.pos.uri not in texts:
            texts[each.pos.uri] = each.source_text
            pending.extend(statement.doc for statement in each.imports if statement.doc is not None)
    return texts
