"""`Files` in memory: a dict of URIs, which also remembers what was read, so that tests can say what was not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from airflow_wdl_ecs.errors import EvaluationError


class MemoryFiles:
    def __init__(self, contents: dict[str, str | bytes] | None = None) -> None:
        self.contents = {
            uri: text.encode() if isinstance(text, str) else text for uri, text in (contents or {}).items()
        }
        self.asked: list[tuple[str, str]] = []

    def put(self, uri: str, text: str) -> None:
        self.contents[uri] = text.encode()

    def read(self, uri: str) -> bytes:
        self.asked.append(("read", uri))
        if uri not in self.contents:
            raise EvaluationError(f"no such file: {uri}")
        return self.contents[uri]

    def size(self, uri: str) -> int | None:
        self.asked.append(("size", uri))
        if not uri.endswith("/"):
            return len(self.contents[uri]) if uri in self.contents else None
        below = [len(data) for found, data in self.contents.items() if found.startswith(uri)]
        return sum(below) if below else None

    def list(self, uri: str) -> Iterator[tuple[str, int]]:
        for found in sorted(self.contents):
            if found.startswith(uri):
                yield found, len(self.contents[found])

    def write(self, data: bytes, name: str) -> str:
        uri = f"s3://bucket/run/written/{hashlib.sha256(data).hexdigest()}/{name}"
        self.asked.append(("write", uri))
        self.contents[uri] = data
        return uri
