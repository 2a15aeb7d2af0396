"""The plain way: a container is a process of this machine, and a container path is a host path.

There are no mounts: a volume that lives as long as its task is the folder at the mount's own container path, which must be
at or below the container root. The image is ignored, memory and CPU are not limited.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

from .containers import CannotStart, ContainerSpec, Launch, WayName
from .processes import kill_leftovers, signal_tree

HOME = "home"
TEMPORARY = "tmp"


class Plain:
    """See `containers.Way`."""

    name: WayName = "plain"
    identity = True

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def launch(self, spec: ContainerSpec) -> Launch:
        """:raises CannotStart: for a mount that plain processes cannot have, or a working directory that cannot be made."""
        for mount in spec.mounts:
            if mount.source is not None and mount.source != Path(mount.target):
                raise CannotStart(
                    f"CannotCreateContainerError: plain containers cannot show {mount.source} at {mount.target}; "
                    "use the host's path as containerPath, or another container way"
                )
            if mount.source is None and not self._owned(mount.target, spec.folder):
                raise CannotStart(
                    f"CannotCreateContainerError: plain containers have volumes only below the container root {self.root}, "
                    f"not at {mount.target}"
                )
            if mount.source is None:
                Path(mount.target).mkdir(parents=True, exist_ok=True)
        environment = {**task_folders(spec), **spec.environment}
        return Launch(spec.argv, environment, self._directory(spec))

    def _owned(self, path: str, folder: Path) -> bool:
        return any(Path(path) == base or base in Path(path).parents for base in (Path(self.root), folder))

    def _directory(self, spec: ContainerSpec) -> str:
        directory = spec.working_directory or str(spec.folder / HOME)
        if self._owned(directory, spec.folder):
            Path(directory).mkdir(parents=True, exist_ok=True)
        elif not Path(directory).is_dir():
            raise CannotStart(f"CannotStartContainerError: there is no working directory {directory}", 127)
        return directory

    def send(self, spec: ContainerSpec, pid: int, inner_pid: int | None, number: signal.Signals) -> None:
        """SIGTERM goes to the first process alone, as in a container; SIGKILL to everything, as no PID namespace ends it."""
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
        """Nothing of its own: the server sweeps marked processes."""
        return 0


def empty_folder(root: Path) -> None:
    """Remove everything in a folder: at once by moving it aside, which is all that the caller waits for, then in a thread."""
    entries = list(root.iterdir()) if root.is_dir() else []
    if not entries:
        return
    aside = Path(tempfile.mkdtemp(dir=root.parent, prefix=".trash-"))
    for entry in entries:
        with contextlib.suppress(OSError):
            entry.rename(aside / entry.name)
    threading.Thread(target=shutil.rmtree, args=(aside, True), name="trash", daemon=True).start()


def task_folders(spec: ContainerSpec) -> dict[str, str]:
    """HOME and TMPDIR in the task's own folder, made here."""
    folders = {"HOME": spec.folder / HOME, "TMPDIR": spec.folder / TEMPORARY}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {name: str(folder) for name, folder in folders.items()}
