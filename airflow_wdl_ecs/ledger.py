"""The ledger of a shard: its ECS tasks and what became of each, and its success.

It is what makes a call run exactly once: whoever hosts the call next finds the task that runs, the result that is
there, and how much of each budget is used (see ``retries``). Only `Ledger` reads and writes, through the `RunStore`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import msgspec

from .attempts import Attempt, Stop
from .plan import Shard
from .reasons import forget_all, is_of_shard
from .storage import RunStore
from .task import Outputs

_LEDGER_PATH = 2
"""Names of a ledger's file below its call's folder: shard, file. Those of an attempt's files are more."""


@dataclass(frozen=True)
class Success:
    """A shard's outputs, and the try and attempt that gave them.

    :param given: as in `Attempt`.
    :param files: of a hit of the call cache: its files and directories, which the run may read wherever they are.
    """

    try_number: int
    attempt: int
    outputs: Outputs
    given: str = ""
    files: tuple[str, ...] = ()


# Made once and here: msgspec breaks the process if threads are the first to decode a dataclass, at the same time.
_ATTEMPTS = msgspec.json.Decoder(list[Attempt])
_SUCCESS = msgspec.json.Decoder(Success)
_STOP = msgspec.json.Decoder(Stop)
_TIMES = msgspec.json.Decoder(dict[str, float])


class Ledger:
    """One shard's ledger in S3; every method blocks."""

    def __init__(self, store: RunStore, call: str, shard: Shard) -> None:
        self._keep_in(store, store.layout.shard(call, shard))

    @classmethod
    def in_folder(cls, store: RunStore, folder: str) -> Ledger:
        """The ledger of the shard whose folder this is."""
        ledger = cls.__new__(cls)
        ledger._keep_in(store, folder)
        return ledger

    def _keep_in(self, store: RunStore, folder: str) -> None:
        self._store = store
        self._outputs = f"{folder}outputs.json"
        self._attempts = f"{folder}attempts.json"

    def success(self) -> Success | None:
        """What the shard's success left, if it has succeeded."""
        data = self._store.get(self._outputs)
        return None if data is None else _SUCCESS.decode(data)

    def write_success(self, success: Success) -> None:
        """Record that the shard has succeeded."""
        self._store.put_json(self._outputs, asdict(success))

    def clear_success(self, try_number: int) -> None:
        """Forget that the shard has succeeded; what has given the success is marked as superseded first.

        :param try_number: the try that runs the shard again.
        """
        attempts = self.attempts()
        if attempts:
            self.write_attempts([*attempts[:-1], replace(attempts[-1], superseded=try_number)])
        self._store.delete(self._outputs)

    def supersede(self, begun: int) -> None:
        """Let nothing count that there is.

        :param begun: the least number of attempts that there are; some may not have been recorded.
        """
        attempts = self.attempts()
        now, why = time.time(), "nobody has recorded it"
        left = [Attempt(n, 0, "", "", now, kind="lost", reason=why) for n in range(len(attempts), begun)]
        if left:
            self.write_attempts([*attempts, *left])
        self.clear_success(1)

    def attempts(self) -> list[Attempt]:
        """The shard's attempts, in order."""
        data = self._store.get(self._attempts)
        return [] if data is None else _ATTEMPTS.decode(data)

    def write_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Record the attempts."""
        self._store.put_json(self._attempts, [asdict(attempt) for attempt in attempts])


def keep_stop(store: RunStore, prefix: str, stop: Stop) -> None:
    """Record what ECS said of an attempt that was stopped. It blocks.

    Often nobody waits for its end: its task instance was marked as failed, say. If somebody does, the ledger has its
    times, and this counts no more; it is no part of the ledger, so that who stops and who waits do not get in each
    other's way.

    :param prefix: the attempt's folder.
    """
    store.put_json(f"{prefix}stopped.json", asdict(stop))


def read_stop(store: RunStore, call: str, shard: Shard, attempt: int) -> Stop | None:
    """What `keep_stop` has recorded of an attempt; None if it was not stopped. It blocks."""
    data = store.get(f"{store.layout.attempt(call, shard, attempt)}stopped.json")
    if data is None:
        return None
    try:
        return _STOP.decode(data)
    except msgspec.ValidationError:
        # Earlier versions have kept the times alone.
        return Stop(_TIMES.decode(data))


def supersede_run(store: RunStore) -> int:
    """Let nothing of an earlier run in the same folder count: that of a DAG run that was deleted and has come again.

    Its files stay, and its attempts keep their numbers: also one that was never recorded, because its host died just
    after RunTask. It blocks; gives how many shards had a ledger or an attempt.
    """
    forget_all(store)
    store.forget_outputs()
    calls = store.layout.named("calls/")
    begun: dict[tuple[str, str], int] = {}
    for uri, _ in store.list(calls):
        call, *path = uri.removeprefix(calls).split("/")
        if len(path) <= 1:
            continue
        if len(path) == _LEDGER_PATH and is_of_shard(uri):
            store.delete(uri)
        shard = call, f"{calls}{call}/{path[0]}/"
        attempts = int(path[1]) + 1 if len(path) > _LEDGER_PATH and path[1].isdecimal() else 0
        begun[shard] = max(begun.get(shard, 0), attempts)
    for (_, folder), attempts in sorted(begun.items()):
        Ledger.in_folder(store, folder).supersede(attempts)
    for call in sorted({call for call, _ in begun}):
        store.put_json(f"{calls}{call}/epoch.json", uuid.uuid4().hex)
    return len(begun)


def is_deliberate_rerun(successes: Sequence[Success | None], try_number: int) -> bool:
    """Whether somebody has cleared a success: all shards succeeded in an earlier try, and yet there is this one."""
    return bool(successes) and all(s is not None and s.try_number < try_number for s in successes)
