"""How a component of the embedded Airflow tells another that there is something to do, so that none has to look often.

Airflow's scheduler and triggerer look at the database again and again, since in a deployment nobody tells them of a
change. Here all components are on one machine: whoever commits a change that concerns another wakes it through a named
pipe. A wake-up that is lost costs time and nothing else, for they look by themselves as well, if seldom.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Wakeup:
    """A named pipe that one process waits at, and that any other may write to.

    :param path: of the pipe; it is made when it is first waited at.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading: int | None = None

    def send(self) -> None:
        """Wake who waits; nothing happens if nobody does."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(descriptor, b".")
            finally:
                os.close(descriptor)

    def fileno(self) -> int:
        """The descriptor that becomes readable; the pipe is made if it is not there."""
        if self._reading is None:
            self._reading = self._open()
        return self._reading

    def _open(self) -> int:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self._path, 0o600)
            # Open for writing as well, so that it never is at its end.
            return os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            # A file system without named pipes: a pipe that nobody else knows, so whoever waits looks by itself.
            reading, self._unheard = os.pipe()
            os.set_blocking(reading, False)
            return reading

    def clear(self) -> None:
        """Take note of what has been sent."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fileno(), 4096):
                pass

    def wait(self, seconds: float) -> None:
        """Wait until somebody wakes this process, for ``seconds`` at the most."""
        select.select([self], [], [], max(0.0, seconds))
        self.clear()


def wake_on_commit(wakes: Mapping[str, Wakeup]) -> None:
    """Let this process wake others when it commits a change to a table of Airflow's database.

    :param wakes: the beginning of a statement in capitals, such as ``INSERT INTO TRIGGER`` -> who is to be woken.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    @event.listens_for(Engine, "before_cursor_execute")
    def _note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        beginning = statement[:40].replace('"', "").upper()
        for change, wakeup in wakes.items():
            if beginning.startswith(change):
                connection.info.setdefault("changes", set()).add(wakeup)

    @event.listens_for(Engine, "commit")
    def _commit(connection: Any) -> None:
        # SQLAlchemy tells of a commit before it is one, and others are to look when they can see it.
        connection.info["committed"] = connection.info.pop("changes", set()) | connection.info.get("committed", set())

    @event.listens_for(Engine, "rollback")
    def _forget(connection: Any) -> None:
        connection.info.pop("changes", None)

    @event.listens_for(Pool, "checkin")
    def _wake(connection: Any, record: Any) -> None:
        for wakeup in record.info.pop("committed", ()):
            wakeup.send()
