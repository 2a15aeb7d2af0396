"""An ECS at its published limits and an S3 in memory, for measuring how fast many calls can be started.

Nothing runs: a task is RUNNING for the time that it is told and then STOPPED, and its result is in S3. What is asked
for faster than ECS allows is refused with ThrottlingException (Amazon ECS developer guide, "Request throttling";
Fargate has the lower rate of its own quota for launches). One process, one thread, for tens of thousands of tasks.

python benchmarks/fake_aws.py PORT [--rate 40] [--burst 100] [--seconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

ACCOUNT = "123456789012"
RESULT = json.dumps({"exit_code": 0, "stdout_size": 0, "stderr_size": 0}).encode()


class RefusedError(Exception):
    """An error of the API: its code."""


class Bucket:
    """``burst`` at once and ``rate`` a second after that; what is more is refused."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, time.monotonic()
        self.refused = 0

    def take(self) -> None:
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            self.refused += 1
            raise RefusedError("ThrottlingException")
        self.tokens -= 1


class Aws:
    """What the server answers from.

    :param rate: tasks that may be started a second, after a burst. :param seconds: that a task runs.
    """

    def __init__(self, rate: float, burst: float, seconds: float) -> None:
        self.seconds = seconds
        self.buckets = {
            "RunTask": Bucket(rate, burst),
            "StopTask": Bucket(40, 100),
            "DescribeTasks": Bucket(20, 100),
            "ListTasks": Bucket(20, 100),
            "RegisterTaskDefinition": Bucket(1, 20),
        }
        self.calls: Counter[str] = Counter()
        self.objects: dict[str, bytes] = {}
        self.definitions: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.starts: list[float] = []

    def ecs(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        self.calls[f"ecs:{operation}"] += 1
        if operation in self.buckets:
            self.buckets[operation].take()
        answer: dict[str, Any] = getattr(self, f"on_{operation}")(asked)
        return answer

    def on_RegisterTaskDefinition(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/{asked['family']}:1"
        self.definitions[asked["family"]] = {**asked, "taskDefinitionArn": arn, "revision": 1, "status": "ACTIVE"}
        return {"taskDefinition": self.definitions[asked["family"]]}

    def on_DescribeTaskDefinition(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        family = asked["taskDefinition"].rsplit("/", 1)[-1].split(":")[0]
        if family not in self.definitions:
            raise RefusedError("ClientException")
        return {"taskDefinition": self.definitions[family]}

    def on_RunTask(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        arn = self.tokens.get(asked["clientToken"])
        if arn is None:
            arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/c/{uuid.uuid4().hex}"
            self.tokens[asked["clientToken"]] = arn
            names = [override["name"] for override in asked["overrides"]["containerOverrides"]]
            self.tasks[arn] = {
                "taskArn": arn,
                "clusterArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/c",
                "lastStatus": "RUNNING",
                "desiredStatus": "RUNNING",
                "startedBy": asked.get("startedBy"),
                "overrides": asked["overrides"],
                "containers": [{"name": name, "lastStatus": "RUNNING"} for name in names],
                "createdAt": time.time(),
            }
            self.starts.append(time.time())
            asyncio.get_running_loop().call_later(self.seconds, self.end, arn)
        return {"tasks": [self.tasks[arn]], "failures": []}

    def end(self, arn: str) -> None:
        """A task has come to its end."""
        task = self.tasks[arn]
        task.update(lastStatus="STOPPED", desiredStatus="STOPPED", stopCode="EssentialContainerExited")
        task["stoppedReason"] = "Essential container in task exited"
        for container in task["containers"]:
            container.update(lastStatus="STOPPED", exitCode=0)
        for override in task["overrides"]["containerOverrides"]:
            for variable in override.get("environment", ()):
                if variable["name"] == "WDL_ATTEMPT":
                    self.objects[f"{variable['value'].removeprefix('s3://')}result.json"] = RESULT

    def on_DescribeTasks(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = [self.tasks[arn] for arn in asked["tasks"] if arn in self.tasks]
        return {"tasks": [{**task, "overrides": {}} for task in found], "failures": []}

    def on_ListTasks(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        by = asked.get("startedBy")
        return {"taskArns": [arn for arn, task in self.tasks.items() if task["startedBy"] == by][:100]}

    def on_StopTask(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.end(asked["task"])
        return {"task": self.tasks[asked["task"]]}

    def s3(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes, str]:
        self.calls[f"s3:{method}"] += 1
        name = unquote(path).lstrip("/")
        if "list-type" in query:
            return 200, self._listed(name.strip("/"), query), "application/xml"
        if method == "PUT":
            self.objects[name] = body
            return 200, b"", "text/plain"
        if method == "DELETE":
            self.objects.pop(name, None)
            return 204, b"", "text/plain"
        found = self.objects.get(name)
        if found is None:
            return 404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", "application/xml"
        return 200, found, "application/json"

    def _listed(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        """Only what this package asks for: few keys, in one page."""
        prefix, slash = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        keys, folders = [], set()
        if prefix.endswith("/") and not slash:  # an attempt's own few objects
            keys = [key for name in ("result.json",) if (key := f"{bucket}/{prefix}{name}") in self.objects]
        text = "".join(
            f"<Contents><Key>{escape(key.partition('/')[2])}</Key><Size>{len(self.objects[key])}</Size></Contents>"
            for key in keys
        )
        text += "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{text}</ListBucketResult>".encode()


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"\r\nx-amz-target: *(\S+)", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """One connection; requests one after the other."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        while True:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.data[:end]
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if b"100-continue" in head and len(self.data) == end + 4 and length:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if len(self.data) < end + 4 + length:
                return
            body, self.data = self.data[end + 4 : end + 4 + length], self.data[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        service = _TARGET.search(head)
        status, kind = 200, "application/x-amz-json-1.1"
        if service is None and target == "/_stats":
            aws = self.aws
            refused = {name: bucket.refused for name, bucket in aws.buckets.items()}
            said = json.dumps({"calls": aws.calls, "refused": refused, "starts": aws.starts}).encode()
        elif service is None:
            split = urlsplit(target)
            status, said, kind = self.aws.s3(method, split.path, parse_qs(split.query, keep_blank_values=True), body)
        else:
            try:
                said = json.dumps(self._target(service[1].decode(), json.loads(body or b"{}"))).encode()
            except RefusedError as refusal:
                text = "Rate exceeded" if "Throttling" in str(refusal) else "Unable to describe task definition."
                status, said = 400, json.dumps({"__type": str(refusal), "message": text}).encode()
        length = f"Content-Length: {len(said)}\r\n"
        self.transport.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{length}\r\n".encode()
            + (b"" if method == "HEAD" else said)
        )

    def _target(self, target: str, asked: dict[str, Any]) -> dict[str, Any]:
        service, _, operation = target.partition(".")
        if service.startswith("AmazonEC2ContainerService"):
            return self.aws.ecs(operation, asked)
        self.aws.calls[f"logs:{operation}"] += 1
        return {"events": [], "nextForwardToken": "f/0", "nextBackwardToken": "b/0"}


async def serve(port: int, aws: Aws, on_ready: Callable[[], None] = lambda: None) -> None:
    """Answer until the process ends."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(aws), "127.0.0.1", port)
    on_ready()
    async with server:
        await server.serve_forever()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=40)
    parser.add_argument("--burst", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    print(f"{Path(__file__).name}: {options.rate:g} tasks a second", file=sys.stderr)
    asyncio.run(serve(options.port, Aws(options.rate, options.burst, options.seconds)))


if __name__ == "__main__":
    main()
