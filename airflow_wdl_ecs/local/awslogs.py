"""The awslogs driver: a container's output, line by line, into moto's CloudWatch Logs of this process.

Knows moto's logs backend and nothing of processes or tasks.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Mapping

from moto.core.exceptions import JsonRESTError, ServiceException
from moto.logs.models import LogsBackend, logs_backends

from .account import ACCOUNT
from .containers import ContainerStartError

MAX_STREAM = 64 * 1024 * 1024
"""Characters that are kept of one container's output, since moto keeps it in memory; a last event says so."""

MAX_EVENT = 256 * 1024 - 26
"""Bytes of one log event; a longer line becomes several, as the driver does."""


class LogStream:
    """Where one container's output goes. Feed it chunks as they come; a last chunk ``b""`` ends it.

    :raises ContainerStartError: as ECS says it, if the log group does not exist and may not be created.
    """

    def __init__(self, options: Mapping[str, str], region: str, container: str, task_id: str) -> None:
        self.group = options["awslogs-group"]
        self.region = options.get("awslogs-region", region)
        prefix = options.get("awslogs-stream-prefix")
        self.name = f"{prefix}/{container}/{task_id}" if prefix else f"{container}-{task_id}"
        self._backend: LogsBackend = logs_backends[ACCOUNT][self.region]
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._room = MAX_STREAM
        try:
            if options.get("awslogs-create-group") == "true":
                self._backend.ensure_log_group(self.group)
            self._backend.ensure_log_stream(self.group, self.name)
        except (JsonRESTError, ServiceException) as error:
            raise ContainerStartError(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
                f"failed to create Cloudwatch log stream: the log group {self.group} does not exist ({error})"
            ) from error

    def write(self, chunk: bytes) -> None:
        """Write every whole line; keep the rest for the next chunk."""
        if self._room <= 0:
            return
        text = self._rest + self._decode(chunk, final=not chunk)
        *lines, self._rest = text.split("\n")
        if self._rest and (not chunk or len(self._rest) > MAX_EVENT):
            lines.append(self._rest)
            self._rest = ""
        now = int(time.time() * 1000)
        events = [
            {"timestamp": now, "message": line[start : start + MAX_EVENT]}
            for line in (line.removesuffix("\r") for line in lines)
            for start in range(0, len(line), MAX_EVENT)  # an empty line is no event
        ]
        self._room -= sum(len(line) for line in lines)
        if self._room <= 0:
            text = f"The embedded CloudWatch Logs keep {MAX_STREAM} characters of a stream; the rest is left out."
            events.append({"timestamp": now, "message": text})
        if events:
            self._backend.put_log_events(self.group, self.name, events)


class NoLog:
    """The output of a container without a log configuration goes nowhere."""

    def write(self, chunk: bytes) -> None:
        """Nothing."""
