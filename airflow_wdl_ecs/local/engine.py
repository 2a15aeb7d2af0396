"""The way of an engine, Docker or Podman: containers run in their images, with limits of memory and CPU.

The local process is ``docker run`` in the foreground: its output is the container's and so is its exit code. Volumes
are named volumes that live as long as the task. The network is the host's, since S3 is on loopback.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Literal

from .containers import ContainerSpec, ContainerStartError, Launch, WayName

ROOT = "/wdl"
LABEL = "airflow-wdl-ecs.state"
_CLIENT = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "CONTAINER_HOST")
"""The variables of this process that the engine's client needs; a container's own of the same name is given by
value.
"""


class Engine:
    """See `containers.Way`.

    :param state: the server's state folder, by which its containers are known again after a crash.
    """

    identity = False
    root = ROOT

    def __init__(self, name: Literal["docker", "podman"], state: Path) -> None:
        self.name: WayName = name
        self._label = f"{LABEL}={hashlib.sha256(str(state).encode()).hexdigest()[:16]}"

    def launch(self, spec: ContainerSpec) -> Launch:
        """``docker run``, which pulls the image if it is not there."""
        spec.folder.mkdir(parents=True, exist_ok=True)
        client = {name: os.environ[name] for name in _CLIENT if name in os.environ}
        return Launch(run_argv(self.name, spec, self._label), {**spec.environment, **client}, str(spec.folder))

    def failure(self, spec: ContainerSpec, exit_code: int) -> ContainerStartError | None:
        """The engine made no container: the image is missing, or a setting is wrong."""
        if exit_code != 125 or container_id_file(spec).exists():
            return None
        if self._output("image", "ls", "--quiet", spec.image):
            return ContainerStartError(f"CannotStartContainerError: {self.name} could not run image {spec.image}")
        return ContainerStartError(f"CannotPullContainerError: {self.name} could not pull image {spec.image}")

    def send(self, spec: ContainerSpec, pid: int, inner_pid: int | None, number: signal.Signals) -> None:
        """Through the engine, without waiting for it."""
        self._quietly("kill", "--signal", number.name, container_name(spec), wait=False)

    def clean(self, spec: ContainerSpec, pid: int) -> None:
        """``--rm`` removes the container; this is for one whose client was killed."""
        self._quietly("rm", "--force", container_name(spec), wait=False)

    def clean_task(self, folder: Path, task_id: str) -> None:
        """Removes the task's volumes and folder."""
        listed = self._output("volume", "ls", "--quiet", "--filter", f"name={volume_name(task_id, '')}")
        if listed:
            self._quietly("volume", "rm", "--force", *listed)
        shutil.rmtree(folder, ignore_errors=True)

    def clean_idle(self) -> None:
        """Nothing: volumes go with their tasks."""

    def sweep(self) -> int:
        """Removes the containers that carry this server's label."""
        left = self._output("ps", "--all", "--quiet", "--filter", f"label={self._label}")
        if left:
            self._quietly("rm", "--force", *left)
        return len(left)

    def _output(self, *arguments: str) -> list[str]:
        done = subprocess.run([self.name, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.split()

    def _quietly(self, *arguments: str, wait: bool = True) -> None:
        process = subprocess.Popen([self.name, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if wait:
            process.wait(60)


def container_name(spec: ContainerSpec) -> str:
    """The name of a container in the engine."""
    return f"wdl-{spec.id}"


def volume_name(task_id: str, volume: str) -> str:
    """The name of a task-scoped volume in the engine."""
    return f"wdl-{task_id}-{volume}"


def container_id_file(spec: ContainerSpec) -> Path:
    """Where the engine writes the container's id as soon as there is one."""
    return spec.folder / f"{spec.name}.cid"


def run_argv(program: str, spec: ContainerSpec, label: str) -> tuple[str, ...]:
    """The command line that runs a container in the foreground; variables are passed by name, so that no secret
    shows.
    """
    argv = [program, "run", "--rm", "--name", container_name(spec), "--label", label, "--network", "host"]
    argv += ["--cidfile", str(container_id_file(spec))]
    for name, value in sorted(spec.environment.items()):
        argv += ["--env", f"{name}={value}" if name in _CLIENT else name]
    for mount in spec.mounts:
        source = str(mount.source) if mount.source else volume_name(spec.task_id, mount.volume)
        argv += ["--volume", f"{source}:{mount.target}" + (":ro" if mount.read_only else "")]
    if spec.memory:
        argv += ["--memory", f"{spec.memory}m"]
    if spec.cpu:
        argv += ["--cpu-shares", str(max(spec.cpu, 2))]
    if spec.user:
        argv += ["--user", spec.user]
    if spec.working_directory:
        argv += ["--workdir", spec.working_directory]
    entry, *arguments = spec.entry_point or ("",)
    if spec.entry_point:
        argv += ["--entrypoint", entry]
    return (*argv, spec.image, *arguments, *spec.command)


def engine_problem(program: str) -> str | None:
    """Why an engine does not answer; None if it does."""
    if shutil.which(program) is None:
        return f"there is no {program}"
    try:
        done = subprocess.run([program, "info"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = done.stderr.strip().splitlines()
    return None if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")
