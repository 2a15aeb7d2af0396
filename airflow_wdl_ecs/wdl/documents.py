"""The documents of one compilation: their keys, their structs' text, and how each of them writes a type.

The same struct may have different names in different documents (`import ... alias A as B`), so a type is always
written *for* a document. This module knows miniwdl's documents and types, and nothing of workflows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import WDL
from WDL import Type

from ..errors import AuthorError
from ..plan import Document
from .problems import problem_at


def document_of(node: WDL.Tree.Task | WDL.Tree.Workflow) -> WDL.Tree.Document:
    """The document in which a task or workflow stands."""
    document = node.parent
    assert isinstance(document, WDL.Tree.Document)
    return document


def source_slice(document: WDL.Tree.Document, pos: WDL.SourcePosition) -> str:
    """The text of a document that a position spans."""
    lines = document.source_lines[pos.line - 1 : pos.end_line]
    if pos.line == pos.end_line:
        return str(lines[0][pos.column - 1 : pos.end_column - 1])
    return "\n".join([lines[0][pos.column - 1 :], *lines[1:-1], lines[-1][: pos.end_column - 1]])


def refuse(message: str, node: WDL.SourceNode, document: WDL.Tree.Document) -> AuthorError:
    """The error for a construct that parses but is not compiled."""
    return AuthorError([problem_at(message, node.pos, node.pos.uri, document.source_text)])


class NoSuchTypeError(Exception):
    """A type that cannot be written in a document."""


@dataclass
class Documents:
    """Every document met so far, keyed "0" (the main one), "1" ... in the order in which they were met."""

    keys: dict[int, str] = field(default_factory=dict)
    entries: dict[str, _Entry] = field(default_factory=dict)

    def key(self, document: WDL.Tree.Document) -> str:
        """The key of a document."""
        key = self.keys.get(id(document))
        if key is None:
            key = self.keys[id(document)] = str(len(self.keys))
            self.entries[key] = _Entry.of(document)
        return key

    def type_text(self, key: str, wdl_type: Type.Base) -> str:
        """A type as a document writes it.

        :raises NoSuchTypeError: for a type that has no name in WDL (of ``object {}``, ``read_json``, ``[]``, ``None``),
            or that the document's version does not have.
        """
        return self.entries[key].type_text(wdl_type)

    def structs_of(self, key: str, text: str) -> str:
        """The definitions of the structs that ``text`` names, and of those that they name in turn."""
        return self.entries[key].definitions(set(re.findall(r"[A-Za-z]\w*", text)))

    def to_plan(self) -> dict[str, Document]:
        """The plan's documents, with all the structs that each of them sees."""
        return {
            key: Document(entry.version, entry.definitions(set(entry.structs))) for key, entry in self.entries.items()
        }


@dataclass
class _Entry:
    version: str
    structs: dict[str, dict[str, Type.Base]]
    names: dict[int, str]

    @staticmethod
    def of(document: WDL.Tree.Document) -> _Entry:
        structs = {binding.name: binding.value.members for binding in document.struct_typedefs}
        structs = dict(sorted(structs.items()))
        return _Entry(document.effective_wdl_version, structs, {id(members): name for name, members in structs.items()})

    def struct_name(self, wdl_type: Type.StructInstance) -> str:
        """The document's own name of a struct type, which may come from another document."""
        members = wdl_type.members or {}
        name = self.names.get(id(members))
        if name is None:
            same = [known for known, others in self.structs.items() if _same(others, members)]
            if not same:
                raise NoSuchTypeError(f"struct {wdl_type.type_name} is not visible in this document")
            name = wdl_type.type_name if wdl_type.type_name in same else same[0]
            self.names[id(members)] = name
        return name

    def type_text(self, wdl_type: Type.Base) -> str:
        quantifier = "?" if wdl_type.optional else ""
        if isinstance(wdl_type, Type.Array):
            return f"Array[{self.type_text(wdl_type.item_type)}]{'+' if wdl_type.nonempty else ''}{quantifier}"
        if isinstance(wdl_type, (Type.Map, Type.Pair)):
            left, right = wdl_type.parameters
            word = "Map" if isinstance(wdl_type, Type.Map) else "Pair"
            return f"{word}[{self.type_text(left)},{self.type_text(right)}]{quantifier}"
        if isinstance(wdl_type, Type.StructInstance):
            if self.version == "draft-2":
                raise NoSuchTypeError(f"struct {wdl_type.type_name} cannot be used in a draft-2 document")
            return self.struct_name(wdl_type) + quantifier
        if isinstance(wdl_type, (Type.Any, Type.Object)):
            raise NoSuchTypeError(f"{wdl_type} is no type that can be declared")
        return str(wdl_type)

    def definitions(self, names: set[str]) -> str:
        if self.version == "draft-2":
            return ""
        texts: dict[str, str] = {}
        pending = sorted(names & self.structs.keys())
        while pending:
            name = pending.pop()
            if name in texts:
                continue
            members = {member: self.type_text(member_type) for member, member_type in self.structs[name].items()}
            body = "".join(f"  {text} {member}\n" for member, text in members.items())
            texts[name] = f"struct {name} {{\n{body}}}\n"
            words = {word for text in members.values() for word in re.findall(r"[A-Za-z]\w*", text)}
            pending.extend(words & self.structs.keys())
        return "".join(texts[name] for name in sorted(texts))


def _same(one: dict[str, Type.Base], other: dict[str, Type.Base]) -> bool:
    left, right = Type.StructInstance("left"), Type.StructInstance("right")
    left.members, right.members = one, other
    return bool(left.type_id == right.type_id)
