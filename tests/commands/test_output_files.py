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
        "mapped": {"s3://text": str(out / "mapped/0/dir")},
        "pairs": {"one": str(out / "single/x.txt"), "note": "s3://not/a/file"},
        "text": "s3://no/file",
        "none": None,
        "n": 1,
    }
    assert targets == {
        "s3://b/1/x.txt": str(out / "single/x.txt"),
        "s3://b/2/x.txt": str(out / "several/0/x.txt"),
        "s3://b/3/x.txt": str(out / "several/1/x.txt"),
        "s3://b/dir": str(out / "mapped/0/dir"),
    }


def test_a_path_says_where_in_the_value_it_is(tmp_path: Path) -> None:
    source = """
        version 1.2
        struct Both { Pair[File, Directory] pair }
        task t {
            command {}
            output { Array[Array[File]] deep = []  Map[String, File] keyed = {}  Both both = read_json("x") }
        }
    """
    (tmp_path / "t.wdl").write_text(source)
    files = [f"s3://b/{number}" for number in range(11)]
    outputs = {
        "deep": [["s3://b/x"], files],
        "keyed": {"one": "s3://b/y", "t.wo": "s3://b/z"},
        "both": {"pair": {"left": "s3://b/l", "right": "s3://b/r"}},
    }
    _, targets = place_outputs(compile_wdl(tmp_path / "t.wdl"), outputs, tmp_path)
    out = tmp_path / "out"
    assert targets["s3://b/x"] == str(out / "deep/0/0/x")
    assert targets["s3://b/2"] == str(out / "deep/1/02/2")
    assert targets["s3://b/y"] == str(out / "keyed/one/y")
    assert targets["s3://b/z"] == str(out / "keyed/t.wo/z")
    assert targets["s3://b/l"] == str(out / "both/pair/left/l")
    assert targets["s3://b/r/"] == str(out / "both/pair/right/r")
