"""What a container is to the agent, whichever way it is run: plain processes, bubblewrap, or an engine such as Docker.

A way turns a `ContainerSpec` into one local process and knows how to signal what runs in it. It must not know tasks,
ECS's API or logs. `choose_way` probes the machine; each way lives in a module of its own.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

WayName = Literal["plain", "bwrap", "docker", "podman"]


class ContainerStartError(Exception):
    """The container cannot start; the text is ECS's ``reason``, and ``exit_code`` what Docker would report."""

    def __init__(self, reason: str, exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code


@dataclass(frozen=True)
class Mount:
    """A volume in a container.

    :param volume: the volume's name in the task definition.
    :param source: the folder on the host; None for a volume that lives as long as the task.
    :param target: absolute path in the container.
    """

    volume: str
    source: Path | None
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class ContainerSpec:
    """One container, ready to run.

    :param id: unique on this machine; also the mark by which its processes are found again.
    :param task_id: the task it belongs to; task-scoped volumes are shared by the containers of a task.
    :param entry_point: and ``command``: together the command line; what is empty is the image's own, where images run.
    :param environment: the role's credentials and the container's own variables.
    :param folder: the task's own folder on the host (home, temporary files, task-scoped volumes).
    """

    id: str
    task_id: str
    name: str
    image: str
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str | None = None
    mounts: tuple[Mount, ...] = ()
    cpu: int = 0
    memory: int | None = None
    user: str | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line."""
        return self.entry_point + self.command


@dataclass(frozen=True)
class Launch:
    """The local process that stands for a container.

    :param info: whether the process reports its inner pid as JSON on the file descriptor that replaces ``{info}`` in
        argv.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    info: bool = False


class Way(Protocol):
    """One way to run containers.

    :cvar name: how it is called in ``--containers``.
    :cvar root: the container root: the path at which the provider mounts its volume. Where `identity` is true it is a
        folder of the host, and a container's path is the host's path.
    """

    name: WayName
    root: str
    identity: bool

    def launch(self, spec: ContainerSpec) -> Launch:
        """The process to start, with every folder that it needs made. :raises ContainerStartError: if it cannot be
        started.
        """

    def failure(self, spec: ContainerSpec, exit_code: int) -> ContainerStartError | None:
        """Whether the process that ended with ``exit_code`` never got as far as the container's own command."""

    def send(self, spec: ContainerSpec, pid: int, inner_pid: int | None, number: signal.Signals) -> None:
        """Send a signal to the container's first process, which may be gone already."""

    def clean(self, spec: ContainerSpec, pid: int) -> None:
        """End whatever is left of the container after its first process has ended."""

    def clean_task(self, folder: Path, task_id: str) -> None:
        """Remove what a stopped task leaves outside its folder, such as volumes of an engine."""

    def clean_idle(self) -> None:
        """Remove what tasks left in the container root; called when no task runs."""

    def sweep(self) -> int:
        """End what a crashed server left running. Returns how many containers or processes that were."""


class ContainerWayError(Exception):
    """The container way that was asked for does not work here; the text says why."""
