"""The bubblewrap way: a container sees this machine's files read-only, its task's volumes at their own paths, private
/tmp and process ids, and is PID 1 as on AWS, so that a shell without a trap does not die of SIGTERM.

The image is ignored, memory and CPU are not limited, and the network is the machine's, since S3 is on loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from .containers import ContainerSpec, ContainerStartError, Launch, WayName
from .plain import HOME, TEMPORARY, local_environment
from .processes import signal_group

VOLUMES = "volumes"
_PROBE = ("--unshare-pid", "--as-pid-1", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")


class Bubblewrap:
    """See `containers.Way`.

    :param root: a folder of this machine, over which each task's volume is mounted.
    :param program: the ``bwrap`` executable.
    """

    name: WayName = "bwrap"
    identity = True

    def __init__(self, root: Path, program: str = "bwrap") -> None:
        self.root = str(root)
        self._program = program

    def launch(self, spec: ContainerSpec) -> Launch:
        """:raises ContainerStartError: for a mount at a path that this machine does not have and that is not below the
        root.
        """
        environment = {**local_environment(spec), "TMPDIR": "/tmp"}  # noqa: S108 - the container's own
        if shutil.which(spec.argv[0], path=environment["PATH"]) is None:
            raise ContainerStartError(
                f"CannotStartContainerError: exec: {spec.argv[0]}: executable file not found in $PATH", 127
            )
        return Launch(bwrap_argv(spec, Path(self.root), self._program), environment, str(spec.folder), info=True)

    def failure(self, spec: ContainerSpec, exit_code: int) -> ContainerStartError | None:
        """None: bwrap's own exit code 1 cannot be told from the command's."""
        return None

    def send(self, spec: ContainerSpec, pid: int, inner_pid: int | None, number: signal.Signals) -> None:
        """SIGTERM goes to the container's PID 1; SIGKILL to bwrap, which takes the PID namespace with it."""
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                if inner_pid is not None:
                    os.kill(inner_pid, number)
                signal_group(pid, number)
            else:
                os.kill(inner_pid if inner_pid is not None else pid, number)

    def clean(self, spec: ContainerSpec, pid: int) -> None:
        """The end of PID 1 ends its namespace; only bwrap's own group could be left."""
        signal_group(pid, signal.SIGKILL)

    def clean_task(self, folder: Path, task_id: str) -> None:
        """Removes the task's folder with its volumes."""
        shutil.rmtree(folder, ignore_errors=True)

    def clean_idle(self) -> None:
        """Nothing: volumes are in the tasks' own folders."""

    def sweep(self) -> int:
        """Nothing of its own: bwrap's containers die with the server."""
        return 0


def bwrap_argv(spec: ContainerSpec, root: Path, program: str = "bwrap") -> tuple[str, ...]:
    """The command line of bwrap for a container, with the folders that it mounts made."""
    argv = [program, *_PROBE, "--info-fd", "{info}", "--bind", str(spec.folder / TEMPORARY), "/tmp"]  # noqa: S108
    argv += ["--ro-bind", sys.prefix, sys.prefix, "--bind", str(spec.folder / HOME), str(spec.folder / HOME)]
    for mount in spec.mounts:
        source = mount.source or spec.folder / VOLUMES / mount.volume
        source.mkdir(parents=True, exist_ok=True)
        target = Path(mount.target)
        if target == root or root in target.parents:
            target.mkdir(parents=True, exist_ok=True)
        elif not target.is_dir():
            raise ContainerStartError(
                f"CannotCreateContainerError: bubblewrap can mount nothing at {target}: no such folder"
            )
        argv += ["--ro-bind" if mount.read_only else "--bind", str(source), str(target)]
    directory = spec.working_directory or str(spec.folder / HOME)
    if any(Path(directory) == Path(m.target) or Path(m.target) in Path(directory).parents for m in spec.mounts):
        argv += ["--dir", directory]
    return (*argv, "--chdir", directory, "--", *spec.argv)


def bubblewrap_problem(program: str = "bwrap") -> str | None:
    """Why bubblewrap does not work here, found by running it; None if it does."""
    if shutil.which(program) is None:
        return "there is no bwrap"
    try:
        done = subprocess.run([program, *_PROBE, "true"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
