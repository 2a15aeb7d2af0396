"""The Airflow plugin "WDL runs": a page about the runs of WDL workflows, and a tab of every DAG run and task instance.

Every process of Airflow loads plugins, so this module imports nothing but the plugin's base class: the page's server
is made at its first request (`LazyApp`). The views are React apps in Airflow's words, of which Airflow 3.1 to 3.3 load
one script each; an external view would be an iframe, in which Airflow 3.1 allows neither downloads nor links.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from . import __version__

PREFIX = "/wdl-runs"
"""Where Airflow mounts the page's server."""
NAME = "WDL runs"
RUN_TAB = "wdl-run"
"""The tab of a DAG run: ``/dags/<dag>/runs/<run>/plugin/wdl-run``."""


class LazyApp:
    """The page's server, made when the first request comes: an ASGI application."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if self._app is None:
            from .runs_page.app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


def _view(destination: str, route: str) -> dict[str, Any]:
    # The path of Airflow's base URL stands here, since Airflow 3.1 takes a relative address from its own script's.
    files = f"{urlsplit(conf.get('api', 'base_url', fallback='') or '').path.rstrip('/')}{PREFIX}/static"
    return {
        "name": NAME,
        "url_route": route,
        "destination": destination,
        "bundle_url": f"{files}/plugin.js?v={__version__}",
        "icon": f"{files}/icon.svg",
        "icon_dark_mode": f"{files}/icon-dark.svg",
    }


class WdlRunsPlugin(AirflowPlugin):
    """See the module."""

    name = "wdl_runs"
    fastapi_apps = [{"app": LazyApp(), "url_prefix": PREFIX, "name": NAME}]  # noqa: RUF012 -- as Airflow has them
    react_apps = [  # noqa: RUF012 -- as Airflow has them
        {**_view("nav", "wdl-runs"), "category": "browse"},
        _view("dag_run", RUN_TAB),
        _view("task_instance", "wdl-call"),
    ]
