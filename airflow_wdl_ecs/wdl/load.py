"""From a WDL source to a checked document: find it, read it and its imports once each, parse, typecheck.

A source is a path, an http(s) URL, a source archive (`miniwdl zip`) or WDL text. Reading is a parameter, so that
nothing here needs a disk or a network. Everything that is wrong with a source becomes one `AuthorError` that lists
every problem with its position. This module must not know what a Plan is.
"""

from __future__ import annotations

import os
import re
import stat
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import abspath, dirname, isabs, join, normpath

import WDL

from ..errors import AuthorError, Position, Problem
from .archives import is_archive, unpacked_archive
from .nesting import (
    LARGEST_DOCUMENT,
    LARGEST_SOURCE,
    LONGEST_IMPORTS,
    MOST_DOCUMENTS,
    MOST_INPUTS,
    MOST_MEMBERS,
    MOST_NODES,
    inputs_written_out,
    members_written_out,
    nodes_written_out,
    too_deep,
)
from .problems import causes, in_order, problem_at
from .source_files import read_beside
from .web import is_web, open_url

Read = Callable[[str], str]
"""Reads the text at a path or URL; raises OSError if it cannot."""

TEXT = "<text>"
"""What positions call a source that was given as text."""

_LATER_VERSION = re.compile(r"\A((?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*version[ \t]+)1\.3(?![\w.])")
_COMMENT = re.compile(r"#[^\n]*")
_FETCH_SECONDS = 30


def read_location(location: str) -> str:
    """The text at a path or an http(s) URL, its line ends made ``\\n``; raises OSError if it cannot be read."""
    if is_web(location):
        with open_url(location, timeout=_FETCH_SECONDS) as answer:
            data: bytes = answer.read(LARGEST_DOCUMENT + 1)
    else:
        data = _read_file(location)
    if len(data) > LARGEST_DOCUMENT:
        raise OSError(f"larger than {LARGEST_DOCUMENT} bytes, which no WDL document is")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(f"not UTF-8 text (byte {error.start})") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_file(path: str) -> bytes:
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        os.set_blocking(file.fileno(), True)
        own = path.startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/"))
        if not own and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a file")  # a pipe, say, of which nobody knows when it ends
        return file.read(LARGEST_DOCUMENT + 1)


def load(
    source: str | Path, *, read: Read = read_location, check_quant: bool = True, path: Iterable[str | Path] = ()
) -> WDL.Tree.Document:
    """Load, parse and typecheck a WDL source with everything that it imports.

    Positions in the answer carry, as their ``uri``, the file as the user named it: relative where the source or the
    import statement was relative. A document that is imported along several edges is one object.

    :param source: a path, an http(s) or file URL, a source archive (``.zip``, ``.tar.gz``, or the folder that one was
        unpacked to) or WDL text.
    :param read: how to read a path or URL.
    :param check_quant: whether ``?`` and ``+`` are checked; some older workflows need them unchecked (an ``X?`` where
        an ``X`` is due), and then fail when they run if a value is null after all.
    :param path: folders in which a relative import is looked for if it is not beside the document that imports it.
    :raises AuthorError: with every syntax, import and type problem.
    """
    loader = _Loader(read, check_quant, tuple(map(str, path)))
    if isinstance(source, str) and _is_text(source):
        return loader.load_main(TEXT, "", source)
    name = str(source).removeprefix("file://")
    if is_archive(name):
        with unpacked_archive(name) as unpacked:
            main = join(name, Path(unpacked.main_wdl).relative_to(unpacked.dir))
            return loader.load_main(main, unpacked.main_wdl)
    return loader.load_main(name, name)


def archive_inputs(source: str | Path) -> str | None:
    """The JSON text of the default inputs that a source archive brings; None without them, or for another source.

    :raises AuthorError: if it is no source archive.
    """
    name = str(source).removeprefix("file://")
    if _is_text(name) or not is_archive(name):
        return None
    with unpacked_archive(name) as unpacked:
        return Path(unpacked.input_file).read_text("utf-8") if unpacked.input_file else None


def _typechecked(document: WDL.Tree.Document, check_quant: bool) -> WDL.Tree.Document:
    document.typecheck(check_quant=check_quant)
    return document


@dataclass
class _Loader:
    """One load: every document by its location, and every problem found on the way."""

    read: Read
    check_quant: bool = True
    path: tuple[str, ...] = ()
    documents: dict[str, WDL.Tree.Document | None] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    found: list[Problem] = field(default_factory=list)
    size: int = 0
    nodes: dict[int, int] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    members: dict[int, dict[str, int]] = field(default_factory=dict)

    def load_main(self, name: str, location: str, text: str | None = None) -> WDL.Tree.Document:
        try:
            document = self.visit(name, location, (), text)
        except OSError as error:
            raise AuthorError(f"{name}: {_reason(error)}") from error
        if document is None or self.found:
            raise AuthorError(in_order(self.found))
        return document

    def visit(
        self, name: str, location: str, importers: tuple[tuple[str, str], ...], text: str | None = None
    ) -> WDL.Tree.Document | None:
        """Read, parse and check one document after its imports; None if it, or anything below it, has problems."""
        key = location if is_web(location) or not location else abspath(location)
        if key in self.documents:
            return self.documents[key]
        self.documents[key] = None
        document = self.parsed(name, self.read(location) if text is None else text)
        if document is None:
            return None
        # not all(generator): every import is visited, so that every problem is found
        complete = [self.follow(document, index, (*importers, (key, name))) for index in range(len(document.imports))]
        if not all(complete):
            return None
        if not self.is_small_enough(document, name):
            return None
        if self.guarded(name, lambda: _typechecked(document, self.check_quant)) is None:
            self.check_workflow(document)
            return None
        if location and not is_web(location):
            read_beside(document, Path(location).parent)
        self.documents[key] = document
        return document

    def is_small_enough(self, document: WDL.Tree.Document, name: str) -> bool:
        """Whether a document is within the limits of ``nesting`` for what its imports add to it."""
        for count, most, what in (
            (nodes_written_out(document, self.nodes), MOST_NODES, "declarations, calls and sections"),
            (inputs_written_out(document, self.inputs), MOST_INPUTS, "inputs and outputs of calls"),
        ):
            if count > most:
                text = f"more than {most} {what}, subworkflows written out"
                self.report(text, document.workflow.pos if document.workflow else None, name)
                return False
        struct = members_written_out(document, self.members)
        if struct is not None:
            text = f"struct {struct.name}: more than {MOST_MEMBERS} members, those of the structs in it written out"
            self.report(text, struct.pos, name)
        return struct is None

    def parsed(self, name: str, text: str) -> WDL.Tree.Document | None:
        """The syntax tree of one document, within the limits of ``nesting``; None if it has problems."""
        self.size += len(text)
        self.texts[name] = text
        if not _COMMENT.sub("", text).strip():
            self.report("an empty document", None, name)
            return None
        document = self.guarded(name, lambda: WDL.parse_document(_as_known_version(text), uri=name))
        deep = too_deep(document) if document is not None else None
        if deep is not None:
            self.report(deep[0], deep[1].pos, name)
        return document if deep is None else None

    def follow(self, document: WDL.Tree.Document, index: int, importers: tuple[tuple[str, str], ...]) -> bool:
        """Load one import into ``document.imports``; False if it has problems."""
        statement = document.imports[index]
        name, location = self.locate(statement.uri, *importers[-1])
        key = location if is_web(location) else abspath(location)
        circle = [shown for at, shown in importers if at == key]
        if circle:
            start = [at for at, _ in importers].index(key)
            path = " -> ".join([*(shown for _, shown in importers[start:]), circle[0]])
            self.report(f"circular import: {path}", statement.pos)
            return False
        if len(importers) >= LONGEST_IMPORTS:
            self.report(f"more than {LONGEST_IMPORTS} documents that import one another in a row", statement.pos)
            return False
        if len(self.documents) >= MOST_DOCUMENTS or self.size > LARGEST_SOURCE:
            most = f"{MOST_DOCUMENTS} documents, or {LARGEST_SOURCE} bytes of them"
            raise AuthorError([problem_at(f"more than {most}, are imported", statement.pos, importers[-1][1], "")])
        try:
            imported = self.visit(name, location, importers)
        except OSError as error:
            where = "" if name == statement.uri else f" ({name})"
            self.report(f"cannot import {statement.uri}: {_reason(error)}{where}", statement.pos)
            return False
        if imported is None:
            return False
        document.imports[index] = statement._replace(doc=imported)
        return True

    def locate(self, uri: str, importer: str, importer_name: str) -> tuple[str, str]:
        """What an import is called, and where it is: beside its importer, else in one of the folders of ``path``."""
        beside = _resolve(uri, importer, importer_name)
        if not self.path or is_web(beside[1]) or isabs(uri.removeprefix("file://")) or Path(beside[1]).exists():
            return beside
        elsewhere = (join(folder, uri) for folder in self.path)
        return next(((found, found) for found in elsewhere if Path(found).exists()), beside)

    def guarded(self, name: str, step: Callable[[], WDL.Tree.Document]) -> WDL.Tree.Document | None:
        """Run a step of miniwdl; whatever it raises becomes problems."""
        try:
            return step()
        except RecursionError:
            self.found.append(Problem("an expression or section is nested too deeply", Position(name, 1, 1)))
        except Exception as error:
            # whatever text upsets the parser, its author sees a position and never a traceback
            for message, pos in causes(error):
                self.report(message, pos, name)
        return None

    def check_workflow(self, document: WDL.Tree.Document) -> None:
        """miniwdl stops where a task has problems; find those of the workflow as well."""
        workflow, name = document.workflow, document.pos.uri
        own = [problem.position for problem in self.found if problem.position and problem.position.file == name]
        if workflow is None or not all(any(_within(place, task) for task in document.tasks) for place in own):
            return
        try:
            workflow.typecheck(document, check_quant=self.check_quant)
        except (WDL.Error.ValidationError, WDL.Error.MultipleValidationErrors) as error:
            for message, pos in causes(error):
                self.report(message, pos, name)
        except Exception:
            return  # a consequence of what is wrong with the tasks

    def report(self, message: str, pos: WDL.SourcePosition | None, name: str = "") -> None:
        name = pos.uri if pos and pos.uri and pos.uri != "(buffer)" else name
        self.found.append(problem_at(message, pos, name, self.texts.get(name, "")))


def _as_known_version(text: str) -> str:
    """The text with its version as the latest that the parser knows, if it is a later one that is its superset.

    The two are equally long, so that positions stay. What the later version adds is refused where it is used.
    """
    return _LATER_VERSION.sub(lambda found: f"{found[1]}1.2", text, count=1)


def _within(place: Position, task: WDL.Tree.Task) -> bool:
    return bool(task.pos.line <= place.line <= task.pos.end_line)


def _resolve(uri: str, importer: str, importer_name: str) -> tuple[str, str]:
    """What an import statement's URI is called, and where it is, seen from the document that imports it."""
    uri = uri.removeprefix("file://")
    if is_web(uri):
        return uri, uri
    if is_web(importer):
        url = urllib.parse.urljoin(importer, uri)
        return url, url
    if isabs(uri):
        return uri, uri
    base = "" if importer_name == TEXT else dirname(importer_name)
    return normpath(join(base, uri)), join(dirname(importer), uri)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    below = getattr(error, "reason", None)  # of a URLError
    return _reason(below) if isinstance(below, OSError) else str(error.strerror or below or error)


def _is_text(source: str) -> bool:
    return "\n" in source or ("{" in source and not os.path.exists(source))  # noqa: PTH110 - any text will do
