"""Which way to run containers this machine offers: asked by really trying, in order of likeness to the real thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .bubblewrap import Bubblewrap, bubblewrap_problem
from .containers import ContainerWayError, Way
from .engine import Engine, engine_problem
from .plain import Plain

CHOICES = ("auto", "plain", "bwrap", "docker", "podman")

PROBES: Mapping[str, Callable[[], str | None]] = {
    "docker": lambda: engine_problem("docker"),
    "podman": lambda: engine_problem("podman"),
    "bwrap": bubblewrap_problem,
    "plain": lambda: None,
}
"""Name of a way -> what is wrong with it here (None: nothing), in the order in which they are tried."""


def choose(wanted: str, probes: Mapping[str, Callable[[], str | None]] = PROBES) -> str:
    """The name of the way that was asked for, or with ``auto`` of the first that works.

    :raises ContainerWayError: if what was asked for does not work here.
    """
    if wanted != "auto":
        problem = probes[wanted]()
        if problem is not None:
            raise ContainerWayError(f"Containers cannot run with {wanted} here: {problem}")
        return wanted
    return next(name for name, probe in probes.items() if probe() is None)


def choose_way(wanted: str, state: Path, root: Path) -> Way:
    """The way to run containers.

    :param state: the server's state folder.
    :param root: the container root for the ways in which a container path is a host path.
    :raises ContainerWayError: if what was asked for does not work here.
    """
    name = choose(wanted)
    if name == "plain":
        return Plain(root)
    if name == "bwrap":
        return Bubblewrap(root)
    return Engine("docker" if name == "docker" else "podman", state)
