"""What an author says of an input in ``parameter_meta``, in the keys that people use.

The WDL specification leaves the keys free. Read here are a plain text, and of an object: ``description``, ``help``,
``label``, ``group``, ``category``, ``choices``, ``suggestions``, ``patterns``, ``pattern``, ``example``, ``range``,
``min`` and ``max``. What is not of the form that a key is known for is left out, never an error: the workflow runs
without it.
This module knows neither WDL's types nor Airflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_CATEGORIES = {"common": "Common inputs", "advanced": "Advanced inputs"}


@dataclass(frozen=True)
class ParameterMeta:
    """An input's documentation.

    :param description: in words. :param label: what to call it instead of its name.
    :param section: the part of a form in which it belongs.
    :param choices: the only values that it may have, with what to call each.
    :param suggestions: some values that it may have.
    :param pattern: the regular expression that text must contain a match of.
    :param file_names: shell patterns of the names that its files usually have.
    :param minimum: of a number. :param maximum: of a number.
    :param example: a value, for people to read.
    """

    description: str = ""
    label: str = ""
    section: str = ""
    choices: Mapping[Any, str] = field(default_factory=dict)
    suggestions: tuple[Any, ...] = ()
    pattern: str = ""
    file_names: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    example: Any = None


NOTHING_SAID = ParameterMeta()


def read_parameter_meta(meta: Any) -> ParameterMeta:
    """Read an input's ``parameter_meta`` as a plan has it."""
    if isinstance(meta, str):
        return ParameterMeta(description=meta.strip())
    if not isinstance(meta, Mapping):
        return NOTHING_SAID
    minimum, maximum = _range(meta)
    return ParameterMeta(
        description=_description(meta),
        label=_text(meta, "label") or _text(meta, "title"),
        section=_text(meta, "group") or _CATEGORIES.get(_text(meta, "category").lower(), ""),
        choices=dict(_choices(meta.get("choices"))),
        suggestions=tuple(value for value, _ in _choices(meta.get("suggestions"))),
        pattern=_pattern(_text(meta, "pattern")),
        file_names=_texts(meta.get("patterns")),
        minimum=minimum,
        maximum=maximum,
        example=next((meta[key] for key in ("example", "examples") if meta.get(key) is not None), None),
    )


def _text(meta: Mapping[str, Any], key: str) -> str:
    value = meta.get(key)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _description(meta: Mapping[str, Any]) -> str:
    texts = [text for key in ("description", "help") if (text := _text(meta, key))]
    return " ".join(dict.fromkeys(texts))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else ()


def _choices(values: Any) -> Iterator[tuple[Any, str]]:
    """Values with their names; a choice is a value, or an object with its ``name`` and ``value``."""
    for choice in values if isinstance(values, list) else ():
        name, value = (choice.get("name"), choice.get("value")) if isinstance(choice, Mapping) else (None, choice)
        if isinstance(value, (str, int, float)):
            yield value, str(value if name is None else name)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error:
        return ""
    return text


def _range(meta: Mapping[str, Any]) -> tuple[float | None, float | None]:
    given = meta.get("range")
    if isinstance(given, list) and len(given) == 2:
        return _number(given[0]), _number(given[1])
    bounds = given if isinstance(given, Mapping) else meta
    low, high = (next((bounds[key] for key in keys if key in bounds), None) for keys in (_LOW, _HIGH))
    return _number(low), _number(high)


_LOW = ("min", "minimum")
_HIGH = ("max", "maximum")


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
