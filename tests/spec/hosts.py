"""Where the specification's examples run: in this process (``direct``), or through Airflow (``airflow``).

What a host needs is imported when it opens, since collecting tests should cost nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_wdl_ecs.plan import Plan

from .outcomes import Host

if TYPE_CHECKING:
    from ..direct import DirectRunner


class DirectHost:
    """Runs examples in this process, on one event loop in a thread of its own."""

    at_once = 8

    def __init__(self, runner: DirectRunner, loop: asyncio.AbstractEventLoop) -> None:
        self._runner = runner
        self._loop = loop

    def run(self, plan: Plan, inputs: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
        """See `outcomes.Host`."""
        return asyncio.run_coroutine_threadsafe(self._runner.run(plan, inputs, folder, name), self._loop).result()

    def read(self, uri: str) -> bytes | None:
        """See `outcomes.Host`."""
        return self._runner.read(uri)


@contextmanager
def direct(request: pytest.FixtureRequest, state: Path) -> Iterator[Host]:
    """The runner of `tests.direct` on the session's embedded AWS."""
    from ..direct import DirectRunner

    runner = DirectRunner(request.getfixturevalue("embedded_aws"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="direct", daemon=True)
    thread.start()
    yield DirectHost(runner, loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


HOSTS: Mapping[str, Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Host]]] = {"direct": direct}
"""Name -> opens a host; the path is a folder of the host's own."""
