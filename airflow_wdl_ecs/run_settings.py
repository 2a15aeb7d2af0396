"""The settings that whoever starts a run may override for it alone: by keys of the DAG run's conf, beside the inputs.

They say where its outputs are published (see ``publishing``). An input of the workflow that has such a name is meant
instead. A DAG file imports this module, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .plan import Plan

if TYPE_CHECKING:
    from airflow.sdk import Context

OF_A_RUN = ("publish_to", "publish_mode", "publish_names")
"""What a run may override."""


def run_setting_names(plan: Plan) -> tuple[str, ...]:
    """The settings that a run of a plan may override."""
    inputs = {declared.name for declared in plan.inputs}
    return tuple(name for name in OF_A_RUN if name not in inputs)


def run_settings(plan: Plan, context: Context) -> dict[str, Any]:
    """The settings that a DAG run overrides; what the trigger form leaves empty is not given."""
    conf = dict(getattr(context.get("dag_run"), "conf", None) or {})
    given = {**(context.get("params") or {}), **conf}
    return {name: given[name] for name in run_setting_names(plan) if given.get(name) not in (None, "", {})}


def form_fields(plan: Plan, settings: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """What the trigger form has of them: name -> text and schema; nothing where the DAG does not publish.

    :param settings: what is known of the DAG's settings.
    """
    to = settings.get("publish_to")
    if not to or "publish_to" not in run_setting_names(plan):
        return {}
    schema = {"type": ["null", "string"], "section": "Publishing", "title": "Publish to"}
    return {"publish_to": (f"Where the outputs are published when the run has ended well; empty for {to}", schema)}
