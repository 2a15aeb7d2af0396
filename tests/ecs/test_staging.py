"""The scripts of the three containers: their text, and what they do when bash runs them against a real S3 API."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import pytest

from airflow_wdl_ecs.ecs import staging
from airflow_wdl_ecs.ecs.attributes import Policy
from airflow_wdl_ecs.ecs.staging import expand_braces, library, run_script
from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.task import CallIdentity, OutputRequest, StageIn, TaskRequest, TaskResult
from airflow_wdl_ecs.usage import read_usage

ODD = [
    "plain.txt",
    "with space.txt",
    "qu'ote\".txt",
    "st*r[1]?.txt",
    "é 日本.txt",
    "back\\slash.txt",
    "-dash",
    "$HOME;`id`",
    "a&b.txt",
]

NO_FILE = "new\nline\t\\\x01"

ZERO = Policy()
REQUEST = TaskRequest(CallIdentity("d", "r", "c"), 0, "image", "true\n", "/wdl/x", "s3://b/p/")

FAKE_AWS = """\
#!{python}
import fnmatch, os, pathlib, sys
import boto3
if "CALLS" in os.environ:
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(" ".join(sys.argv[1:4]) + "\\n")
only = [a.partition("=")[2] for a in sys.argv if a.startswith("--include=")]
left_out = [a for a in sys.argv if a.startswith("--exclude=")]
assert left_out == (["--exclude=*"] if only else [])
quiet = ("--only-show-errors", "--no-progress")
arguments = [a for a in sys.argv[1:] if a not in (*quiet, *left_out) and a[:10] != "--include="]
assert arguments[:2] in (["s3", "cp"], ["s3", "ls"]), arguments
recursive = "--recursive" in arguments
*source, target = [a for a in arguments[2:] if a not in ("--recursive", "--summarize")]
source = "".join(source)
s3 = boto3.client("s3")
split = lambda uri: uri[5:].partition("/")[::2]
if arguments[1] == "ls":
    bucket, prefix = split(target)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = [item for page in pages for item in page.get("Contents", ())]
    for item in found:
        print("2026-01-01 00:00:00", item["Size"], item["Key"])
    print("\\nTotal Objects:", len(found))
    print("   Total Size:", sum(item["Size"] for item in found))
    sys.exit()
if target == "-":
    bucket, key = split(source)
    sys.stdout.buffer.write(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
elif source.startswith("s3://"):
    bucket, prefix = split(source)
    keys = [prefix]
    if recursive:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    if only:
        # The real one puts the source's path before each pattern.
        keys = [key for key in keys if any(fnmatch.fnmatch(key, prefix + name) for name in only)]
    for key in keys:
        path = pathlib.Path(target + key[len(prefix):] if recursive else target)
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(path))
else:
    bucket, prefix = split(target)
    root = pathlib.Path(source)
    import os
    paths = [pathlib.Path(at) / n for at, _, ns in os.walk(root, followlinks=True) for n in ns] if recursive else [root]
    for path in paths:
        s3.upload_file(str(path), bucket, prefix + (str(path.relative_to(root)) if recursive else ""))
        if "--only-show-errors" not in sys.argv:
            print("upload:", path, "to", target)
"""


# The text.


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("*.txt", ["*.txt"]),
        ("*.{bam,bai}", ["*.bam", "*.bai"]),
        ("{a,b}/{c,d}", ["a/c", "a/d", "b/c", "b/d"]),
        ("x{a,b{1,2}}y", ["xay", "xb1y", "xb2y"]),
        ("{one}", ["{one}"]),
        ("{one}{a,b}", ["{one}a", "{one}b"]),
        ("\\{a,b}", ["\\{a,b}"]),
        ("{a,b", ["{a,b"]),
        ("{,x}", ["", "x"]),
    ],
)
def test_braces_are_expanded_as_bash_does(pattern, expanded):
    assert expand_braces(pattern) == expanded


@pytest.mark.parametrize("tool", ["aws", "s5cmd"])
def test_hostile_values_stay_data(tool, tmp_path):
    evil = "'; touch pwned; $(touch pwned) `touch pwned`\n\"\\"
    request = replace(
        REQUEST,
        command=evil,
        environment={"X": evil},
        inputs=(StageIn(f"s3://b/{evil}", f"/wdl/x/inputs/{evil}"),),
        outputs=OutputRequest(paths=(evil, f"/etc/{evil}"), globs=(evil,)),
    )
    # Only the definitions and the quoting are run: the tools and what they would do are replaced by nothing.
    for script in (stage_in_script(request, tool), stage_out_script(request, tool, Policy()), run_script(request)):
        checked = subprocess.run(
            ["bash", "-n"], input=script, text=True, capture_output=True, cwd=tmp_path, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def stage_in_script(request: TaskRequest, tool: str) -> str:
    """What bash runs in the end: the library, and the attempt's script."""
    return library("stage-in", tool) + staging.stage_in_script(request, tool)


def stage_out_script(request: TaskRequest, tool: str, policy: Policy) -> str:
    return library("stage-out", tool) + staging.stage_out_script(request, policy)


def test_a_directory_whose_name_is_a_pattern_is_refused_for_s5cmd_only():
    request = replace(REQUEST, inputs=(StageIn("s3://b/a*/", "/wdl/x/inputs/a*", directory=True),))
    assert "fetch_folder 's3://b/a*/'" in stage_in_script(request, "aws")
    with pytest.raises(EvaluationError, match="wildcard"):
        stage_in_script(request, "s5cmd")


# The command's wrapper, which needs nothing but bash.


@dataclass
class Attempt:
    """An attempt's folder on this machine."""

    folder: Path
    request: TaskRequest

    def write(self) -> None:
        (self.folder / "work").mkdir(parents=True, exist_ok=True)
        (self.folder / "command.sh").write_text(self.request.command)
        (self.folder / "run.sh").write_text(run_script(self.request))

    def run(self, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", str(self.folder / "run.sh")],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment or {"PATH": os.environ["PATH"]},
        )

    def said(self, name: str) -> str:
        return (self.folder / name).read_text()


def attempt(tmp_path: Path, command: str, **changes) -> Attempt:
    folder = tmp_path / "an attempt's"
    made = Attempt(folder, replace(REQUEST, command=command, folder=str(folder), **changes))
    made.write()
    return made


def test_the_command_runs_in_its_work_directory_with_its_environment(tmp_path):
    value = 'it\'s\n"$HOME" é'
    made = attempt(tmp_path, 'pwd; echo "$V"; echo oops >&2; exit 3', environment={"V": value})
    done = made.run()
    assert done.returncode == 3
    assert made.said("exit_code") == "3\n"
    assert made.said("stdout") == f"{made.folder}/work\n{value}\n"
    assert made.said("stderr") == "oops\n"
    # The container's log has both.
    assert (done.stdout, done.stderr) == (made.said("stdout"), "oops\n")


def test_the_environment_of_the_command_is_not_that_of_its_wrapper(tmp_path):
    hostile = {"folder": "/nowhere", "command": "1", "PATH": "/nowhere", "REPLY": "", "IFS": "x", "stdout_left": "a[0]"}
    made = attempt(tmp_path, "echo $folder; echo oops >&2; exit 5", environment=hostile)
    assert made.run().returncode == 5
    assert (made.said("stdout"), made.said("stderr"), made.said("exit_code")) == ("/nowhere\n", "oops\n", "5\n")


def test_when_the_command_started_and_ended_is_noted(tmp_path):
    made = attempt(tmp_path, "sleep 0.3")
    began = time.time()
    made.run()
    noted = dict(line.split() for line in made.said("times").splitlines())
    started, ended = float(noted["command_started"]), float(noted["command_ended"])
    assert began <= started + 0.01
    assert started + 0.3 <= ended + 0.01
    assert ended <= time.time() + 0.01


def test_the_log_has_what_the_command_says_while_it_says_it(tmp_path):
    made = attempt(tmp_path, "echo first; echo second >&2; printf third; sleep 30")
    process = subprocess.Popen(
        ["/bin/bash", str(made.folder / "run.sh")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "first\n"
    assert process.stderr.readline() == "second\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "third\n"
    assert process.returncode == 143


def test_the_log_has_all_of_stderr_and_the_beginning_of_stdout(tmp_path):
    made = attempt(
        tmp_path, "head -c 600000 /dev/zero | tr '\\0' x; for i in {1..9999}; do echo line $i; done | tee /dev/stderr"
    )
    done = made.run()
    words = "".join(f"line {number}\n" for number in range(1, 10000))
    assert made.said("stdout") == "x" * 600000 + words
    assert (made.said("stderr"), done.stderr) == (words, words)
    assert done.stdout.startswith("xxx")
    assert 262144 <= len(done.stdout) < 280000
    assert done.stdout.endswith("\n(stdout goes on in its file in S3)\n")


def test_an_image_with_nothing_but_bash_is_enough(tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "bash").symlink_to("/bin/bash")
    made = attempt(tmp_path, "echo out; echo err >&2; exit 7")
    assert made.run({"PATH": str(bare)}).returncode == 7
    assert (made.said("stdout"), made.said("stderr"), made.said("exit_code")) == ("out\n", "err\n", "7\n")


def test_a_process_left_behind_does_not_hold_up_the_end(tmp_path):
    made = attempt(tmp_path, "sleep 600 & echo done")
    began = time.monotonic()
    assert made.run().returncode == 0
    assert time.monotonic() - began < 5
    assert made.said("stdout") == "done\n"


def test_a_stop_reaches_the_command_and_what_it_started_and_its_exit_code_is_kept(tmp_path):
    command = "trap 'echo stopping >&2; exit 9' TERM; echo ready >started; sleep 60 & wait; echo never"
    made = attempt(tmp_path, command)
    process = subprocess.Popen(["/bin/bash", str(made.folder / "run.sh")], start_new_session=True)
    while not (made.folder / "work/started").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 9
    assert (made.said("exit_code"), made.said("stderr")) == ("9\n", "stopping\n")


@pytest.mark.parametrize(
    ("command", "grace"),
    [
        ("echo out; sleep 60", 30),
        ("trap '' TERM; echo out; sleep 60 & while true; do wait; done", 1),
        ("trap 'exit 0' TERM; echo out; sleep 60 & wait", 30),
    ],
)
def test_a_command_that_takes_longer_than_it_may_is_stopped(tmp_path, command, grace):
    made = attempt(tmp_path, command, time_limit=1, grace=grace)
    began = time.monotonic()
    done = made.run()
    assert 1 <= time.monotonic() - began < 10
    assert done.returncode == 124
    assert made.said("exit_code") == "over\n", "which is none, so that it cannot be taken for a success"
    assert made.said("stdout") == "out\n"
    assert made.said("stderr") == "the command was stopped: its time of 1 seconds was over\n"
    assert "watch_time" not in done.stderr, "bash has no word of it in the log"
    assert "time_over" in dict(line.split() for line in made.said("times").splitlines())


def test_a_command_that_ends_in_its_time_is_left_alone_and_nobody_waits_for_it_to_pass(tmp_path):
    made = attempt(tmp_path, "echo out; exit 3", time_limit=600)
    began = time.monotonic()
    done = made.run()
    assert time.monotonic() - began < 5
    assert (done.returncode, made.said("exit_code"), done.stderr) == (3, "3\n", "")
    assert "time_over" not in made.said("times")


def test_a_time_limit_needs_nothing_but_bash(tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "bash").symlink_to("/bin/bash")
    made = attempt(tmp_path, "while true; do :; done", time_limit=1)
    assert made.run({"PATH": str(bare)}).returncode == 124


def test_a_stop_is_no_end_of_the_time(tmp_path):
    made = attempt(tmp_path, "echo ready >started; sleep 60", time_limit=60)
    process = subprocess.Popen(["/bin/bash", str(made.folder / "run.sh")], start_new_session=True)
    while not (made.folder / "work/started").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    assert made.said("exit_code") == "143\n"


def test_a_killed_command_says_so(tmp_path):
    made = attempt(tmp_path, "kill -KILL $$")
    assert made.run().returncode == 137
    assert made.said("exit_code") == "137\n"


# Staging against S3.


@dataclass
class Stage:
    """The staging scripts, run on this machine against the embedded S3."""

    s3: object
    bucket: str
    environment: dict[str, str]
    tool: str
    root: Path
    prefix: str

    def request(self, command: str = "true", **changes) -> TaskRequest:
        folder = str(self.root / "attempt")
        return replace(REQUEST, command=command, folder=folder, prefix=f"s3://{self.bucket}/{self.prefix}", **changes)

    def put(self, key: str, data: bytes = b"") -> str:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        return f"s3://{self.bucket}/{key}"

    def script(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", text],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment,
            cwd=self.root,
        )

    def all(self, request: TaskRequest, policy: Policy = ZERO) -> TaskResult:
        shutil.rmtree(request.folder, ignore_errors=True)
        done = self.script(stage_in_script(request, self.tool))
        assert done.returncode == 0, done.stderr
        subprocess.run(["bash", f"{request.folder}/run.sh"], env=self.environment, timeout=60, check=False)
        done = self.script(stage_out_script(request, self.tool, policy))
        assert done.returncode == 0, done.stderr
        return TaskResult.from_json(self.get("result.json"))

    def get(self, name: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

    def kept(self) -> dict[str, bytes]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}work/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key[len(self.prefix) + 5 :]: self.get(key[len(self.prefix) :]) for key in keys}


@pytest.fixture(params=["s5cmd", "aws"])
def stage(request, embedded_aws, tmp_path) -> Stage:
    import boto3

    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "aws").write_text(FAKE_AWS.format(python=sys.executable))
    (binaries / "aws").chmod(0o755)
    path = f"{binaries}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**embedded_aws.environment(), "PATH": path, "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    s3 = boto3.client(
        "s3",
        endpoint_url=embedded_aws.url,
        aws_access_key_id=embedded_aws.access_key,
        aws_secret_access_key=embedded_aws.secret_key,
        region_name=embedded_aws.region,
    )
    return Stage(s3, embedded_aws.bucket, environment, request.param, tmp_path, f"staging/{tmp_path.name}/")


@pytest.mark.local
def test_inputs_arrive_under_odd_names(stage):
    folder = stage.root / "attempt"
    names = ODD
    inputs = []
    for number, name in enumerate(names):
        uri = stage.put(f"in/{stage.root.name}/{name}", name.encode())
        inputs.append(StageIn(uri, f"{folder}/inputs/{number}/{name}"))
    inputs.append(StageIn(stage.put(f"in/{stage.root.name}/empty"), f"{folder}/inputs/0/empty"))
    done = stage.script(stage_in_script(stage.request(inputs=tuple(inputs)), stage.tool))
    assert (done.returncode, done.stderr) == (0, "")
    for item, name in zip(inputs, names, strict=False):
        assert Path(item.path).read_bytes() == name.encode()
    assert Path(inputs[-1].path).read_bytes() == b""
    assert (folder / "work").stat().st_mode & 0o777 == 0o777


@pytest.mark.local
def test_many_files_of_one_folder_are_fetched_by_few_processes(stage):
    """A process of the AWS CLI takes most of a second to begin."""
    folder, key = stage.root / "attempt", f"in/{stage.root.name}"
    names = [*(f"sample {number}.txt" for number in range(40)), *ODD, "[ab].txt"]
    for name in (*names, "a.txt", "not asked for", "deeper/sample 1.txt"):
        stage.put(f"{key}/{name}", name.encode())
    inputs = tuple(StageIn(f"s3://{stage.bucket}/{key}/{name}", f"{folder}/inputs/7/{name}") for name in names)
    stage.environment["CALLS"] = str(stage.root / "calls")
    done = stage.script(stage_in_script(stage.request(inputs=inputs), stage.tool))
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name: path.read_bytes() for path in (folder / "inputs/7").iterdir()} == {
        name: name.encode() for name in names
    }
    if stage.tool == "aws":
        assert len((stage.root / "calls").read_text().splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["command.sh", "inputs", "run.sh", "stage-in.log", "times", "work", *["fetch"] * (stage.tool == "s5cmd")]
    )


@pytest.mark.local
def test_a_file_of_each_of_many_folders_is_fetched_by_few_processes(stage):
    """What a scatter leaves is gathered."""
    folder, key = stage.root / "attempt", f"in/{stage.root.name}"
    inputs = []
    for number in range(40):
        for name in ("out [1].txt", "log"):
            uri = stage.put(f"{key}/call/{number}/work/{name}", f"{number} {name}".encode())
            if number != 7 or name != "log":
                inputs.append(StageIn(uri, f"{folder}/inputs/{number}/{name}"))
    inputs.append(StageIn(stage.put(f"{key}/call/x", b"x"), f"{folder}/inputs/x/x"))
    inputs.append(StageIn(stage.put(f"{key}/other/x", b"alone"), f"{folder}/inputs/y/x"))
    stage.environment["CALLS"] = str(stage.root / "calls")
    done = stage.script(stage_in_script(stage.request(inputs=tuple(inputs)), stage.tool))
    assert (done.returncode, done.stderr) == (0, "")
    for number in range(40):
        arrived = {path.name: path.read_text() for path in (folder / f"inputs/{number}").iterdir()}
        assert arrived == {name: f"{number} {name}" for name in ("out [1].txt", "log") if (number, name) != (7, "log")}
    assert ((folder / "inputs/x/x").read_text(), (folder / "inputs/y/x").read_text()) == ("x", "alone")
    if stage.tool == "aws":
        assert len((stage.root / "calls").read_text().splitlines()) == 2


class _FarBuckets(BaseHTTPRequestHandler):
    """An S3 with a bucket ``near`` in eu-west-1 and one ``far`` in ap-south-1, each of which says where it is."""

    protocol_version = "HTTP/1.1"
    regions: ClassVar = {"near": "eu-west-1", "far": "ap-south-1"}

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        _, bucket, key = (unquote(path).rstrip("/") + "/").split("/", 2)
        region = self.regions[bucket]
        signed_for = self.headers["Authorization"].split("/")[2]
        listing = "list-type" in query
        if signed_for != region and (key or listing):
            body, status = b"<Error><Code>PermanentRedirect</Code><Message>Elsewhere</Message></Error>", 301
        elif listing:
            found = "<Contents><Key>d/a</Key><Size>4</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            body, status = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode(), 200
        else:
            body, status = bucket.ljust(4).encode(), 200
        if "Range" in self.headers and status == 200:
            status = 206
        self.send_response(status)
        self.send_header("x-amz-bucket-region", region)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", '"0123456789abcdef0123456789abcdef"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def far_buckets():
    with ThreadingHTTPServer(("127.0.0.1", 0), _FarBuckets) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.local
def test_inputs_are_looked_for_in_buckets_of_other_regions(far_buckets):
    import boto3

    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    store = RunStore(
        boto3.client("s3", endpoint_url=far_buckets, region_name="eu-west-1", **keys),
        Layout("s3://near/wdl", "d", "r"),
        ["s3://far/a"],
    )
    assert store.size("s3://far/a") == 4
    assert store.exists("s3://far/d/")


@pytest.mark.local
def test_inputs_come_from_buckets_of_other_regions(stage, far_buckets):
    folder = stage.root / "attempt"
    inputs = (
        StageIn("s3://near/a", f"{folder}/inputs/0/a"),
        StageIn("s3://far/a", f"{folder}/inputs/1/a"),
        StageIn("s3://far/d/", f"{folder}/inputs/2/d", directory=True),
        StageIn("s3://far/line\nbreak", f"{folder}/inputs/3/line\nbreak"),
    )
    named = dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "S3_ENDPOINT_URL"), far_buckets)
    stage.environment.update(named, AWS_REGION="eu-west-1", AWS_DEFAULT_REGION="eu-west-1")
    if stage.tool == "aws":  # the real one: what redirects are to it is the question
        real = shutil.which("aws")
        if real is None:
            pytest.skip("the AWS CLI is not installed")
        Path(stage.environment["PATH"].partition(":")[0], "aws").unlink()
        stage.environment["PATH"] = f"{Path(real).parent}:{stage.environment['PATH']}"
    done = stage.script(stage_in_script(stage.request(inputs=inputs), stage.tool))
    assert done.returncode == 0, done.stderr
    assert [(folder / "inputs" / name).read_text() for name in ("0/a", "1/a", "2/d/a")] == ["near", "far ", "far "]
    assert (folder / "inputs/3/line\nbreak").read_text() == "far "
    assert "BucketRegionError" not in done.stderr


def in_one_folder(stage: Stage) -> tuple[str, tuple[StageIn, ...]]:
    """Twenty files in one folder of S3, each with its name in it: the folder's key, and the inputs."""
    key = f"in/{stage.root.name}"
    uris = [stage.put(f"{key}/{number}", b"%d" % number) for number in range(20)]
    return key, tuple(StageIn(uri, f"{stage.root}/attempt/inputs/0/{uri.rpartition('/')[2]}") for uri in uris)


def before_aws(stage: Stage, text: str) -> None:
    """Have bash run a text, with the arguments, whenever the AWS CLI is called, before that itself is."""
    tool, folder = shutil.which("aws", path=stage.environment["PATH"]), stage.root / "before"
    folder.mkdir()
    (folder / "aws").write_text(f'#!/bin/bash\n{text}\nexec {tool} "$@"\n')
    (folder / "aws").chmod(0o755)
    stage.environment["PATH"] = f"{folder}:{stage.environment['PATH']}"


@pytest.mark.local
@pytest.mark.parametrize("stage", ["aws"], indirect=True)
def test_what_does_not_come_with_its_folder_comes_by_itself(stage):
    """The folder may not be listed, as where a role lacks s3:ListBucket; or it lacks a file, which then is named."""
    key, inputs = in_one_folder(stage)
    path = stage.environment["PATH"]
    before_aws(stage, '[[ $* != *recursive* ]] || { echo "AccessDenied" >&2; exit 1; }')
    done = stage.script(stage_in_script(stage.request(inputs=inputs), "aws"))
    assert (done.returncode, done.stderr) == (0, "AccessDenied\n")
    assert [Path(item.path).read_text() for item in inputs] == [str(number) for number in range(20)]
    stage.environment["PATH"] = path
    stage.s3.delete_object(Bucket=stage.bucket, Key=f"{key}/7")
    shutil.rmtree(stage.root / "attempt")
    done = stage.script(stage_in_script(stage.request(inputs=inputs), "aws"))
    assert done.returncode != 0
    assert "404" in done.stderr


@pytest.mark.local
@pytest.mark.parametrize("stage", ["aws"], indirect=True)
def test_a_folder_that_would_take_long_to_list_is_left_alone(stage):
    key, inputs = in_one_folder(stage)
    # One that never ends, of a folder with as many objects as S3 likes to tell of.
    before_aws(stage, '[[ $* != *--include* ]] || exec sleep 600\n[[ $* != "s3 ls"* ]] || exec yes')
    script = stage_in_script(stage.request(inputs=inputs), "aws")
    assert "\npatience=10\n" in script
    done = stage.script(script.replace("\npatience=10\n", "\npatience=0.2\n"))
    said = f"s3://{stage.bucket}/{key}/ has more than 10000 objects: its files are fetched one by one\n"
    assert (done.returncode, done.stderr) == (0, said)
    assert [Path(item.path).read_text() for item in inputs] == [str(number) for number in range(20)]


@pytest.mark.local
def test_the_result_has_what_was_noted_of_memory_and_cpu_time(stage):
    noted = stage.all(stage.request("until [[ -s ../usage ]]; do sleep 0.1; done", measure=True)).usage
    assert read_usage(noted).memory > 0
    assert read_usage(noted).cpu >= 0
    assert stage.all(stage.request("sleep 0.1")).usage == ""


@pytest.mark.local
@pytest.mark.parametrize(
    ("command", "kept"),
    [
        # What the command writes there itself is data, and no more of it is kept than the end.
        ('printf \'x","y":"\\\\z\\x01\\xff\\n\' >>../usage', "x,yz;"),
        ("for i in {1..9999}; do echo line $i; done >>../usage", "line "),
        # A link would be followed to what only the staging container has.
        ("rm -f ../usage; ln -s /proc/self/environ ../usage", None),
        ("rm -f ../usage; mkdir ../usage", None),
    ],
)
def test_what_a_command_writes_about_its_memory_does_no_harm(stage, command, kept):
    result = stage.all(stage.request(command))
    assert result.exit_code == 0
    assert len(result.usage) <= 2000
    assert read_usage(result.usage) is None
    assert kept in result.usage if kept else result.usage == ""


@pytest.mark.local
def test_the_result_says_when_things_happened(stage):
    began = time.time()
    # What the command writes there itself is data, and nothing else.
    times = stage.all(
        stage.request('sleep 0.2; echo \'x 1,"y":2\' >>../times; echo "command_ended $(date)" >>../times')
    ).times
    names = ["stage_in_started", "stage_in_ended", "command_started", "command_ended", "stage_out_started"]
    moments = [began, *(times[name] for name in [*names, "stage_out_ended"]), time.time()]
    assert moments == sorted(moments)
    assert times["command_ended"] - times["command_started"] >= 0.2
    assert set(times) == {*names, "stage_out_ended"}


@pytest.mark.local
def test_what_fails_at_first_is_fetched_and_kept_all_the_same(stage):
    """The tool fails, or does half of its work, the first time that it is called in each stage."""
    tool = shutil.which(stage.tool, path=stage.environment["PATH"])
    broken = stage.root / "broken"
    broken.mkdir()
    (broken / stage.tool).write_text(
        "#!/bin/bash\n"
        'if [[ $* == *" run "* || $* == *"/in/"* || $* == *attempt/upload* ]] && mkdir "$BROKEN.$1.$2" 2>/dev/null\n'
        f'then {tool} "$@"; echo "Connection was closed" >&2; exit 1; fi\nexec {tool} "$@"\n'
    )
    (broken / stage.tool).chmod(0o755)
    uri = stage.put(f"in/{stage.root.name}/x", b"input")
    request = stage.request(
        "cat ../inputs/x >y", inputs=(StageIn(uri, f"{stage.root}/attempt/inputs/x"),), outputs=OutputRequest(("y",))
    )
    stage.environment |= {"PATH": f"{broken}:{stage.environment['PATH']}", "BROKEN": str(broken / "once")}
    done = stage.script(stage_in_script(request, stage.tool))
    assert done.returncode == 0, done.stderr
    assert "Connection was closed\ntrying again\n" in done.stderr
    subprocess.run(["bash", f"{request.folder}/run.sh"], env=stage.environment, timeout=60, check=False)
    shutil.rmtree(next(broken.glob("once.*")))
    done = stage.script(stage_out_script(request, stage.tool, ZERO))
    assert done.returncode == 0, done.stderr
    assert "Connection was closed\ntrying again\n" in done.stderr
    assert stage.kept() == {"y": b"input"}


@pytest.mark.local
def test_an_upload_that_is_not_whole_is_done_again_and_then_fails(stage):
    tool = shutil.which(stage.tool, path=stage.environment["PATH"])
    broken = stage.root / "broken"
    broken.mkdir()
    folder = stage.root / "attempt"
    request = stage.request("printf 12345 >y", outputs=OutputRequest(("y",)))
    assert stage.script(stage_in_script(request, stage.tool)).returncode == 0
    subprocess.run(["bash", f"{folder}/run.sh"], env=stage.environment, timeout=60, check=False)
    # S3 already has an object of that name that is too short, and the upload never replaces it.
    (broken / stage.tool).write_text(f'#!/bin/bash\n[[ $* == *attempt/upload* ]] || exec {tool} "$@"\n')
    (broken / stage.tool).chmod(0o755)
    stage.put(f"{stage.prefix}work/y", b"123")
    stage.environment |= {"PATH": f"{broken}:{stage.environment['PATH']}"}
    done = stage.script(stage_out_script(request, stage.tool, ZERO))
    assert done.returncode != 0
    assert done.stderr.count("of 1 files with 5 bytes, S3 has 1 with 3 bytes") == 3
    with pytest.raises(stage.s3.exceptions.NoSuchKey):
        stage.get("result.json")


@pytest.mark.local
def test_a_directory_arrives_whole(stage):
    stage.put(f"dir {stage.root.name}/a/b c.txt", b"1")
    uri = stage.put(f"dir {stage.root.name}/.hidden", b"2").rsplit("/", 1)[0] + "/"
    path = stage.root / "attempt/inputs/x/dir"
    done = stage.script(stage_in_script(stage.request(inputs=(StageIn(uri, str(path), directory=True),)), stage.tool))
    assert (done.returncode, done.stderr) == (0, "")
    assert (path / "a/b c.txt").read_bytes() == b"1"
    assert (path / ".hidden").read_bytes() == b"2"


@pytest.mark.local
def test_an_input_that_is_not_there_fails_the_stage_and_leaves_word(stage):
    uri = f"s3://{stage.bucket}/no/such"
    request = stage.request(inputs=(StageIn(uri, f"{stage.root}/attempt/inputs/0/such"),))
    done = stage.script(stage_in_script(request, stage.tool))
    assert done.returncode != 0
    assert "404" in done.stderr or "not exist" in done.stderr or "no such" in done.stderr.lower()
    assert stage.get("stage-in.log").decode() == done.stderr


@pytest.mark.local
def test_outputs_of_every_kind_are_kept(stage):
    quoted = [name.replace("'", "'\\''") for name in ODD]
    command = "\n".join(
        [
            "mkdir -p 'dir/sub dir' empty_dir nested",
            *(f"printf %s x >./'{name}'" for name in quoted),
            "printf '' >zero; echo 1 >nested/.hidden; echo 2 >'dir/sub dir/two'; echo 3 >dir/.three",
            "ln -s nowhere $'new\\nline\\t\\\\\\x01'; echo out; echo err >&2",
        ]
    )
    paths = (*ODD, "zero", "nested/.hidden", "dir", "empty_dir", "missing", NO_FILE, "./dir/../zero")
    result = stage.all(
        stage.request(command, outputs=OutputRequest(paths=paths, globs=("*.txt", "*.{zip,txt}", "no*such")))
    )
    assert result.exit_code == 0
    assert result.problems == (f"{NO_FILE} is a link to nothing that the task's folder holds",)
    assert set(result.directories) == {"dir", "empty_dir"}
    sizes = {file.path: file.size for file in result.files}
    wanted = dict.fromkeys(ODD, b"x") | {"zero": b"", "nested/.hidden": b"1\n"}
    wanted |= {"dir/sub dir/two": b"2\n", "dir/.three": b"3\n"}
    assert stage.kept() == wanted
    assert sizes == {name: len(data) for name, data in wanted.items()}
    texts = [name for name in ODD if name.endswith(".txt")]
    assert sorted(result.globs["*.txt"]) == sorted(texts)
    assert result.globs["*.{zip,txt}"] == result.globs["*.txt"]
    assert result.globs["no*such"] == ()
    assert (result.stdout_size, stage.get("stdout")) == (4, b"out\n")
    assert (result.stderr_size, stage.get("stderr")) == (4, b"err\n")


@pytest.mark.local
def test_links_to_inputs_are_kept_by_content_and_links_out_are_refused(stage):
    uri = stage.put(f"in/{stage.root.name}/reads.fq", b"ACGT")
    folder = stage.root / "attempt"
    (stage.root / "secret").write_text("secret")
    (stage.root / "outside").mkdir()
    (stage.root / "outside/file").write_text("secret")
    command = "\n".join(
        [
            f"ln -s '{folder}/inputs/0/reads.fq' linked.fq",
            f"ln -s '{stage.root}/secret' stolen; ln -s '{stage.root}/outside' folder_out; ln -s nowhere dangling",
            "mkdir real; echo 1 >real/one; ln -s real alias; ln -s .. real/loop",
        ]
    )
    outputs = OutputRequest(
        paths=(
            "linked.fq",
            "stolen",
            "folder_out/file",
            "folder_out",
            "alias",
            "real",
            "dangling",
            "/etc/passwd",
            "../x",
        ),
        globs=("*",),
    )
    result = stage.all(stage.request(command, inputs=(StageIn(uri, f"{folder}/inputs/0/reads.fq"),), outputs=outputs))
    assert stage.kept() == {"linked.fq": b"ACGT", "alias/one": b"1\n", "real/one": b"1\n"}
    assert {file.path for file in result.files} == set(stage.kept())
    about = "\n".join(result.problems)
    for said in ("stolen is a link that leads out", "folder_out is a link that leads out", "folder_out/file is a link"):
        assert said in about
    for said in (
        "/etc/passwd is outside",
        "../x is outside",
        "dangling is a link to nothing",
        "loop is a link to a folder",
    ):
        assert said in about


@pytest.mark.local
def test_what_a_command_plants_in_its_folder_is_not_followed(stage):
    (stage.root / "secret").write_text("secret")
    (stage.root / "outside").mkdir()
    (stage.root / "outside/file").write_text("secret")
    command = "\n".join(
        [
            "cd ..; echo 1 >work/mine",
            f"mkdir upload; ln -s '{stage.root}/outside' upload/work; ln -s '{stage.root}/secret' upload/stolen",
            f"rm stdout stderr; ln -s '{stage.root}/secret' stdout; ln -s '{stage.root}/secret' stderr",
            f"ln -s '{stage.root}/secret' result.json; mkfifo stage-out.log",
        ]
    )
    result = stage.all(stage.request(command, outputs=OutputRequest(everything=True)))
    assert (result.exit_code, stage.kept()) == (0, {"mine": b"1\n"})
    assert (result.stdout_size, result.stderr_size) == (0, 0)
    listed = stage.s3.list_objects_v2(Bucket=stage.bucket, Prefix=stage.prefix)["Contents"]
    assert {item["Key"].removeprefix(stage.prefix) for item in listed} == {"result.json", "work/mine"}
    assert (stage.root / "secret").read_text() == "secret"
    assert [path.name for path in (stage.root / "outside").iterdir()] == ["file"]


@pytest.mark.local
@pytest.mark.parametrize("stage", ["s5cmd"], indirect=True)
@pytest.mark.parametrize(
    "planted",
    ["printf 'x[$(touch pwned)]' >$code", "ln -s $PWD/mine $code", "printf '0, \"files\": []' >$code", "mkfifo $code"],
)
def test_an_exit_code_is_a_number_whatever_a_command_leaves_in_its_place(stage, planted):
    # What a process could do that has outlived its command.
    request = stage.request("echo 0 >mine")
    assert stage.script(stage_in_script(request, stage.tool)).returncode == 0
    work = Path(request.folder) / "work"
    subprocess.run(["bash", f"{request.folder}/run.sh"], env=stage.environment, timeout=60, check=False)
    (work.parent / "exit_code").unlink()
    subprocess.run(["bash", "-c", f"code=../exit_code; {planted}"], cwd=work, check=True)
    done = stage.script(stage_out_script(request, stage.tool, ZERO))
    assert done.returncode == 0, done.stderr
    assert json.loads(stage.get("result.json"))["exit_code"] == -1
    assert sorted(path.name for path in work.iterdir()) == ["mine"]


@pytest.mark.local
def test_a_path_that_no_key_of_s3_can_hold_is_said_to_be_one(stage):
    part = "é" * 125
    command = f"p={part}; mkdir -p $p/$p/$p/$p; echo 1 >$p/$p/$p/$p/f; echo 2 >short"
    result = stage.all(stage.request(command, outputs=OutputRequest(everything=True)))
    assert stage.kept() == {"short": b"2\n"}
    assert len(result.problems) == 1
    assert result.problems[0].endswith("has a path of 1005 bytes, with which S3's key would have more than 1024")


@pytest.mark.local
def test_everything_is_kept_when_asked(stage):
    command = "mkdir -p a/b; echo 1 >a/b/c; echo 2 >.d; mkfifo pipe"
    result = stage.all(stage.request(command, outputs=OutputRequest(everything=True)))
    assert stage.kept() == {"a/b/c": b"1\n", ".d": b"2\n"}
    assert result.problems == ("pipe is neither a file nor a folder",)


@pytest.mark.local
def test_after_a_failure_only_the_words_are_kept(stage):
    outputs = OutputRequest(paths=("f",))
    result = stage.all(stage.request("echo 1 >f; echo bad >&2; exit 4", outputs=outputs))
    assert (result.exit_code, result.files, stage.kept()) == (4, (), {})
    assert stage.get("stderr") == b"bad\n"
    result = stage.all(stage.request("echo 1 >f; exit 4", outputs=outputs), Policy(success=(0, 4)))
    assert (result.exit_code, stage.kept()) == (4, {"f": b"1\n"})
    assert stage.all(stage.request("echo 1 >f; exit 5", outputs=outputs), Policy(success=None)).exit_code == 5


@pytest.mark.local
def test_a_command_that_left_no_exit_code_is_told_from_one_that_did(stage):
    request = stage.request()
    assert stage.script(stage_in_script(request, stage.tool)).returncode == 0
    assert stage.script(stage_out_script(request, stage.tool, Policy(success=None))).returncode == 0
    assert json.loads(stage.get("result.json"))["exit_code"] == -1


@pytest.mark.local
def test_thousands_of_files_take_one_process_not_thousands(stage):
    stage.environment["CALLS"] = str(stage.root / "calls")
    result = stage.all(stage.request("for i in {1..1500}; do echo $i >f$i; done", outputs=OutputRequest(globs=("f*",))))
    assert len(result.files) == len(result.globs["f*"]) == 1500
    assert len(stage.kept()) == 1500
    if stage.tool == "aws":
        # The files, and the result.
        assert len((stage.root / "calls").read_text().splitlines()) == 2


@pytest.mark.local
def test_an_empty_directory_arrives_empty(stage):
    path = stage.root / "attempt/inputs/x/dir"
    uri = f"s3://{stage.bucket}/nothing below {stage.root.name}/"
    done = stage.script(stage_in_script(stage.request(inputs=(StageIn(uri, str(path), directory=True),)), stage.tool))
    assert (done.returncode, done.stderr) == (0, "")
    assert list(path.iterdir()) == []
