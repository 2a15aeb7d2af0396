"""Expressions read the run's own files and its inputs, and nothing else: not the machine, not another bucket."""

from __future__ import annotations

import time

import pytest

from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import EvaluationError, InputsError, WdlEcsError
from airflow_wdl_ecs.given_files import may_take
from airflow_wdl_ecs.run import Run, begin_run, open_run
from airflow_wdl_ecs.task import CallIdentity, OutputFile, StageIn, TaskResult
from airflow_wdl_ecs.wdl import text_functions
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.task_evaluation import TaskEvaluation

from ..fake_aws import FakeS3

OUTSIDE = [
    "/etc/passwd",
    "file:///etc/passwd",
    "../../../etc/passwd",
    "./../x",
    "~/.aws/credentials",
    "/proc/self/environ",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://169.254.170.2/v2/credentials",
    "http://2852039166/",
    "https://example.org/",
    "s3://other/secret",
    "s3://ours/runs/another/run/outputs.json",
    "s3://inputs/folder/../secret",
    "s3://inputs/allowed.txt.more",
    "s3://inputs",
    "S3://inputs/allowed.txt",
    "s3a://inputs/allowed.txt",
    "",
    "\0",
]
READS = ["read_string(p)", "read_lines(p)", "read_json(p)", "read_tsv(p)", "read_int(p)", "size(p)", "read_map(p)"]
SETTINGS = {
    "cluster": "c",
    "workspace": "s3://ours",
    "log_group": "/g",
    "launch_type": "EC2",
    "image": "debian",
}


class FakeEcsMeta:
    class meta:  # noqa: N801 - boto3's name
        region_name = "eu-west-1"
        endpoint_url = "https://ecs.eu-west-1.amazonaws.com"


def run_of(source: str, inputs: dict, **settings) -> Run:
    s3 = FakeS3()
    for bucket, key in (
        ("inputs", "allowed.txt"),
        ("inputs", "allowed.txt.more"),
        ("inputs", "folder/a"),
        ("inputs", "secret"),
        ("other", "secret"),
        ("ours", "runs/another/run/outputs.json"),
    ):
        s3.objects[bucket, key] = b"1"

    def clients(service: str):
        return s3 if service == "s3" else FakeEcsMeta()

    resolved = EcsSettings.from_options({}, SETTINGS | settings)
    begin_run(resolved, clients, compile_wdl(source), inputs, dag_id="d", run_id="r")
    return open_run(resolved, clients, "d", "r")


def workflow(expression: str) -> str:
    return f"""
version 1.2
workflow w {{
  input {{ String p  File allowed = "s3://inputs/allowed.txt" }}
  output {{ Boolean x = defined({expression}) }}
}}
"""


@pytest.mark.parametrize("expression", READS)
@pytest.mark.parametrize("path", OUTSIDE[:-1])
def test_a_workflow_reads_nothing_else(path, expression):
    with pytest.raises(WdlEcsError) as caught:
        run_of(workflow(expression), {"p": path}).evaluation.outputs()
    assert "root:" not in str(caught.value)
    assert isinstance(caught.value, EvaluationError)


def test_a_workflow_reads_what_it_was_given():
    source = workflow("read_int(allowed)")
    assert run_of(source, {"p": "x", "allowed": "s3://inputs/allowed.txt"}).evaluation.outputs() == {"x": True}


@pytest.mark.parametrize(
    "made",
    ['sub("/x/passwd", "x", "etc")', '"/etc/" + "passwd"', '"~{"/etc"}/passwd"', 'join_paths("/etc", "passwd")'],
)
def test_a_path_that_is_made_is_no_way_around(made):
    with pytest.raises(EvaluationError, match="/etc/passwd"):
        run_of(workflow(f"read_string({made})"), {"p": ""}).evaluation.outputs()


def test_a_file_that_is_an_input_has_to_be_in_s3():
    source = "version 1.2\nworkflow w { input { File f } output { Int n = 1 } }"
    for path in OUTSIDE[:10]:
        with pytest.raises(InputsError):
            run_of(source, {"f": path})


# --- in a task

TASK = """
version 1.2
task t {
  input { String p  File allowed  Directory folder }
  DECLARED
  command <<< true >>>
  output { OUTPUT }
  runtime { container: "debian" }
}
"""
GIVEN = {"allowed": "s3://inputs/allowed.txt", "folder": "s3://inputs/folder"}


def evaluation_of(path: str, declared: str = "", output: str = "Int n = 1") -> TaskEvaluation:
    source = TASK.replace("DECLARED", declared).replace("OUTPUT", output)
    run = run_of(source, {"p": path, **GIVEN})
    task = next(iter(run.plan.tasks.values()))
    who = CallIdentity("d", "r", "t")
    return TaskEvaluation(task, {"p": path, **GIVEN}, folder="/wdl/x", files=run.store, identity=who, beside=run.beside)


@pytest.mark.parametrize("expression", READS)
@pytest.mark.parametrize("path", OUTSIDE[:-1])
def test_a_tasks_declaration_reads_nothing_else(path, expression):
    with pytest.raises(EvaluationError):
        evaluation_of(path, declared=f"Boolean x = defined({expression})")


@pytest.mark.parametrize("path", [path for path in OUTSIDE[:-1] if path])
def test_a_tasks_output_reads_nothing_else(path):
    evaluation = evaluation_of(path, output="String x = read_string(p)")
    with pytest.raises(EvaluationError):
        evaluation.outputs(TaskResult(0, files=(OutputFile("kept", 1),)), "s3://ours/runs/d/r/calls/t/_/0/")


@pytest.mark.parametrize("wdl_type", ["File", "File?", "Directory", "Array[File]"])
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../secret", "/wdl/other/work/x", "/wdl/x/../y", "/proc/self/environ"]
)
def test_an_output_is_never_a_file_outside(wdl_type, path):
    value = "[p]" if wdl_type.startswith("Array") else "p"
    evaluation = evaluation_of(path, output=f"{wdl_type} x = {value}")
    with pytest.raises(EvaluationError, match="outside the task's work directory"):
        evaluation.outputs(TaskResult(0), "s3://ours/runs/d/r/calls/t/_/0/")


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../../*", "~/*", "~root/*"])
def test_a_glob_does_not_leave_the_work_directory(pattern):
    evaluation = evaluation_of(pattern, output="Array[File] x = glob(p)")
    assert evaluation.output_request().globs == ()
    with pytest.raises(EvaluationError, match="outside the task's work directory"):
        evaluation.outputs(TaskResult(0, globs={pattern: ("passwd",)}), "s3://ours/runs/d/r/calls/t/_/0/")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "..", "x\0y", "./x"])
def test_a_result_that_names_what_is_outside_is_refused(path):
    evaluation = evaluation_of("x", output='Array[File] x = glob("*")')
    for result in (
        TaskResult(0, files=(OutputFile(path, 1),), globs={"*": (path,)}),
        TaskResult(0, directories=(path,)),
    ):
        with pytest.raises(EvaluationError, match="not in its work directory"):
            evaluation.outputs(result, "s3://ours/p/")


def test_a_glob_has_only_matches_that_were_kept():
    evaluation = evaluation_of("x", output='Array[File] x = glob("*")')
    result = TaskResult(0, files=(OutputFile("a", 1),), globs={"*": ("a", "../../../other/outputs.json")})
    with pytest.raises(EvaluationError, match="did not keep"):
        evaluation.outputs(result, "s3://ours/p/")


# --- where a deployment lets files come from

ALLOWED = EcsSettings(workspace="s3://ours/wdl", input_prefixes=("s3://inputs/folder", "s3://references/"))


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://inputs/folder/a", True),
        ("s3://inputs/folder", True),
        ("s3://references/x/", True),
        ("s3://ours/wdl/runs/x", True),
        ("s3://inputs/folder2/a", False),
        ("s3://inputs/folder/../secret", False),
        ("s3://ours/other", False),
        ("s3://references2/x", False),
        ("s3://other/secret", False),
    ],
)
def test_files_come_from_the_prefixes_that_the_deployment_names(uri, allowed):
    assert may_take(ALLOWED, uri) is allowed
    assert may_take(EcsSettings(), uri)


def test_an_input_from_elsewhere_is_refused_before_anything_is_asked_of_it():
    source = "version 1.2\nworkflow w { input { Array[File] f } output { Int n = 1 } }"
    with pytest.raises(InputsError, match="may not take files from there: s3://other/secret"):
        run_of(source, {"f": ["s3://other/secret", "s3://inputs/folder/a"]}, input_prefixes=["s3://inputs/folder"])


def test_what_the_wdl_names_is_held_to_the_prefixes_too():
    source = 'version 1.2\nworkflow w { output { String x = read_string("s3://other/secret") } }'
    assert run_of(source, {}).evaluation.outputs() == {"x": "1"}
    with pytest.raises(EvaluationError, match="may not read s3://other/secret"):
        run_of(source, {}, input_prefixes=["s3://inputs/"]).evaluation.outputs()


def test_what_an_expression_composes_is_not_staged():
    run = run_of("version 1.2\nworkflow w { output { Int n = 1 } }", {}, input_prefixes=["s3://inputs/"])
    run.check_staged([StageIn("s3://inputs/folder/a", "/x")])
    with pytest.raises(EvaluationError, match="may not take s3://other/secret"):
        run.check_staged([StageIn("s3://other/secret", "/x")])


def test_a_scatter_that_is_too_wide_fails_before_anything_is_launched():
    source = """
version 1.2
workflow w {
  input { Int n }
  scatter (i in range(n)) { call t }
}
task t { command <<< true >>> }
"""
    assert run_of(source, {"n": 10}, max_shards=10).inputs == {"n": 10}
    with pytest.raises(EvaluationError, match="11 shards; max_shards allows 10"):
        run_of(source, {"n": 11}, max_shards=10)


def test_a_search_that_takes_too_long_is_not_tried_again_for_what_an_output_may_need(monkeypatch):
    monkeypatch.setattr(text_functions, "_REGEX_SECONDS", 0.2)
    bombs = ", ".join(f'sub("{"a" * 60}{n}!", "^(a|a|aa)+$", "x")' for n in range(100))
    evaluation = evaluation_of("x", output=f"File f = select_first([{bombs}])")
    started = time.monotonic()
    with pytest.raises(EvaluationError, match="timed out") as caught:
        evaluation.output_request()
    assert time.monotonic() - started < 20
    assert caught.value.position is not None
