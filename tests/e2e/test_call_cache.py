"""``airflow-wdl-ecs run --cache``: a call is taken from an earlier run, and it is said which and why not."""

from __future__ import annotations

import pytest

from .conftest import CommandLine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SOURCE = """
version 1.1
task count {
  input { File f }
  command <<< wc -c < '~{f}' > size; date +%s%N >> size >>>
  output { File size = "size" }
}
workflow sizes {
  input { File f }
  call count { input: f = f }
  output { Array[String] lines = read_lines(count.size)  File size = count.size }
}
"""


def test_a_call_is_taken_from_an_earlier_run_of_any_workflow(cli: CommandLine) -> None:
    text = cli.write("one two", "in.txt")
    first = cli.run_wdl(SOURCE, f"f={text}", "--cache")
    assert "call cache: count: miss: no entry yet" in first.err
    # Another workflow, so another DAG, around the same task; its expressions read the file of the other run.
    other = SOURCE.replace("workflow sizes", "workflow other").replace("lines =", "again =")
    second = cli.run_wdl(other, f"f={text}", "--cache", name="other.wdl")
    assert second.outputs["other.again"] == first.outputs["sizes.lines"]
    found = second.json
    made_by = first.json
    origin = f"count of run {made_by['dag_id']}/{made_by['run_id']}"
    assert f"call cache: count: hit: the outputs are those of {origin}" in second.err
    report = cli("report", f"{found['dag_id']}/{found['run_id']}")
    assert f"  count: hit: the outputs are those of {origin}\n" in report.out
    text.write_text("three")
    changed = cli.run_wdl(SOURCE, f"f={text}", "--cache")
    assert "call cache: count: miss: input `f` changed" in changed.err
    without = cli.run_wdl(SOURCE, f"f={text}", "--no-cache")
    assert without.outputs["sizes.lines"] != changed.outputs["sizes.lines"]
