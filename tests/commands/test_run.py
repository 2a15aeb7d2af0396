"""What ``run`` does on this machine before and after the run itself."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.commands.given_inputs import joined
from airflow_wdl_ecs.commands.progress import Progress
from airflow_wdl_ecs.commands.run import make_run_folder, what_forbids_writing, write_result
from airflow_wdl_ecs.errors import InputsError
from airflow_wdl_ecs.plan import Plan


def test_run_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = make_run_folder("", "wf"), make_run_folder("", "wf")
    assert first != second
    assert first.parent == second.parent == tmp_path
    assert make_run_folder("made/here", "wf").parent == tmp_path / "made/here"
    assert make_run_folder("exactly/.", "wf") == tmp_path / "exactly"
    assert make_run_folder("exactly/.", "wf") == tmp_path / "exactly"
    assert make_run_folder(".", "wf") == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(InputsError, match="-d file"):
        make_run_folder("file", "wf")


def test_a_value_may_be_a_word_of_its_own() -> None:
    assert joined(["a=", "1", "b=2", "c=", "d=3", "e"]) == ["a=1", "b=2", "c=d=3", "e"]


def test_the_result_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_result({"outputs": {"wf.x": 1}}, str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text()) == {"outputs": {"wf.x": 1}}
    assert json.loads(capsys.readouterr().out) == {"outputs": {"wf.x": 1}}
    write_result({"dir": "d"}, None)
    assert json.loads(capsys.readouterr().out) == {"dir": "d"}


def test_progress_says_each_change_of_a_call_once() -> None:
    stream = io.StringIO()
    plan = Plan.from_json(
        json.dumps(
            {
                "name": "w",
                "format": 1,
                "documents": {},
                "sections": [],
                "calls": [
                    {
                        "id": "sort",
                        "section": "",
                        "name": "sort",
                        "task": "sort",
                        "position": {"file": "w", "line": 1, "column": 1},
                    }
                ],
            }
        )
    )
    progress = Progress(plan, stream=stream)
    for task, index, state in [
        ("inputs", -1, "running"),
        ("sort", 3, "scheduled"),
        ("sort", 3, "deferred"),
        ("sort", 3, "running"),
        ("sort", 3, "up_for_retry"),
        ("sort", 3, "deferred"),
        ("sort", 3, "success"),
        ("outputs", -1, "failed"),
    ]:
        progress.note(task, index, state)
    lines = [line.partition("] ")[2] for line in stream.getvalue().splitlines()]
    assert lines == [
        "call sort[3]: running",
        "call sort[3]: failed, will be tried again",
        "call sort[3]: running",
        "call sort[3]: done",
        "task outputs: failed",
    ]


def test_last_is_the_newest_run_beside_it(tmp_path: Path) -> None:
    for _ in range(2):
        newest = make_run_folder(str(tmp_path), "wf")
        assert (tmp_path / "_LAST").readlink() == Path(newest.name)
    exact = make_run_folder(f"{tmp_path}/exact/.", "wf")
    assert sorted(path.name for path in exact.parent.iterdir() if path.is_symlink()) == ["_LAST"]
    assert (tmp_path / "_LAST").readlink() == Path(newest.name)


def test_options_of_miniwdl_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "one.wdl").write_text("task one { command {} }")
    flow = tmp_path / "w.wdl"
    flow.write_text('version 1.0\nimport "one.wdl" as lib\nworkflow w { input { Int? n }  Int m = n  call lib.one }\n')
    words = ["--dir", str(tmp_path), "-p", str(library), "--no-quant-check", "-@", "2", "--cfg", "x", "--no-cache"]
    assert main(["run", *words, str(flow), "--json", "--runtime-memory-max", "1G", "n=1"]) == 0
    assert json.loads(capsys.readouterr().out) == {"w.n": 1}
    assert main(["check", str(flow)]) == 2
    assert main(["check", "--path", str(library), "--no-quant-check", str(flow)]) == 0
    assert main(["check", "--path", str(library), "--no-quant-check", "--strict", str(flow)]) == 2
    suppressed = "UnusedDeclaration,OptionalCoercion,MissingVersion,MissingRuntime"
    capsys.readouterr()
    assert main(["check", "-p", str(library), "--no-quant-check", "--strict", "--suppress", suppressed, str(flow)]) == 0
    assert capsys.readouterr().out == ""


def test_the_default_inputs_of_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.wdl").write_text("version 1.0\nworkflow w { input { Int n } }\n")
    (tmp_path / "MANIFEST.json").write_text('{"mainWorkflowURL": "w.wdl", "inputFileURLs": ["default.json"]}')
    (tmp_path / "default.json").write_text('{"w.n": 1}')
    assert main(["run", str(tmp_path), "-j"]) == 0
    assert json.loads(capsys.readouterr().out) == {"w.n": 1}
    assert main(["run", str(tmp_path), "-j", "n=2"]) == 0
    assert json.loads(capsys.readouterr().out) == {"w.n": 2}


def test_all_that_is_wrong_is_told_at_once_and_before_there_is_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = tmp_path / "w.wdl"
    flow.write_text("version 1.0\nworkflow w { input { Int n } }\n")
    words = ["-d", f"{tmp_path}/runs", "-o", f"{tmp_path}/nowhere/out.json", "--tag", "x", "--publish-to", "results/"]
    assert main(["run", str(flow), *words, "n=one"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "input n: expected Int: 'one' is not a number of this type",
        "--tag x: not KEY=VALUE",
        "publish-to is 'results/', not an S3 prefix, s3://BUCKET/PREFIX/",
        f"-o {tmp_path}/nowhere/out.json: No such file or directory",
        "-d DIR puts outputs into a folder of this machine",
    ]
    assert not (tmp_path / "runs").exists()


def test_where_the_result_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    wrong = {
        path: what_forbids_writing(Path(path), "made/here/.")
        for path in ("file", "new.json", "made/here/new.json", "made/new.json", "elsewhere/new.json", ".", "file/new")
    }
    assert {path: why for path, why in wrong.items() if why} == {
        "elsewhere/new.json": "No such file or directory",
        ".": "Is a directory",
        "file/new": "Not a directory",
    }
    assert what_forbids_writing(Path("/dev/stdout"), "") == ""
