"""The contract between this package and ECS: on the embedded ECS, and with ``AWS_CONTRACT=1`` on a real account.

Before anything is started, the plan of all selected tests is priced; what is dearer than ``AWS_CONTRACT_LIMIT_USD`` (1
US dollar) is refused. When all is over, whether well or not, every task is stopped. docs/contract.md tells the rest.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.local.endpoint import start_server, stop_server

from . import costs
from .cleanup import remove_the_rest, stop_tasks
from .offer import REGION, Offer, offer
from .target import Target, embedded_target

HERE = Path(__file__).parent
OFFER = pytest.StashKey[Offer]()
SAID = pytest.StashKey[list[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse what is too dear, before anything is started."""
    plans = costs.plan_of(item for item in session.items if item.path.is_relative_to(HERE))
    if plans:
        session.config.stash[OFFER] = offer(plans, os.environ)


def pytest_report_collectionfinish(config: pytest.Config) -> str:
    found = config.stash.get(OFFER, None)
    return str(found) if found else ""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(SAID, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, terminable: None
) -> Iterator[Target]:
    """What the contract runs on."""
    offered = request.config.stash[OFFER]
    found = offered.target
    state = tmp_path_factory.mktemp("aws")
    if found is None:
        # Nothing is started that is not planned.
        found = embedded_target(start_server(state, containers="plain"), costs.Budget(offered.dollars, REGION))
    try:
        yield found
    finally:
        said = request.config.stash[SAID] = []
        left = stop_tasks(found)
        said.append(f"contract: {found.budget.tasks} tasks, for {found.budget.spent:.3f} US dollars at most")
        said.extend(f"contract: left behind: {what}" for what in remove_the_rest(found))
        if found.embedded:
            stop_server(state)
        assert not left, f"these tasks have not stopped; stop them by hand: {', '.join(left)}"


@pytest.fixture(scope="session")
def terminable() -> Iterator[None]:
    """SIGTERM ends the tests as Ctrl-C does, and so stops the tasks."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def only_on_aws(target: Target) -> Callable[[str], None]:
    """Skip a test on the embedded ECS, and say why."""

    def skip(why: str) -> None:
        if target.embedded:
            pytest.skip(f"the embedded ECS {why}")

    return skip
