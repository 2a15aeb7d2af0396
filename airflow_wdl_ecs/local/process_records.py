"""Which processes the server has started, on disk, so that the next server can end those that a crash left behind.

A record is a file named after the pid that holds the process's start time and its mark: a pid that was used again by
something else is left alone.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import psutil


class ProcessRecords:
    """The records in ``folder``, which is made if it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, pid: int, mark: str) -> None:
        """Record a process that has just started."""
        with contextlib.suppress(psutil.Error):
            record = {"created": psutil.Process(pid).create_time(), "mark": mark}
            (self._folder / str(pid)).write_text(json.dumps(record))

    def remove(self, pid: int) -> None:
        """Forget a process that has ended."""
        (self._folder / str(pid)).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Kill every recorded process that still runs, with its descendants, and forget all. Returns how many were
        killed.
        """
        killed: list[psutil.Process] = []
        for path in self._folder.iterdir():
            with contextlib.suppress(psutil.Error, ValueError, KeyError):
                process = psutil.Process(int(path.name))
                if abs(process.create_time() - json.loads(path.read_text())["created"]) < 0.01:
                    killed += [*process.children(recursive=True), process]
            path.unlink(missing_ok=True)
        for process in killed:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(killed, timeout=5)
        return len(killed)
