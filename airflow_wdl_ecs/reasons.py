"""Why a try has failed, where no ECS task tells it: kept in the run's folder, for reports.

A shard whose expressions fail, or that ECS refuses, leaves a ``failure.json`` in its folder; a task instance that fails
as a whole (the inputs' check, the outputs' evaluation, a scatter, a call whose shards cannot be said) leaves one below
``failures/`` in the run's. A reason holds for its try: later ones write their own, and who reads asks whether it still
counts (`report_shards`). To keep one never fails, and takes no patience with S3, since the error itself is told
elsewhere and must not wait. Neither Airflow nor ECS is known here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import islice

import msgspec

from .aws import impatient, side_by_side
from .errors import CallError, WdlEcsError
from .layout import Layout, key_safe
from .plan import Shard
from .sensitive import redact
from .storage import RunStore

LOG = logging.getLogger(__name__)
LONGEST = 8_000
"""Characters of a reason that are kept."""
MOST_TASKS = 100
"""Reasons of task instances that are read of one run."""
FAILURES = "failures/"


@dataclass(frozen=True)
class Reason:
    """Why something has failed in a try.

    :param at: when, in seconds since the epoch. :param text: without secrets.
    :param task: of a task instance, the task's id within the workflow; empty for a shard's.
    :param map_index: of the task instance; -1 outside mapped groups.
    """

    try_number: int
    text: str
    at: float
    task: str = ""
    map_index: int = -1


_REASON = msgspec.json.Decoder(Reason)
"""Made once and here: msgspec breaks the process if threads are the first to decode a dataclass, at the same time."""


def reason_of(
    error: BaseException, try_number: int, secrets: Iterable[str], *, task: str = "", map_index: int = -1
) -> Reason:
    """The reason that an error is.

    :param secrets: texts that must not be shown (see ``sensitive``).
    """
    text = error.reason if isinstance(error, WdlEcsError) else f"{type(error).__name__}: {error}"
    # Cut last: of a secret that is cut, what is left could not be found.
    text = redact(text, secrets)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
    return Reason(try_number, text, time.time(), task, map_index)


def told_by_attempt(error: BaseException) -> bool:
    """Whether an error is how an attempt has ended, so that the shard's ledger tells it."""
    return isinstance(error, CallError) and error.attempt is not None


def keep_of_shard(store: RunStore, call: str, shard: Shard, reason: Reason) -> None:
    """Keep why a shard has failed. It blocks, and raises nothing."""
    _keep(store, _of_shard(store.layout, call, shard), reason)


def keep_of_task(store: RunStore, reason: Reason) -> None:
    """Keep why a task instance has failed. It blocks, and raises nothing."""
    _keep(store, _of_task(store.layout, reason.task, reason.map_index), reason)


def forget_of_task(store: RunStore, task: str, map_index: int = -1) -> None:
    """Forget why a task instance had failed, now that a later try has succeeded. It blocks, and raises nothing."""
    try:
        with impatient():
            store.delete(_of_task(store.layout, task, map_index))
    except Exception as error:
        LOG.warning("the reason of an earlier failure of %s could not be deleted: %s", task, error)


def forget_all(store: RunStore) -> None:
    """Forget the reasons of all task instances of a run."""
    for uri in [uri for uri, _ in store.list(store.layout.named(FAILURES))]:
        store.delete(uri)


def is_of_shard(uri: str) -> bool:
    """Whether the URI of an object right below a shard's folder is that of its reason."""
    return uri.endswith("/failure.json")


def read_of_shard(store: RunStore, call: str, shard: Shard) -> Reason | None:
    """Why a shard has failed, in the last try that has left a reason."""
    return _read(store, _of_shard(store.layout, call, shard))


def read_of_tasks(store: RunStore) -> dict[tuple[str, int], Reason]:
    """Why task instances have failed, by task and map index, in the last try of each that has left a reason."""
    uris = [uri for uri, _ in islice(store.list(store.layout.named(FAILURES)), MOST_TASKS)]
    found = side_by_side(lambda uri: _read(store, uri), uris)
    return {(reason.task, reason.map_index): reason for reason in found if reason is not None}


def redacted(reason: Reason, secrets: Iterable[str]) -> Reason:
    """A reason with nothing in it that a run has come to hide since."""
    return replace(reason, text=redact(reason.text, secrets))


def _keep(store: RunStore, uri: str, reason: Reason) -> None:
    try:
        with impatient():
            store.put_json(uri, asdict(reason))
    except Exception as error:
        # What has failed is told by its own error; this is one more thing that did.
        LOG.warning("the reason of the failure could not be kept in %s: %s", uri, error)


def _read(store: RunStore, uri: str) -> Reason | None:
    data = store.get(uri)
    return None if data is None else _REASON.decode(data)


def _of_shard(layout: Layout, call: str, shard: Shard) -> str:
    return f"{layout.shard(call, shard)}failure.json"


def _of_task(layout: Layout, task: str, map_index: int) -> str:
    return layout.named(f"{FAILURES}{key_safe(task)}/{map_index if map_index >= 0 else '_'}.json")
