"""Files that the command reads where they are: those whose author says so, and those on shared file systems."""

from __future__ import annotations

import pytest
from memory_files import MemoryFiles

from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.plan import Task
from airflow_wdl_ecs.task import TaskResult
from airflow_wdl_ecs.wdl.hints import without_localization
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.task_evaluation import TaskEvaluation

TASK = """version 1.2
task t {
  input { File bam  Array[File] more = []  Directory? panel  File ref }
  command <<< view ~{bam} ~{sep=" " more} ~{panel} ~{ref} # ~{size(bam)} ~{basename(bam)} >>>
  output { File same = bam  File? reference = ref }
  META
}
"""


def task(meta: str, source: str = TASK) -> Task:
    return compile_wdl(source.replace("META", meta), task="t").tasks["t"]


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ("parameter_meta { bam: { localization_optional: true } }", {"bam"}),
        ('parameter_meta { bam: { description: "x", localizationOptional: true }  more: "y" }', {"bam"}),
        ("parameter_meta { bam: { localization_optional: false } }", set()),
        ('parameter_meta { bam: { localization_optional: "true" } }', set()),
        ("hints { inputs: input { bam: hints { localization_optional: true } } }", {"bam"}),
        (
            "hints { cpu: 3\n inputs: input {\n bam: hints { localization_optional: true }, # really\n"
            " more: hints { localization_optional: false },\n panel: hints { localizationOptional: true } } }",
            {"bam", "panel"},
        ),
        ("hints { inputs: input { bam: hints { streamable: true } } }", set()),
        ("hints { localization_optional: true }", set()),
        ("hints { localization_optional: [1, 2] }", set()),
    ],
)
def test_which_inputs_need_not_be_staged(meta: str, names: set[str]) -> None:
    assert without_localization(task(meta)) == names


def evaluation(meta: str, **inputs: object) -> TaskEvaluation:
    files = MemoryFiles({"s3://b/d/x.bam": b"12345", "s3://b/p/one": b"1", "s3://b/r.fa": b"ACGT"})
    given = {"bam": "s3://b/d/x.bam", "ref": "s3://b/r.fa", **inputs}
    return TaskEvaluation(
        task(meta),
        given,
        folder="/wdl/a",
        files=files,
        mounted=lambda path: path.rstrip("/") if path.startswith("/refs/") else None,
    )


OPTIONAL = (
    "parameter_meta { bam: { localization_optional: true } more: { localization_optional: true } "
    "panel: { localization_optional: true } }"
)


def test_the_command_has_the_uri_and_nothing_is_staged() -> None:
    found = evaluation(OPTIONAL, more=["s3://b/d/y.bam"], panel="s3://b/p/")
    words = found.command().split()
    assert words[:4] == ["view", "s3://b/d/x.bam", "s3://b/d/y.bam", "s3://b/p"]
    assert words[-2:] == ["5.000000", "x.bam"]
    assert [item.uri for item in found.stage_in] == ["s3://b/r.fa"]
    assert [item.uri for item in found.not_staged] == ["s3://b/d/x.bam", "s3://b/d/y.bam", "s3://b/p/"]


def test_without_the_word_it_is_staged() -> None:
    found = evaluation("")
    assert "s3://" not in found.command()
    assert [item.uri for item in found.stage_in] == ["s3://b/d/x.bam", "s3://b/r.fa"]
    assert found.not_staged == ()


def test_an_output_may_be_an_input_that_was_not_staged() -> None:
    outputs = evaluation(OPTIONAL).outputs(TaskResult(0), "s3://b/runs/1/")
    assert outputs == {"same": "s3://b/d/x.bam", "reference": "s3://b/r.fa"}


def test_another_file_of_s3_is_no_output() -> None:
    source = TASK.replace("File same = bam", 'File same = "s3://b/d/other"')
    files = MemoryFiles({})
    found = TaskEvaluation(
        task(OPTIONAL, source), {"bam": "s3://b/d/x.bam", "ref": "s3://b/r.fa"}, folder="/wdl/a", files=files
    )
    with pytest.raises(EvaluationError, match="outside the task's work directory"):
        found.outputs(TaskResult(0), "s3://b/runs/1/")


@pytest.mark.parametrize("meta", ["", OPTIONAL])
def test_what_is_on_a_shared_file_system_is_named_by_its_path(meta: str) -> None:
    found = evaluation(meta, bam="/refs/x.bam", ref="/refs/r.fa")
    words = found.command().split()
    assert words[1] == "/refs/x.bam"
    assert "/refs/r.fa" in words
    assert words[-2:] == ["0.000000", "x.bam"]
    assert found.stage_in == ()
    assert found.outputs(TaskResult(0), "s3://b/runs/1/") == {"same": "/refs/x.bam", "reference": "/refs/r.fa"}


def test_an_expression_reads_no_shared_file() -> None:
    source = TASK.replace("~{size(bam)}", "~{read_string(bam)}")
    found = TaskEvaluation(
        task("", source),
        {"bam": "/refs/x", "ref": "/refs/r"},
        folder="/wdl/a",
        files=MemoryFiles({}),
        mounted=lambda path: path if path.startswith("/refs/") else None,
    )
    with pytest.raises(EvaluationError, match="/refs/x is on a shared file system"):
        found.command()


def test_a_path_that_is_on_no_mount_is_refused() -> None:
    with pytest.raises(EvaluationError, match="not an s3:// URI"):
        evaluation("", bam="/data/x.bam")
