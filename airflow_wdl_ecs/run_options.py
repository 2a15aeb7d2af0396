"""What a DAG run may say of itself besides the workflow's inputs: how it uses the call cache.

Their names have a dash, which no name in WDL has, so that they are in no input's way. This module knows Airflow's
context as a mapping; it imports nothing of Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .input_form import Schema, optional_choice

CALL_CACHE = "call-cache"
NAMES = frozenset({CALL_CACHE})
SECTION = "This run"

_CHOICES = {
    "on": "on: take the outputs of earlier calls",
    "off": "off: run every call",
    "refresh": "refresh: run every call, and keep the outputs for later runs",
}
_TEXT = "Whether calls take the outputs of earlier ones instead of running; if empty, as the DAG's settings say."


def option_fields() -> dict[str, tuple[str, Schema]]:
    """The fields of the trigger form: name -> text below it, and JSON schema; none of them has a value at first."""
    about = {"title": "Call cache", "section": SECTION}
    return {CALL_CACHE: (_TEXT, {**optional_choice(_CHOICES), **about})}


def call_cache_of(context: Mapping[str, Any]) -> str:
    """What a DAG run says of the call cache, in its conf or in a param of its DAG; empty if nothing."""
    conf = getattr(context.get("dag_run"), "conf", None) or {}
    params = context.get("params") or {}
    return str(conf.get(CALL_CACHE) or params.get(CALL_CACHE) or "")
