"""How the inputs that a DAG's author writes become values: Jinja templates, XComs, and texts that are no texts.

A template that is one expression and nothing else gives the expression's own value: ``{{ params.samples }}`` is a
list, ``{{ params.id }}`` stays the text ``"007"``. Any other template gives text, as everywhere in Airflow. A text for
an input whose WDL type has no text in it (Int, Float, Boolean, arrays, structs ...) is then read as JSON. This module
decides by the JSON schemas in the plan, and knows neither WDL's types nor a run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jinja2
from airflow.sdk import BaseOperator

from .errors import InputsError
from .plan import Plan

if TYPE_CHECKING:
    from airflow.sdk import Context


class TemplatedInputs(BaseOperator):
    """An operator whose templates give values rather than text; for what is in ``template_fields``, all of it."""

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """The content with its templates rendered; XComs of other tasks become plain values as well."""
        environment = jinja_env or self.get_template_env()
        if isinstance(content, str):
            expression = sole_expression(environment, content)
            if expression is not None:
                return plain(value_of(environment, expression, context))
        return plain(super().render_template(content, context, environment, seen_oids))


def sole_expression(environment: jinja2.Environment, text: str) -> str | None:
    """The expression of a template that is ``{{ expression }}`` and nothing else; None for any other text."""
    start, end = environment.variable_start_string, environment.variable_end_string
    stripped = text.strip()
    if not (stripped.startswith(start) and stripped.endswith(end)):
        return None
    body = environment.parse(stripped).body
    if len(body) != 1 or not isinstance(body[0], jinja2.nodes.Output):
        return None
    if len(body[0].nodes) != 1 or isinstance(body[0].nodes[0], jinja2.nodes.TemplateData):
        return None
    # {{- x -}} controls the space around it; {{ -x }} is a number.
    return re.sub(r"^[-+]|[-+]$", "", stripped[len(start) : -len(end)])


def value_of(environment: jinja2.Environment, expression: str, context: Mapping[str, Any]) -> Any:
    """The value of a Jinja expression.

    :raises jinja2.UndefinedError: if it is undefined, as the DAG's ``template_undefined`` says.
    """
    value = environment.compile_expression(expression, undefined_to_none=False)(**context)
    return str(value) if isinstance(value, jinja2.Undefined) else value


def plain(value: Any) -> Any:
    """A value as JSON has it: what is no number, text, list or object is its text, as in any template."""
    if value is None or isinstance(value, (bool, int, float, str)):
        # A lazy value of Airflow's context only looks like one of these.
        return value if type(value) in _SIMPLE else _unwrapped(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    return str(value)


_SIMPLE = frozenset({type(None), bool, int, float, str})


def _unwrapped(value: Any) -> Any:
    return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))


def as_given(inputs: Any) -> Any:
    """Inputs for an operator's template field: a copy of an object, or the XCom of another task that will be one."""
    return dict(inputs) if isinstance(inputs, Mapping) else inputs or {}


def read_texts(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with each text read as JSON where the input's type has no text, down to the members of structs.

    What cannot be read stays as it is, for whoever checks the inputs to say so.

    :raises InputsError: if they are no object with a value for each name.
    """
    if not isinstance(inputs, Mapping):
        raise InputsError(f"the inputs of {plan.name} are to be an object, input name -> value, and not {inputs!r}")
    schemas = {declared.name: declared.schema for declared in plan.inputs}
    prefix = f"{plan.name}."
    return {name: _read(schemas.get(name.removeprefix(prefix), {}), value) for name, value in inputs.items()}


def _read(schema: Mapping[str, Any], value: Any) -> Any:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if isinstance(value, str) and kind is not None and "string" not in kinds:
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, list) and "array" in kinds:
        return [_read(schema.get("items", {}), item) for item in value]
    if isinstance(value, dict) and "object" in kinds:
        members, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        return {key: _read(members.get(key, others), item) for key, item in value.items()}
    return value
