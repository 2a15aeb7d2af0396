"""A workflow's inputs as Airflow params: what the trigger form shows and checks, and what a run was given.

Required inputs come first and stand open; optional ones are in named sections, which the form starts collapsed: those
that the author names, else the workflow's optional inputs, then those of each call inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from .ecs.setting import SECTION
from .input_form import answer_of, form_schema, form_text
from .plan import Input, Plan
from .run_options import NAMES, form_fields

if TYPE_CHECKING:
    from airflow.sdk import Context


def params_of(plan: Plan, given: Mapping[str, Any]) -> dict[str, Param]:
    """One `Param` per input that a run may set, by the input's name, required ones first.

    A required one without a value passes Airflow's own check, since a run may give it by its full name; the form
    refuses to leave it empty, and so does the ``inputs`` task.

    :param given: the inputs for which the DAG has a value: a run may leave them out.
    """
    names = {name.removeprefix(f"{plan.name}.") for name in given}
    first = sorted(plan.inputs, key=lambda declared: not declared.required or declared.name in names)
    return {declared.name: _param(declared, declared.name in names) for declared in first}


def option_params(settings: Mapping[str, Any]) -> dict[str, Param]:
    """One `Param` for each option of a run that the form offers (see ``run_options``).

    :param settings: the DAG's overrides; for others Airflow's configuration is asked.
    """
    from airflow.configuration import conf

    known = {"publish_to": conf.get(SECTION, "publish_to", fallback=None), **settings}
    fields = form_fields(str(known["publish_to"] or "")).items()
    return {name: Param(None, description=text, schema=schema) for name, (text, schema) in fields}


def _param(declared: Input, given: bool) -> Param:
    default, schema = form_schema(declared, given=given)
    text = form_text(declared, given=given, shows_default=default is not None)
    return Param(default, description=text, schema=schema)


def given_inputs(plan: Plan, context: Context, dag_inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The inputs that a DAG run was given, by the names under which they were given.

    The trigger form sends every field: an untouched one as its literal default, or as null where it has none. Neither
    is a value: the workflow has the default itself, where a path means what its author wrote. What the DAG's author
    added to its params beside the inputs is none of the workflow's, and nor are the options of the run.

    :param dag_inputs: the inputs for which the DAG has a value: there the form starts with null, not with the default.
    """
    inputs = {declared.name: declared for declared in plan.inputs}
    prefix = f"{plan.name}."
    of_dag = {name.removeprefix(prefix) for name in dag_inputs or {}}
    of_run = NAMES.union(getattr(context.get("dag"), "params", None) or {})
    others = of_run - set(inputs)
    conf = dict(getattr(context.get("dag_run"), "conf", None) or {})
    params = {name: value for name, value in (context.get("params") or {}).items() if name in inputs}
    given: dict[str, Any] = {}
    for key, value in {**params, **conf}.items():
        if key in others:
            continue
        declared = inputs.get(key) or inputs.get(key.removeprefix(prefix))
        if declared is None:
            given[key] = value
        elif not _untouched(declared, value, from_conf=key in conf, of_dag=declared.name in of_dag):
            given[key] = answer_of(declared, value)
    return given


def _untouched(declared: Input, value: Any, *, from_conf: bool, of_dag: bool) -> bool:
    """Whether this is what the form has for a field before anybody fills it in."""
    if value is None:
        means_something = declared.type.endswith("?") and declared.default is not None and not of_dag
        return not (from_conf and means_something)
    return not of_dag and declared.default is not None and bool(value == declared.default)
