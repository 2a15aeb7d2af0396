"""What Airflow shows of a call besides its log and its outputs: links, its rendered view, and its shard's label.

A call mostly runs where no worker is, and then the one thing that reaches Airflow's database is an XCom. Links are put
there while the call runs, which is when one wants them, but only for a call that runs for a while, at the side of the
call, and never so many at once that the triggerer's own business waits; the event that ends the call brings the rest
at no cost. Nothing here fails or delays a call: what cannot be shown is a warning in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from .attempts import Attempt
from .ecs.console import folder_page, log_page, task_page
from .ecs.request import log_stream
from .layout import shard_key
from .lifecycle import CallOutcome
from .links import CommandLogLink, EcsTaskLink, S3FolderLink, WdlRunLink, run_page
from .plan import Shard
from .run import Run
from .sensitive import redact
from .task import TaskRequest
from .xcom_values import bytes_of

RENDERED = "rendered"
"""The XCom with a call's rendered view, where no worker could write Airflow's own."""

AFTER = 5.0
"""Seconds that an attempt runs before its links are put; those of a shorter one come with the call's end."""

MOST_SHARDS = 20
"""Shards of one task instance that its rendered view shows; fewer if they are larger than an XCom may be."""

_PAUSE = 3.0
"""Seconds to leave the triggerer to others after each second that putting links took."""
_PATIENCE = 5.0

Put = Callable[[str, Any], None]
"""Puts a value into the task instance's XCom under a key; it blocks, and any thread may call it."""


def run_links(run: Run, log: Any) -> dict[str, str]:
    """The links of a run: XCom key -> address. Without an AWS console, only that of this package's own page."""
    links: dict[str, str] = {}
    try:
        links[WdlRunLink.key] = run_page(run.dag_id, run.run_id, scope=run.scope)
        if run.console:
            links[S3FolderLink.key] = folder_page(_region(run), run.folder)
    except Exception as error:
        log.warning("the links of this run cannot be said: %r", error)
    return links


def call_links(run: Run, call: str, shard: Shard | None, attempt: Attempt | None = None) -> dict[str, str]:
    """The links of a call: XCom key -> address. Without an AWS console, only that of this package's own page.

    :param shard: which shard it is about; None if about several.
    :param attempt: the ECS task that it is about, if there is one.
    """
    key = None if shard is None else shard_key(shard)
    page = run_page(run.dag_id, run.run_id, call=call, shard=key, scope=run.scope)
    if not run.console:
        return {EcsTaskLink.key: page}
    layout = run.store.layout
    folder = layout.call(call) if shard is None else layout.shard(call, shard)
    links = {EcsTaskLink.key: page, S3FolderLink.key: folder_page(_region(run), folder)}
    if attempt is not None and attempt.arn:
        links[EcsTaskLink.key] = task_page(attempt.arn, attempt.cluster)
        group = attempt.log_group or run.settings.log_group
        stream = attempt.log_streams.get("command") or log_stream(attempt.arn)
        if group:
            links[CommandLogLink.key] = log_page(_region(run), group, stream)
    return links


def presentable(value: Any, longest: int) -> Any:
    """A value of a call as it may be shown in Airflow: every text that leaves for its database passes here.

    :param longest: characters of a text at most; more are cut, and said to be.
    """
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]}… ({len(value)} characters)"
    return value


class ShownCall:
    """One task instance of a call as Airflow shows it; it is told of the call's ECS tasks as a `shard.Audience` is.

    Its host makes one, `begin`s it when it knows the run, and takes `links` and `rendered` when the call has `ended`.
    """

    def __init__(self) -> None:
        self.links: dict[str, str] = {}
        """XCom key -> address, when the call has ended."""
        self.rendered: dict[str, Any] = {}
        """What ran, when the call has ended: ``image``, ``command``, what was ``asked`` and ``given``; under ``shards``
        where there are several."""
        self._attempts: dict[Shard, Attempt] = {}
        self._views: dict[Shard, dict[str, Any]] = {}
        self._there: dict[str, str] = {}
        self._news = asyncio.Event()
        self._showing: asyncio.Future[None] | None = None
        self._putting: asyncio.Future[None] | None = None

    @property
    def xcoms(self) -> dict[str, Any]:
        """The links and the rendered view as XComs: key -> value."""
        return {**self.links, **({RENDERED: self.rendered} if self.rendered else {})}

    def begin(
        self,
        run: Run,
        call: str,
        prefixes: Sequence[Shard],
        *,
        put: Put | None,
        log: Any,
        longest: int,
        label: str = "",
    ) -> None:
        """Begin to show a call that is about to run on this event loop.

        :param put: puts an XCom; None where there is nowhere to put one.
        :param longest: characters of the rendered command at most; 0 for no rendered view.
        :param label: of the shards, see `scatter.label_of`.
        """
        self._run, self._call, self._put, self._log = run, call, put, log
        self._longest, self._label = longest, label
        scatters = len(run.plan.scatters(run.plan.call_by_id[call].section))
        self._only = prefixes[0] if len(prefixes) == 1 and len(prefixes[0]) == scatters else None
        self._showing = asyncio.ensure_future(self._while_it_runs())

    async def ended(self, outcome: CallOutcome) -> None:
        """Say what is to be shown of a call that has come to an end; of a failed one, put its links at once.

        Airflow drops what a failed call's last event brings, if there is to be a retry.
        """
        self.leave()
        if self._putting is not None:
            # Before Airflow 3.3 a worker's messages are not kept apart, so one must not cross the next.
            await asyncio.wait([self._putting], timeout=_PATIENCE)
        self.links, self.rendered = self._links(outcome), self._all_views()
        if outcome.failures:
            try:
                await asyncio.wait_for(self._put_links(self.links, at_once=True), _PATIENCE)
            except asyncio.TimeoutError:
                self._log.warning("the links of this call could not be put into XCom in %.0f s", _PATIENCE)

    def leave(self) -> None:
        """Show nothing more, however the call's host ends."""
        if self._showing is not None:
            self._showing.cancel()

    def attempt(self, shard: Shard, attempt: Attempt, request: TaskRequest) -> None:
        """An attempt has started, or is taken up again."""
        self._attempts[shard] = attempt
        if self._longest:
            self._views[shard] = self._view(attempt, request)
            if len(self._views) > MOST_SHARDS:
                # A call may have a hundred thousand shards, each with a command of its own.
                del self._views[max(self._views)]
        self._news.set()

    async def _while_it_runs(self) -> None:
        """Put the links of attempts that run for a while, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(AFTER)
            await self._put_links(self._links(CallOutcome()))

    def _links(self, outcome: CallOutcome) -> dict[str, str]:
        try:
            return call_links(self._run, self._call, self._only, self._attempt_of(outcome))
        except Exception as error:
            self._log.warning("the links of this call cannot be said: %r", error)
            return {}

    def _all_views(self) -> dict[str, Any]:
        if not self._views:
            return {}
        label = {"shard": self._label} if self._label else {}
        if self._only is not None:
            return {**label, **self._views[self._only]}
        shards = {shard_key(shard): self._views[shard] for shard in sorted(self._views)}
        most = self._run.settings.xcom_max_bytes
        while most and len(shards) > 1 and bytes_of(shards) > most:
            shards.popitem()
        return {**label, "shards": shards}

    def _view(self, attempt: Attempt, request: TaskRequest) -> dict[str, Any]:
        asked = {name: amount for name, amount in asdict(request.resources).items() if amount}
        given = {"cpu": attempt.cpu, "memory": attempt.memory_given, "disk": attempt.disk, "gpu": attempt.gpu}
        return {
            "image": presentable(request.image, self._longest),
            "command": presentable(redact(request.command, self._run.secrets), self._longest),
            "asked": asked,
            "given": {name: amount for name, amount in given.items() if amount},
        }

    def _attempt_of(self, outcome: CallOutcome) -> Attempt | None:
        """The attempt that the links are about: the only shard's, or that of the first shard that has failed."""
        about: Iterable[Shard] = outcome.failures if self._only is None else (self._only,)
        return next((self._attempts[shard] for shard in about if shard in self._attempts), None)

    async def _put_links(self, links: Mapping[str, str], *, at_once: bool = False) -> None:
        try:
            for key, address in links.items():
                if self._put is not None and self._there.get(key) != address:
                    async with _turn(at_once):
                        self._putting = _in_thread(partial(self._put, key, address))
                        # Shielded: Airflow 3.1 takes the answer to a message that was given up for that to the next.
                        await asyncio.shield(self._putting)
                    self._there[key] = address
        except Exception as error:
            self._put = None
            self._log.warning("the links of this call could not be put into XCom: %r", error)


def _region(run: Run) -> str:
    return run.settings.region or ""


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def _turn(at_once: bool) -> AsyncIterator[None]:
    """One after the other, with pauses: each message costs the triggerer's one supervisor tens of milliseconds."""
    if at_once:
        yield
        return
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        began = time.monotonic()
        yield
        await asyncio.sleep(_PAUSE * (time.monotonic() - began))


def _in_thread(put: Callable[[], None]) -> asyncio.Future[None]:
    """Call it in a thread, to its end.

    asgiref's thread is what the triggerer of Airflow 3.1 needs to find its way back to its own event loop.
    """
    putting = asyncio.ensure_future(sync_to_async(put, thread_sensitive=False)())
    # Whoever has gone away does not ask for its error.
    putting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return putting
