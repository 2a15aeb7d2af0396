"""Reports as the page's server gives them: read with the deployment's settings, joined with Airflow's states.

It decides which files and logs of a run may be had; who may ask is decided before.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from ..attempts import Attempt
from ..aws import Clients, aws_errors, error_code
from ..ecs.console import folder_page, is_amazon, log_page, region_of, task_page
from ..ecs.request import log_stream
from ..ecs.settings import EcsSettings, how_to_set
from ..errors import SettingsError, WdlEcsError
from ..host import airflow_clients, resolve_settings
from ..layout import shard_of
from ..ledger import Ledger
from ..price_file import prices_or_none
from ..report import Instance, RunReport, ShardReport, may_download, shortened, to_json
from ..report_reading import (
    Told,
    read_about,
    read_not_begun,
    read_report,
    scopes,
    secrets_of,
    tail_without_secrets,
    task_of,
)
from ..sensitive import redact
from ..storage import RunStore
from . import airflow_runs
from .airflow_runs import ListedRun

FIRST_SHARDS = 25
"""Shards of each call that a report has; there are more to be asked for."""
PATIENCE = 8.0
"""Seconds that one request reads ledgers; the next one goes on."""
LINK_SECONDS = 300
"""How long a download's address is good for."""
LIVE = "live"
LOGS = ("stdout", "stderr", "stage-in.log", "stage-out.log", "command.sh", "stage-in.sh", "stage-out.sh", LIVE)
"""What an attempt may have left; ``live`` is its command's log stream in CloudWatch."""
LIVE_LINES = 1000
MOST_FAILED = 50
"""Failed task instances beside the calls that are told of."""
_OF_ATTEMPT = re.compile(r"s3://.+/calls/(?P<shard>[^/]+/(_|[0-9.]+))/[0-9]+/")


class UnreadError(WdlEcsError):
    """There was no time to read all that decides; what was read is kept for the next request."""


@dataclass(frozen=True)
class RunOfAirflow:
    """A DAG run with the run of a workflow in it.

    :param store: of the workflow's run. :param within: scopes of operators on their own that have a run in it.
    :param wdl: whether the DAG run has a task of this package.
    """

    run: ListedRun
    told: Told = field(repr=False)
    store: RunStore = field(repr=False)
    clients: Clients = field(repr=False)
    settings: EcsSettings
    within: tuple[str, ...] = ()
    wdl: bool = True

    def described(self, only: str | None) -> dict[str, Any]:
        """The report as JSON, what else there is and has failed in the DAG run, and the DAG run itself."""
        prices = prices_or_none(self.settings, self.clients)
        found = read_report(self.store, self.told, only=only, seconds=PATIENCE, prices=prices) if self.wdl else None
        not_begun = read_not_begun(self.store, self.told) if self.wdl and found is None else None
        report = None if found is None else to_json(shortened(found, FIRST_SHARDS))
        if report is not None:
            for call in report["calls"]:
                self.linked(call["shards"])
            self.linked(report["failures"])
        return {
            "run": asdict(self.run),
            "wdl": self.wdl,
            "scopes": self.within,
            "report": report,
            "failed": self._failed_beside(found, not_begun, only),
        }

    def _failed_beside(
        self, report: RunReport | None, not_begun: RunReport | None, only: str | None
    ) -> list[dict[str, Any]]:
        """Failed task instances that are none of a call, such as ``inputs`` and ``outputs``, each with its ``reason``,
        empty if it has left none; none if a call is asked for.

        :param report: with all calls, unless one is asked for. :param not_begun: in its place, of a run that could not
            begin.
        """
        if only is not None:
            return []
        known = report or not_begun
        reasons = (
            {(task.instance.task_id, task.instance.map_index): task.reason for task in known.tasks if task.instance}
            if known
            else {}
        )
        failed = self._failed_tasks(report, set(reasons))[:MOST_FAILED]
        return [{**asdict(one), "reason": reasons.get((one.task_id, one.map_index), "")} for one in failed]

    def _failed_tasks(self, report: RunReport | None, with_reason: Set[tuple[str, int]]) -> list[Instance]:
        """Failed task instances that are none of a call, or whose call has no shard that tells why it failed."""
        scope = report.scope if report else None
        calls = {task_of(scope, call.id) for call in report.calls} if report else set()
        return [
            instance
            for instance in self.told.instances.values()
            if instance.state == "failed"
            and (instance.task_id not in calls or (instance.task_id, instance.map_index) in with_reason)
            and (scope is None or instance.task_id.startswith(task_of(scope, "")))
        ]

    def shards(self, call: str, shard: str | None, map_index: int | None) -> list[ShardReport] | None:
        """The shards of a call, all or some; None if there is no such call."""
        prices = prices_or_none(self.settings, self.clients)
        report = read_report(self.store, self.told, only=call, seconds=PATIENCE, prices=prices) if self.wdl else None
        if report is None or not report.calls:
            return None
        return [
            found
            for found in report.calls[0].shards
            if shard in (None, found.key)
            and (map_index is None or (found.instance is not None and found.instance.map_index == map_index))
        ]

    def linked(self, shards: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Shards as JSON, whose attempts lead to the AWS console, where there is one."""
        console = is_amazon(self.clients("s3").meta.endpoint_url)
        for attempt in (attempt for shard in shards for attempt in shard["attempts"]):
            attempt["links"] = _console_links(attempt) if console else {}
        return shards

    def download(self, uri: str) -> str | None:
        """An address to download a file of the run from; None if it is no file of the run.

        :raises UnreadError: if that is not known yet.
        """
        about = read_about(self.store)
        if about is None:
            return None
        if not may_download(uri, self.store.layout.folder, about.get("readable", ())) and not self._of_a_hit(uri):
            return None
        if not self.store.exists(uri):
            return None
        return self.store.link(uri, seconds=LINK_SECONDS, filename=posixpath.basename(uri))

    def _of_a_hit(self, uri: str) -> bool:
        """Whether a file is of an attempt, of another run, whose outputs a call of this one has from the call cache."""
        place = _OF_ATTEMPT.match(uri)
        if place is None:
            return False
        folder = self.store.layout.folder
        # As a rule it is the call and the shard of the same name, so that one ledger will do, however many there are.
        likely = Ledger.in_folder(self.store, self.store.layout.named(f"calls/{place['shard']}/")).attempts()
        if may_download(uri, folder, {attempt.cached for attempt in likely if attempt.cached}):
            return True
        report = read_report(self.store, self.told, seconds=PATIENCE)
        calls = report.calls if report else ()
        attempts = [attempt for call in calls for shard in call.shards for attempt in shard.attempts]
        if may_download(uri, folder, {attempt.cached for attempt in attempts if attempt.cached}):
            return True
        unread = sum(call.unread for call in calls)
        if unread:
            raise UnreadError(
                f"{unread} shards have not been read, one of which may have {uri}",
                hint="ask again: that goes on from there",
            )
        return False

    def log(self, call: str, shard: str, attempt: int, name: str, size: int) -> str | None:
        """The end of what an attempt has left, one of `LOGS`; None if it has not."""
        if name == LIVE:
            return self._live(call, shard, attempt)
        folder = self.store.layout.attempt(call, shard_of(shard), attempt)
        text = tail_without_secrets(self.store, f"{folder}{name}", size, secrets_of(self.store))
        if text or self.store.exists(f"{folder}{name}"):
            return text
        # A hit of the call cache has left nothing here; what it refers to may have.
        found = next(
            (one for one in Ledger(self.store, call, shard_of(shard)).attempts() if one.number == attempt), None
        )
        if found is None or not found.cached:
            return None
        text = tail_without_secrets(self.store, f"{found.cached}{name}", size, secrets_of(self.store))
        return text if text or self.store.exists(f"{found.cached}{name}") else None

    def _live(self, call: str, shard: str, number: int) -> str | None:
        """The last lines of an attempt's command in CloudWatch."""
        attempts = Ledger(self.store, call, shard_of(shard)).attempts()
        attempt = next((found for found in attempts if found.number == number), None)
        if attempt is None or not attempt.arn:
            return None
        group, stream = _log_of(attempt)
        with aws_errors("GetLogEvents", stream):
            logs = self.clients("logs")
            try:
                answer = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=LIVE_LINES)
            except logs.exceptions.ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    return None
                raise
        text: str = redact("".join(f"{event['message']}\n" for event in answer["events"]), secrets_of(self.store))
        return text


def open_run_of_airflow(session: Session, run: ListedRun, scope: str | None) -> RunOfAirflow:
    """Find the run of a workflow in a DAG run.

    :param scope: of an operator on its own; None for the compiled workflow's, or the first there is.
    :raises SettingsError: if the deployment's settings cannot be read.
    """
    settings = resolve_settings()
    clients = airflow_clients(settings)
    layout = airflow_runs.layout_of_run(session, run, settings.workspace)
    store = RunStore(clients("s3"), layout)
    if not airflow_runs.has_wdl(session, run):
        return RunOfAirflow(run, Told(run.state, {}), store, clients, settings, wdl=False)
    if not layout.workspace:
        raise SettingsError("workspace is not set, so it is not known where runs are", hint=how_to_set("workspace"))
    within = tuple(scopes(store))
    if scope is None and within and read_about(store) is None:
        scope = within[0]
    if scope is not None:
        store = RunStore(clients("s3"), replace(layout, scope=scope))
    return RunOfAirflow(run, airflow_runs.told_of(session, run), store, clients, settings, within)


def _log_of(attempt: Attempt) -> tuple[str, str]:
    group = attempt.log_group or resolve_settings().log_group
    return group, attempt.log_streams.get("command") or log_stream(attempt.arn)


def _console_links(attempt: dict[str, Any]) -> dict[str, str]:
    region = region_of(attempt["arn"])
    if not region:
        return {}
    links = {"task": task_page(attempt["arn"], attempt["cluster"])}
    if attempt["folder"]:
        links["folder"] = folder_page(region, attempt["folder"])
    if attempt["log_group"] and attempt["log_streams"].get("command"):
        links["log"] = log_page(region, attempt["log_group"], attempt["log_streams"]["command"])
    return links
