"""Parsers of miniwdl that come from the user's cache: the same ones, from a folder that nobody else can write to."""

from __future__ import annotations

import os

import lark
import pytest
import WDL
from WDL import _grammar, _parser

from airflow_wdl_ecs.wdl import grammars

DOCUMENT = """
version 1.1
# said by the author
task hello {
  input { String name = "~{1 + 2}" }  # who
  command <<< echo ~{name} >>>
  output { String said = read_string(stdout()) }
}
"""


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The folder of the parsers, in a process that has none in memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget(monkeypatch)
    return tmp_path / grammars.FOLDER


def forget(monkeypatch):
    monkeypatch.setattr(_parser, "_lark_cache", {})


def origins():
    """Where miniwdl's parsers come from: Lark names none of its own files for one that it has read back."""
    return {parser.source_path for parser in _parser._lark_cache.values()}


def parsed():
    """What comes of a document and an expression: text, places, comments."""
    document = WDL.parse_document(DOCUMENT)
    comments = [comment.text for comment in document.source_comments if comment]
    (task,) = document.tasks
    nodes = [(str(node), node.pos) for node in (*task.inputs, task.command, *task.outputs)]
    return nodes, comments, str(WDL.parse_expr("1 + 2", "1.1"))


def refused(text):
    """What is said of a document with a mistake."""
    with pytest.raises(WDL.Error.SyntaxError) as error:
        WDL.parse_document(text)
    return str(error.value), error.value.pos


@pytest.fixture
def plain(monkeypatch):
    """What miniwdl gives by itself."""
    with monkeypatch.context() as alone:
        alone.setattr(_parser, "lark", lark)
        forget(alone)
        return parsed(), refused("version 1.1\ntask hello { command }")


def test_what_miniwdl_parses_comes_from_the_cache(monkeypatch, folder, plain):
    assert (parsed(), refused("version 1.1\ntask hello { command }")) == plain
    assert origins() == {"<string>"}  # built
    assert [path.suffix for path in folder.iterdir()] == [".lark", ".lark"]
    forget(monkeypatch)
    assert (parsed(), refused("version 1.1\ntask hello { command }")) == plain
    assert origins() == {"<deserialized>"}


def test_only_the_user_can_write_to_the_folder(folder):
    parsed()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_uid == os.geteuid()


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.write_bytes(path.read_bytes()[:5000]), lambda path: path.write_bytes(b"another's"), os.truncate],
    ids=["cut off", "foreign", "empty"],
)
def test_a_spoilt_file_is_replaced(monkeypatch, folder, plain, spoil):
    parsed()
    for path in folder.iterdir():
        spoil(path, 0) if spoil is os.truncate else spoil(path)
    forget(monkeypatch)
    assert parsed() == plain[0]
    assert origins() == {"<string>"}
    forget(monkeypatch)
    assert parsed() == plain[0]
    assert origins() == {"<deserialized>"}


def test_a_parser_of_another_grammar_is_not_taken(monkeypatch, folder, plain):
    parsed()
    one, other = folder.iterdir()
    one.write_bytes(other.read_bytes())
    forget(monkeypatch)
    assert parsed() == plain[0]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755])
def test_a_folder_that_is_open_to_others_is_left_alone(folder, plain, mode):
    folder.mkdir()
    folder.chmod(mode)
    assert parsed() == plain[0]
    assert not list(folder.iterdir())


def test_a_folder_of_another_user_is_left_alone(monkeypatch, folder, plain):
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert parsed() == plain[0]
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_made_hinders_nothing(folder, plain):
    folder.write_text("a file")
    assert parsed() == plain[0]


def test_a_relative_folder_is_that_of_the_home_instead(monkeypatch, folder, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    parsed()
    assert list((tmp_path / ".cache" / grammars.FOLDER).iterdir())
    assert not folder.exists()


def test_all_versions_can_be_made_ready(folder):
    grammars.prepare()
    ready = set(_parser._lark_cache)
    for version in set(_grammar.versions):
        assert {(_grammar.get(version)[0], start) for start in ("document", "expr")} <= ready, version
