"""Keeps what clients have registered (task definitions, clusters, log groups) over a restart, by telling moto again.

A line of the journal is one request that moto has accepted; the same requests in the same order give the same
revisions. Tasks and log lines are not kept: they end with the server.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

KEPT = frozenset(
    {
        "AmazonEC2ContainerServiceV20141113.RegisterTaskDefinition",
        "AmazonEC2ContainerServiceV20141113.DeregisterTaskDefinition",
        "AmazonEC2ContainerServiceV20141113.CreateCluster",
        "AmazonEC2ContainerServiceV20141113.DeleteCluster",
        "Logs_20140328.CreateLogGroup",
        "Logs_20140328.DeleteLogGroup",
    }
)
"""The requests (``X-Amz-Target``) that are kept."""

_SERVICES = {"AmazonEC2ContainerServiceV20141113": "ecs", "Logs_20140328": "logs"}


class Journal:
    """The journal in the file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def add(self, target: str, region: str, body: bytes) -> None:
        """Keep a request that has been accepted."""
        line = json.dumps({"target": target, "region": region, "request": json.loads(body)})
        with self._lock, self._path.open("a") as stream:
            stream.write(line + "\n")

    def replay(self, application: Application, access_key: str) -> int:
        """Tell a new moto everything. Returns how many requests that were; a last line that was cut short is left
        out.
        """
        lines = self._path.read_text().splitlines(keepends=True) if self._path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):
            self._path.write_text("".join(whole))
        for line in whole:
            entry = json.loads(line)
            environ = _environ(entry["target"], entry["region"], json.dumps(entry["request"]).encode(), access_key)
            list(application(environ, lambda *_: None))
        return len(whole)


def _environ(target: str, region: str, body: bytes, access_key: str) -> dict[str, Any]:
    service = _SERVICES[target.partition(".")[0]]
    credential = f"Credential={access_key}/20260101/{region}/{service}/aws4_request"
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_X_AMZ_TARGET": target,
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=none",
        "CONTENT_TYPE": "application/x-amz-json-1.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
