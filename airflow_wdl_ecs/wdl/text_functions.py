"""What the functions of the standard library do with text: a file's contents as values, names, regular expressions.

Text goes in and a value comes out; where the text is from is not known here.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import regex
import WDL

from ..errors import EvaluationError
from .limits import check_text
from .values import in_range

_INTEGER = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_REGEX_SECONDS = 10
"""A pattern that takes longer on a text is one that takes for ever on a text a little longer."""
_LONGEST_PATTERN = 10_000


def lines_of(text: str) -> list[str]:
    """The lines of a file, without their ``\\n``; none if it is empty."""
    return text.removesuffix("\n").split("\n") if text else []


def integer(text: str) -> int:
    """The one integer that a file holds.

    :raises EvaluationError: if it holds anything else.
    """
    digits = _only(text, _INTEGER, "Int")
    # 19 digits are the most; Python takes long for very many.
    number = int(digits) if len(digits.lstrip("+-0")) < 20 else None
    if number is None or not in_range(number):
        raise EvaluationError(f"{digits[:60]} is beyond the 64 bits of an Int")
    return number


def real(text: str) -> float:
    """The one finite number that a file holds.

    :raises EvaluationError: if it holds anything else.
    """
    number = float(_only(text, _REAL, "Float"))
    if not math.isfinite(number):
        raise EvaluationError(f"{text.strip()} is too large for a Float")
    return number


def _only(text: str, pattern: re.Pattern[str], what: str) -> str:
    found = text.strip()
    if not pattern.fullmatch(found):
        raise EvaluationError(f"the file holds {found[:60]!r}, which is not one {what}")
    return found


def parse_json(text: str) -> Any:
    """What a JSON file holds.

    :raises EvaluationError: if it is not JSON; ``NaN`` and the like are not.
    """

    def refuse(constant: str) -> Any:
        raise EvaluationError(f"the file is not JSON: {constant} is not a number of JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError as error:
        raise EvaluationError(f"the file is not JSON: {error}") from error
    except RecursionError:
        raise EvaluationError("the file's JSON is nested too deeply") from None


def objects(names: list[str], rows: list[list[str]]) -> WDL.Value.Base:
    """A table as an array of maps from column name to cell.

    :raises EvaluationError: if a name is empty or not unique, or a row has more or fewer cells than there are names.
    """
    row_type = WDL.Type.Map((WDL.Type.String(), WDL.Type.String()))
    if len(set(names)) != len(names) or (rows and "" in names):
        raise EvaluationError(f"column names are empty or not unique: {', '.join(names)}")
    if any(len(row) != len(names) for row in rows):
        raise EvaluationError(f"a row does not have {len(names)} fields, as there are column names")
    return WDL.Value.Array(
        row_type,
        [
            WDL.Value.Map(
                row_type.item_type,
                [(WDL.Value.String(name), WDL.Value.String(cell)) for name, cell in zip(names, row, strict=True)],
            )
            for row in rows
        ],
    )


def basename(path: str, suffix: str = "") -> str:
    """The last part of a path or URI, without the suffix."""
    return path.rstrip("/").rpartition("/")[2].removesuffix(suffix)


def _compiled(pattern: str) -> Any:
    if len(pattern) > _LONGEST_PATTERN:
        raise EvaluationError(f"a regular expression of {len(pattern)} characters; {_LONGEST_PATTERN} is the most")
    try:
        return regex.compile(pattern, flags=regex.POSIX)
    except regex.error as error:
        raise EvaluationError(f"{pattern!r} is not a regular expression: {error}") from error


def search(text: str, pattern: str) -> Any:
    """The first, longest match of an extended regular expression, or None.

    :raises EvaluationError: if the pattern is none. :raises TimeoutError: if it takes too long.
    """
    return _compiled(pattern).search(text, timeout=_REGEX_SECONDS)


def find(text: str, pattern: str) -> WDL.Value.Base:
    """The text of the first match, or ``None``; raises as `search`."""
    found = search(text, pattern)
    return WDL.Value.String(found.group(0)) if found else WDL.Value.Null()


def substitute(text: str, pattern: str, replacement: str) -> str:
    """The text with every match replaced; ``\\1`` to ``\\9`` stand for groups that the pattern has.

    Raises as `search`.
    """
    compiled = _compiled(pattern)
    total = 0

    def replace(found: Any) -> str:
        nonlocal total

        def group(reference: re.Match[str]) -> str:
            number = int(reference.group(1))
            return (found.group(number) or "") if number <= compiled.groups else reference.group(0)

        replaced = re.sub(r"\\([1-9])", group, replacement)
        total += len(replaced)
        check_text(total)
        return replaced

    return str(compiled.sub(replace, text, timeout=_REGEX_SECONDS))
