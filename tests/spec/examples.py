"""The examples of a WDL specification, as its Markdown text gives them.

Each example stands in a ``<details>`` block: its file name, its WDL, then JSON for its inputs, its outputs and the
configuration of its test. Some of that JSON lacks a comma or has one too many, which is mended here; nothing else is.
This module reads text and gives values. It knows neither miniwdl nor how an example is run.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"<details>(.*?)</details>", re.DOTALL)
_NAME = re.compile(r"^\s*Example:\s*(\S+)\.wdl\s*$", re.MULTILINE)
_WDL = re.compile(r"^([ \t]*)```wdl[^\n]*\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_JSON = re.compile(
    r"^\s*(Example input|Example output|Test config)\s*:?\s*\n\s*```json[^\n]*\n(.*?)```", re.DOTALL | re.MULTILINE
)
_TARGET = re.compile(r"^\s*(workflow|task)\s+(\w+)\s*\{", re.MULTILINE)
_SUFFIXES = ("_task", "_fail")


@dataclass(frozen=True)
class Example:
    """One example of the specification.

    :param name: its file name without ``.wdl``. :param line: of its block in the specification's text, from 1.
    :param inputs: names as in the specification, with the target's name in front.
    :param outputs: likewise. :param config: its ``Test config``.
    """

    version: str
    name: str
    line: int
    source: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.version}/{self.name}"

    @property
    def target(self) -> str | None:
        """The task to run; None for the document's workflow.

        It is what the configuration names, or the task that a name with ``_task`` in its end names, where the
        document has a task of that name; else its workflow, else its only task.
        """
        tasks = [name for kind, name in _TARGET.findall(self.source) if kind == "task"]
        workflows = [name for kind, name in _TARGET.findall(self.source) if kind == "workflow"]
        named = self.config.get("target")
        if named is not None:
            return named if named in tasks else None
        if workflows and "_task" not in self.suffixes:
            return None
        prefixes = {key.split(".", 1)[0] for key in (*self.inputs, *self.outputs)}
        for name in (self.stem, self.name, *sorted(prefixes)):
            if name in tasks:
                return name
        return tasks[0] if len(tasks) == 1 and not workflows else None

    @property
    def suffixes(self) -> frozenset[str]:
        """Those of ``_task`` and ``_fail`` that the name ends in, in either order."""
        found = set()
        rest = self.name
        while ending := next((each for each in _SUFFIXES if rest.endswith(each)), None):
            found.add(ending)
            rest = rest[: -len(ending)]
        return frozenset(found)

    @property
    def stem(self) -> str:
        """The name without its suffixes."""
        rest = self.name
        while ending := next((each for each in _SUFFIXES if rest.endswith(each)), None):
            rest = rest[: -len(ending)]
        return rest

    @property
    def fails(self) -> bool:
        """Whether the example must be refused or fail: its configuration says so, else its name."""
        return bool(self.config.get("fail", "_fail" in self.suffixes))

    @property
    def runnable(self) -> bool:
        """Whether there is something to run; a document that is only imported has nothing."""
        return self.config.get("type") != "resource" and bool(_TARGET.search(self.source))

    @property
    def excluded(self) -> frozenset[str]:
        """Outputs, without the target's name, that are not compared."""
        return frozenset(_words(self.config.get("exclude_output")))

    @property
    def dependencies(self) -> tuple[str, ...]:
        """What the example needs of the machine or the engine beyond the ordinary (``gpu``, ``disks`` ...)."""
        return tuple(_words(self.config.get("dependencies")))

    @property
    def priority(self) -> str:
        """``required``, ``optional`` or ``ignore``."""
        return str(self.config.get("priority", "required"))

    @property
    def return_codes(self) -> frozenset[int]:
        """The exit codes that the target's command may end with; empty if any will do."""
        codes = self.config.get("return_code", "*")
        return frozenset() if codes == "*" else frozenset(codes if isinstance(codes, list) else [codes])


def read_examples(text: str, version: str) -> tuple[Example, ...]:
    """The examples of a specification, in the order in which they stand in its text.

    An example without a file name is called after its workflow or task.

    :param text: the specification in Markdown. :param version: such as ``1.2``.
    :raises ValueError: if a block has no WDL, or its JSON cannot be read.
    """
    return tuple(
        _example(block.group(1), version, text.count("\n", 0, block.start()) + 1) for block in _BLOCK.finditer(text)
    )


def _example(block: str, version: str, line: int) -> Example:
    fenced = _WDL.search(block)
    if fenced is None:
        raise ValueError(f"SPEC-{version}.md:{line}: an example without WDL")
    source = _dedent(fenced[2], len(fenced[1]))
    named = _NAME.search(block[: fenced.start()])
    name = named[1] if named else _TARGET.findall(source)[-1][1]
    sections: dict[str, Any] = {}
    for label, body in _JSON.findall(block[fenced.end() :]):
        try:
            sections[label] = read_lenient(body)
        except json.JSONDecodeError as error:
            raise ValueError(f"SPEC-{version}.md:{line}: {name}: {label}: {error}") from error
    return Example(
        version,
        name,
        line,
        source,
        sections.get("Example input") or {},
        sections.get("Example output") or {},
        sections.get("Test config") or {},
    )


def _dedent(text: str, width: int) -> str:
    """The text without the indentation of the block that holds it; blank lines keep what they have beyond that."""
    lines = text.split("\n")
    return "\n".join(line[min(width, len(line) - len(line.lstrip(" \t"))) :] for line in lines)


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_EXTRA_COMMA = re.compile(r",(\s*[\]}])")
_MISSING_COMMA = re.compile(r'(["\]}\w])(\s*\n\s*)(?=["\[{])')


def read_lenient(text: str) -> Any:
    """JSON in which a comma may be missing at the end of a line, or stand before a closing bracket.

    :raises json.JSONDecodeError: if it cannot be read even so.
    """
    strings: list[str] = []

    def hide(match: re.Match[str]) -> str:
        strings.append(match[0])
        return f'"{len(strings) - 1}"'

    hidden = _STRING.sub(hide, text)
    hidden = _EXTRA_COMMA.sub(r"\1", _MISSING_COMMA.sub(r"\1,\2", hidden))
    return json.loads(re.sub(r'"(\d+)"', lambda match: strings[int(match[1])], hidden))


def write_examples(examples: tuple[Example, ...], data: Path, folder: Path) -> None:
    """Write every example of one version, and the data files that their inputs name, side by side into ``folder``."""
    shutil.copytree(data, folder, dirs_exist_ok=True)
    for example in examples:
        (folder / f"{example.name}.wdl").write_text(example.source)


def _words(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(each) for each in value]
