"""JSON schemas (draft 2020-12) of WDL types: what a form or an editor may know of an input's values.

The JSON form of each type is that of the WDL specification, "JSON Serialization of WDL Types": a Pair is an object
with ``left`` and ``right``, a Map an object, an optional value may be null.
"""

from __future__ import annotations

from typing import Any

from WDL import Type

_SIMPLE: dict[type[Type.Base], dict[str, Any]] = {
    Type.String: {"type": "string"},
    Type.Int: {"type": "integer"},
    Type.Float: {"type": "number"},
    Type.Boolean: {"type": "boolean"},
    Type.File: {"type": "string", "format": "file-path"},
    Type.Directory: {"type": "string", "format": "directory-path"},
    Type.Object: {"type": "object"},
}


def schema_of(wdl_type: Type.Base) -> dict[str, Any]:
    """The schema of a type's values as JSON. Structs are written out where they are used; WDL has no recursive ones."""
    schema = _schema(wdl_type)
    if wdl_type.optional and "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return schema


def _schema(wdl_type: Type.Base) -> dict[str, Any]:
    simple = _SIMPLE.get(type(wdl_type))
    if simple is not None:
        return dict(simple)
    if isinstance(wdl_type, Type.Array):
        length = {"minItems": 1} if wdl_type.nonempty else {}
        return {"type": "array", "items": schema_of(wdl_type.item_type), **length}
    if isinstance(wdl_type, Type.Map):
        return {"type": "object", "additionalProperties": schema_of(wdl_type.item_type[1])}
    if isinstance(wdl_type, Type.Pair):
        return _object({"left": wdl_type.left_type, "right": wdl_type.right_type})
    if isinstance(wdl_type, Type.StructInstance):
        return {"title": wdl_type.type_name, **_object(wdl_type.members or {})}
    return {}


def _object(members: dict[str, Type.Base]) -> dict[str, Any]:
    required = [name for name, member in members.items() if not member.optional]
    return {
        "type": "object",
        "properties": {name: schema_of(member) for name, member in members.items()},
        **({"required": required} if required else {}),
    }
