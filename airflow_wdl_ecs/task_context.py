"""What this package's operators share: from Airflow's task context to a `Run`, and from our errors to Airflow's.

A DAG file imports this module, so what runs a call (miniwdl, boto3) is imported only when an operator executes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from .errors import FINAL, WdlEcsError
from .plan import Plan

if TYPE_CHECKING:
    from airflow.sdk import Context

    from .ecs.settings import EcsSettings
    from .run import Run


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn this package's errors into Airflow's; what a retry cannot mend fails at once.

    :raises AirflowFailException: for what the author, the caller or the deployer must change.
    :raises AirflowException: for anything else of this package.
    """
    try:
        yield
    except FINAL as error:
        # It says all that there is to say, and a traceback would say it again.
        raise AirflowFailException(str(error)) from None
    except WdlEcsError as error:
        raise AirflowException(str(error)) from error


def settings_overrides(settings: EcsSettings | Mapping[str, Any] | None) -> dict[str, Any]:
    """A DAG's explicit settings as JSON: what crosses to the triggerer, over which nothing else is laid."""
    if settings is None:
        return {}
    return dict(settings) if isinstance(settings, Mapping) else settings.to_json()


def begin_run_of(
    plan: Plan, inputs: Mapping[str, Any], context: Context, settings: Mapping[str, Any], scope: str | None = None
) -> Run:
    """Begin the run of a plan, in the folder of the task instance's DAG run; see ``run.begin_run``."""
    from .host import airflow_clients, mask_secrets, resolve_settings
    from .ledger import supersede_run
    from .run import begin_run
    from .storage import Layout, RunStore

    resolved = resolve_settings(settings)
    clients = airflow_clients(resolved)
    instance = context["ti"]
    if instance.try_number == 1 and resolved.workspace:
        # A DAG run that was deleted may come again with the same id.
        supersede_run(RunStore(clients("s3"), Layout(resolved.workspace, instance.dag_id, instance.run_id, scope)))
    run = begin_run(
        resolved,
        clients,
        plan,
        inputs,
        dag_id=instance.dag_id,
        run_id=instance.run_id,
        scope=scope,
        # Outputs that another plan or other inputs gave must never meet those of these.
        on_change=supersede_run,
    )
    mask_secrets(run)
    return run


def open_run_of(context: Context, settings: Mapping[str, Any], scope: str | None = None) -> Run:
    """Find the run that the ``inputs`` task has begun; see ``run.open_run``."""
    from .host import airflow_clients, mask_secrets, resolve_settings
    from .run import open_run

    resolved = resolve_settings(settings)
    run = open_run(resolved, airflow_clients(resolved), context["ti"].dag_id, context["ti"].run_id, scope=scope)
    mask_secrets(run)
    return run
