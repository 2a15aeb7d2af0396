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
    from airflow_wdl_ecs.local.airflow_home import AirflowHome

    from ..direct import DirectRunner


class DirectHost:
    """Runs examples in this process, on one event loop in a thread of its own."""

    at_once = 8

    def __init__(self, runner: DirectRunner, loop: asyncio.AbstractEventLoop) -> None:
        self._runner = runner
        self._loop = loop

    def run(self, plan: Plan, inputs: dict[str, Any], name: str) -> dict[str, Any]:
        """See `outcomes.Host`."""
        return asyncio.run_coroutine_threadsafe(self._runner.run(plan, inputs, name), self._loop).result()

    def is_path(self, value: str) -> bool:
        """See `comparison.Files`."""
        return value.startswith("s3://")

    def read(self, path: str) -> bytes | None:
        """See `comparison.Files`."""
        return self._runner.read(path)


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


class AirflowHost:
    """Runs examples through an embedded Airflow, as the command line does.

    :param home: the embedded Airflow's. :param folder: where the outputs go.
    """

    at_once = 6

    def __init__(self, home: AirflowHome, folder: Path) -> None:
        self._home = home
        self._folder = folder

    def run(self, plan: Plan, inputs: dict[str, Any], name: str) -> dict[str, Any]:
        """See `outcomes.Host`."""
        from airflow_wdl_ecs.commands.progress import Progress
        from airflow_wdl_ecs.commands.run import LocalRun

        outputs = self._folder / name
        outputs.mkdir()
        with (outputs / "progress").open("w") as stream:
            return LocalRun(self._home, plan, outputs, Progress(plan, stream=stream)).outputs(inputs)

    def is_path(self, value: str) -> bool:
        """See `comparison.Files`."""
        return value.startswith(f"{self._folder}/")

    def read(self, path: str) -> bytes | None:
        """See `comparison.Files`."""
        return Path(path).read_bytes() if Path(path).is_file() else None


@contextmanager
def airflow(request: pytest.FixtureRequest, state: Path) -> Iterator[Host]:
    """An embedded Airflow of the session's own, warm before the first example and ended after the last."""
    from airflow_wdl_ecs.local import client
    from airflow_wdl_ecs.local.airflow_home import AirflowHome

    home = AirflowHome(state / "home")
    service = client.connect(home, say)
    try:
        (state / "outputs").mkdir()
        yield AirflowHost(home, state / "outputs")
    finally:
        client.end(service, say)


def say(text: str) -> None:
    """Tell of the service's start and end among the tests' captured output."""
    print(text)


HOSTS: Mapping[str, Callable[[pytest.FixtureRequest, Path], AbstractContextManager[Host]]] = {
    "airflow": airflow,
    "direct": direct,
}
"""Name -> opens a host; the path is a folder of the host's own."""
