"""The inputs of ``run``: how they are written, and what becomes of the files among them."""

from __future__ import annotations

import io
import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.commands.given_inputs import fetched, given_inputs, read_json
from airflow_wdl_ecs.errors import InputsError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.lower import compile_wdl


@pytest.fixture
def plan() -> Plan:
    return compile_wdl("version 1.0\nworkflow w { input { Array[File] files  Int? n  Float x = 1.5 } }\n")


def test_what_other_engines_read_as_inputs(tmp_path: Path) -> None:
    found = {"w.n": 1, "w.x": 1e-30}
    for name, text in {
        "plain.json": '{"w.n": 1, "w.x": 1e-30}',
        "bom.json": '\ufeff{"w.n": 1, "w.x": 1e-30}',
        "comma.json": '{\n  # a comment\n  "w.n": 1,\n  "w.x": 1e-30,\n}',
        "inputs.yaml": "w.n: 1\nw.x: 1e-30\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert read_json(str(tmp_path / name)) == found
    (tmp_path / "broken.json").write_text('{"w.n": ')
    with pytest.raises(InputsError, match=r"broken\.json: not JSON: Expecting value"):
        read_json(str(tmp_path / "broken.json"))


def test_local_files_are_absolute_without_going_through_links(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    files = ["link/../real/a", "link/a", f"file://{tmp_path}/real/a"]
    found = given_inputs(plan, [], json_text=json.dumps({"##note": 1, "w.files": files, "w.n": None}))
    assert found == {"files": [f"{tmp_path}/real/a", f"{tmp_path}/link/a", f"{tmp_path}/real/a"], "n": None}
    with pytest.raises(InputsError, match="no such file: elsewhere"):
        given_inputs(plan, ["files=elsewhere"])
    with pytest.raises(InputsError, match="gs://b/x: only local files"):
        given_inputs(plan, ["files=gs://b/x"])


def test_what_is_on_the_web_is_fetched_once(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(url: str, **arguments: Any) -> io.BytesIO:
        asked.append(url)
        if url.endswith("gone"):
            raise urllib.error.URLError("nobody there")
        return io.BytesIO(b"text")

    monkeypatch.setattr("airflow_wdl_ecs.commands.given_inputs.open_url", answer)
    url = "https://h/path/a%20b.txt?version=1"
    inputs = given_inputs(plan, ["files=" + url, "files=" + url, "files=s3://b/c"])
    assert inputs["files"] == [url, url, "s3://b/c"]
    first, second, third = fetched(plan, inputs, tmp_path)["files"]
    assert (first, third, asked) == (second, "s3://b/c", [url])
    assert Path(first).name == "a b.txt"
    assert Path(first).read_text() == "text"
    with pytest.raises(InputsError, match="cannot fetch http://h/gone: nobody there"):
        fetched(plan, {"files": ["http://h/gone"]}, tmp_path)


def test_what_is_wrong_with_files_is_told_beside_all_else(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputsError) as error:
        given_inputs(plan, ["files=elsewhere", "x=much", "w.m=3"], json_text='{"w.n": "one"}')
    assert error.value.message.splitlines() == [
        "input x: expected Float: 'much' is not a number of this type",
        "unknown input w.m",
        """input w.n: expected Int?: "one" is not Int?""",
        "input files: no such file: elsewhere",
    ]


def test_a_file_is_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = compile_wdl("version 1.2\nworkflow w { input { File file  Directory folder } }\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("")
    with pytest.raises(InputsError) as error:
        given_inputs(both, ["file=a", "folder=b"])
    assert error.value.message.splitlines() == [
        "input file: a is a directory, and the input wants a File",
        "input folder: b is a file, and the input wants a Directory",
    ]
    assert given_inputs(both, ["file=b", "folder=a/"]) == {"file": f"{tmp_path}/b", "folder": f"{tmp_path}/a"}
