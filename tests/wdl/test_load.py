"""Loading: where sources come from, what is read how often, and what an author is told."""

from __future__ import annotations

import json
import urllib.error
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_wdl_ecs.errors import AuthorError, Problem
from airflow_wdl_ecs.wdl.load import archive_inputs, load

TASK = "version 1.1\ntask one { command <<< true >>> }\n"
MAIN = 'version 1.1\nimport "tasks/one.wdl" as one\nworkflow main { call one.one }\n'


class Reader:
    """Sources in memory; it notes what is read."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        self.read: list[str] = []

    def __call__(self, location: str) -> str:
        self.read.append(location)
        if location not in self.sources:
            raise FileNotFoundError(2, "No such file", location)
        return self.sources[location]


def test_text_is_a_source_too() -> None:
    assert load(TASK).tasks[0].pos.uri == "<text>"
    assert load("task one { command { true } }").tasks[0].name == "one"


def test_positions_name_files_as_the_user_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flows" / "tasks").mkdir(parents=True)
    (tmp_path / "flows" / "main.wdl").write_text(MAIN)
    (tmp_path / "flows" / "tasks" / "one.wdl").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    relative = load("flows/main.wdl")
    assert relative.pos.uri == "flows/main.wdl"
    assert relative.imports[0].doc is not None
    assert relative.imports[0].doc.pos.uri == "flows/tasks/one.wdl"
    absolute = load(tmp_path / "flows" / "main.wdl")
    assert absolute.imports[0].doc is not None
    assert absolute.imports[0].doc.pos.uri == str(tmp_path / "flows" / "tasks" / "one.wdl")


def test_imports_of_a_url_are_seen_from_it() -> None:
    read = Reader(
        {
            "https://example.org/flows/main.wdl": MAIN.replace("tasks/", "../tasks/"),
            "https://example.org/tasks/one.wdl": TASK,
        }
    )
    document = load("https://example.org/flows/main.wdl", read=read)
    assert document.imports[0].doc is not None
    assert document.imports[0].doc.pos.uri == "https://example.org/tasks/one.wdl"


def test_a_file_may_import_a_url_and_an_absolute_path() -> None:
    text = (
        'version 1.1\nimport "https://example.org/one.wdl" as a\nimport "/lib/one.wdl" as b\n'
        'import "file:///lib/one.wdl" as c\nworkflow main { call a.one  call b.one as two  call c.one as three }\n'
    )
    read = Reader({"https://example.org/one.wdl": TASK, "/lib/one.wdl": TASK})
    document = load(text, read=read)
    assert read.read == ["https://example.org/one.wdl", "/lib/one.wdl"]
    assert document.imports[1].doc is document.imports[2].doc


def test_a_document_imported_along_many_edges_is_read_and_parsed_once() -> None:
    sources = {"/0.wdl": "version 1.1\nstruct S { Int n }\ntask t { input { S s } command <<< >>> }\n"}
    for level in range(1, 12):  # 2 ** 11 paths lead to the last one
        below = f"/{level - 1}.wdl"
        sources[f"/{level}.wdl"] = f'version 1.1\nimport "{below}" as a\nimport "{below}" as b\n'
    read = Reader(sources)
    document = load("/11.wdl", read=read)
    assert sorted(read.read) == sorted(sources)
    assert "S" in document.struct_typedefs


def test_a_source_archive(tmp_path: Path) -> None:
    archive = tmp_path / "flow.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("MANIFEST.json", json.dumps({"mainWorkflowURL": "main.wdl"}))
        bundle.writestr("main.wdl", MAIN)
        bundle.writestr("tasks/one.wdl", TASK)
    document = load(archive)
    assert document.pos.uri == f"{archive}/main.wdl"
    assert document.imports[0].doc is not None
    assert document.imports[0].doc.pos.uri == f"{archive}/tasks/one.wdl"


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    archive = tmp_path / "flow.zip"
    archive.write_text("no archive")
    with pytest.raises(AuthorError, match="not a source archive"):
        load(archive)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"\xff\xfe\xfa", "not UTF-8 text")],
    ids=["missing", "binary"],
)
def test_a_source_that_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    source = tmp_path / "a.wdl"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(AuthorError) as caught:
        load(source)
    assert str(caught.value).startswith(f"{source}: {said}")


def test_line_ends_do_not_move_positions(tmp_path: Path) -> None:
    source = tmp_path / "a.wdl"
    source.write_bytes(b"version 1.1\r\nworkflow w {\r\n  Int n = m\r\n}\r\n")
    with pytest.raises(AuthorError) as caught:
        load(source)
    (problem,) = caught.value.problems
    assert problem.position is not None
    assert (problem.position.line, problem.position.column) == (3, 11)
    assert problem.excerpt == "  Int n = m\n          ^"


def test_an_import_that_is_broken_is_told_once() -> None:
    read = Reader({"/broken.wdl": "version 1.1\ntask t { command <<< ~{n} >>> }\n"})
    with pytest.raises(AuthorError) as caught:
        load('version 1.1\nimport "/broken.wdl" as a\nimport "/broken.wdl" as b\nworkflow w {}\n', read=read)
    assert [str(each.position) for each in caught.value.problems] == ["/broken.wdl:2:24"]


def test_deep_nesting_is_a_problem_of_the_author() -> None:
    with pytest.raises(AuthorError, match="too deeply"):
        load("version 1.1\nworkflow w { Int n = " + "1 + " * 5000 + "1 }\n")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_text_leads_to_a_traceback(data: st.DataObject) -> None:
    """Damage a good source at any place: it loads, or its author is told where it is wrong."""
    good = (
        "version 1.1\nstruct S { Int n }\nworkflow w { input { S s = object { n: 1 } }\n scatter (i in [1, 2]) {\n"
        '  if (i > s.n) { call t { input: x = "~{i}" } } }\n output { Array[String?] o = t.o } }\n'
        "task t { input { String x } command <<< echo ~{sep=' ' [x]} >>> output { String o = read_string(stdout()) }"
        ' runtime { docker: "d" } meta { a: [1, {b: "c"}] } }\n'
    )
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 12)))
    junk = data.draw(st.text(st.sampled_from("{}()[]<>~$\"'\\=,:.+?# \n\tax1é\x00"), max_size=6))
    text = good[:start] + junk + good[end:] + "\n"
    problems: tuple[Problem, ...] = ()
    try:
        load(text)
    except AuthorError as error:
        problems = error.problems or (Problem("an error that lists nothing"),)
    assert all(each.position is not None and each.position.line >= 1 for each in problems)


def test_quantifiers_may_go_unchecked() -> None:
    text = "version 1.1\nworkflow w { input { Int? maybe } Int n = maybe  Array[Int]+ some = [] }\n"
    with pytest.raises(AuthorError) as caught:
        load(text)
    assert [each.message[:30] for each in caught.value.problems] == ["Expected Int instead of Int? --"[:30]]
    assert load(text, check_quant=False).workflow is not None


def test_the_excerpt_of_a_long_line_is_what_is_around_the_place() -> None:
    with pytest.raises(AuthorError) as caught:
        load(f"version 1.1\nworkflow w {{ {' ' * 700}Int n = unknown {' ' * 700}}}\n")
    line, caret = caught.value.problems[0].excerpt.split("\n")
    assert len(line) == 160
    assert line[caret.index("^") :].startswith("unknown")


def test_a_url_that_does_not_answer_says_so() -> None:
    def read(location: str) -> str:
        if location.endswith("gone.wdl"):
            raise urllib.error.HTTPError(location, 404, "Not Found", Message(), None)
        raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

    with pytest.raises(AuthorError) as caught:
        load('version 1.1\nimport "http://h/gone.wdl" as a\nimport "http://h/down.wdl" as b\n', read=read)
    assert [each.message for each in caught.value.problems] == [
        "cannot import http://h/gone.wdl: HTTP 404 Not Found",
        "cannot import http://h/down.wdl: Connection refused",
    ]


def test_a_later_version_that_adds_to_the_latest_known_one_is_read_as_it() -> None:
    document = load("# first\n\nversion 1.3\nworkflow w { output { Int n = 1 } }\n")
    assert (document.wdl_version, document.workflow.pos.line if document.workflow else None) == ("1.2", 4)
    with pytest.raises(AuthorError) as caught:
        load("version 1.3\nworkflow w { if (true) { } else { } }\n")
    assert [each.position.line for each in caught.value.problems if each.position] == [2]
    with pytest.raises(AuthorError, match=r"version 1\.30"):
        load("version 1.30\nworkflow w { }\n")


def test_imports_are_looked_for_beside_their_document_and_then_in_the_path(tmp_path: Path) -> None:
    main = tmp_path / "flow" / "main.wdl"
    main.parent.mkdir()
    main.write_text(MAIN)
    library = tmp_path / "library" / "tasks"
    library.mkdir(parents=True)
    (library / "one.wdl").write_text(TASK)
    with pytest.raises(AuthorError, match="no such file"):
        load(main)
    found = load(main, path=[tmp_path / "nowhere", library.parent]).imports[0].doc
    assert found is not None
    assert found.pos.uri == f"{library}/one.wdl"
    (main.parent / "tasks").mkdir()
    (main.parent / "tasks" / "one.wdl").write_text(TASK)
    beside = load(main, path=[library.parent]).imports[0].doc
    assert beside is not None
    assert beside.pos.uri == f"{main.parent}/tasks/one.wdl"


def test_an_unpacked_archive_and_its_default_inputs(tmp_path: Path) -> None:
    (tmp_path / "main.wdl").write_text(TASK)
    (tmp_path / "MANIFEST.json").write_text(
        json.dumps({"mainWorkflowURL": "main.wdl", "inputFileURLs": ["default_input.json"]})
    )
    (tmp_path / "default_input.json").write_text('{"n": 1}')
    assert load(tmp_path).pos.uri == f"{tmp_path}/main.wdl"
    assert archive_inputs(tmp_path) == '{"n": 1}'
    assert archive_inputs(tmp_path / "main.wdl") is None
    assert archive_inputs(TASK) is None
    assert load(f"file://{tmp_path}/main.wdl").tasks[0].name == "one"
