"""The specification's examples as test items, run side by side on a host of the session's choice.

``pytest -m spec tests/spec`` runs them (without ``-m spec`` they are left out: they take minutes);
``--spec-host`` says where, ``--spec-table`` writes what came out to docs/spec-conformance.md. The specification is
not part of this repository: it is looked for in the folder that the variable ``WDL_SPEC`` names, or else in
``shared/spec`` beside the checkout.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from .examples import Example, read_examples, write_examples
from .expectations import Expectations, read_expectations
from .hosts import HOSTS
from .outcomes import Host, Outcome, try_example
from .table import Row, table

VERSIONS = ("1.1", "1.2")
ROOT = Path(__file__).parents[2]
SPECIFICATION = Path(os.environ.get("WDL_SPEC") or ROOT.parent / "shared" / "spec")
ABSENT = f"no WDL specification in {SPECIFICATION}; set WDL_SPEC to its folder"
ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("the WDL specification's examples")
    group.addoption("--spec-host", choices=sorted(HOSTS), default="airflow", help="where the examples run")
    group.addoption("--spec-table", action="store_true", help="write the results to docs/spec-conformance.md")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    if config.getoption("spec_table", default=False) and config.getoption("spec_host") != "airflow":
        raise pytest.UsageError("--spec-table is for runs through Airflow: leave --spec-host out")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "example" not in metafunc.fixturenames:
        return
    if SPECIFICATION.is_dir():
        metafunc.parametrize("example", [example for version in VERSIONS for example in examples_of(version)], ids=str)
    else:
        metafunc.parametrize("example", [pytest.param(None, marks=pytest.mark.skip(reason=ABSENT), id="absent")])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if re.search(r"\bspec\b", config.getoption("markexpr", default="")):
        return
    slow = [item for item in items if item.get_closest_marker("spec")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)


def pytest_sessionfinish(session: pytest.Session) -> None:
    rows = session.config.stash[ROWS]
    if not rows or not session.config.getoption("spec_table", default=False):
        return
    total = sum(len(examples_of(version)) for version in VERSIONS)
    if len(rows) < total:
        print(f"\ndocs/spec-conformance.md is not written: {len(rows)} of {total} examples were run")
    else:
        (ROOT / "docs" / "spec-conformance.md").write_text(table(rows))


def examples_of(version: str) -> tuple[Example, ...]:
    return read_examples((SPECIFICATION / f"SPEC-{version}.md").read_text(), version)


@pytest.fixture(scope="session")
def expectations() -> Expectations:
    return read_expectations()


@pytest.fixture(scope="session")
def spec_examples() -> dict[str, tuple[Example, ...]]:
    """Version -> all its examples."""
    if not SPECIFICATION.is_dir():
        pytest.skip(ABSENT)
    return {version: examples_of(version) for version in VERSIONS}


@pytest.fixture(scope="session")
def spec_folders(
    spec_examples: dict[str, tuple[Example, ...]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Version -> the folder in which all its examples stand side by side with their data."""
    folders = {version: tmp_path_factory.mktemp(f"wdl-{version}") for version in VERSIONS}
    for version, folder in folders.items():
        write_examples(spec_examples[version], SPECIFICATION / "data", folder)
    return folders


@pytest.fixture(scope="session")
def spec_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Where the examples run."""
    name = request.config.getoption("spec_host", default="airflow")
    with HOSTS[name](request, tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, spec_folders: dict[str, Path], spec_host: Host, expectations: Expectations
) -> Iterator[dict[str, Future[Outcome]]]:
    """What becomes of every selected example that is run; several are under way at once."""
    wanted = [
        item.callspec.params["example"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.get_closest_marker("spec")
    ]
    with ThreadPoolExecutor(spec_host.at_once) as pool:
        yield {
            str(example): pool.submit(try_example, example, spec_folders[example.version], spec_host)
            for example in wanted
            if (expected := expectations.of(example)) is None or expected.runs
        }
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def spec_rows(request: pytest.FixtureRequest) -> list[Row]:
    """The rows of the table, so far."""
    rows: list[Row] = request.config.stash[ROWS]
    return rows
