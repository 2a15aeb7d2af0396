"""The vocabulary of run time: what one attempt of one call asks for, and what comes back.

Values flow one way: a call's bound inputs (WDL values as JSON, files as URIs) are evaluated into a `TaskRequest`; the
request runs as one ECS task (`TaskHandle`, `TaskStatus`); the task writes `result.json` (`TaskResult`); the result is
evaluated into the call's outputs.

This module knows neither WDL's grammar, nor ECS's request shapes, nor Airflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from .plan import Shard

MAX_READ = 64 * 1024 * 1024
"""Bytes that a WDL function may read of one file (``read_lines`` and the like); more is an EvaluationError."""


@dataclass(frozen=True)
class CallIdentity:
    """Which call of which run this is; one identity has one ledger.

    :param try_number: Airflow's try of the task instance, from 1; an attempt is one ECS task within a try.
    """

    dag_id: str
    run_id: str
    call: str
    shard: Shard = ()
    try_number: int = 1

    def __str__(self) -> str:
        return f"{self.call}{list(self.shard)}" if self.shard else self.call


@dataclass(frozen=True)
class Resources:
    """What a task asks for: vCPUs, memory and disk in MiB (0: the deployment's default), GPUs and their type."""

    cpu: float = 0
    memory: int = 0
    disk: int = 0
    gpu: int = 0
    gpu_type: str = ""


@dataclass(frozen=True)
class StageIn:
    """A file, or with ``directory`` a whole folder, to be put at ``path`` before the command starts.

    :param uri: ``s3://bucket/key``; a directory's ends with ``/``.
    :param path: absolute path in the container, without a trailing slash.
    """

    uri: str
    path: str
    directory: bool = False


@dataclass(frozen=True)
class OutputRequest:
    """What to keep of the work directory, besides stdout and stderr.

    :param paths: files or directories, relative to the work directory or absolute; one that is missing is no error
        here (whether it may be missing is for the evaluation of the outputs).
    :param globs: patterns for bash, relative to the work directory; only files count.
    :param everything: keep the whole work directory, because a path depends on the contents of another output.
    """

    paths: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    everything: bool = False


@dataclass(frozen=True)
class TaskRequest:
    """One attempt of one call, ready to run.

    :param attempt: from 0.
    :param image: the container image of the command.
    :param command: the script for bash.
    :param folder: the attempt's own folder in the container; ``folder/work`` is the working directory.
    :param prefix: where the attempt keeps everything in S3, ``s3://.../``.
    :param environment: variables of the command.
    :param time_limit: seconds after which the command is stopped; 0 for never.
    :param grace: seconds that it then has between SIGTERM and SIGKILL.
    :param measure: whether to measure what the command uses.
    """

    identity: CallIdentity
    attempt: int
    image: str
    command: str
    folder: str
    prefix: str
    inputs: tuple[StageIn, ...] = ()
    outputs: OutputRequest = OutputRequest()
    environment: dict[str, str] = field(default_factory=dict)
    resources: Resources = Resources()
    time_limit: int = 0
    grace: int = 30
    measure: bool = False


@dataclass(frozen=True)
class TaskHandle:
    """A started ECS task: its ARN and the cluster that it runs in."""

    arn: str
    cluster: str


@dataclass(frozen=True)
class OutputFile:
    """A file that stage-out kept: its path relative to the work directory, and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class TaskResult:
    """What ``result.json`` says; stage-out writes it last, so if it is there, everything else is.

    :param exit_code: the command's exit code.
    :param files: what was kept of the work directory, at ``<prefix>work/<path>``.
    :param directories: the directories that were asked for and exist, relative to the work directory.
    :param globs: pattern -> the paths that bash expanded it to, in bash's order.
    :param stdout_size: bytes of ``<prefix>stdout``. :param stderr_size: bytes of ``<prefix>stderr``.
    :param problems: what could not be kept (a link out of the attempt's folder, an unreadable file), one line each.
    :param times: when the stages and the command started and ended, by the container's clock: ``command_started`` and
        the like -> seconds since the epoch. What could not be measured is not in it.
    :param usage: what was noted of the command's memory and CPU time, as text (see ``usage``); empty if nothing was.
    """

    exit_code: int
    files: tuple[OutputFile, ...] = ()
    directories: tuple[str, ...] = ()
    globs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stdout_size: int = 0
    stderr_size: int = 0
    problems: tuple[str, ...] = ()
    times: dict[str, float] = field(default_factory=dict)
    usage: str = ""

    @staticmethod
    def from_json(data: bytes) -> TaskResult:
        """:raises msgspec.DecodeError: if it is not a result."""
        return _RESULT.decode(data)


# Made once and here: msgspec breaks the process if threads are the first to decode a dataclass, at the same time.
_RESULT = msgspec.json.Decoder(TaskResult)


class Files(Protocol):
    """The files that an expression may see: this run's own and its inputs, nothing of the machine it runs on.

    Every method blocks and may be called from any thread. A URI is ``s3://bucket/key``; a directory's ends with ``/``.
    :raises EvaluationError: for a URI that this run may not read.
    """

    def read(self, uri: str) -> bytes:
        """The contents, at most `MAX_READ` bytes (more, or no such file, is an EvaluationError)."""

    def size(self, uri: str) -> int | None:
        """Bytes of a file, or of all files below a directory; None if there is no such thing."""

    def list(self, uri: str) -> Iterator[tuple[str, int]]:
        """The URI and size of every file below a directory, in order of their keys."""

    def write(self, data: bytes, name: str) -> str:
        """Keep what a ``write_*`` function made, under its contents' digest: equal data gives an equal URI."""


Mounted = Callable[[str], str | None]
"""What a path or URI on a shared file system is called in the container; None for anything else."""


def nothing_mounted(path: str) -> str | None:
    """A `Mounted` of no shared file systems."""
    return None


Outputs = dict[str, Any]
"""A call's outputs: name -> WDL value as JSON."""
