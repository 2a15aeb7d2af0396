"""Reads a run's folder in S3 for a report (see `report`, which decides what is told of it).

A run may have ten thousand shards, so what is read is bounded: one listing for each call, then the ledgers side by
side, until the caller's patience is over. Ledgers of shards that have succeeded do not change within a call's epoch,
so a process keeps those; who asks again goes on where the time was over. Neither Airflow nor miniwdl is known here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .attempts import Attempt, Stop
from .aws import side_by_side
from .cost import total
from .errors import WdlEcsError
from .layout import Layout, instance_of_scope, key_safe, name_of, shard_key, shard_of
from .ledger import Ledger, read_stop
from .plan import Call, Plan, Shard
from .prices import Prices, packaged
from .reasons import Reason, read_of_shard, read_of_tasks, redacted
from .recent import Recent
from .report import (
    ENDED,
    CallReport,
    Instance,
    RunReport,
    ShardReport,
    TaskReport,
    call_report,
    failures_of,
    not_begun,
    run_state,
)
from .report_cost import calls_with_cost, may_be_stopped, price_list, shard_with_cost
from .report_shards import counts, shard_report, shard_state
from .sensitive import redact, secret_texts, without_secrets
from .storage import RunStore

MOST_SCOPES = 1000
"""Runs of operators on their own that are told of within one Airflow run."""
_BATCH = 256
_succeeded = Recent(20_000)
_DOUBTFUL = frozenset({"failed", "running", "not_started"})
"""States of a shard, as its ledger and Airflow have it, in which it may have left a reason why its try failed."""

Instances = Mapping[tuple[str, int], Instance]
"""What Airflow says of a run's task instances, by task id and map index."""


@dataclass(frozen=True)
class Told:
    """What Airflow says of a run.

    :param state: the DAG run's. :param error: what went wrong outside of ECS tasks, if anybody knows.
    """

    state: str
    instances: Instances
    error: str = ""


def layout_of(s3: Any, folder: str) -> Layout:
    """The layout of the run that keeps everything in a folder.

    :raises WdlEcsError: if there is no run in it.
    """
    folder = f"{folder.rstrip('/')}/"
    store = RunStore(s3, Layout(folder, "", ""))
    about = store.get_json(f"{folder}run.json")
    if isinstance(about, dict):
        layout = Layout("", str(about.get("dag_id")), str(about.get("run_id")), about.get("scope"))
        inside = layout.folder
        if folder.endswith(inside):
            return Layout(folder.removesuffix(inside), layout.dag_id, layout.run_id, layout.scope)
    raise WdlEcsError(f"there is no run in {folder}", hint="a run's folder is <workspace>/runs/<dag>/<run>/")


def named_layout(workspace: str, name: str, scope: str | None = None) -> Layout:
    """The layout of the run that is named ``DAG_ID/RUN_ID`` in a workspace."""
    dag_id, _, run_id = name.partition("/")
    return Layout(workspace, dag_id, run_id, scope)


def stderr_of_failures(store: RunStore, report: RunReport, size: int) -> dict[str, str]:
    """The last bytes of the stderr of each failed shard that the report lists, by ``call/shard``."""

    def tail(shard: ShardReport) -> str:
        if not shard.attempts:
            return ""
        return tail_without_secrets(store, f"{shard.attempts[-1].folder}stderr", size, secrets)

    secrets = secrets_of(store)
    failed = list(report.failures)
    names = (f"{shard.call}/{shard.key}" for shard in failed)
    return dict(zip(names, side_by_side(tail, failed), strict=True))


def secrets_of(store: RunStore) -> tuple[str, ...]:
    """The texts of a run that must not be shown (see ``sensitive``)."""
    about = read_about(store)
    sensitive = about.get("sensitive", ()) if about else ()
    return secret_texts(store.inputs(str(about["inputs"])), sensitive) if about and sensitive else ()


def tail_without_secrets(store: RunStore, uri: str, size: int, secrets: tuple[str, ...]) -> str:
    """The last bytes of an object as text, without the secrets, one that begins before them included."""
    longest = max((len(secret.encode(errors="replace")) for secret in secrets), default=0)
    text: str = redact(store.tail(uri, size + longest).decode(errors="replace"), secrets)
    return text.encode()[-size:].decode(errors="replace") if secrets else text


def scopes(store: RunStore) -> list[str]:
    """The operators on their own that have a run within the Airflow run of a store, `MOST_SCOPES` at most."""
    names = store.folders(store.layout.named("tasks/"))
    return [_scope(store, name) for name in names[:MOST_SCOPES]]


def _scope(store: RunStore, segment: str) -> str:
    name = name_of(segment)
    if name is not None:
        return name
    about = store.get_json(store.layout.named(f"tasks/{segment}/run.json")) or {}
    return str(about.get("scope") or segment)


def read_about(store: RunStore) -> dict[str, Any] | None:
    """What ``run.json`` says of the run, or None if it has not begun."""
    about = store.get_json(store.layout.named("run.json"))
    return about if isinstance(about, dict) else None


def read_report(
    store: RunStore,
    told: Told | None = None,
    *,
    only: str | None = None,
    seconds: float | None = None,
    prices: Prices | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RunReport | None:
    """The report of a run; None if there is none in the store's folder. It blocks.

    :param told: what Airflow says of it; without, S3 alone is believed.
    :param only: read the shards of this call alone.
    :param seconds: how long ledgers may be read; those of shards that have not been read by then are counted in
        ``CallReport.unread``. None for as long as it takes.
    :param prices: with which costs are counted; None for those that come with the package.
    :raises AwsError: if something cannot be read.
    """
    about = read_about(store)
    if about is None:
        return None
    until = None if seconds is None else clock() + seconds
    plan = store.plan(str(about["plan"]))
    outputs = store.get_json(store.layout.named("outputs.json"))
    inputs = store.inputs(str(about["inputs"]))
    secrets = secret_texts(inputs, about.get("sensitive", ()))
    prices = prices or packaged()
    reader = _Reader(store, plan, told, prices, run_has_outputs=outputs is not None, secrets=secrets)
    calls = reader.calls([call for call in plan.calls if only in (None, call.id)], lambda: until and clock() > until)
    tasks = reader.tasks(calls) if only is None else ()
    state = run_state(calls, outputs is not None, told.state if told else None, task_failed=bool(tasks))
    starts = [call.started for call in calls if call.started is not None]
    ends = [call.ended for call in calls if call.ended is not None]
    return RunReport(
        workflow=plan.name,
        dag_id=store.layout.dag_id,
        run_id=store.layout.run_id,
        scope=store.layout.scope,
        digest=plan.digest,
        folder=store.layout.folder,
        state=state,
        inputs=without_secrets(inputs, about.get("sensitive", ())),
        defaults={
            declared.name: declared.default_text
            for declared in plan.inputs
            if declared.name not in inputs and declared.default_text
        },
        outputs=redact(outputs, secrets),
        started=min(starts, default=None),
        ended=max(ends, default=None) if state in ("succeeded", "failed") else None,
        calls=calls,
        failures=failures_of(calls),
        error=redact(told.error, secrets) if told else "",
        cost=total(call.cost for call in calls),
        prices=price_list(prices),
        tasks=tasks,
        published=str((store.published() or {}).get("uri", "")) if outputs is not None else "",
    )


def read_not_begun(store: RunStore, told: Told | None = None) -> RunReport | None:
    """The report of a run whose inputs were refused, so that it has not begun; None if that is not what has happened.

    Only that task can have left a reason where there is no ``run.json``.
    """
    layout = store.layout
    found = [
        TaskReport(reason.task, reason.map_index, reason.try_number, reason.text, instance)
        for reason in read_of_tasks(store).values()
        if _still_failed(reason, instance := instance_of(layout.scope, told, reason.task, reason.map_index), told)
    ]
    return not_begun(layout.dag_id, layout.run_id, layout.scope, layout.folder, found) if found else None


def _still_failed(reason: Reason, instance: Instance | None, told: Told | None) -> bool:
    """Whether a task instance is failed in the try that has left a reason, as far as Airflow was asked."""
    return told is None or (instance is not None and instance.state == "failed" and counts(reason, (), instance))


def instance_of(scope: str | None, told: Told | None, task: str, index: int) -> Instance | None:
    """The task instance of a workflow's task, or that of the operator on its own whose run it is."""
    if told is None:
        return None
    own = task_of(scope, task)
    # An instance that is not mapped yet stands for all that will be.
    found = told.instances.get((own, index)) or told.instances.get((own, -1))
    if found is not None or scope is None:
        return found
    # An operator on its own.
    return told.instances.get(instance_of_scope(scope))


@dataclass(frozen=True)
class _Wanted:
    """A shard to be read, the call's epoch, the task instance that runs it, and the reason that this one has left."""

    call: str
    shard: Shard
    epoch: str
    instance: Instance | None
    of_task: Reason | None
    begun: bool
    label: str


class _Reader:
    """Reads the shards of a run's calls."""

    def __init__(
        self,
        store: RunStore,
        plan: Plan,
        told: Told | None,
        prices: Prices,
        *,
        run_has_outputs: bool,
        secrets: tuple[str, ...],
    ) -> None:
        self.store = store
        self.prices = prices
        self.secrets = secrets
        self.plan = plan
        self.told = told
        self.run_has_outputs = run_has_outputs
        self.reasons = read_of_tasks(store)

    def tasks(self, calls: Sequence[CallReport]) -> tuple[TaskReport, ...]:
        """What has failed beside the shards of calls, which have their reasons themselves."""
        if self.told is None and self.run_has_outputs:
            return ()
        told_already = {call.id for call in calls if call.counts.get("failed")}
        tries = {
            call.id: max((made.try_number for shard in call.shards for made in shard.attempts), default=0)
            for call in calls
        }
        return tuple(
            TaskReport(task, index, reason.try_number, redact(reason.text, self.secrets), instance)
            for (task, index), reason in sorted(self.reasons.items())
            if task not in told_already and reason.try_number >= tries.get(task, 0)
            if _still_failed(
                reason, instance := instance_of(self.store.layout.scope, self.told, task, index), self.told
            )
        )

    def calls(self, calls: Sequence[Call], impatient: Callable[[], Any]) -> tuple[CallReport, ...]:
        """The reports of calls, in their order."""
        begun = set(self.store.folders(self.store.layout.named("calls/")))
        present = [call.id for call in calls if key_safe(call.id) in begun]
        epochs = dict(zip(present, side_by_side(self.store.epoch, present), strict=True))
        listed = dict(zip(present, side_by_side(self._listed, present), strict=True))
        divisions = self._divisions(calls)
        wanted = [
            shard
            for call in calls
            for shard in self._wanted(call, listed.get(call.id, set()), epochs.get(call.id, ""), divisions)
        ]
        found: dict[str, list[ShardReport]] = {call.id: [] for call in calls}
        read = 0
        while read < len(wanted) and not (read and impatient()):
            for report in side_by_side(self._read, wanted[read : read + _BATCH]):
                found[report.call].append(report)
            read += _BATCH
        unread = Counter(shard.call for shard in wanted[read:])
        return calls_with_cost(
            call_report(
                call.id,
                call.name,
                self.plan.tasks[call.task].name,
                found[call.id],
                command=self.plan.tasks[call.task].command,
                unread=unread[call.id],
                scattered=bool(self.plan.scatters(call.section)),
                over=self.told is not None and self.told.state in ENDED,
            )
            for call in calls
        )

    def _listed(self, call: str) -> set[Shard]:
        return set(_shards(self.store.folders(self.store.layout.call(call))))

    def _divisions(self, calls: Sequence[Call]) -> dict[str, dict[str, Any]]:
        """How the outermost scatters around these calls are divided, as far as that is known."""
        sections = sorted({scatters[0].id for call in calls if (scatters := self.plan.scatters(call.section))})
        divisions = zip(sections, side_by_side(self.store.read_division, sections), strict=True)
        return {section: division for section, division in divisions if division is not None}

    def _wanted(
        self, call: Call, listed: set[Shard], epoch: str, divisions: Mapping[str, Mapping[str, Any]]
    ) -> list[_Wanted]:
        """The shards of a call that there are: those that have begun, and those that are known to come."""
        scatters = self.plan.scatters(call.section)
        shards = set(listed)
        division = divisions.get(scatters[0].id) if scatters else None
        if not scatters:
            shards.add(())
        elif len(scatters) == 1 and division:
            shards.update((index,) for index in range(division["shards"]))
        chunk = division["chunk"] if division else 1
        labels = dict(enumerate(division.get("labels", ()))) if division else {}
        return [
            _Wanted(
                call.id,
                shard,
                epoch,
                self._instance(call.id, shard, chunk),
                self.reasons.get((call.id, shard[0] // chunk if shard else -1)),
                shard in listed,
                labels.get(shard[0], "") if shard else "",
            )
            for shard in sorted(shards)
        ]

    def _instance(self, call: str, shard: Shard, chunk: int) -> Instance | None:
        return instance_of(self.store.layout.scope, self.told, call, shard[0] // chunk if shard else -1)

    def _read(self, wanted: _Wanted) -> ShardReport:
        layout = self.store.layout
        key = (layout.shard(wanted.call, wanted.shard), wanted.epoch)
        attempts: list[Attempt] = _succeeded.get(key) or (
            Ledger(self.store, wanted.call, wanted.shard).attempts() if wanted.begun else []
        )
        if attempts and attempts[-1].kind == "succeeded" and not attempts[-1].superseded:
            _succeeded.put(key, attempts)
        may_have_failed = wanted.begun and shard_state(attempts, wanted.instance, run_has_outputs=False) in _DOUBTFUL
        own = read_of_shard(self.store, wanted.call, wanted.shard) if may_have_failed else None
        report = shard_report(
            wanted.call,
            shard_key(wanted.shard),
            [replace(attempt, reason=redact(attempt.reason, self.secrets)) for attempt in attempts],
            wanted.instance,
            run_has_outputs=self.run_has_outputs,
            folder=layout.shard(wanted.call, wanted.shard),
            label=wanted.label,
            own=own and redacted(own, self.secrets),
            of_task=wanted.of_task and redacted(wanted.of_task, self.secrets),
        )
        return shard_with_cost(report, attempts, self._stops(wanted, attempts), self.prices)

    def _stops(self, wanted: _Wanted, attempts: Sequence[Attempt]) -> dict[int, Stop]:
        """What was kept of attempts that were stopped, and whose end nobody has waited for."""
        if not wanted.begun:
            return {}
        state = shard_state(attempts, wanted.instance, run_has_outputs=False)
        hosted = wanted.instance is not None and state in ("running", "waiting")
        numbers = may_be_stopped(attempts, hosted=hosted)
        found = {number: read_stop(self.store, wanted.call, wanted.shard, number) for number in numbers}
        return {number: stop for number, stop in found.items() if stop is not None}


def task_of(scope: str | None, name: str) -> str:
    """The id of the Airflow task of a workflow's call (or other task), in a DAG of its own or as a task group."""
    return name if scope is None else f"{scope}.{name}"


def _shards(names: Iterable[str]) -> Iterable[Shard]:
    for name in names:
        try:
            yield shard_of(name)
        except ValueError:
            continue
