"""A workflow's inputs as Airflow params: what the trigger form shows and checks.

Required inputs come first and stand open; optional ones are in sections of their own, which the form starts
collapsed: the workflow's optional inputs, then those of calls inside it. A param's schema is the input's JSON schema
from the plan; a default that is a literal is shown, any other is described in WDL.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from .plan import Input, Plan

OPTIONAL_SECTION = "Optional inputs"
NESTED_SECTION = "Inputs of calls"


def params_of(plan: Plan) -> dict[str, Param]:
    """One `Param` per input that a run may set, by the input's name, required ones first."""
    required = [declared for declared in plan.inputs if declared.required]
    optional = [declared for declared in plan.inputs if not declared.required]
    return {declared.name: param_of(declared) for declared in [*required, *optional]}


def param_of(declared: Input) -> Param:
    """The `Param` of one input."""
    schema = dict(declared.schema)
    described = [_description(declared.meta), f"WDL type: {declared.type}"]
    if declared.has_default and declared.default is None and declared.default_text:
        described.append(f"default: {declared.default_text}")
    schema["description"] = "; ".join(text for text in described if text)
    if declared.required:
        return Param(**schema)
    schema["section"] = NESTED_SECTION if "." in declared.name else OPTIONAL_SECTION
    if declared.default is None:
        schema = _nullable(schema)
    return Param(declared.default, **schema)


def _description(meta: Any) -> str:
    if isinstance(meta, str):
        return meta
    if isinstance(meta, dict):
        for key in ("description", "help"):
            if isinstance(meta.get(key), str):
                return str(meta[key])
    return ""


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, which null satisfies as well: an input that is left alone."""
    kind = schema.get("type")
    if kind is None:
        return schema
    kinds = list(kind) if isinstance(kind, list) else [kind]
    return schema if "null" in kinds else {**schema, "type": ["null", *kinds]}
