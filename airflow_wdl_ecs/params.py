"""A workflow's inputs as Airflow params: what the trigger form shows and checks.

Required inputs come first and stand open; optional ones are in sections of their own, which the form starts
collapsed: the workflow's optional inputs, then those of calls inside it. A param's schema is the input's JSON schema
from the plan; a default that is a literal is shown, any other is described in WDL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from .description import description_of
from .plan import Input, Plan

if TYPE_CHECKING:
    from airflow.sdk import Context

OPTIONAL_SECTION = "Optional inputs"
NESTED_SECTION = "Inputs of calls"


def params_of(plan: Plan, given: Mapping[str, Any]) -> dict[str, Param]:
    """One `Param` per input that a run may set, by the input's name, required ones first.

    :param given: the inputs for which the DAG has a value: a run may leave them out.
    """
    names = {name.removeprefix(f"{plan.name}.") for name in given}
    required = [declared for declared in plan.inputs if declared.required and declared.name not in names]
    optional = [declared for declared in plan.inputs if not declared.required or declared.name in names]
    return {
        **{declared.name: _required(declared) for declared in required},
        **{declared.name: _optional(declared, declared.name in names) for declared in optional},
    }


def _required(declared: Input) -> Param:
    return Param(**declared.schema, description=_text(declared, ""))


def _optional(declared: Input, given: bool) -> Param:
    schema = {**declared.schema, "section": NESTED_SECTION if "." in declared.name else OPTIONAL_SECTION}
    if given:
        return Param(None, **_nullable(schema), description=_text(declared, "the DAG has a value for it"))
    if declared.default is not None and _survives(declared.default):
        return Param(declared.default, **schema, description=_text(declared, ""))
    default = f"default: {declared.default_text}" if declared.default_text else ""
    return Param(None, **_nullable(schema), description=_text(declared, default))


def _survives(default: Any) -> bool:
    """Whether Airflow reads a param's default back from its database as it was.

    It encodes objects, and decodes a list only if all its items are objects: one deeper in a list stays encoded.
    """
    if not isinstance(default, list) or all(isinstance(item, dict) for item in default):
        return True
    return not any(_has_object(item) for item in default)


def _has_object(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(_has_object(item) for item in value))


def _text(declared: Input, default: str) -> str:
    kind = f"WDL type {declared.type}" + (f", {default}" if default else "")
    return " ".join(text for text in (description_of(declared.meta), f"({kind})") if text)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, which null satisfies as well: an input that is left alone."""
    kind = schema.get("type")
    if kind is None:
        return schema
    kinds = list(kind) if isinstance(kind, list) else [kind]
    return schema if "null" in kinds else {**schema, "type": ["null", *kinds]}


def given_inputs(plan: Plan, context: Context) -> dict[str, Any]:
    """The inputs that a DAG run was given, by the names under which they were given.

    The trigger form sends every field: an untouched one as its literal default, or as null where it has none. Neither
    is a value: the workflow has the default itself, where a path means what its author wrote.
    """
    conf = dict(getattr(context.get("dag_run"), "conf", None) or {})
    params = dict(context.get("params") or {})
    given: dict[str, Any] = {}
    for declared in plan.inputs:
        names = (declared.name, f"{plan.name}.{declared.name}")
        found = next((name for name in names if name in conf), None)
        if found is not None:
            given[found] = conf.pop(found)
        elif declared.name in params:
            given[declared.name] = params[declared.name]
        else:
            continue
        name = found or declared.name
        untouched = declared.default is not None and given[name] == declared.default
        if untouched or (given[name] is None and (found is None or not _null_means_something(declared))):
            del given[name]
    return given | conf


def _null_means_something(declared: Input) -> bool:
    return bool(declared.type.endswith("?") and declared.default is not None)
