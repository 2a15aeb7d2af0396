"""Print a template of a workflow's inputs as JSON, to be filled in and given to run -i.

Required inputs have an example of their type's form; with --all, optional ones are there too, with their defaults.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from .option import SOURCE, TASK, Option

NAME = "inputs"
HELP = "print a JSON template of a workflow's inputs"
OPTIONS = (
    SOURCE,
    TASK,
    Option("--all", action="store_true", help="optional inputs too"),
    Option("--no-namespace", action="store_true", help="names without the workflow's own"),
)


def execute(options: argparse.Namespace) -> int:
    """Print the template."""
    from ..wdl.lower import compile_wdl

    plan = compile_wdl(options.source, task=options.task)
    prefix = "" if options.no_namespace else f"{plan.name}."
    template = {
        f"{prefix}{found.name}": found.default if not found.required else example(found.schema, found.type)
        for found in plan.inputs
        if found.required or options.all
    }
    print(json.dumps(template, indent=2))
    return 0


def example(schema: Mapping[str, Any], wdl_type: str) -> Any:
    """A value of the form that a JSON schema wants; where that is a string, the WDL type stands in for it."""
    kind = schema.get("type")
    kind = next((found for found in kind if found != "null"), None) if isinstance(kind, list) else kind
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "array":
        return [example(schema.get("items", {}), _inner(wdl_type))]
    if kind == "object":
        members = schema.get("properties", {})
        if members:
            required = schema.get("required", members)
            return {name: example(found, name) for name, found in members.items() if name in required}
        values = schema.get("additionalProperties")
        return {"key": example(values, "value")} if isinstance(values, Mapping) else {}
    return {"integer": 42, "number": 3.14, "boolean": False}.get(str(kind), wdl_type)


def _inner(wdl_type: str) -> str:
    inside = wdl_type.removeprefix("Array[")
    return inside.rstrip("?+").removesuffix("]") if inside != wdl_type else wdl_type
