"""The page's server: what the browser may know of a run, file or log, and who may ask.

Every route with data demands what Airflow demands of who reads the DAG's runs; the page itself and its scripts hold
none, as Airflow's own. Handlers are plain functions: FastAPI runs them in threads, since they ask AWS and the database.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from ..errors import InputsError, SettingsError, WdlEcsError
from ..report import to_json
from . import airflow_runs
from .reports import FIRST_SHARDS, LOGS, RunOfAirflow, UnreadError, open_run_of_airflow

STATIC = Path(__file__).parent / "static"
MOST_RUNS = 200
MOST_SHARDS = 1000
MOST_LOG = 1024 * 1024
LOG = logging.getLogger(__name__)

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'self'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

CAN_READ_RUNS = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
CAN_READ_LOGS = Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS))
Scope = Annotated[str | None, Query(max_length=1000)]
Call = Annotated[str, Query(max_length=1000)]
Shard = Annotated[str, Query(pattern=r"^(_|\d+(\.\d+)*)$", max_length=100)]


def opened(dag_id: str, run_id: str, session: SessionDep, scope: Scope = None) -> RunOfAirflow:
    """The run that a request is about.

    :raises HTTPException: 404, if Airflow has no such run.
    """
    run = airflow_runs.find_run(session, dag_id, run_id)
    if run is None:
        raise HTTPException(404, f"there is no run {run_id} of DAG {dag_id}")
    return open_run_of_airflow(session, run, scope)


Opened = Annotated[RunOfAirflow, Depends(opened)]


def page() -> FileResponse:
    """The page on its own: ``?dag_id=&run_id=&call=&shard=&scope=``."""
    return FileResponse(STATIC / "page.html", media_type="text/html")


def runs(user: GetUserDep, session: SessionDep, limit: Annotated[int, Query(ge=1, le=MOST_RUNS)] = 50) -> Any:
    """The latest runs of WDL workflows that the user may read."""
    readable = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    return {"runs": airflow_runs.recent_runs(session, readable, limit)}


def report(run: Opened, only: Annotated[str | None, Query(max_length=1000)] = None) -> Any:
    """A run's report, with the first shards of each call; ``report`` is null where there is none (yet)."""
    return run.described(only)


def shards(
    *,
    run: Opened,
    call: Call,
    shard: Annotated[str | None, Query(pattern=r"^(_|\d+(\.\d+)*)$", max_length=100)] = None,
    map_index: Annotated[int | None, Query(ge=-1)] = None,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_SHARDS)] = FIRST_SHARDS,
) -> Any:
    """Shards of a call, failures first: one, those of a task instance, or a page of all."""
    found = run.shards(call, shard, map_index)
    if found is None:
        raise HTTPException(404, f"the run has no call {call}")
    return {"total": len(found), "shards": run.linked([to_json(one) for one in found[offset : offset + limit]])}


def file(run: Opened, request: Request, uri: Annotated[str, Query(max_length=4096)]) -> Response:
    """A redirect to where a file of the run can be downloaded for a short time; that address as JSON, if asked so."""
    link = run.download(uri)
    if link is None:
        raise HTTPException(404, f"not a file of this run, or not there: {uri}")
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"url": link, "name": posixpath.basename(uri)})
    return RedirectResponse(link, status_code=303)


def log(
    *,
    run: Opened,
    call: Call,
    shard: Shard,
    attempt: Annotated[int, Query(ge=0)],
    name: str,
    size: Annotated[int, Query(ge=1, le=MOST_LOG)] = 64 * 1024,
) -> PlainTextResponse:
    """The last bytes of what an attempt has left, as plain text."""
    if name not in LOGS:
        raise HTTPException(422, f"name must be one of {', '.join(LOGS)}")
    text = run.log(call, shard, attempt, name, size)
    if text is None:
        raise HTTPException(404, f"the attempt has left no {name}")
    return PlainTextResponse(text)


def create_app() -> FastAPI:
    """The server, to be mounted below Airflow's."""
    app = FastAPI(title="WDL runs", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_route("/page", page, include_in_schema=False)
    app.add_api_route("/api/runs", runs)
    one = "/api/runs/{dag_id}/{run_id}"
    app.add_api_route(one, report, dependencies=[CAN_READ_RUNS])
    app.add_api_route(f"{one}/shards", shards, dependencies=[CAN_READ_RUNS])
    app.add_api_route(f"{one}/file", file, dependencies=[CAN_READ_RUNS])
    app.add_api_route(f"{one}/log", log, dependencies=[CAN_READ_RUNS, CAN_READ_LOGS])
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_exception_handler(WdlEcsError, _told)
    app.add_exception_handler(Exception, _unexpected)
    app.middleware("http")(_with_headers)
    return app


async def _with_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    response.headers.update(HEADERS)
    # What a page says of a run is for who asked; scripts are asked for again, so that none is older than the server.
    response.headers["Cache-Control"] = "no-store" if "/api/" in request.url.path else "no-cache"
    return response


async def _told(request: Request, error: Exception) -> JSONResponse:
    """What is wrong, in words: of a request, the deployment, or AWS."""
    status = 404 if isinstance(error, InputsError) else 503 if isinstance(error, SettingsError | UnreadError) else 502
    return JSONResponse({"detail": str(error)}, status)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    LOG.error("WDL runs: %s failed", request.url.path, exc_info=error)
    return JSONResponse({"detail": "this should not have failed; the API server's log says why"}, 500, HEADERS)
