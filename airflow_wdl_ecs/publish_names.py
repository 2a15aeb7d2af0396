"""The names under which outputs are published: templates of names, and which file gets which (pure).

A template is text with fields, ``{output}/{index}/{name}``. What can be known of a name before anything runs is checked
then: unknown fields, and outputs that must get the same name. What cannot is numbered, always in the same way. This
module knows the plan and values; it knows neither S3 nor a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from string import Formatter
from typing import Any

from .errors import EvaluationError, Problem
from .layout import key_safe
from .plan import Output, Plan
from .sensitive import redact
from .wdl.inputs import PathAt
from .wdl.output_paths import MANY, Shape, map_output_paths, shape_of

OUTPUTS, MANIFEST, CHECKSUMS = "outputs.json", "manifest.json", "checksums.txt"
"""What is written beside the files, and so is no name of a file."""

OF_PLACE = ("index", "shard")
"""What a template may say of a file's place in its output's value; nothing of an output that is a file itself."""
FILE_FIELDS = ("name", "stem", "suffix", *OF_PLACE)
"""What a template may say of a file: it is known when there are outputs."""
DEFAULT = "{output}/{index}/{name}"
OTHERS = "*"
"""In ``publish_names``: the outputs that are not named."""
LONGEST_KEY = 1024
"""Bytes of a key in S3 (S3 user guide, "Naming objects")."""

_COMPRESSION = r"\.(?:gz|bgz|bz2|xz|zst|zip)"
_SUFFIX = re.compile(rf"(?<=.)(\.[A-Za-z0-9_]+{_COMPRESSION}|\.[A-Za-z0-9_]+)$")


@dataclass(frozen=True)
class Template:
    """Text with fields.

    :param parts: literal text, and the field that follows it (None at the end).
    """

    text: str
    parts: tuple[tuple[str, str | None], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of its fields."""
        return tuple(name for _, name in self.parts if name is not None)

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with the fields' values, and one slash where several or an empty folder would be."""
        text = "".join(literal + (values[name] if name is not None else "") for literal, name in self.parts)
        return re.sub(r"//+", "/", text).strip("/")


def parse_template(text: str, fields: Collection[str]) -> Template:
    """Read a template.

    :param fields: the names that it may have.
    :raises ValueError: saying what is wrong with it.
    """
    if "{{" in text or "}}" in text:
        raise ValueError("fields stand in single braces, as {date}; Airflow's own templates are not rendered here")
    try:
        parts = [part[:4] for part in Formatter().parse(text)]
    except ValueError as error:
        raise ValueError(f"{error}; fields stand in braces, as {{date}}") from None
    for _, name, spec, conversion in parts:
        if name is not None and (spec or conversion or name not in fields):
            shown = f"{name}{':' if spec else ''}{spec or ''}"
            raise ValueError(f"there is no field {{{shown}}}; {_instead_of(name, fields)}")
    return Template(text, tuple((literal, name) for literal, name, _, _ in parts))


def _instead_of(name: str, fields: Collection[str]) -> str:
    if not name.startswith("input."):
        return f"there are {', '.join(f'{{{each}}}' for each in fields)}"
    near = [each for each in get_close_matches(name, fields, 1) if each.startswith("input.")]
    known = [f"{{{each}}}?" for each in near]
    return ", ".join([*known, "the value has to be a text or number, known when the run begins, and no secret"])


def values_of_run(plan: Plan, inputs: Mapping[str, Any], sensitive: Collection[str], **of_run: str) -> dict[str, str]:
    """The values of the fields that say something of a run, as segments of a key (see `layout.key_safe`).

    :param inputs: those that the run was given; literal defaults are taken from the plan.
    :param of_run: other fields, such as ``dag_id``; an empty one leaves its folder out.
    :return: with ``input.NAME`` for each text and number among the inputs that is known and no secret.
    """
    values = {name: key_safe(text) if text else "" for name, text in of_run.items()}
    for declared in plan.inputs:
        value = inputs.get(declared.name, declared.default)
        if declared.name not in sensitive and isinstance(value, (str, int, float)) and _is_plain(declared.type):
            text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
            values[f"input.{declared.name}"] = key_safe(text)
    return values


def _is_plain(wdl_type: str) -> bool:
    return wdl_type.rstrip("?") in ("String", "Int", "Float", "Boolean")


@dataclass(frozen=True)
class Names:
    """The templates of a workflow's outputs, each checked, and the values of the run's fields."""

    templates: Mapping[str, Template]
    values: Mapping[str, str]

    def of(self, output: str) -> Template:
        """The template of an output."""
        return self.templates[output]


def read_names(
    plan: Plan, names: Mapping[str, str], values: Mapping[str, str], *, strict: bool
) -> tuple[Names, list[Problem]]:
    """The templates of ``publish_names`` for a plan's outputs, and all that is wrong with them.

    :param values: see `values_of_run`.
    :param strict: whether every name has to be one of the plan's outputs; names that a whole deployment has need not.
    """
    fields = [*values, "output", *FILE_FIELDS]
    problems: list[Problem] = []
    read: dict[str, Template] = {}
    known = {output.name: shape_of(plan, output) for output in plan.outputs}
    for given, text in {OTHERS: DEFAULT, **names}.items():
        output = given.removeprefix(f"{plan.name}.")
        if output != OTHERS and output not in known:
            near = get_close_matches(output, known, 1)
            if strict:
                wanted = f"; {near[0]}?" if near else ""
                problems.append(Problem(f"publish_names: {plan.name} has no output {given}{wanted}"))
            continue
        try:
            read[output] = _of_name(text, fields)
        except ValueError as error:
            problems.append(Problem(f"publish_names: {given}={text}: {error}"))
            read[output] = read.get(OTHERS, Template("", ()))
    found = Names({name: read.get(name, read[OTHERS]) for name in known}, values)
    return found, problems + [
        Problem(f"publish_names: {text}")
        for text in (*_without_name(known, found), *_certain_clashes(plan.outputs, known, found))
    ]


def _of_name(text: str, fields: Collection[str]) -> Template:
    template = parse_template(text, fields)
    if not text.strip("/"):
        raise ValueError("a name cannot be empty")
    if {".", ".."} & set(text.split("/")):
        raise ValueError("a name cannot have . or .. as a folder")
    return template


def _without_name(shapes: Mapping[str, Shape], names: Names) -> Iterator[str]:
    """What would have no name at all, whatever the files will be called."""
    for output, shape in shapes.items():
        template = names.of(output)
        of_file = {name: "" if name in OF_PLACE else "x" for name in FILE_FIELDS}
        if shape.alone and template.text and not template.filled({**names.values, **of_file, "output": "x"}):
            yield (
                f"{output} would have no name by {template.text}: it is one file or folder, so that {{index}} and "
                "{shard} are empty; put {name} into it"
            )


def _certain_clashes(outputs: Collection[Output], shapes: Mapping[str, Shape], names: Names) -> Iterator[str]:
    """What must get the same name, whatever the files will be called."""
    first: dict[str, str] = {}
    for output in outputs:
        shape, template = shapes[output.name], names.of(output.name)
        own = set(FILE_FIELDS).difference(OF_PLACE) if shape.alone else set(FILE_FIELDS)
        if shape.most == 0 or own & set(template.fields):
            continue
        if shape.most == MANY:
            yield (
                f"the files of {output.name} ({output.type}) would all be {template.text}; "
                "put {name}, {index} or {shard} into it"
            )
        elif not shape.optional:
            name = template.filled({**names.values, **dict.fromkeys(OF_PLACE, ""), "output": key_safe(output.name)})
            other = first.setdefault(name, output.name)
            if name and other != output.name:
                yield f"the outputs {other} and {output.name} would both be {name}"


@dataclass(frozen=True)
class Placed:
    """A file or folder and where it is to be.

    :param source: its URI; a folder's ends with ``/``. :param name: below the folder to which it is published.
    """

    output: str
    source: str
    name: str

    @property
    def directory(self) -> bool:
        """Whether it is a folder."""
        return self.source.endswith("/")


def place(
    plan: Plan,
    outputs: Mapping[str, Any],
    names: Names,
    folder: str,
    secrets: tuple[str, ...] = (),
    *,
    stays: Callable[[str], bool] = lambda path: False,
) -> tuple[dict[str, Any], list[Placed]]:
    """Give every file and folder among the outputs its name.

    Where two would have the same, or one would be below the other, the later one, in the order of outputs and values,
    gets a number (``reads-2.bam``). A file that two outputs have under the same name is one.

    :param folder: where they are published, ``s3://.../``.
    :param secrets: texts that no name may have.
    :param stays: whether a file is named where it is, and not published: one on a shared file system.
    :return: the outputs with the new URIs, and what has to be copied.
    :raises EvaluationError: for a name that S3 or the run cannot have.
    """
    taken = _Taken()
    placed: dict[tuple[str, str], Placed] = {}

    def put(output: str, found: PathAt) -> str:
        if stays(found.value):
            return found.value
        source = f"{found.value.rstrip('/')}/" if found.directory else found.value
        wanted = _checked(redact(names.of(output).filled(_values(names, output, found)), secrets), output, folder)
        if (source, wanted) not in placed:
            placed[source, wanted] = Placed(output, source, taken.free(wanted, directory=found.directory))
        return f"{folder}{placed[source, wanted].name}"

    return map_output_paths(plan, outputs, put), list(placed.values())


def _values(names: Names, output: str, found: PathAt) -> dict[str, str]:
    name = found.value.rstrip("/").rpartition("/")[2]
    stem, suffix = split_suffix(name)
    of_file = {"name": name, "stem": stem, "suffix": suffix, "index": "/".join(found.steps)}
    return {**names.values, **of_file, "shard": ".".join(found.steps), "output": key_safe(output)}


def _checked(name: str, output: str, folder: str) -> str:
    key = f"{folder}{name}".removeprefix("s3://").partition("/")[2]
    if not name or {".", ".."} & set(name.split("/")):
        raise EvaluationError(f"output {output} cannot be published as {name!r}", hint="change publish_names")
    if len(key.encode()) > LONGEST_KEY:
        raise EvaluationError(
            f"output {output} cannot be published as {name[:80]}...: the key would have {len(key.encode())} bytes, "
            f"and S3 takes {LONGEST_KEY}",
            hint="give it a shorter name by publish_names, or change publish_to",
        )
    return name


def split_suffix(name: str) -> tuple[str, str]:
    """A file's name before its suffix, and the suffix with its dot: ``.bam``, ``.fastq.gz``; empty if there is none."""
    found = _SUFFIX.search(name)
    return (name[: found.start()], found.group()) if found else (name, "")


class _Taken:
    """Names that are taken, and the folders that they are in."""

    def __init__(self) -> None:
        self._names = {OUTPUTS, MANIFEST, CHECKSUMS}
        self._folders: set[str] = set()
        self._numbers: dict[tuple[str, str], int] = {}

    def free(self, wanted: str, *, directory: bool) -> str:
        """The name, or the first one with a number that is free; from now on it is taken."""
        *folders, last = wanted.split("/")
        path = ""
        for folder in folders:
            path = f"{self._numbered(path + folder, '', self._names)}/"
            self._folders.add(path.rstrip("/"))
        stem, suffix = (last, "") if directory else split_suffix(last)
        name = self._numbered(path + stem, suffix, self._names, self._folders)
        self._names.add(name)
        return name

    def _numbered(self, stem: str, suffix: str, *taken: set[str]) -> str:
        name, number = stem + suffix, self._numbers.get((stem, suffix), 1)
        while any(name in some for some in taken):
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._numbers[stem, suffix] = number if len(taken) > 1 else 1
        return name
