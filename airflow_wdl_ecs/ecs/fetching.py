"""Which of an attempt's inputs one process of the AWS CLI can fetch, and by which patterns (pure).

A process of the AWS CLI takes most of a second to begin, so a thousand files must not take a thousand. One process
fetches several files if they are below one folder of S3 and it is told which: it lists all of that folder, and compares
every object with every pattern. So files are told of in as few patterns as there can be, each of which matches these
files and nothing else.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..task import StageIn

MANY = 16
"""Files that are worth a listing of the folder above them; fewer are fetched one by one."""

_DEEPEST = 100
"""Parts of a URI that are looked at; a key has room for five hundred."""

_MERGED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
"""Characters of which a class is made: what means something in a pattern is not among them."""


@dataclass(frozen=True)
class Folder:
    """Files below one folder of S3.

    :param uri: of the folder, with its slash.
    :param places: the names in a folder below it that are wanted: (path of that folder, with a slash if it has any;
        folder in the container, with a slash) -> names.
    """

    uri: str
    places: Mapping[tuple[str, str], Sequence[str]]

    def names(self) -> list[str]:
        """The paths of all files, relative to the folder."""
        return [below + name for (below, _), names in self.places.items() for name in names]


def folders(inputs: Sequence[StageIn]) -> tuple[list[Folder], list[StageIn]]:
    """The inputs that are fetched by folders, and those that are fetched one by one, in order.

    A folder is as deep as can be: of files that lie one in a folder, as a scatter's outputs do, the one above them all.
    A whole bucket is none, unless the files lie in it directly.
    """
    alone, root = [], _Node("s3://")
    for item in inputs:
        parts = item.uri.removeprefix("s3://").split("/")
        name = posixpath.basename(item.path)
        # The AWS CLI writes to the path that the key says, and puts the folder before each pattern, unescaped.
        odd = any(part in ("", ".", "..") for part in parts) or any(char in "/".join(parts[:-1]) for char in "*?[")
        if item.directory or odd or not 2 <= len(parts) <= _DEEPEST or parts[-1] != name:
            alone.append(item)
        else:
            root.add(parts[:-1], item)
    found: list[Folder] = []
    alone += root.folders(found)
    order = {item.path: number for number, item in enumerate(inputs)}
    return found, sorted(alone, key=lambda item: order[item.path])


@dataclass
class _Node:
    """A folder of S3 with the inputs directly in it, and the folders in it."""

    uri: str
    files: list[StageIn] = field(default_factory=list)
    below: dict[str, _Node] = field(default_factory=dict)

    def add(self, parts: Sequence[str], item: StageIn) -> None:
        node = self
        for part in parts:
            if part not in node.below:
                node.below[part] = _Node(f"{node.uri}{part}/")
            node = node.below[part]
        node.files.append(item)

    def folders(self, found: list[Folder]) -> list[StageIn]:
        """The files that no folder has; folders are added to ``found``."""
        left = [item for node in self.below.values() for item in node.folders(found)]
        depth = self.uri.count("/") - 2
        mine = self.files + (left if depth > 1 else [])
        if depth < 1 or len(mine) < MANY:
            return self.files + left
        places: dict[tuple[str, str], list[str]] = defaultdict(list)
        for item in mine:
            below, _, name = item.uri[len(self.uri) :].rpartition("/")
            places[f"{below}/" if below else "", posixpath.dirname(item.path) + "/"].append(name)
        found.append(Folder(self.uri, places))
        return [] if depth > 1 else left


def patterns(names: Iterable[str]) -> list[str]:
    """Patterns, as Python's `fnmatch` has them, that match these names and no other.

    Names that differ in one character become one pattern with a class of characters, and so do patterns:
    ``a00``, ``a01``, ... ``a99`` is ``a[0123456789][0123456789]``.
    """
    by_shape: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        by_shape[tuple(char if char not in _MERGED else None for char in name)].append(name)
    return [pattern for alike in by_shape.values() for pattern in _merged(alike)]


def _merged(names: Sequence[str]) -> list[str]:
    """The patterns of names of one length, which have the same characters wherever these are not to be merged."""
    differ = [at for at, chars in enumerate(zip(*names, strict=True)) if len(set(chars)) > 1]
    found = [tuple(name[at] for at in differ) for name in names]
    for at in reversed(range(len(differ))):
        alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
        for columns in found:
            alike[columns[:at], columns[at + 1 :]].append(columns[at])
        found = [(*before, "".join(sorted(chars)), *after) for (before, after), chars in alike.items()]
    template = list(names[0])
    made = []
    for columns in found:
        for at, chars in zip(differ, columns, strict=True):
            template[at] = chars
        made.append("".join(f"[{part}]" if len(part) > 1 or part in "*?[" else part for part in template))
    return made
