"""Publishing as a DAG run wants it: its options, its date, and what Airflow is told.

A DAG file imports this module, so what publishes (miniwdl, boto3) is imported only when an operator executes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .sensitive import Log

if TYPE_CHECKING:
    from airflow.sdk import Context

    from .publishing import Publication
    from .run import Run

XCOM = "_published"
"""The XCom of the ``outputs`` task that says what has been published; no output of a workflow has such a name."""


def check_publishing(run: Run, context: Context, settings: Mapping[str, Any]) -> None:
    """Refuse what is wrong with the publishing of a run that has just begun, before anything is launched.

    :param settings: the DAG's explicit overrides.
    :raises SettingsError: naming it.
    """
    from .publishing import check_bucket

    run, publication = _publication(run, context, settings)
    if publication is not None:
        check_bucket(run, publication)


def publish_outputs(
    run: Run, outputs: Mapping[str, Any], context: Context, settings: Mapping[str, Any], log: Log
) -> dict[str, Any] | None:
    """Publish the outputs of a run, if it is to.

    :return: what has been published (`publishing.Published.to_json`), which is left in the XCom ``_published``, too.
    """
    from .publishing import publish

    run, publication = _publication(run, context, settings)
    if publication is None:
        return None
    published = publish(run, publication, outputs, log).to_json()
    context["ti"].xcom_push(key=XCOM, value=published)
    return published


def _publication(run: Run, context: Context, settings: Mapping[str, Any]) -> tuple[Run, Publication | None]:
    """The run with the settings in whose place it has options, and where it publishes."""
    from .publishing import publication_of

    own = run.options.publish_settings
    run = replace(run, settings=replace(run.settings, **own))
    run.settings.check()
    dag_run = context["dag_run"]
    moment = dag_run.logical_date or dag_run.run_after
    return run, publication_of(run, moment, strict="publish_names" in {**settings, **own})
