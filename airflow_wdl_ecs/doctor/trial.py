"""A real task of two seconds, through the lifecycle that runs every call: what the other checks only reason about.

It has an input file and reads what its command wrote, so it goes the whole way: RunTask, the images, staging in, the
command, staging out. Its folder in the workspace is removed afterwards, and its ECS task is stopped if whoever waits
for it goes away. The task definition stays, since runs with the same image use it, too; so does the plan, which is the
same every time, and which a deployment's role need not be allowed to delete.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property

from ..attempts import Attempt
from ..aws import Clients, in_thread, side_by_side
from ..ecs.client import ecs_client
from ..ecs.settings import EcsSettings
from ..ecs.status import command_status, could_not_pull
from ..errors import CallError, WdlEcsError
from ..layout import Layout
from ..ledger import Ledger
from ..lifecycle import CallOutcome, run_call, stop_call
from ..plan import Plan
from ..run import Run, begin_run
from ..sensitive import Log
from ..storage import RunStore
from ..story import durations
from .findings import Finding, ok, problem, skipped
from .places import DAG_ID

CALL = "two_seconds"
SECONDS = 2
SOURCE = f"""
version 1.1
task {CALL} {{
  input {{ File letter  String? image  Int? disk }}
  command <<< sleep {SECONDS}; cat ~{{letter}} >>>
  output {{ String read = read_string(stdout()) }}
  runtime {{ container: image  disks: disk }}
}}
"""
STOP_LIMIT = 60.0
"""Seconds that are waited for the end of a task that is stopped, so that it writes nothing after the cleaning."""

_PAUSE = 1.0


class UnendedError(Exception):
    """The task had not ended in time; the text says what it was about."""


def plan() -> Plan:
    """The compiled task."""
    from ..wdl.lower import compile_wdl

    return compile_wdl(SOURCE)


@dataclass(frozen=True)
class Trial:
    """One task that is run to see whether tasks run.

    :param image: of its command; empty for that of the settings, or else that of the staging containers.
    :param disk: GiB that it asks for; 0 for none.
    :param limit: seconds that it may take in all.
    :param log: is told the story of its call. :param say: is told what takes long.
    """

    settings: EcsSettings
    clients: Clients = field(repr=False)
    log: Log = field(repr=False)
    say: Callable[[str], object] = field(repr=False, default=lambda text: None)
    image: str = ""
    disk: int = 0
    limit: float = 900.0

    @cached_property
    def store(self) -> RunStore:
        """The run's folder."""
        run_id = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}_{secrets.token_hex(4)}"
        return RunStore(self.clients("s3"), Layout(self.settings.workspace, DAG_ID, run_id))

    def findings(self) -> Iterator[Finding]:
        """Run the task to its end; whether its images were pulled, and how it ended.

        :raises WdlEcsError: if it could not even begin.
        """
        compiled, letter = plan(), secrets.token_hex(8)
        began = time.monotonic()
        self.say(f"running a task of {SECONDS} s on {self.settings.cluster}, which may take minutes (Ctrl-C stops it)")
        try:
            run = self._begin(compiled, letter)
            outcome = asyncio.run(self._run(run))
            attempts = Ledger(run.store, CALL, ()).attempts()
        except UnendedError as error:
            yield problem(str(error), "see the task in the ECS console; --limit gives it more time")
            return
        finally:
            self._clean()
        yield from self._told(run.settings, outcome, attempts, letter, time.monotonic() - began)

    def _begin(self, compiled: Plan, letter: str) -> Run:
        layout = self.store.layout
        self.store.put(layout.named("letter.txt"), letter.encode())
        given = {
            "letter": layout.named("letter.txt"),
            "image": self.image or self.settings.image or None,
            "disk": self.disk or None,
        }
        settings = replace(
            self.settings,
            image=self.settings.staging_image,
            # One failure tells what is wrong; a person does not wait for it to be tried again.
            infrastructure_retries=0,
            out_of_memory_retries=0,
            # What there is no capacity for is to be said before nobody waits any more.
            capacity_timeout=max(self.limit - 60, self.limit / 2),
            call_cache="off",
        )
        return begin_run(settings, self.clients, compiled, given, dag_id=DAG_ID, run_id=layout.run_id)

    async def _run(self, run: Run) -> CallOutcome:
        """The outcome of the call; whatever ends the waiting for it ends its ECS task, too.

        :raises UnendedError: after ``limit`` seconds.
        """
        call = run_call(run, CALL, [()], try_number=1, log=self.log)
        try:
            return await asyncio.wait_for(call, self.limit)
        except (asyncio.TimeoutError, TimeoutError):
            was = await self._stop(run)
            raise UnendedError(f"not ended after {self.limit:g} s, and stopped; it was {was}") from None
        except asyncio.CancelledError:
            await self._stop(run)
            raise

    async def _stop(self, run: Run) -> str:
        """Stop the ECS task and wait for its end; gives what it was about."""
        ecs = ecs_client(await in_thread(run.clients, "ecs"))
        attempts = await in_thread(Ledger(run.store, CALL, ()).attempts)
        arns = [attempt.arn for attempt in attempts if attempt.arn]
        cluster, was = run.settings.cluster, "started" if arns else "without an ECS task"
        with suppress(WdlEcsError):  # what cannot be looked at can be stopped all the same
            if arns:
                was = command_status((await ecs.describe_tasks(cluster, arns))[arns[0]] or {})
        await stop_call(run, CALL, [()], "nobody waits for this task of airflow-wdl-ecs doctor any more")
        deadline = time.monotonic() + STOP_LIMIT
        while arns and time.monotonic() < deadline:
            found = await ecs.describe_tasks(cluster, arns)
            arns = [arn for arn, task in found.items() if task and task.get("lastStatus") != "STOPPED"]
            await asyncio.sleep(_PAUSE if arns else 0)
        return was

    def _clean(self) -> None:
        """Remove the run's folder from the workspace; what cannot be removed is small, and says what it is."""
        store = self.store
        with suppress(WdlEcsError):
            side_by_side(store.delete, [uri for uri, _ in store.list(store.layout.folder)])

    def _told(
        self, settings: EcsSettings, outcome: CallOutcome, attempts: Sequence[Attempt], letter: str, seconds: float
    ) -> Iterator[Finding]:
        last = attempts[-1] if attempts else None
        failure = outcome.failures.get(())
        images = f"{last.image if last else self.image} and {settings.staging_image}"
        if failure is None:
            assert last is not None
            yield replace(ok(_pulled(images, last)), check="image pull")
            read = (outcome.outputs[()] or {}).get("read")
            if read != letter:
                yield problem(f"the command read {read!r} in its input, which holds {letter!r}", "this should not be")
                return
            yield ok(f"a command of {SECONDS} s ran and was read in {seconds:.1f} s: {durations(last)}")
            return
        kind = failure.kind if isinstance(failure, CallError) else ""
        if kind == "never_started" and could_not_pull(failure.message):
            yield replace(problem(failure.message, self._mend(failure, None)), check="image pull")
            yield skipped("builds on: image pull")
            return
        if last is not None and last.times.pull_stopped is not None:
            yield replace(ok(_pulled(images, last)), check="image pull")
        yield problem(failure.message, self._mend(failure, last))

    def _mend(self, failure: WdlEcsError, last: Attempt | None) -> str:
        """What to do about a failure, without what it says of the folder that is removed."""
        lines = [line for line in (failure.hint or "").splitlines() if self.store.layout.folder not in line]
        if last is not None and last.log_streams:
            lines.append(f"its logs: {last.log_group}: {', '.join(last.log_streams.values())}")
        return "\n".join(lines)


def _pulled(images: str, attempt: Attempt) -> str:
    seconds = attempt.times.phases().get("image")
    return f"{images}: pulled" + ("" if seconds is None else f" in {seconds:.1f} s")
