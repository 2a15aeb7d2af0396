"""How a setting is declared: a dataclass field with its help, an example, and how it is read from text.

It knows no setting by name; the tables of settings are in ``placement_settings``, ``resource_settings`` and
``settings``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal

SECTION = "wdl_ecs"
"""The section of Airflow's configuration that holds these settings."""

Kind = Literal["text", "list", "pairs", "flag", "integer", "number"]

TYPES: dict[str, str] = {"text": "string", "list": "string", "pairs": "string", "flag": "boolean"}
_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def setting(default: Any, kind: Kind, help: str, *, example: str | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field for a setting.

    :param help: a sentence for deployers. :param example: as text that `read` takes. :param choices: all values.
    """
    metadata = {"kind": kind, "help": help, "example": example, "choices": choices}
    if kind == "pairs":
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def how_to_set(name: str) -> str:
    """How a deployer sets a setting, in one line."""
    return f"[{SECTION}] {name} (or AIRFLOW__{SECTION.upper()}__{name.upper()}, or EcsSettings({name}=...))"


def read(value: Any, kind: Kind) -> Any:
    """The value of a setting, from text or as it is given.

    :raises ValueError: saying what it is not.
    """
    readers: dict[str, Callable[[Any], Any]] = {
        "text": _read_text,
        "list": _read_list,
        "pairs": _read_pairs,
        "flag": _read_flag,
        "integer": lambda given: int(str(given).strip()),
        "number": lambda given: float(str(given).strip()),
    }
    try:
        return readers[kind](value)
    except ValueError:
        raise ValueError(f"{value!r} is not {_WANTED[kind]}") from None


_WANTED: dict[str, str] = {
    "text": "a text",
    "list": "a list (separate its items by commas)",
    "pairs": "a list of name=value (separate them by commas)",
    "flag": "true or false",
    "integer": "a whole number",
    "number": "a number",
}


def _read_text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError
    return value.strip() if value else value


def _read_list(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text.startswith("[") else text.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(item.strip() for item in value if item.strip())


def _read_pairs(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith("{"):
            pairs = [item.partition("=") for item in text.split(",") if item.strip()]
            if not all(equals for _, equals, _ in pairs):
                raise ValueError
            return {name.strip(): rest.strip() for name, _, rest in pairs}
        value = json.loads(text)
    if not isinstance(value, Mapping):
        raise ValueError
    return {str(name): str(item) for name, item in value.items()}


def _read_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    try:
        return _SWITCH[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None
