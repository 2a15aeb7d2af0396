"""What this package's operators share: from Airflow's task context to a `Run`, and from our errors to Airflow's.

A DAG file imports this module, so what runs a call (miniwdl, boto3) is imported only when an operator executes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from .errors import FINAL, WdlEcsError
from .plan import Plan
from .run_options import given_options

if TYPE_CHECKING:
    from airflow.sdk import Context

    from .ecs.settings import EcsSettings
    from .run import Run
    from .storage import RunStore

BEGINNING = "inputs"
"""The task of a workflow that begins its run."""


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


@contextmanager
def keeping_reason(
    context: Context,
    settings: Mapping[str, Any],
    scope: str | None,
    secrets_of: Callable[[EcsSettings, RunStore], tuple[str, ...]] | None = None,
) -> Iterator[None]:
    """Leave in the run's folder why a task around the calls has failed, for reports; and nothing once it succeeds.

    Where there is no folder to write to, nothing is left; the error goes on as it is.

    :param secrets_of: the texts that must not be shown; those of the run that has begun, if it is not given.
    """
    from .reasons import forget_of_task, keep_of_task, reason_of
    from .report_reading import secrets_of as secrets_of_run

    task, index = _own_name(context["ti"], scope)
    tries = int(context["ti"].try_number)
    try:
        yield
    except Exception as error:
        # The error is what counts: whatever hinders keeping it (a setting, a client, the store) is left alone.
        with suppress(Exception):
            resolved, store = _store_of(context, settings, scope)
            secrets = secrets_of(resolved, store) if secrets_of else secrets_of_run(store)
            keep_of_task(store, reason_of(error, tries, secrets, task=task, map_index=index))
        raise
    if tries > 1:
        with suppress(Exception):
            forget_of_task(_store_of(context, settings, scope)[1], task, index)


def _own_name(instance: Any, scope: str | None) -> tuple[str, int]:
    """The task's id within its workflow and its map index; an operator on its own begins its run as ``inputs`` does."""
    task = str(instance.task_id)
    if scope is None or not task.startswith(f"{scope}."):
        task = task if scope is None else BEGINNING
    index = instance.map_index
    return task.removeprefix(f"{scope}."), -1 if index is None or task == BEGINNING else index


def _store_of(context: Context, settings: Mapping[str, Any], scope: str | None) -> tuple[EcsSettings, RunStore]:
    """The store of the task instance's run.

    :raises SettingsError: if it cannot be said where that is.
    """
    from .host import airflow_clients, resolve_settings
    from .layout import Layout, split_uri
    from .storage import RunStore

    resolved = resolve_settings(settings)
    split_uri(resolved.workspace)
    layout = Layout(resolved.workspace, context["ti"].dag_id, context["ti"].run_id, scope)
    return resolved, RunStore(airflow_clients(resolved)("s3"), layout)


def secrets_given(plan: Plan, *given: Mapping[str, Any]) -> Callable[[EcsSettings, RunStore], tuple[str, ...]]:
    """For `keeping_reason`: the secrets in inputs that a caller has given, by their names with or without the
    workflow's.
    """
    from .sensitive import secret_texts, sensitive_inputs

    def found(settings: EcsSettings, store: RunStore) -> tuple[str, ...]:
        names = sensitive_inputs(plan, settings.sensitive_inputs)
        own = [{name.removeprefix(f"{plan.name}."): value for name, value in some.items()} for some in given]
        texts = {text for some in own for text in secret_texts(some, names)}
        return tuple(sorted(texts, key=lambda text: (-len(text), text)))

    return found


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
    from .layout import Layout
    from .ledger import supersede_run
    from .run import begin_run
    from .storage import RunStore

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
        options=given_options(context, scope),
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
