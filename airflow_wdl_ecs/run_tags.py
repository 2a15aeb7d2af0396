"""The tags that are given to one run: a field of the trigger form, a key of the DAG run's conf (see ``ecs.tags``).

A DAG file imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from .ecs.tags import RUN_TAGS
from .errors import InputsError

if TYPE_CHECKING:
    from airflow.sdk import Context

_TEXT = (
    "Tags for the ECS tasks of this run, by which AWS's bills can be divided: an object such as "
    '`{"project": "p17"}`. They are laid over those of the deployment and of the DAG.'
)


def tags_param() -> dict[str, Param]:
    """The param, by its name."""
    schema = {
        "type": ["null", "object"],
        "additionalProperties": {"type": ["string", "number"]},
        "title": "Tags of the run",
        "section": "Run",
    }
    return {RUN_TAGS: Param(None, description=_TEXT, schema=schema)}


def tags_of(context: Context) -> dict[str, str]:
    """The tags that a DAG run was given; none if it was given none.

    :raises InputsError: if they are no object of texts. Which texts ECS takes is not decided here.
    """
    conf: Mapping[str, Any] = getattr(context.get("dag_run"), "conf", None) or {}
    params: Mapping[str, Any] = context.get("params") or {}
    given = conf[RUN_TAGS] if RUN_TAGS in conf else params.get(RUN_TAGS)
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(_is_text(value) for value in given.values()):
        raise InputsError(
            f"{RUN_TAGS} is not an object of texts: {given!r}", hint=f'give, for example, {RUN_TAGS}={{"team": "a"}}'
        )
    return {str(key): str(value) for key, value in given.items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
