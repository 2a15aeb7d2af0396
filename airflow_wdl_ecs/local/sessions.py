"""Components as sessions of processes: starting one by fork, and ending whatever a dead one left behind.

Each component is a session of its own, so that what it started can be found even when the component itself is gone.
This module knows nothing of Airflow or AWS.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Session:
    """A session of processes, by its leader's process id and the time at which that process was created."""

    pid: int
    created: float

    @staticmethod
    def of(pid: int) -> Session:
        """The session that the process leads."""
        return Session(pid, psutil.Process(pid).create_time())


def fork_component(run: Callable[[], int | None], log: Path, closing: Iterable[int] = ()) -> Session:
    """Run a function in a forked process that leads its own session and writes to ``log``.

    The process gets SIGTERM when its parent dies (on Linux).

    :param run: gives the exit status; None is 0.
    :param closing: file descriptors of the parent that the component must not keep.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(run, log, closing, parent)
    return Session.of(pid)


def _become(run: Callable[[], int | None], log: Path, closing: Iterable[int], parent: int) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _die_with(parent)
        for descriptor in closing:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        _redirect(log)
        status = run() or 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _die_with(parent: int) -> None:
    """Ask Linux for SIGTERM when the parent dies; elsewhere the next start of the service cleans up."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _redirect(log: Path) -> None:
    """Let stdout and stderr of this process go to the end of a file, and stdin come from nowhere."""
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    os.close(nowhere)


def members(session: Session) -> list[psutil.Process]:
    """The living processes of a session, its leader among them; not those of a later one with the same number."""
    found = []
    for process in psutil.process_iter():
        try:
            same = os.getsid(process.pid) == session.pid and process.create_time() >= session.created - 0.1
            if same and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_sessions(sessions: Iterable[Session], grace: float) -> None:
    """End the sessions: SIGTERM to their leaders, and after ``grace`` seconds SIGKILL to whatever is left."""
    remaining = list(sessions)
    for session in remaining:
        if is_alive(session):
            with contextlib.suppress(OSError):
                os.kill(session.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(is_alive(session) for session in remaining) and time.monotonic() < deadline:
        time.sleep(0.05)
    for session in remaining:
        for process in members(session):
            with contextlib.suppress(psutil.Error):
                process.kill()


def is_alive(session: Session) -> bool:
    """Whether the session's leader still runs."""
    try:
        process = psutil.Process(session.pid)
        return abs(process.create_time() - session.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
