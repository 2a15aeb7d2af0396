"""Local processes that stand for containers: start one, read its output, learn of its exit, and end everything it left.

Everything here runs in one event loop's thread. A process is started in a session of its own, so that its group can
be signalled; a process that leaves the group is found again by a mark in its environment, since the server adopts
orphans (it is a subreaper where Linux allows). This module knows neither tasks nor logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from .containers import ContainerStartError, Launch

MARK = "AIRFLOW_WDL_ECS_CONTAINER"
"""The variable in every process's environment that says which container it belongs to."""

_CHUNK = 65536
_waiters = ThreadPoolExecutor(max_workers=1024, thread_name_prefix="wait")


def adopt_orphans() -> bool:
    """Make this process the parent of its descendants' orphans, so that none can hide. Returns whether that worked."""
    if not sys.platform.startswith("linux"):
        return False
    pr_set_child_subreaper = 36
    return bool(ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0) == 0)


class Process:
    """One running process, whose exit and output are reported in the event loop.

    :param on_output: called with each chunk of stdout and stderr, and once with ``b""`` before ``on_exit``.
    :param on_exit: called once with the exit code as a shell shows it (128 + n after signal n).
    :raises ContainerStartError: if there is no such program or it may not be executed.
    """

    known: dict[int, Process] = {}  # noqa: RUF012 - the process table of this server, by pid

    def __init__(
        self,
        launch: Launch,
        loop: asyncio.AbstractEventLoop,
        on_output: Callable[[bytes], None],
        on_exit: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._on_output = on_output
        self._on_exit = on_exit
        self._info: int | None = None
        self.inner_pid: int | None = None
        self._popen = _popen(launch, self)
        self.pid = self._popen.pid
        Process.known[self.pid] = self
        assert self._popen.stdout is not None
        self._output = self._popen.stdout.fileno()
        os.set_blocking(self._output, False)
        loop.add_reader(self._output, self._read)
        self._watch_exit()

    def _watch_exit(self) -> None:
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # macOS, or an old kernel
            future = self._loop.run_in_executor(_waiters, self._popen.wait)
            future.add_done_callback(lambda _: self._exited())
            return

        def ready() -> None:
            if self._popen.poll() is not None:
                self._loop.remove_reader(pidfd)
                os.close(pidfd)
                self._exited()

        self._loop.add_reader(pidfd, ready)

    def take_info(self, descriptor: int) -> None:
        """Read the inner pid from ``descriptor``, at the latest when a signal needs it."""
        self._info = descriptor

    def read_info(self) -> int | None:
        """The pid that the launcher (bubblewrap) reports for the container's first process; None if it has not yet."""
        if self.inner_pid is None and self._info is not None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                self.inner_pid = int(json.loads(os.read(self._info, 4096))["child-pid"])
                self._close_info()
        return self.inner_pid

    def _close_info(self) -> None:
        if self._info is not None:
            os.close(self._info)
            self._info = None

    def _read(self) -> None:
        try:
            chunk = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            self._on_output(chunk)
        else:
            self._loop.remove_reader(self._output)

    def _exited(self) -> None:
        code = self._popen.returncode
        self._on_exit(128 - code if code < 0 else code)

    def finish(self) -> None:
        """Read what is still in the pipe, and let go of everything; a process that holds the pipe open is not waited
        for.
        """
        self._loop.remove_reader(self._output)
        with contextlib.suppress(OSError):
            while chunk := os.read(self._output, _CHUNK):
                self._on_output(chunk)
        self._on_output(b"")
        self._close_info()
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        Process.known.pop(self.pid, None)


def _popen(launch: Launch, process: Process) -> subprocess.Popen[bytes]:
    pass_fds: tuple[int, ...] = ()
    argv = launch.argv
    ours = theirs = None
    if launch.info:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        argv = tuple(argument.replace("{info}", str(theirs)) if argument == "{info}" else argument for argument in argv)
        pass_fds = (theirs,)
    try:
        popen = subprocess.Popen(
            argv,
            env=dict(launch.environment),
            cwd=launch.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
            bufsize=0,
        )
    except OSError as error:
        if ours is not None:
            os.close(ours)
        code = 126 if isinstance(error, PermissionError) else 127
        raise ContainerStartError(f"CannotStartContainerError: exec: {error}", code) from error
    finally:
        if theirs is not None:
            os.close(theirs)
    if ours is not None:
        process.take_info(ours)
    return popen


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process and its group; both may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def signal_tree(pid: int, mark: str, number: signal.Signals) -> None:
    """Signal a process, its descendants wherever they went, and the orphans that carry its mark."""
    for other in [*_descendants(pid), *_orphans(mark)]:
        with contextlib.suppress(psutil.Error):
            other.send_signal(number)
    signal_group(pid, number)


def kill_leftovers(pid: int, mark: str) -> None:
    """After a container's first process has ended: kill its group and the marked processes that left the group."""
    signal_group(pid, signal.SIGKILL)
    for orphan in _orphans(mark):
        for other in [*_children(orphan), orphan]:
            with contextlib.suppress(psutil.Error):
                other.kill()
        with contextlib.suppress(psutil.Error, psutil.TimeoutExpired):
            orphan.wait(timeout=1)


def kill_marked(variable: str, value: str) -> int:
    """Kill every process of this user in whose environment ``variable`` is ``value``. Returns how many. Slow: looks at
    all.
    """
    victims = [process for process in psutil.process_iter() if _environment(process).get(variable) == value]
    victims = [process for process in victims if process.pid != os.getpid()]
    for process in victims:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(victims, timeout=5)
    return len(victims)


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return _children(psutil.Process(pid))
    return []


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return list(process.children(recursive=True))
    return []


def _environment(process: psutil.Process) -> dict[str, str]:
    with contextlib.suppress(psutil.Error, OSError):
        return dict(process.environ())
    return {}


def _orphans(mark: str) -> Iterable[psutil.Process]:
    """Processes of a container that this server has adopted; adopted ones that have ended are reaped on the way."""
    for pid in _adopted():
        with contextlib.suppress(ChildProcessError):  # it is no child, where orphans belong to init
            if os.waitpid(pid, os.WNOHANG)[0]:
                continue
        with contextlib.suppress(psutil.Error):
            if _has_mark(pid, mark):
                yield psutil.Process(pid)


def _has_mark(pid: int, mark: str) -> bool:
    # psutil takes ten times as long, and with many containers there are many to look at whenever one ends.
    with contextlib.suppress(OSError):
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return _environment(psutil.Process(pid)).get(MARK) == mark


def _adopted() -> list[int]:
    """Children of this server that it did not start as containers."""
    try:
        pids = [
            int(pid)
            for thread in Path("/proc/self/task").iterdir()
            for pid in (thread / "children").read_text().split()
        ]
    except OSError:  # no /proc/.../children: orphans belong to init, look at everything
        pids = psutil.pids()
    return [pid for pid in pids if pid not in Process.known and pid != os.getpid()]
