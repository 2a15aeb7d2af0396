"""The roles of the template allow what is called, and nothing else.

A run is made on the embedded AWS with the stack's own settings, and every call is recorded: Airflow's side by
botocore's events, the containers' by the embedded S3. Each is compared with the role that makes it, both ways.
"""

from __future__ import annotations

import asyncio
import configparser
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import airflow_wdl_ecs
from airflow_wdl_ecs import object_copies
from airflow_wdl_ecs.clean import clean_finished
from airflow_wdl_ecs.errors import AwsError, WdlEcsError
from airflow_wdl_ecs.ledger import supersede_run
from airflow_wdl_ecs.lifecycle import run_call
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.orphans import AirflowRun, find_tasks, stop_tasks
from airflow_wdl_ecs.publishing import check_bucket, publication_of, publish
from airflow_wdl_ecs.report_reading import read_report
from airflow_wdl_ecs.run import begin_run, open_run
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.web_inputs import _put_in_parts

from ..direct import DAG, LOG, DirectRunner
from .calls import log_stream, named_in, of_key, requests_of, s3_call
from .policies import Request, refused, unneeded
from .stack import ACCOUNT, REGION, Stack

PACKAGE = Path(airflow_wdl_ecs.__file__).parent
INPUTS = "stack-inputs"
RESULTS = "stack-results"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0123"
PART = 60 * 1024 * 1024
"""Bytes of an output that is uploaded in parts."""

SOURCE = """
version development
workflow everything {
  input { File reads  Directory panel }
  Array[String] lines = read_lines(reads)
  File note = write_lines(lines)
  scatter (line in lines) {
    call each { input: line = line, reads = reads, note = note, panel = panel }
  }
  call large { input: files = each.out }
  output { Array[File] files = each.out  File large_file = large.out  Float size = size(panel) }
}
task each {
  input { String line  File reads  File note  Directory panel }
  command <<<
    echo '~{line}'
    ls '~{panel}'
    mkdir d
    cat '~{reads}' '~{note}' > d/out
    # LONG
  >>>
  output { File out = "d/out"  Directory d = "d" }
}
task large {
  input { Array[File] files }
  command <<< head -c BYTES /dev/zero > out; echo done; sleep 1 >>>
  output { File out = "out" }
}
""".replace("BYTES", str(PART)).replace("LONG", "x" * 9000)

WAITS = """
version 1.1
task waits { command <<< sleep 60 >>> output { String s = read_string(stdout()) } }
"""


def test_a_condition_a_resource_and_an_action_decide() -> None:
    statement = {
        "Sid": "S",
        "Effect": "Allow",
        "Action": ["ecs:RunTask", "ecs:Stop*"],
        "Resource": ["arn:a/*", "arn:b"],
        "Condition": {"StringEquals": {"k": ["v", "w"]}, "ArnEquals": {"c": "arn:c/?"}},
    }
    context = {"k": "v", "c": "arn:c/1"}
    fine = Request("x", "ecs:runtask", "arn:a/b/c", context)
    others = [
        Request("x", "ecs:RunTasks", "arn:a/b", context),
        Request("x", "ecs:RunTask", "arn:b/b", context),
        Request("x", "ecs:RunTask", "arn:b", {**context, "k": "vw"}),
        Request("x", "ecs:RunTask", "arn:b", {"k": "v"}),
        Request("x", "ecs:RunTask", "arn:b", {**context, "c": "arn:c/12"}),
    ]
    assert refused([statement], [fine]) == []
    assert len(refused([statement], others)) == len(others)
    left = unneeded([statement], [fine])
    assert [line.split(" {")[0] for line in left] == [
        "S: ecs:RunTask on arn:b",
        "S: ecs:Stop* on arn:a/*",
        "S: ecs:Stop* on arn:b",
        "S: ['ecs:RunTask', 'ecs:Stop*'] on ['arn:a/*', 'arn:b']",
    ]
    assert "'k': 'w'" in left[-1]


@dataclass
class Recorded:
    """What a run has called.

    :param stack: the stack whose settings it had. :param definitions: the arguments of RegisterTaskDefinition.
    """

    stack: Stack
    airflow: list[Request]
    containers: list[Request]
    definitions: list[dict[str, Any]]


class _Account:
    """The stack's things in the embedded AWS, and a runner whose calls are recorded."""

    def __init__(self, endpoint: Endpoint, tool: str) -> None:
        self.endpoint = endpoint
        buckets = {"InputBuckets": f"arn:aws:s3:::{INPUTS}", "PublishBuckets": f"arn:aws:s3:::{RESULTS}"}
        self.stack = Stack(f"policies-{tool}", KmsKeyArn=KEY, **buckets)
        parser = configparser.ConfigParser()
        parser.read_string(self.stack.outputs["Settings"])
        given = {
            **parser["wdl_ecs"],
            "launch_type": "FARGATE",
            "staging_tool": tool,
            "tags": "team=genomics",
            "live_logs_interval": "0.2",
            "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/tools/{tool}:1",
            "call_cache": "on",
        }
        self.runner = DirectRunner(endpoint, **given)
        self.bucket = self.stack.outputs["Bucket"]
        self.calls: list[tuple[str, dict[str, Any]]] = []
        admin = DirectRunner(endpoint).client
        self.s3 = admin("s3")
        for bucket in (self.bucket, INPUTS, RESULTS):
            self.s3.create_bucket(Bucket=bucket)
        admin("ecs").create_cluster(clusterName=self.runner.settings.cluster)
        admin("logs").create_log_group(logGroupName=self.runner.settings.log_group)
        ecr = admin("ecr")
        ecr.create_repository(repositoryName=f"tools/{tool}")
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        ecr.put_image(repositoryName=f"tools/{tool}", imageManifest="{}", imageManifestMediaType=kind, imageTag="1")
        for service in ("s3", "ecs", "ecr", "logs"):
            self.runner.client(service).meta.events.register(f"provide-client-params.{service}.*", self._record)

    def _record(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((f"{model.service_model.service_name}:{model.name}", dict(params)))

    def of_containers(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The calls of containers with the buckets of this stack."""
        for found in self.endpoint.requests():
            if "exec-env/AWS_ECS" in found["agent"] and found["operation"].startswith("s3:"):
                name, arguments = s3_call(found["operation"], found["path"], found["query"])
                if arguments["Bucket"] in (self.bucket, INPUTS):
                    yield name, arguments


async def _run_everything(account: _Account) -> None:
    """A run with inputs of another bucket, a directory, a scatter and a large output; then what people do with it."""
    plan, runner = compile_wdl(SOURCE), account.runner
    inputs = {"reads": f"s3://{INPUTS}/reads.txt", "panel": f"s3://{INPUTS}/panel/"}
    outputs = await runner.run(plan, inputs, "run")
    assert outputs["size"] == 6.0

    def publish_everything() -> None:
        for folder in (f"s3://{account.bucket}/published/{{run_id}}", f"s3://{RESULTS}/{{run_id}}"):
            settings = replace(runner.settings, publish_to=folder)
            run = open_run(settings, runner.client, DAG, "run")
            publication = publication_of(run, datetime.now(timezone.utc))
            assert publication is not None
            check_bucket(run, publication)
            # A part that fails, so that it is seen what becomes of the others; then again, and once more.
            about = {"kind": "error", "code": "InvalidRequest", "status": 400}
            fault = {"operation": "s3:PUT", "key": "partNumber=2", **about}
            account.endpoint.set_faults(requests=[fault])
            with pytest.raises(AwsError):
                publish(run, publication, outputs, LOG)
            account.endpoint.set_faults()
            for _ in range(2):
                assert publish(run, publication, outputs, LOG).files == 3

    await asyncio.to_thread(publish_everything)

    def look_and_clear() -> None:
        store = open_run(runner.settings, runner.client, DAG, "run").store
        report = read_report(store)
        assert report is not None
        assert report.state == "succeeded"
        assert store.exists(outputs["large_file"])
        assert store.link(outputs["large_file"], seconds=60, filename="out")
        _copy_in_parts(runner.client("s3"), store.layout.named("web/large"))
        assert clean_finished(runner.client("s3"), store, {"large_file": outputs["large_file"]}).files
        assert supersede_run(store) == 3

    await asyncio.to_thread(look_and_clear)


def _copy_in_parts(s3: Any, uri: str) -> None:
    """What an input file of the web asks of S3: one that arrives, and one whose server breaks off."""
    part = b"x" * (5 << 20)
    _put_in_parts(s3, uri, iter([part, b"the rest"]))

    def broken() -> Iterator[bytes]:
        yield part
        raise OSError("broken off")

    with pytest.raises(OSError, match="broken off"):
        _put_in_parts(s3, uri, broken())


async def _stop_an_orphan(account: _Account) -> None:
    runner = account.runner
    plan = compile_wdl(WAITS)
    await asyncio.to_thread(begin_run, runner.settings, runner.client, plan, {}, dag_id=DAG, run_id="orphan")
    run = await asyncio.to_thread(open_run, runner.settings, runner.client, DAG, "orphan")
    call = asyncio.ensure_future(run_call(run, "waits", [()], try_number=1, log=LOG))
    found: list[Any] = []
    while not found:
        await asyncio.sleep(0.1)
        found = await asyncio.to_thread(find_tasks, runner.settings, runner.client, lambda *_: AirflowRun(None, {}))
    await asyncio.to_thread(stop_tasks, runner.client, found)
    outcome = await call
    assert isinstance(next(iter(outcome.failures.values())), WdlEcsError)


def _recorded(endpoint: Endpoint, tool: str, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    account = _Account(endpoint, tool)
    account.s3.put_object(Bucket=INPUTS, Key="reads.txt", Body=b"a\nb\n")
    account.s3.put_object(Bucket=INPUTS, Key="panel/p.txt", Body=b"panel\n")
    # What is published in parts has this size, too.
    monkeypatch.setattr(object_copies, "LARGEST_COPY", PART // 2)
    monkeypatch.setattr(object_copies, "PART", PART // 3)
    # The first upload in parts fails, so that it is seen what becomes of its parts.
    endpoint.set_faults(requests=[{"operation": "s3:PUT", "kind": "error", "key": "partNumber=", "status": 400}])
    try:
        asyncio.run(asyncio.wait_for(_run_everything(account), 240))
        asyncio.run(asyncio.wait_for(_stop_an_orphan(account), 60))
    finally:
        endpoint.set_faults()
    definitions = [arguments for name, arguments in account.calls if name == "ecs:RegisterTaskDefinition"]
    assert definitions
    sides = [
        [request for name, arguments in calls for request in requests_of(name, arguments)]
        for calls in (account.calls, account.of_containers())
    ]
    airflow, containers = ([*side, *(more for request in side for more in of_key(request, KEY))] for side in sides)
    return Recorded(account.stack, airflow, containers, definitions)


@pytest.fixture(scope="module", params=["s5cmd", "aws"])
def recorded(request: pytest.FixtureRequest, embedded_aws: Endpoint) -> Recorded:
    """What is called, with either of the staging tools."""
    tool = str(request.param)
    if tool == "aws" and shutil.which("aws") is None:
        pytest.skip("the AWS CLI is not installed")
    with pytest.MonkeyPatch.context() as monkeypatch:
        return _recorded(embedded_aws, tool, monkeypatch)


pytestmark = pytest.mark.local


def test_airflow_may_do_what_it_does_and_nothing_else(recorded: Recorded) -> None:
    statements = recorded.stack.statements("AirflowPolicy")
    assert refused(statements, recorded.airflow) == []
    assert unneeded(statements, recorded.airflow) == []


def test_containers_may_do_what_they_do_and_nothing_else(recorded: Recorded) -> None:
    statements = recorded.stack.statements("TaskRole")
    assert refused(statements, recorded.containers) == []
    assert unneeded(statements, recorded.containers) == []


def test_ecs_may_write_the_logs_and_pull_images_and_nothing_else(recorded: Recorded) -> None:
    statements = recorded.stack.statements("ExecutionRole")
    asked = [
        Request("pull", f"ecr:{name}", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/tools/bwa")
        for name in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
    ]
    asked.append(Request("pull", "ecr:GetAuthorizationToken", "*"))
    for definition in recorded.definitions:
        for container in definition["containerDefinitions"]:
            options = container["logConfiguration"]["options"]
            # With it, the execution role would have to be allowed to make groups.
            assert "awslogs-create-group" not in options
            stream = log_stream(options["awslogs-group"], f"{options['awslogs-stream-prefix']}/{container['name']}/1")
            asked += [Request("log", f"logs:{name}", stream) for name in ("CreateLogStream", "PutLogEvents")]
    assert refused(statements, asked) == []
    assert unneeded(statements, asked) == []


def test_every_call_in_the_code_was_recorded(recorded: Recorded) -> None:
    # What an examination asks is for a policy of its own.
    others = {"local", "doctor"}
    sources = [path for path in PACKAGE.rglob("*.py") if not others & set(path.relative_to(PACKAGE).parts)]
    code = "\n".join(path.read_text() for path in sources)
    assert set(re.findall(r"""clients\(["'](\w+)["']\)""", code)) == {"s3", "ecs", "ecr", "logs"}
    named = named_in(code, ("s3", "ecs", "ecr", "logs"))
    assert {"ecs:RunTask", "s3:ListObjectsV2", "logs:GetLogEvents"} < named
    assert named == {request.call for request in recorded.airflow}


@pytest.mark.parametrize(
    ("role", "operation", "arguments"),
    [
        ("TaskRole", "s3:PutObject", {"Bucket": "wdl-bucket", "Key": "wdl/plans/0.json"}),
        ("TaskRole", "s3:PutObject", {"Bucket": INPUTS, "Key": "reads.txt"}),
        ("TaskRole", "s3:DeleteObject", {"Bucket": "wdl-bucket", "Key": "wdl/runs/d/r/run.json"}),
        ("TaskRole", "ecs:ListTasks", {"cluster": "wdl"}),
        ("AirflowPolicy", "s3:DeleteObject", {"Bucket": "wdl-bucket", "Key": "wdl/plans/0.json"}),
        ("AirflowPolicy", "s3:DeleteObject", {"Bucket": INPUTS, "Key": "reads.txt"}),
        ("AirflowPolicy", "s3:PutObject", {"Bucket": "wdl-bucket", "Key": "inputs/reads.txt"}),
        ("AirflowPolicy", "s3:PutObject", {"Bucket": RESULTS, "Key": "reads.txt"}),
        ("TaskRole", "s3:PutObject", {"Bucket": "wdl-bucket", "Key": "published/run/reads.txt"}),
        ("AirflowPolicy", "s3:DeleteObject", {"Bucket": "wdl-bucket", "Key": "wdl/cache/entries/00/0.json"}),
        ("TaskRole", "s3:PutObject", {"Bucket": "wdl-bucket", "Key": "wdl/cache/entries/00/0.json"}),
        ("AirflowPolicy", "ecr:DescribeImages", {"registryId": "210987654321", "repositoryName": "tools/bwa"}),
        ("AirflowPolicy", "ecs:ListTasks", {"cluster": "production"}),
        (
            "AirflowPolicy",
            "ecs:RunTask",
            {
                "cluster": "production",
                "taskDefinition": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/wdl-0:1",
                "overrides": {},
            },
        ),
        (
            "AirflowPolicy",
            "ecs:RunTask",
            {
                "cluster": "wdl",
                "taskDefinition": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/web:7",
                "overrides": {},
            },
        ),
        (
            "AirflowPolicy",
            "ecs:StopTask",
            {"cluster": "production", "task": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/production/0"},
        ),
        ("AirflowPolicy", "logs:GetLogEvents", {"logGroupName": "/web", "logStreamName": "wdl/command/0"}),
        ("AirflowPolicy", "logs:GetLogEvents", {"logGroupName": "/wdl/wdl", "logStreamName": "wdl/stage-in/0"}),
    ],
)
def test_nothing_of_others_may_be_touched(role: str, operation: str, arguments: dict[str, Any]) -> None:
    stack = Stack(InputBuckets=f"arn:aws:s3:::{INPUTS}")
    asked = requests_of(operation, arguments)
    assert len(refused(stack.statements(role), asked)) == len(asked) > 0


def test_no_other_role_is_given_and_the_two_only_to_tasks() -> None:
    stack = Stack()
    statements = stack.statements("AirflowPolicy")
    own = stack.resolve({"Fn::GetAtt": ["TaskRole", "Arn"]})
    to_tasks = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    assert refused(statements, [Request("x", "iam:PassRole", own, to_tasks)]) == []
    others = [
        Request("x", "iam:PassRole", own, {"iam:PassedToService": "lambda.amazonaws.com"}),
        Request("x", "iam:PassRole", own, {}),
        Request("x", "iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/admin", to_tasks),
    ]
    assert len(refused(statements, others)) == len(others)
