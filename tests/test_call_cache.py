"""What the call cache says and decides, without S3: keys, entries, and why there is none."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
import pytest

from airflow_wdl_ecs.cached_calls import said_by_attributes, was_cleared
from airflow_wdl_ecs.call_cache import (
    FORMAT,
    CacheLayout,
    Entry,
    Key,
    digest,
    read_entry,
    read_parts,
    why_missed,
    why_stale,
)
from airflow_wdl_ecs.granted import granted_to
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.storage import RunStore, Version

from .fabricated_run import attempt
from .fake_aws import FakeS3

PARTS = {
    "task": "t",
    "command": "c",
    "image": "sha256:1",
    "files": "",
    "settings": "s",
    **{f"input {name}": name for name in "abcdefg"},
}


def test_a_key_is_that_of_its_parts_in_any_order() -> None:
    assert Key(PARTS).digest == Key(dict(reversed(PARTS.items()))).digest
    assert len(Key(PARTS).digest) == 64
    assert all(Key({**PARTS, part: "other"}).digest != Key(PARTS).digest for part in PARTS)


def test_the_order_of_what_is_in_a_value_counts() -> None:
    assert digest({"x": 1, "y": 2}) != digest({"y": 2, "x": 1})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "its entry is no longer there"),
        ({"task": "x"}, "the task's source changed"),
        ({"task": "x", "command": "x"}, "the command changed"),
        ({"input a": "x"}, "input `a` changed"),
        ({"input z": "x"}, "input `z` changed"),
        ({f"input {name}": "x" for name in "abcdefg"}, "inputs `a`, `b`, `c`, `d`, `e` and 2 more changed"),
        ({"image": "sha256:2"}, "the image has another digest: sha256:2 instead of sha256:1"),
        ({"image": "debian:12"}, "the image changed: debian:12 instead of sha256:1"),
        ({"mounts": "x"}, "a shared file system that the call names is mounted from elsewhere"),
        (
            {"files": "x", "task": "x"},
            "the task's source changed; a file changed that the task reads besides its inputs",
        ),
    ],
)
def test_a_miss_says_what_has_changed(changed: dict[str, str], said: str) -> None:
    assert why_missed(PARTS, {**PARTS, **changed}) == said
    assert why_missed(None, PARTS) == "no entry yet"


def test_an_input_that_is_no_longer_given_has_changed() -> None:
    now = {name: value for name, value in PARTS.items() if name != "input b"}
    assert why_missed(PARTS, now) == "input `b` changed"


def test_a_stale_entry_says_which_file() -> None:
    one, two = Version("s3://b/1", 3, "e1"), Version("s3://b/2", 4, "e2")
    there: dict[str, Version | None] = {one.uri: one, two.uri: two}
    assert why_stale([one, two], there) == ""
    assert why_stale([one, two], {**there, two.uri: None}) == "output file s3://b/2 is gone"
    assert why_stale([one, two], {**there, one.uri: Version(one.uri, 3, "new")}).endswith("s3://b/1 has changed since")
    assert why_stale([one], {one.uri: Version(one.uri, 4, "e1")})


def entry(**fields: Any) -> Entry:
    given: dict[str, Any] = {"outputs": {"x": [1]}, "files": (Version("s3://b/1", 3, "e"),), "folders": ("s3://b/d/",)}
    return Entry("k" * 64, "dag", "run", "a.t", "0.3", 1, 1.0, "s3://b/0/", **(given | fields))


def test_an_entry_is_read_as_it_was_written() -> None:
    found = read_entry(msgspec.json.encode(asdict(entry(scope="align"))))
    assert found == entry(scope="align")
    assert found is not None
    assert found.origin == "a.t of run dag/run, task align"
    assert found.uris == ("s3://b/1", "s3://b/d/")


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b'{"format": 1}', b"\xff", b'{"key": "\xff"}'),
        msgspec.json.encode(asdict(entry(format=FORMAT + 1))),
    ],
)
def test_what_is_no_entry_is_none(data: bytes) -> None:
    assert read_entry(data) is None


def test_parts_that_cannot_be_read_are_not_known() -> None:
    assert read_parts(None) is read_parts(b"[]") is read_parts(b'{"task": "\xff"}') is None
    assert read_parts(b'{"task": "t"}') == {"task": "t"}


def test_where_it_keeps_things() -> None:
    layout = CacheLayout("s3://b/cache/")
    assert layout.entry("abcd") == "s3://b/cache/entries/ab/abcd.json"
    assert layout.last_key("w", "a.t", (0, 3)) == "s3://b/cache/last/w/a.t/0.3.json"
    assert layout.last_key("w", "..", ()) == "s3://b/cache/last/w/==2E=2E/_.json"


@pytest.mark.parametrize(
    ("marks", "cleared"),
    [([], False), ([0], False), ([2], True), ([2, 0, 0], True), ([1], False), ([-3], False), ([2, -3], False),
     ([2, 0, 1], False), ([1, 0, 3, 0], True)],
)  # fmt: skip
def test_only_who_cleared_a_success_has_asked_for_it_to_run(marks: list[int], cleared: bool) -> None:
    assert was_cleared([attempt(number, superseded=mark) for number, mark in enumerate(marks)]) == cleared


@pytest.mark.parametrize(
    ("runtime", "said"),
    [
        ({}, ""),
        ({"volatile": True}, "`volatile: true`"),
        ({"volatile": "true"}, "`volatile: true`"),
        ({"volatile": False}, ""),
        ({"cacheable": False}, "`cacheable: false`"),
        ({"cacheable": True}, ""),
    ],
)
def test_what_a_task_says_of_itself(runtime: dict[str, Any], said: str) -> None:
    assert said_by_attributes(runtime) == said


def test_what_is_granted_holds_for_all_that_a_process_has_open_of_a_run() -> None:
    s3 = FakeS3()
    layout = Layout("s3://b/wdl", "dag", "run")
    here, there, other = RunStore(s3, layout), RunStore(s3, layout), RunStore(s3, Layout("s3://b/wdl", "dag", "2"))
    for key in ("wdl/runs/dag/0/x", "wdl/runs/dag/0/xy", "wdl/runs/dag/0/d/y"):
        s3.put_object(Bucket="b", Key=key, Body=b"text")
    granted_to(layout.folder).add(["s3://b/wdl/runs/dag/0/x", "s3://b/wdl/runs/dag/0/d/"])
    assert here.read("s3://b/wdl/runs/dag/0/x") == b"text" == there.read("s3://b/wdl/runs/dag/0/d/y")
    assert list(there.list("s3://b/wdl/runs/dag/0/d")) == [("s3://b/wdl/runs/dag/0/d/y", 4)]
    for store, uri in ((here, "xy"), (here, ""), (here, "d/../xy"), (other, "x")):
        with pytest.raises(Exception, match=r"may not read|in its path"):
            store.read(f"s3://b/wdl/runs/dag/0/{uri}")


def test_the_outputs_of_a_hit_grant_their_files_also_where_they_were_read_before() -> None:
    s3 = FakeS3()
    layout = Layout("s3://b/wdl", "dag", "granted")
    file = "s3://b/wdl/runs/other/0/x"
    s3.put_object(Bucket="b", Key="wdl/runs/other/0/x", Body=b"text")
    ledger = {"outputs": {"x": file}, "files": [file]}
    store = RunStore(s3, layout)
    store.put_json(f"{layout.shard('t', ())}outputs.json", ledger)
    with pytest.raises(Exception, match="may not read"):
        store.read(file)
    assert store.call_outputs("t", (), "") == {"x": file}
    assert store.read(file) == b"text"
    del store
    again = RunStore(s3, layout)
    again.call_outputs("t", (), "")
    assert again.read(file) == b"text"
