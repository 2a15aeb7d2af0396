"""Where a run's files go on this machine."""

from __future__ import annotations

from pathlib import Path

from airflow_wdl_ecs.commands.output_files import place_outputs
from airflow_wdl_ecs.wdl.lower import compile_wdl

SOURCE = """
version 1.0
struct Pairs { File one  String note }
task t { input { File f } command {} output { File o = f } }
workflow w {
  input { File f }
  call t { input: f = f }
  output {
    File single = t.o
    Array[File] several = [t.o, t.o]
    Map[String, File] mapped = {"s3://text": t.o}
    Pairs pairs = object { one: t.o, note: "s3://not/a/file" }
    String text = "s3://no/file"
    File? none = t.o
    Int n = 1
  }
}
"""


def test_files_are_found_by_type_and_each_has_its_own_path(tmp_path: Path) -> None:
    (tmp_path / "w.wdl").write_text(SOURCE)
    plan = compile_wdl(tmp_path / "w.wdl")
    outputs = {
        "single": "s3://b/1/x.txt",
        "several": ["s3://b/2/x.txt", "s3://b/3/x.txt"],
        "mapped": {"s3://text": "s3://b/dir"},
        "pairs": {"one": "s3://b/1/x.txt", "note": "s3://not/a/file"},
        "text": "s3://no/file",
        "none": None,
        "n": 1,
    }
    placed, targets = place_outputs(plan, outputs, tmp_path)
    out = tmp_path / "out"
    assert placed == {
        "single": str(out / "single/x.txt"),
        "several": [str(out / "several/0/x.txt"), str(out / "several/1/x.txt")],
        "mapped": {"s3://text": str(out / "mapped/dir")},
        "pairs": {"one": str(out / "single/x.txt"), "note": "s3://not/a/file"},
        "text": "s3://no/file",
        "none": None,
        "n": 1,
    }
    assert targets == {
        "s3://b/1/x.txt": str(out / "single/x.txt"),
        "s3://b/2/x.txt": str(out / "several/0/x.txt"),
        "s3://b/3/x.txt": str(out / "several/1/x.txt"),
        "s3://b/dir": str(out / "mapped/dir"),
    }
