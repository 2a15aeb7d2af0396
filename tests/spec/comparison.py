"""Whether the outputs of a run are those that an example of the specification gives.

Both sides are JSON; ours has files as URIs. The rules, where the specification's JSON leaves them open:

- only the outputs that the example lists are compared, and not those that its configuration excludes;
- the part of an output's name before the first dot is not compared: several examples name another workflow there;
- a file or directory is the one expected if it has the expected base name, or (a file) the expected contents;
- numbers are equal within a millionth, since the examples round them; a Boolean is not a number;
- the members of an object (a struct, a map, a pair) have no order, the items of an array do;
- a member that is null may be left out: an optional member of a struct that is not given is ``None``.

This module knows neither how an example is run nor where files are: it asks `Files`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class Files(Protocol):
    """The files and directories among our outputs."""

    def is_path(self, value: str) -> bool:
        """Whether a string of the outputs is where a file or directory is."""

    def read(self, path: str) -> bytes | None:
        """The contents of a file; None for a directory."""


_TOLERANCE = 1e-6


def differences(
    expected: Mapping[str, Any], ours: Mapping[str, Any], files: Files, excluded: Iterable[str] = ()
) -> list[str]:
    """What differs, one line each, beginning with the output's name; empty if nothing does.

    :param excluded: outputs that are not compared.
    """
    found: list[str] = []
    given = {_local(name): value for name, value in ours.items()}
    left_out = {_local(name) for name in excluded}
    for name, value in expected.items():
        local = _local(name)
        if local in left_out:
            continue
        if local not in given:
            found.append(f"{local}: no such output")
        else:
            found += _compare(local, value, given[local], files)
    return found


def _local(name: str) -> str:
    return name.split(".", 1)[-1]


def _compare(where: str, expected: Any, ours: Any, files: Files) -> list[str]:
    if isinstance(expected, dict) and isinstance(ours, dict):
        one, other = _without_null(expected), _without_null(ours)
        if one.keys() != other.keys():
            return [f"{where}: members {sorted(one)} expected, not {sorted(other)}"]
        return [line for key in one for line in _compare(f"{where}.{key}", one[key], other[key], files)]
    if isinstance(expected, list) and isinstance(ours, list):
        if len(expected) != len(ours):
            return [f"{where}: {len(expected)} items expected, not {len(ours)}: {expected!r}, not {ours!r}"]
        pairs = enumerate(zip(expected, ours, strict=True))
        return [line for index, pair in pairs for line in _compare(f"{where}[{index}]", *pair, files)]
    if isinstance(expected, str) and isinstance(ours, str) and files.is_path(ours):
        return [] if _is_file(expected, ours, files) else [f"{where}: {expected!r} expected, not {ours!r}"]
    return [] if _same(expected, ours) else [f"{where}: {expected!r} expected, not {ours!r}"]


def _without_null(members: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value is not None}


def _is_file(expected: str, path: str, files: Files) -> bool:
    if _base(expected) == _base(path):
        return True
    contents = files.read(path)
    return contents is not None and contents.decode(errors="replace").rstrip("\n") == expected


def _base(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _same(expected: Any, ours: Any) -> bool:
    if isinstance(expected, bool) or isinstance(ours, bool):
        return expected is ours
    if isinstance(expected, (int, float)) and isinstance(ours, (int, float)):
        return math.isclose(expected, ours, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(expected == ours)
