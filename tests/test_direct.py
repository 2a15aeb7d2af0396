"""The runner without Airflow: order, shards, skipped calls and failures, on the embedded AWS."""

from __future__ import annotations

import pytest

from airflow_wdl_ecs.errors import CallError, InputsError
from airflow_wdl_ecs.wdl.inputs import bind_inputs
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .direct import DirectRunner

pytestmark = pytest.mark.local

SOURCE = """
version 1.1
workflow w {
  input {
    Array[File] files
    Boolean twice = false
    Int status = 0
  }
  call join { input: lines = flatten(part.same), status = status }
  scatter (file in files) {
    call count { input: file = file }
    scatter (n in range(count.lines)) {
      call line { input: file = file, n = n + 1 }
    }
    call part { input: lines = line.text }
    if (twice) {
      call count as again { input: file = file }
    }
  }
  output {
    File joined = join.file
    Array[Int?] again_lines = again.lines
  }
}
task count {
  input { File file }
  command <<< grep -c "" ~{file} >>>
  output { Int lines = read_int(stdout()) }
}
task line {
  input { File file  Int n }
  command <<< sed -n ~{n}p ~{file} >>>
  output { String text = read_string(stdout()) }
}
task part {
  input { Array[String] lines }
  command <<< cat ~{write_lines(lines)} >>>
  output { Array[String] same = read_lines(stdout()) }
}
task join {
  input { Array[String] lines  Int status }
  command <<< cat ~{write_lines(lines)} > joined.txt; exit ~{status} >>>
  output { File file = "joined.txt" }
}
"""
PLAN = compile_wdl(SOURCE)


@pytest.fixture
def runner(embedded_aws):
    return DirectRunner(embedded_aws)


@pytest.fixture
def given(tmp_path):
    """Inputs with two files, as `bind_inputs` gives them."""
    texts = {"one": "a\nb\n", "two": "c\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)

    def bound(**others):
        return bind_inputs(PLAN, {"files": [str(tmp_path / name) for name in texts], **others})

    return bound


async def test_calls_run_in_order_shard_by_shard(runner, given):
    outputs = await runner.run(PLAN, given(), "in-order")
    assert runner.read(outputs["joined"]) == b"a\nb\nc\n"
    assert outputs["again_lines"] == [None, None]


async def test_a_true_condition_runs_its_calls(runner, given):
    outputs = await runner.run(PLAN, given(twice=True), "condition")
    assert outputs["again_lines"] == [2, 1]


async def test_a_failure_is_raised(runner, given):
    with pytest.raises(CallError) as raised:
        await runner.run(PLAN, given(status=3), "failure")
    assert raised.value.exit_code == 3
    assert raised.value.call == "join"


async def test_a_file_that_is_not_there_is_refused(runner):
    with pytest.raises(InputsError, match="no such"):
        await runner.run(PLAN, bind_inputs(PLAN, {"files": ["s3://wdl/nothing"]}), "no-file")


def test_a_folder_is_uploaded_with_all_its_files(runner, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_text("x")
    uri = runner.upload(tmp_path, "a-folder")
    assert uri.endswith("/a-folder/")
    assert runner.read(f"{uri}sub/x") == b"x"
    assert runner.read(f"{uri}sub/y") is None
