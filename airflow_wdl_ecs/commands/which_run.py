"""Where runs are looked for: in the embedded Airflows first, then in the workspace that Airflow's settings name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import WdlEcsError
from ..local import client
from ..local.airflow_home import AirflowHome, user_home

if TYPE_CHECKING:
    from ..aws import Clients
    from ..ecs.settings import EcsSettings
    from ..layout import Layout


def homes() -> Iterator[AirflowHome]:
    """The embedded Airflows that have run something: the one of ``run``, and that of ``standalone`` while it is up."""
    home = user_home()
    if (home.airflow / "airflow.db").exists():
        yield home
    standalone = AirflowHome(home.folder / "standalone")
    if client.is_supervised(standalone):
        yield standalone


def run_of_deployment(run: str, scope: str | None) -> tuple[EcsSettings, Clients, Layout]:
    """The deployment's settings and AWS clients, and the layout of a run in it; whether there is one is not looked at.

    :param run: ``DAG_ID/RUN_ID``, or ``s3://.../``. :param scope: the task id of an operator on its own.
    :raises WdlEcsError: if it cannot be said where the run is.
    """
    from ..host import airflow_clients, resolve_settings
    from ..report_reading import layout_of, named_layout

    settings = resolve_settings()
    clients = airflow_clients(settings)
    if run.startswith("s3://"):
        return settings, clients, layout_of(clients("s3"), run)
    if settings.workspace:
        return settings, clients, named_layout(settings.workspace, run, scope)
    raise WdlEcsError(
        f"there is no run {run} on this machine, and Airflow's settings name no workspace",
        hint="set [wdl_ecs] workspace, or give the run's folder, s3://.../",
    )
