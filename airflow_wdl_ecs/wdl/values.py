"""WDL types from their text, and WDL values as JSON, exactly, both ways.

Every value that crosses a process - a call's inputs, its outputs, ``outputs.json`` - crosses as this JSON.
It follows the specification's "JSON Serialization of WDL Types" and, where that has no form, one form without loss:

- a ``Pair`` is ``{"left": ..., "right": ...}``;
- the keys of a ``Map`` are the text of the key: a string as it is, ``7``, ``2.5``, ``true``; a key of a compound type
  is its own JSON text. In a ``Map[String?, X]`` (or ``File?``) a missing key is ``null``, and a string that could be
  mistaken for that, or that begins with a double quote, stands in double quotes;
- a ``File`` or ``Directory`` is its URI, a ``Directory`` without a trailing slash.

Values are taken as they are: whether a file exists, and where, is not known here.
"""

from __future__ import annotations

import json
import math
import re
import sys
from functools import lru_cache
from typing import Any

import WDL

from ..plan import Document

JSON = Any
"""A value as ``json.loads`` gives it."""

_SIMPLE: dict[str, type[WDL.Type.Base]] = {
    "Boolean": WDL.Type.Boolean,
    "Int": WDL.Type.Int,
    "Float": WDL.Type.Float,
    "String": WDL.Type.String,
    "File": WDL.Type.File,
    "Directory": WDL.Type.Directory,
}
_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[\[\],?+])")
_PATHS = (WDL.Type.File, WDL.Type.Directory)
_TEXTS = (WDL.Type.String, *_PATHS)


class ValueMismatch(ValueError):  # noqa: N818 - it says what it is, and is no error of the package
    """A JSON value is not one of the WDL type that it is read as; the text says where in the value, and why."""


# --- types -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def struct_members(document: Document) -> dict[str, dict[str, WDL.Type.Base]]:
    """The structs of a document: struct name -> member name -> type."""
    if not document.structs.strip():
        return {}
    parsed = WDL.parse_document(f"version {document.wdl_version}\n{document.structs}", document.wdl_version)
    parsed.typecheck()
    return {binding.name: binding.value.members for binding in parsed.struct_typedefs}


@lru_cache(maxsize=4096)
def parse_type(text: str, document: Document) -> WDL.Type.Base:
    """The WDL type that ``text`` is, as miniwdl prints types (``Map[String,Array[File]+]?``).

    It also reads what only expressions have: ``Any``, ``None`` and ``object(...)``, the types of ``read_json()``, of
    the literal ``None`` and of an object literal; the last is taken as ``Any``.

    :raises ValueError: if it is not a type, or names a struct that the document does not have.
    """
    if text.startswith("object("):
        return WDL.Type.Any()
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s+", "", text):
        raise ValueError(f"not a WDL type: {text}")
    tokens.append("")
    parsed, end = _parse_type(tokens, 0, struct_members(document))
    if end != len(tokens) - 1:
        raise ValueError(f"not a WDL type: {text}")
    return parsed


def _parse_type(tokens: list[str], at: int, structs: dict[str, dict[str, WDL.Type.Base]]) -> tuple[WDL.Type.Base, int]:
    name = tokens[at]
    if not name.isidentifier():
        raise ValueError(f"not a WDL type: {''.join(tokens)}")
    at += 1
    parameters: list[WDL.Type.Base] = []
    if tokens[at] == "[":
        while tokens[at] in ("[", ","):
            parameter, at = _parse_type(tokens, at + 1, structs)
            parameters.append(parameter)
        if tokens[at] != "]":
            raise ValueError(f"not a WDL type: {''.join(tokens)}")
        at += 1
    nonempty = tokens[at] == "+"
    at += nonempty
    optional = tokens[at] == "?"
    at += optional
    return _type(name, parameters, optional, nonempty, structs), at


def _type(
    name: str,
    parameters: list[WDL.Type.Base],
    optional: bool,
    nonempty: bool,
    structs: dict[str, dict[str, WDL.Type.Base]],
) -> WDL.Type.Base:
    if name == "Array" and len(parameters) == 1:
        return WDL.Type.Array(parameters[0], optional=optional, nonempty=nonempty)
    if name == "Map" and len(parameters) == 2:
        return WDL.Type.Map((parameters[0], parameters[1]), optional=optional)
    if name == "Pair" and len(parameters) == 2:
        return WDL.Type.Pair(parameters[0], parameters[1], optional=optional)
    if parameters or nonempty:
        raise ValueError(f"not a WDL type: {name}[...]")
    if name in _SIMPLE:
        return _SIMPLE[name](optional)  # type: ignore[call-arg]
    if name in ("Any", "None"):
        return WDL.Type.Any(null=name == "None")
    if name not in structs:
        raise ValueError(f"no such WDL type: {name}")
    struct = WDL.Type.StructInstance(name, optional)
    struct.members = structs[name]
    return struct


def admits(wdl_type: WDL.Type.Base, value: WDL.Value.Base) -> bool:
    """Whether every ``None`` in a value of a type stands where the type allows one."""
    if isinstance(value, WDL.Value.Null):
        return wdl_type.optional or isinstance(wdl_type, WDL.Type.Any)
    if isinstance(wdl_type, WDL.Type.StructInstance) and isinstance(value, WDL.Value.Struct):
        members = wdl_type.members or {}
        return all(admits(members[name], member) for name, member in value.value.items() if name in members)
    if isinstance(wdl_type, WDL.Type.Map) and isinstance(value, WDL.Value.Map):
        return all(admits(of, part) for item in value.value for of, part in zip(wdl_type.item_type, item, strict=True))
    if isinstance(wdl_type, WDL.Type.Pair) and isinstance(value, WDL.Value.Pair):
        return admits(wdl_type.left_type, value.value[0]) and admits(wdl_type.right_type, value.value[1])
    if isinstance(wdl_type, WDL.Type.Array) and isinstance(value, WDL.Value.Array):
        return all(admits(wdl_type.item_type, item) for item in value.value)
    return True


# --- JSON to values --------------------------------------------------------------------------------------------------


def from_json(wdl_type: str | WDL.Type.Base, value: JSON, document: Document | None = None) -> WDL.Value.Base:
    """The WDL value of a type that a JSON value stands for.

    No value is converted on the way, but for what JSON cannot tell apart: an integral number is an ``Int`` or a
    ``Float`` as the type says.

    :param wdl_type: the type, or its text, which is understood in ``document``.
    :raises ValueMismatch: if it is not a value of the type; the text names the place in the value, such as
        ``[2].left: ...``.
    :raises ValueError: if the text is not a type.
    """
    if isinstance(wdl_type, str):
        if document is None:
            raise ValueError("the text of a type needs its document")
        wdl_type = parse_type(wdl_type, document)
    return _from_json(wdl_type, value, "")


def _from_json(wdl_type: WDL.Type.Base, value: JSON, where: str) -> WDL.Value.Base:
    if value is None:
        if wdl_type.optional or isinstance(wdl_type, WDL.Type.Any):
            return WDL.Value.Null()
        raise _mismatch(wdl_type, value, where)
    if isinstance(wdl_type, WDL.Type.Any):
        return WDL.Value.from_json(WDL.Type.Any(), value)
    read = _compound_from_json(wdl_type, value, where)
    if read is None:
        read = _primitive_from_json(wdl_type, value)
    if read is None:
        raise _mismatch(wdl_type, value, where)
    return read


def _mismatch(wdl_type: WDL.Type.Base, value: JSON, where: str) -> ValueMismatch:
    text = _shown(value)
    return ValueMismatch(f"{where}: {text} is not a value of type {wdl_type}" if where else f"{text} is not {wdl_type}")


def _shown(value: JSON) -> str:
    """A value in one short line. Of a large one no more is read than is shown: there may be many mistakes in it."""
    text = ""
    try:
        for part in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
            text += part
            if len(text) > 80:
                return text[:77] + "..."
    except (RecursionError, ValueError):  # nested too deeply, or a number of very many digits
        return f"a very {'deep' if isinstance(value, (list, dict)) else 'long'} {type(value).__name__}"
    return text


def _primitive_from_json(wdl_type: WDL.Type.Base, value: JSON) -> WDL.Value.Base | None:
    if isinstance(wdl_type, WDL.Type.Boolean):
        return WDL.Value.Boolean(value) if isinstance(value, bool) else None
    if isinstance(wdl_type, (WDL.Type.Int, WDL.Type.Float)):
        return _number(wdl_type, value)
    if not isinstance(value, str):
        return None
    check_text(value)
    if isinstance(wdl_type, WDL.Type.File):
        return None if value.endswith("/") else WDL.Value.File(value)
    if isinstance(wdl_type, WDL.Type.Directory):
        return WDL.Value.Directory(value)
    return WDL.Value.String(value) if isinstance(wdl_type, WDL.Type.String) else None


def _number(wdl_type: WDL.Type.Base, value: JSON) -> WDL.Value.Base | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > sys.float_info.max:
        return None
    if value != value:  # noqa: PLR0124 - not a number
        return None
    if isinstance(wdl_type, WDL.Type.Float):
        return WDL.Value.Float(float(value))
    return WDL.Value.Int(int(value)) if int(value) == value and in_range(int(value)) else None


def in_range(number: int) -> bool:
    """Whether an integer is one of WDL's, which have 64 bits and a sign ("Primitive Types")."""
    return -(2**63) <= number < 2**63


def _compound_from_json(wdl_type: WDL.Type.Base, value: JSON, where: str) -> WDL.Value.Base | None:
    if isinstance(wdl_type, WDL.Type.Array) and isinstance(value, list):
        if wdl_type.nonempty and not value:
            raise ValueMismatch(f"{where}: empty, but {wdl_type} has at least one item".lstrip(": "))
        item = wdl_type.item_type
        return WDL.Value.Array(item, [_from_json(item, found, f"{where}[{at}]") for at, found in enumerate(value)])
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return None
    for key in value:
        check_text(key)
    if isinstance(wdl_type, WDL.Type.Pair) and {key.lower() for key in value} == {"left", "right"}:
        sides = {key.lower(): found for key, found in value.items()}
        left = _from_json(wdl_type.left_type, sides["left"], f"{where}.left")
        right = _from_json(wdl_type.right_type, sides["right"], f"{where}.right")
        return WDL.Value.Pair(wdl_type.left_type, wdl_type.right_type, (left, right))
    if isinstance(wdl_type, WDL.Type.Map):
        key_type, item = wdl_type.item_type
        return WDL.Value.Map(
            wdl_type.item_type,
            [
                (_key_from_json(key_type, key, where), _from_json(item, found, f"{where}[{json.dumps(key)}]"))
                for key, found in value.items()
            ],
        )
    if isinstance(wdl_type, WDL.Type.StructInstance):
        return _struct_from_json(wdl_type, value, where)
    return None


def _struct_from_json(wdl_type: WDL.Type.StructInstance, value: dict[str, JSON], where: str) -> WDL.Value.Base:
    members = wdl_type.members or {}
    missing = [name for name, member in members.items() if name not in value and not member.optional]
    unknown = [name for name in value if name not in members]
    if missing or unknown:
        wrong = [f"no {name!r}" for name in missing] + [f"unknown {name!r}" for name in unknown]
        raise ValueMismatch(f"{where}: struct {wdl_type.type_name}: {', '.join(wrong)}".removeprefix(": "))
    return WDL.Value.Struct(
        wdl_type, {name: _from_json(members[name], found, f"{where}.{name}") for name, found in value.items()}
    )


def _key_from_json(key_type: WDL.Type.Base, key: str, where: str) -> WDL.Value.Base:
    place = f"{where}[{json.dumps(key)}] (key)"
    if isinstance(key_type, WDL.Type.Any):
        return WDL.Value.String(key)
    if isinstance(key_type, _TEXTS) and not key_type.optional:
        return _from_json(key_type, key, place)
    if isinstance(key_type, _TEXTS):
        plain = key != "null" and not key.startswith('"')
        return _from_json(key_type, key if plain else _loads(key, key_type, place), place)
    return _from_json(key_type, _loads(key, key_type, place), place)


def _loads(key: str, key_type: WDL.Type.Base, place: str) -> JSON:
    try:
        return json.loads(key)
    except ValueError:
        raise _mismatch(key_type, key, place) from None


# --- values to JSON --------------------------------------------------------------------------------------------------


def to_json(value: WDL.Value.Base) -> JSON:
    """The JSON of a WDL value; `from_json` with the value's declared type gives the same value again.

    :raises ValueMismatch: for a number that is not finite (the specification's ``Float`` is), or two keys of a map
        whose text is the same.
    """
    if isinstance(value, WDL.Value.Array):
        return [to_json(item) for item in value.value]
    if isinstance(value, WDL.Value.Pair):
        return {"left": to_json(value.value[0]), "right": to_json(value.value[1])}
    if isinstance(value, WDL.Value.Struct):
        return {name: to_json(member) for name, member in value.value.items()}
    if isinstance(value, WDL.Value.Map):
        members: dict[str, JSON] = {}
        for key, item in value.value:
            text = _key_to_json(value.type.item_type[0], key)
            if text in members:
                raise ValueMismatch(f"two keys of a {value.type} are {text!r}")
            members[text] = to_json(item)
        return members
    if isinstance(value, WDL.Value.Float) and not math.isfinite(value.value):
        raise ValueMismatch(f"{value.value} is not a finite number, as a WDL Float must be")
    if isinstance(value.value, str):
        check_text(value.value)
    return value.value


def check_text(text: str) -> None:
    """Refuse what no file, command or database takes for text.

    :raises ValueMismatch: for a NUL character, and for half of a surrogate pair.
    """
    if "\0" in text:
        raise ValueMismatch(f"{_shown(text)} has a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueMismatch(f"{json.dumps(text)[:80]} is not Unicode text at character {error.start + 1}") from None


def _key_to_json(key_type: WDL.Type.Base, key: WDL.Value.Base) -> str:
    found = to_json(key)
    if isinstance(found, str) and isinstance(key_type, (*_TEXTS, WDL.Type.Any)):
        quoted = key_type.optional and (found == "null" or found.startswith('"'))
        return json.dumps(found, ensure_ascii=False) if quoted else found
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))
