"""One warm embedded Airflow for all end-to-end tests, in a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LIMIT = 240.0
"""Seconds that one command may take on a busy machine; a warm one takes a few."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.status == 0, self.err
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def outputs(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["outputs"]
        return found


@dataclass(frozen=True)
class CommandLine:
    """The command line, with the home of the embedded Airflow and a folder to run in."""

    home: Path
    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *words: str | Path, stdin: str | None = None) -> Result:
        done = subprocess.run(
            self._command(words),
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            self._command(words),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_wdl(self, source: str, *words: str | Path, name: str = "workflow.wdl") -> Result:
        """Run a workflow that is given as text."""
        self.write(source, name)
        return self("run", name, *words)

    def write(self, source: str, name: str = "workflow.wdl") -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_text(source)
        return path

    def processes(self) -> Mapping[str, int]:
        """Component -> process id."""
        found = json.loads((self.home / "processes.json").read_text())
        return {name: session["pid"] for name, session in found.items()}

    @property
    def environment(self) -> dict[str, str]:
        """What the commands get; an Airflow of the user's own must not be in their way."""
        return {
            **os.environ,
            "AIRFLOW_WDL_ECS_HOME": str(self.home),
            "AIRFLOW_WDL_ECS_CONTAINERS": "plain",
            "AIRFLOW_HOME": "/nowhere/airflow",
            "AIRFLOW__CORE__EXECUTOR": "NoSuchExecutor",
            "AWS_ACCESS_KEY_ID": "not-for-the-embedded-aws",
            **self.extra,
        }

    def _command(self, words: tuple[str | Path, ...]) -> list[str]:
        return [sys.executable, "-m", "airflow_wdl_ecs", *map(str, words)]


@pytest.fixture(scope="session")
def embedded_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the session's embedded Airflow; the first command starts it."""
    home = tmp_path_factory.mktemp("embedded")
    yield home
    command = CommandLine(home, home)
    command("local", "stop")
    leftovers = home / "processes.json"
    if leftovers.exists():
        for pid in command.processes().values():
            os.kill(pid, signal.SIGKILL)
    assert not leftovers.exists(), "the embedded Airflow did not end"


@pytest.fixture
def cli(embedded_home: Path, tmp_path: Path) -> CommandLine:
    """The command line in a folder of the test's own."""
    return CommandLine(embedded_home, tmp_path)


@pytest.fixture(scope="session", autouse=True)
def minding_interrupts() -> Iterator[None]:
    """Commands mind SIGINT, also where the tests run in the background of a shell, which has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
