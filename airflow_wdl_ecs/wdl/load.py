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
from collections.abc import Callable, Iterable, Iterator
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
from .source_files import read_beside
from .web import open_url

Read = Callable[[str], str]
"""Reads the text at a path or URL; raises OSError if it cannot."""

TEXT = "<text>"
"""What positions call a source that was given as text."""

_LATER_VERSION = re.compile(r"\A((?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*version[ \t]+)1\.3(?![\w.])")
_COMMENT = re.compile(r"#[^\n]*")
_FETCH_SECONDS = 30
_LONGEST_EXCERPT = 160


def read_location(location: str) -> str:
    """The text at a path or an http(s) URL, its line ends made ``\\n``; raises OSError if it cannot be read."""
    if _is_url(location):
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
            raise AuthorError(_in_order(self.found))
        return document

    def visit(
        self, name: str, location: str, importers: tuple[tuple[str, str], ...], text: str | None = None
    ) -> WDL.Tree.Document | None:
        """Read, parse and check one document after its imports; None if it, or anything below it, has problems."""
        key = location if _is_url(location) or not location else abspath(location)
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
        if location and not _is_url(location):
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
        key = location if _is_url(location) else abspath(location)
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
        if not self.path or _is_url(beside[1]) or isabs(uri.removeprefix("file://")) or Path(beside[1]).exists():
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
            for message, pos in _causes(error):
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
            for message, pos in _causes(error):
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


def _in_order(found: list[Problem]) -> list[Problem]:
    """By document, in the order in which they were met, and in a document by place."""
    files = {problem.position.file: 0 for problem in found if problem.position}
    order = {file: number for number, file in enumerate(files)}
    return sorted(found, key=lambda each: (order[each.position.file], each.position) if each.position else (-1,))


def _within(place: Position, task: WDL.Tree.Task) -> bool:
    return bool(task.pos.line <= place.line <= task.pos.end_line)


def problem_at(message: str, pos: WDL.SourcePosition | None, name: str, text: str) -> Problem:
    """A problem at a place of a source, with the line and a caret below its column."""
    lines = text.split("\n")
    line = pos.line if pos and isinstance(pos.line, int) else 0
    column = pos.column if pos and isinstance(pos.column, int) else 0
    if pos is not None and line < 1:  # the parser has no place for "the file ended" and for the version
        at_end = "end of file" in message
        line = len(text.rstrip().split("\n")) if at_end else _version_line(lines)
        column = len(lines[line - 1]) + 1 if at_end and line <= len(lines) else 1
    if pos is None:
        return Problem(message, Position(name, 1, 1))
    position = Position(name, line, max(column, 1))
    shown = lines[line - 1] if line <= len(lines) else ""
    if not shown.strip():
        return Problem(message, position)
    start = max(0, position.column - _LONGEST_EXCERPT // 2) if len(shown) > _LONGEST_EXCERPT else 0
    # tabs stay, so that the caret stands below its column whatever their width
    margin = "".join(c if c == "\t" else " " for c in shown[start : position.column - 1])
    return Problem(message, position, f"{shown[start : start + _LONGEST_EXCERPT]}\n{margin}^")


def _version_line(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines, 1) if line.strip() and line.strip()[0] != "#"), 1)


def _causes(error: Exception) -> Iterator[tuple[str, WDL.SourcePosition | None]]:
    if isinstance(error, WDL.Error.MultipleValidationErrors):
        for each in error.exceptions:
            yield from _causes(each)
    elif isinstance(error, WDL.Error.SyntaxError):
        yield _syntax(str(error)), error.pos
    elif isinstance(error, WDL.Error.ValidationError):
        name = getattr(error.node, "name", None) if isinstance(error, WDL.Error.CircularDependencies) else None
        message = f"{error} involving {name}" if name else str(error)
        yield _HINTS.get(message, message), error.pos
    elif isinstance(error, ValueError) and "digits" in str(error):  # Python's own limit, which has no place
        yield "an integer of thousands of digits", None
    else:
        yield f"cannot be read as WDL ({type(error).__name__}: {error})", getattr(error, "pos", None)


_HINTS = {
    "Unknown type Directory": "Unknown type Directory (it needs version 1.2)",
    "Unknown type Object": "Unknown type Object (it is not supported: declare a struct)",
}
_TERMINALS = {"CNAME": "a name", "ESCAPED_STRING": "a string", "ESCAPED_STRING1": "a string", "$END": "end of file"}
_SIGNS = {
    "LBRACE": "{",
    "RBRACE": "}",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "PLUS": "+",
    "QMARK": "?",
    "EQUAL": "=",
    "COMMA": ",",
    "COLON": ":",
    "DOT": ".",
}


def _syntax(message: str) -> str:
    """The parser's message without its own names and repeated position; what was expected if that is short."""
    expected = [_terminal(word) for word in re.findall(r"^\t\* (.*)$", message, flags=re.M)]
    first = message.split("\n", 1)[0]
    if match := re.match(r"Unexpected token Token\('([^']+)', (.*)\) at line", first):
        word = re.match(r"\s*(\w+|\S)", match[2][1:-1])
        what = "unexpected end of file" if match[1] == "$END" or word is None else f"unexpected {word[1]!r}"
    elif match := re.match(r"No terminal matches '(.*)' in the current parser context", first):
        what = f"unexpected character {match[1]!r}"
    else:
        return first if "\n" not in message.strip() else message.strip()
    few = sorted(set(expected))
    return f"{what}, expected {' or '.join(few)}" if 0 < len(few) <= 6 else what


def _terminal(word: str) -> str:
    if word in _TERMINALS:
        return _TERMINALS[word]
    return repr(_SIGNS[word]) if word in _SIGNS else repr(word.lower()) if word.isalpha() else repr(word.strip('"'))


def _resolve(uri: str, importer: str, importer_name: str) -> tuple[str, str]:
    """What an import statement's URI is called, and where it is, seen from the document that imports it."""
    uri = uri.removeprefix("file://")
    if _is_url(uri):
        return uri, uri
    if _is_url(importer):
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


def _is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _is_text(source: str) -> bool:
    return "\n" in source or ("{" in source and not os.path.exists(source))  # noqa: PTH110 - any text will do


def position(node: WDL.SourceNode) -> Position:
    """Where a syntax node stands, in the words of the plan."""
    return Position(node.pos.uri, max(node.pos.line, 1), max(node.pos.column, 1))
