"""The vocabulary of compile time: a Plan is a compiled WDL workflow.

A Plan is frozen values that are plain JSON both ways. It holds slices of WDL text - each task's source, each
workflow-level expression - with their types, references and positions, never a syntax tree; so a DAG can be built
from it without miniwdl, and a worker parses only the slice that it runs.

Subworkflows are inlined: their declarations and calls keep their path (``align.sort``). Three lists describe the
workflow, and an id is unique across all of them:

- **sections** nest: the workflow itself (id ``""``), each inlined subworkflow (id = its call path), each scatter and
  each conditional. A node stands in exactly one section.
- **decls** are declarations: inputs, private declarations and outputs of the workflow and its subworkflows.
- **calls** are task calls; each is one operator of the DAG.

A *shard* is a tuple of indices, one per scatter around a node, outermost first; ``()`` outside scatters. A reference
from outside a scatter to a node inside it gathers: an array over the scatters between them, and null where a
conditional between them is false.

This module knows neither WDL's grammar nor Airflow.
"""

from __future__ import annotations

import errno
import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

import msgspec

from .errors import AuthorError, Position
from .garbage import no_collection

FORMAT = 1
"""The plan format that this version writes; a plan of another format is refused (regenerate it)."""

Shard = tuple[int, ...]
ROOT = ""
"""The id of the top-level workflow's section."""


class Ref(msgspec.Struct, frozen=True):
    """What a name in an expression refers to.

    :param node: the id of a decl, a scatter section (its variable), or a call (then the name is ``call.output``).
    :param type: the WDL type that the name has *where the expression stands*, such as ``Array[File]?``.
    :param output: for a call, the name of the output.
    """

    node: str
    type: str
    output: str | None = None


class Expression(msgspec.Struct, frozen=True):
    """A workflow-level expression, as WDL text that parses on its own.

    :param text: the expression in WDL.
    :param type: its static type in WDL.
    :param section: the section in which it is evaluated (its scope and its shard).
    :param refs: each free name as it is written in ``text`` (``x``, ``sort.bam``) and what it refers to.
    """

    text: str
    type: str
    section: str
    position: Position
    refs: dict[str, Ref] = msgspec.field(default_factory=dict)


class Document(msgspec.Struct, frozen=True):
    """What an expression or type of one WDL document needs to be parsed: its version and its structs' text."""

    wdl_version: str
    structs: str = ""


class Section(msgspec.Struct, frozen=True):
    """A scope: the workflow, an inlined subworkflow, a scatter or a conditional.

    :param parent: the id of the enclosing section, or None for the workflow itself.
    :param document: key of ``Plan.documents``.
    :param label: what a person calls it, such as ``scatter sample`` or ``if do_qc``.
    :param expression: the scatter's collection or the conditional's condition, evaluated in ``parent``.
    :param variable: the scatter's variable; an expression refers to it by the section's id.
    :param upstream: the calls whose outputs ``expression`` needs, directly or through declarations and guards.
    """

    id: str
    kind: Literal["workflow", "scatter", "if"]
    document: str
    position: Position
    parent: str | None = None
    label: str = ""
    expression: Expression | None = None
    variable: str | None = None
    upstream: tuple[str, ...] = ()


class Decl(msgspec.Struct, frozen=True):
    """A declaration.

    :param type: its declared WDL type.
    :param expression: its right-hand side (an input's default); None for a required input.
    :param bound: for an input of a subworkflow: what its call binds it to, evaluated outside the subworkflow.
    :param input: the name under which a run may set it (``x``, ``align.x``), or None.
    """

    id: str
    section: str
    name: str
    type: str
    position: Position
    expression: Expression | None = None
    bound: Expression | None = None
    input: str | None = None


class Call(msgspec.Struct, frozen=True):
    """A task call: one operator, one ECS task per shard and attempt.

    :param task: key of ``Plan.tasks``.
    :param inputs: task input name -> the expression bound to it.
    :param upstream: ids of the calls that must be done first: those whose outputs it needs, directly or through
        declarations, guards and scatter collections, and those after which it is ordered by ``after``.
    """

    id: str
    section: str
    name: str
    task: str
    position: Position
    inputs: dict[str, Expression] = msgspec.field(default_factory=dict)
    upstream: tuple[str, ...] = ()


class Task(msgspec.Struct, frozen=True):
    """A task's slice: a WDL document of its own, with the structs that it needs.

    :param source: the document's text; parses and typechecks alone.
    :param name: the task's name in ``source``.
    :param position: where the task stands in the user's source.
    :param command: the command's template as written, for people to read.
    :param line_offset: add it to a line of ``source`` at or after the task's own first line to get the line in the
        user's source.
    """

    name: str
    source: str
    wdl_version: str
    position: Position
    line_offset: int = 0
    command: str = ""
    meta: dict[str, Any] = msgspec.field(default_factory=dict)
    parameter_meta: dict[str, Any] = msgspec.field(default_factory=dict)


class Input(msgspec.Struct, frozen=True):
    """Something a run may set.

    :param name: without the workflow's name: ``x``, ``align.x`` (a subworkflow's), ``sort.threads`` (a call's).
    :param node: the id of the decl, or of the call, that it sets.
    :param type: its WDL type. :param document: key of ``Plan.documents`` in which the type is understood.
    :param required: whether a run without it is refused.
    :param default: the default as JSON where it is a literal (see ``has_default``), for people to see.
    :param default_text: the default as WDL text; empty if there is none.
    :param schema: JSON schema of its values.
    :param meta: its ``parameter_meta``, if any.
    """

    name: str
    node: str
    type: str
    document: str
    required: bool
    position: Position
    has_default: bool = False
    default: Any = None
    default_text: str = ""
    schema: dict[str, Any] = msgspec.field(default_factory=dict)
    meta: Any = None


class Output(msgspec.Struct, frozen=True):
    """An output of the workflow: its name, the decl that computes it, and its WDL type."""

    name: str
    node: str
    type: str


class _Format(msgspec.Struct):
    """What is looked at first of a plan, whatever its format: the rest is skipped."""

    format: Any = None


@dataclass(frozen=True)
class Plan:
    """A compiled workflow; see the module's text for how its parts hang together.

    :param files: the files beside the source that its declarations name: relative path -> contents in base64, or None
        for one that is too large (see `wdl.source_files`).
    """

    name: str
    documents: dict[str, Document]
    sections: tuple[Section, ...]
    decls: tuple[Decl, ...] = field(default_factory=tuple)
    calls: tuple[Call, ...] = ()
    tasks: dict[str, Task] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    position: Position | None = None
    files: dict[str, str | None] = field(default_factory=dict)
    format: int = FORMAT

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            """The declarations of a plan that was read, when they are needed: they are many, and a DAG needs none.

            :raises AuthorError: if they are none.
            """
            raw = self.__dict__.get("_undecoded")
            if name != "decls" or raw is None:
                raise AttributeError(f"a plan has no {name}")
            with _plan_errors("plan"), no_collection():
                decls = _DECLS.decode(raw)
            object.__setattr__(self, "decls", decls)
            return decls

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the plan's canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @cached_property
    def section_by_id(self) -> Mapping[str, Section]:
        """The sections by their ids."""
        return {section.id: section for section in self.sections}

    @cached_property
    def decl_by_id(self) -> Mapping[str, Decl]:
        """The declarations by their ids."""
        return {decl.id: decl for decl in self.decls}

    @cached_property
    def call_by_id(self) -> Mapping[str, Call]:
        """The calls by their ids."""
        return {call.id: call for call in self.calls}

    def enclosing(self, section: str) -> tuple[Section, ...]:
        """The sections around a node, from the workflow itself down to ``section``."""
        chain: list[Section] = []
        at: str | None = section
        while at is not None:
            found = self.section_by_id[at]
            chain.append(found)
            at = found.parent
        return tuple(reversed(chain))

    def scatters(self, section: str) -> tuple[Section, ...]:
        """The scatters around a node, outermost first: what the indices of its shards stand for."""
        return tuple(found for found in self.enclosing(section) if found.kind == "scatter")

    def expressions(self) -> Iterator[Expression]:
        """Every expression of the plan."""
        for section in self.sections:
            if section.expression:
                yield section.expression
        for decl in self.decls:
            if decl.expression:
                yield decl.expression
            if decl.bound:
                yield decl.bound
        for call in self.calls:
            yield from call.inputs.values()

    def to_json(self, *, indent: int | None = None) -> bytes:
        """The plan as JSON in UTF-8; the same plan always gives the same bytes."""
        assert self.decls is not None  # now it has them
        encoded = msgspec.json.encode(self, order="deterministic")
        return msgspec.json.format(encoded, indent=indent) if indent else encoded

    @staticmethod
    def from_json(data: bytes | str, *, where: str = "plan") -> Plan:
        """Read a plan.

        :raises AuthorError: if it is not a plan, or one of another format; ``where`` names it.
        """
        with _plan_errors(where), no_collection():
            try:
                stored = _STORED.decode(data)
                found = stored.format
            except msgspec.ValidationError:
                found = _FORMAT.decode(data).format
                if found == FORMAT:
                    raise
            if found != FORMAT:
                raise AuthorError(f"{where}: plan format {found} is not {FORMAT}", hint=_AGAIN)
        plan = Plan(**msgspec.structs.asdict(stored))
        plan.__dict__["_undecoded"] = plan.__dict__.pop("decls")
        return plan


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""What msgspec raises for what is no JSON of a type; of a text that is no UTF-8 it raises Python's own error."""

_AGAIN = "generate it again with: airflow-wdl-ecs generate WORKFLOW.wdl"


@contextmanager
def _plan_errors(where: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise AuthorError(f"{where}: not a compiled workflow: {error}", hint=_AGAIN) from error


def _stored_form() -> Any:
    """A plan whose declarations are left as the JSON that they are, as a type for msgspec."""
    types = get_type_hints(Plan)

    def form(each: Field[Any]) -> Any:
        if each.name == "decls":
            return each.name, msgspec.Raw, msgspec.Raw(b"[]")
        if each.default is not MISSING:
            return each.name, types[each.name], each.default
        if each.default_factory is not MISSING:
            return each.name, types[each.name], msgspec.field(default_factory=each.default_factory)
        return each.name, types[each.name]

    return msgspec.defstruct("_Stored", [form(each) for each in fields(Plan)])


# Made once and here: msgspec breaks the process if threads are the first to decode a dataclass, at the same time.
_STORED = msgspec.json.Decoder(_stored_form())
_DECLS = msgspec.json.Decoder(tuple[Decl, ...])
_FORMAT = msgspec.json.Decoder(_Format)


def load_plan(path: str | Path) -> Plan:
    """Read a ``NAME.plan.json`` that ``generate`` wrote.

    :param path: it may lead into a zip archive, from which Airflow takes DAG files as from a folder.
    :raises AuthorError: if it is not there, is not a plan, or is one of another format.
    """
    try:
        data = _read(Path(path))
    except OSError as error:
        raise AuthorError(f"{path}: {error.strerror or error}") from error
    plan = Plan.from_json(data, where=str(path))
    # What `to_json` gave, but for the line breaks; so it need not be made again.
    plan.__dict__["digest"] = hashlib.sha256(msgspec.json.format(data, indent=-1)).hexdigest()
    return plan


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except NotADirectoryError:
        archive = next(parent for parent in path.parents if parent.is_file())
        if not zipfile.is_zipfile(archive):
            raise
        member = zipfile.Path(archive, path.relative_to(archive).as_posix())
        if not member.is_file():
            raise FileNotFoundError(errno.ENOENT, f"no such file in {archive}") from None
        return member.read_bytes()
