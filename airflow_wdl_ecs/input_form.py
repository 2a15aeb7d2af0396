"""What Airflow's trigger form shows and checks of one input.

The form chooses a field by a schema's ``type``: text, a number, a switch, a drop-down where there is an ``enum``, one
item a line for a list of strings, a JSON editor for what has a deeper form. It wants a value where ``type`` has no
null. Airflow's server checks a run's conf against the same schema; but a run may also give an input by its full name
(``workflow.x``), of which the schema of ``x`` knows nothing. So what is shown and what is checked differ: see `field`.

This module knows the plan; it knows neither Airflow nor miniwdl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .parameter_meta import ParameterMeta, read_parameter_meta
from .plan import Input

OPTIONAL_SECTION = "Optional inputs"
FILE_URI = "^(s3|https?|efs)://[^/]+/.|^/."
"""Where a file of a deployment may be: in S3, on the web, or on a shared file system (see the setting ``mounts``)."""
_PATHS = ("file-path", "directory-path")
_NUMBERS = re.compile(r"Array\[(Int|Float)\??\]\+?\??")
_NUMBER = r"^-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,3})?$"
_EXACT = 2**53 - 1
"""A browser's numbers are doubles: a greater integer may come back as another."""
_KINDS: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float)}

Schema = dict[str, Any]


def form_schema(declared: Input, *, given: bool) -> tuple[Any, Schema]:
    """The value and the JSON schema with which the form starts.

    :param given: whether the DAG has a value of its own for the input.
    :return: the default if it is a literal, else None; and the schema, its keywords for the form included.
    """
    meta = read_parameter_meta(declared.meta)
    default = None if given or not _survives(declared.default) else declared.default
    required = declared.required and not given
    of_type = {key: value for key, value in _not_null(declared.schema).items() if key != "title"}
    checked = _constrained(of_type, meta, default)
    if checked.get("type") == "boolean" and default is None:
        shown, accepted = _BOOLEAN_CHOICE, _BOOLEAN_ANSWERS
    else:
        shown, accepted = _shown(checked, meta), _nullable(_with_texts_of_choices(checked))
    if not required:
        shown = _with_null_type(shown)
    schema = shown if shown == accepted else _checked_as(shown, accepted)
    about = {} if required else {"section": section_of(declared.name, meta)}
    return default, {**schema, **about, **({"title": meta.label} if meta.label else {})}


_BOOLEAN_CHOICE: Schema = {"type": "string", "enum": ["true", "false"]}
"""A switch cannot say that nothing was chosen, and of a required input the form would wait for more than a switch."""
_BOOLEAN_ANSWERS: Schema = {"enum": [True, False, "true", "false", None]}


def answer_of(declared: Input, value: Any) -> Any:
    """The value that an answer of the form means: of a Boolean's drop-down and of a choice of numbers it is a text."""
    if declared.type.rstrip("?") == "Boolean" and value in ("true", "false"):
        return value == "true"
    if isinstance(value, list) and _NUMBERS.fullmatch(declared.type) and read_parameter_meta(declared.meta).choices:
        return [json.loads(item) if isinstance(item, str) and re.match(_NUMBER, item) else item for item in value]
    return value


def section_of(name: str, meta: ParameterMeta) -> str:
    """The part of the form in which an optional input stands."""
    if "." in name:
        return f"Inputs of {name.partition('.')[0]}"
    return meta.section or OPTIONAL_SECTION


def form_text(declared: Input, *, given: bool, shows_default: bool) -> str:
    """What stands below an input's field: the author's words, then name, type and default as WDL has them."""
    meta = read_parameter_meta(declared.meta)
    facts = [f"WDL type {declared.type}"]
    if meta.label:
        facts.insert(0, declared.name)
    if given:
        facts.append("the DAG has a value for it")
    elif declared.default_text and not shows_default:
        facts.append(f"default: {' '.join(declared.default_text.split())}")
    facts += _hints(declared, meta)
    return " ".join(text for text in (meta.description, f"({', '.join(facts)})") if text)


def _hints(declared: Input, meta: ParameterMeta) -> list[str]:
    """What a value looks like."""
    schema = _not_null(declared.schema)
    kind = _kind(schema)
    lists_text = kind == "array" and schema["items"].get("type") == "string"
    found = []
    if meta.file_names:
        found.append(f"usually {' or '.join(meta.file_names)}")
    if lists_text:
        found.append("one a line")
    if meta.example is not None:
        found.append(f"for example {_as_text(meta.example)}")
    elif kind in ("object", "array") and not lists_text:
        found.append(f"such as {_as_text(example(schema))}")
    elif kind != "string" and meta.suggestions:
        found.append(f"such as {', '.join(map(_as_text, meta.suggestions))}")
    if meta.minimum is not None:
        found.append(f"at least {meta.minimum}")
    if meta.maximum is not None:
        found.append(f"at most {meta.maximum}")
    if _has_path(schema):
        found.append("in S3: s3://...")
    return found


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def example(schema: Mapping[str, Any]) -> Any:
    """A value of the form that a JSON schema wants; where that is a string, it is the name of the WDL type."""
    kind = _kind(schema)
    if kind == "array":
        return [example(schema["items"])]
    if kind == "object" and "additionalProperties" in schema:
        return {"key": example(schema["additionalProperties"])}
    if kind == "object":
        members = schema.get("properties", {})
        return {name: example(members[name]) for name in schema.get("required", ())}
    names = {"file-path": "File", "directory-path": "Directory"}
    simple = {"integer": 42, "number": 3.14, "boolean": False}
    return simple.get(kind, names.get(str(schema.get("format")), "String"))


def optional_choice(choices: Mapping[str, str]) -> Schema:
    """The schema of a drop-down that may be left alone.

    :param choices: value -> how it is shown.
    """
    checked: Schema = {"type": "string", "enum": list(choices)}
    return _checked_as(_with_null_type({**checked, "values_display": dict(choices)}), _nullable(checked))


def _checked_as(shown: Schema, checked: Schema) -> Schema:
    """A schema that a form reads as ``shown``, and a validator as ``checked``.

    In JSON Schema up to draft 7 a ``$ref`` replaces all its siblings (section 8.3); Airflow's form does not follow it.
    """
    return {
        **shown,
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/definitions/value",
        "definitions": {"value": checked},
    }


def _constrained(schema: Schema, meta: ParameterMeta, default: Any) -> Schema:
    """The schema with the author's limits, in a list those of its items; none that the default is outside of."""
    kind = _kind(schema)
    if kind == "array":
        return {**schema, "items": _constrained_items(schema["items"], meta, default)}
    if kind == "object":
        return {**schema, **_constrained_members(schema, default)}
    found = dict(schema)
    allowed = _KINDS.get(kind)
    if allowed and meta.choices and all(isinstance(choice, allowed) for choice in meta.choices):
        found["enum"] = [*meta.choices, *([] if default is None or default in meta.choices else [default])]
        if schema["type"] != kind:
            found["enum"].append(None)
    if kind in ("integer", "number"):
        found.update(_bounds(meta, default))
    elif kind == "string" and default is None:
        pattern = meta.pattern or (FILE_URI if schema.get("format") in _PATHS else "")
        found.update({"pattern": pattern} if pattern else {})
    return found


def _constrained_items(items: Schema, meta: ParameterMeta, default: Any) -> Schema:
    """The schema of a list's items. An empty line in the form's box is an item, so an empty text is refused."""
    values = default if isinstance(default, list) and default else [None]
    for value in values:
        items = _constrained(items, meta, value)
    return {**items, "minLength": 1} if items.get("type") == "string" and "" not in values else items


def _constrained_members(schema: Schema, default: Any) -> Schema:
    if default is not None:
        return {}
    plain = ParameterMeta()
    if "properties" in schema:
        return {"properties": {name: _constrained(each, plain, None) for name, each in schema["properties"].items()}}
    values = schema.get("additionalProperties")
    return {"additionalProperties": _constrained(values, plain, None)} if isinstance(values, dict) else {}


def _with_texts_of_choices(schema: Schema) -> Schema:
    """A multiple choice sends texts, also where the choices are numbers."""
    items = schema.get("items", {})
    if _kind(items) not in ("integer", "number") or "enum" not in items:
        return schema
    return {**schema, "items": {"anyOf": [items, {"type": "string", "pattern": _NUMBER}]}}


def _bounds(meta: ParameterMeta, default: Any) -> Schema:
    found: Schema = {}
    if meta.minimum is not None and (default is None or default >= meta.minimum):
        found["minimum"] = meta.minimum
    if meta.maximum is not None and (default is None or default <= meta.maximum):
        found["maximum"] = meta.maximum
    return found


def _shown(schema: Schema, meta: ParameterMeta) -> Schema:
    """The schema with what helps to fill a field in."""
    kind = _kind(schema)
    if kind == "array" and schema["items"].get("enum"):
        found = {**schema, "examples": schema["items"]["enum"]}  # a list of choices is a multiple choice
    elif kind == "string" and meta.suggestions and "enum" not in schema:
        found = {**schema, "examples": [str(value) for value in meta.suggestions]}
    else:
        found = dict(schema)
    names = {str(value): name for value, name in meta.choices.items() if str(value) != name}
    return {**found, "values_display": names} if names and ("enum" in found or "examples" in found) else found


def _kind(schema: Mapping[str, Any]) -> str:
    """The JSON type of the values other than null; empty where any will do."""
    kind = schema.get("type", "")
    return str(next(found for found in kind if found != "null") if isinstance(kind, list) else kind)


def _not_null(schema: Mapping[str, Any]) -> Schema:
    """The schema of the values other than null."""
    return {**schema, "type": _kind(schema)} if "type" in schema else dict(schema)


def _with_null_type(schema: Schema) -> Schema:
    return {**schema, "type": ["null", schema["type"]]} if "type" in schema else schema


def _nullable(schema: Schema) -> Schema:
    """The same schema, which null satisfies as well: an input that is left alone."""
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**_with_null_type(schema), **choices}


def _has_path(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return schema.get("format") in _PATHS or any(map(_has_path, schema.values()))
    return False


def _survives(default: Any) -> bool:
    """Whether a param's default comes back from Airflow's database, and from a browser, as it was.

    Airflow encodes objects, and decodes a list only if all its items are objects: one deeper in a list stays encoded.
    """
    if _has_inexact(default):
        return False
    if not isinstance(default, list) or all(isinstance(item, dict) for item in default):
        return True
    return not any(_has_object(item) for item in default)


def _has_inexact(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        return any(map(_has_inexact, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and abs(value) > _EXACT


def _has_object(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(_has_object(item) for item in value))
