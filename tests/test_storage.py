"""What expressions may read, what is read and written of a run, and what is kept in the process."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from airflow_wdl_ecs import storage
from airflow_wdl_ecs.errors import AwsError, EvaluationError, Position, SettingsError
from airflow_wdl_ecs.layout import Layout, split_uri
from airflow_wdl_ecs.plan import Document, Plan, Section
from airflow_wdl_ecs.recent import Recent
from airflow_wdl_ecs.storage import RunStore

from .fake_aws import FakeS3

LAYOUT = Layout("s3://b/ws/", "my dag", "manual__2026-01-01T00:00:00+00:00")
FOLDER = "s3://b/ws/runs/my=20dag/manual__2026-01-01T00=3A00=3A00=2B00=3A00/"


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


def test_expressions_read_the_run_and_its_inputs_and_nothing_else(s3):
    store = RunStore(s3, LAYOUT, ["s3://in/reads.fq", "s3://refs/v1/"])
    for uri in ("s3://in/reads.fq", "s3://refs/v1/a", f"{FOLDER}calls/x/_/0/work/f"):
        s3.put_object(Bucket=split_uri(uri)[0], Key=split_uri(uri)[1], Body=b"abc")
        assert (store.read(uri), store.size(uri)) == (b"abc", 3)
    assert store.size("s3://refs/v1/") == 3
    for uri in (
        "s3://in/reads.fq.bai",
        "s3://refs/v10/a",
        "s3://refs/",
        "s3://b/ws/runs/other/r/run.json",
        "/etc/passwd",
    ):
        for look in (store.read, store.size, store.list):
            with pytest.raises(EvaluationError, match="may not read"):
                look(uri)


def test_reading_what_is_not_there_too_large_or_cut_short(s3, monkeypatch):
    store = RunStore(s3, LAYOUT)
    with pytest.raises(EvaluationError, match="no such file"):
        store.read(f"{FOLDER}none")
    assert store.size(f"{FOLDER}none") is None
    assert store.size(f"{FOLDER}none/") is None
    store.put(f"{FOLDER}f", b"12345")
    monkeypatch.setattr(storage, "MAX_READ", 4)
    with pytest.raises(EvaluationError, match="5 bytes, and an expression may read 4"):
        store.read(f"{FOLDER}f")
    s3.shorten = 1
    monkeypatch.setattr("airflow_wdl_ecs.aws.PATIENCE", 0)
    with pytest.raises(AwsError, match="4 of 5 bytes"):
        store.get(f"{FOLDER}f")


def test_a_folder_is_listed_in_order_without_markers(s3):
    store = RunStore(s3, LAYOUT)
    for name in ("d/b", "d/a/x", "d/a/", "d2/y"):
        store.put(FOLDER + name, b"xy")
    assert list(store.list(f"{FOLDER}d")) == [(f"{FOLDER}d/a/x", 2), (f"{FOLDER}d/b", 2)]
    assert store.size(f"{FOLDER}d/") == 4
    assert store.exists(f"{FOLDER}d/")
    assert not store.exists(f"{FOLDER}d3/")


def test_sizes_are_asked_once(s3):
    store = RunStore(s3, LAYOUT)
    store.put(f"{FOLDER}f", b"abc")
    s3.calls.clear()
    assert [store.size(f"{FOLDER}f") for _ in range(3)] == [3, 3, 3]
    assert len(s3.calls) == 1


def test_equal_data_is_written_once_under_one_uri(s3):
    store = RunStore(s3, LAYOUT)
    one, two = store.write(b"x", "lines.txt"), store.write(b"x", "lines.txt")
    assert one == two
    assert one.startswith(f"{FOLDER}files/")
    assert sum(call == "put" for call, _ in s3.calls) == 1
    assert store.read(one) == b"x"
    assert store.write(b"y", "lines.txt") != one


def test_the_tail_of_an_object(s3):
    store = RunStore(s3, LAYOUT)
    store.put(f"{FOLDER}f", b"0123456789")
    store.put(f"{FOLDER}empty", b"")
    assert store.tail(f"{FOLDER}f", 4) == b"6789"
    assert store.tail(f"{FOLDER}f", 100) == b"0123456789"
    assert store.tail(f"{FOLDER}empty", 4) == b""
    assert store.tail(f"{FOLDER}none", 4) == b""


def test_a_refusal_of_access_is_the_deployers(s3):
    store = RunStore(s3, LAYOUT, ["s3://forbidden/x"])
    with pytest.raises(SettingsError, match="GetObject s3://forbidden/x"):
        store.read("s3://forbidden/x")


def test_a_plan_is_written_and_read_once(s3):
    plan = Plan(
        "w", {"0": Document("1.0")}, (Section("", "workflow", "0", Position("w.wdl", 1, 1)),), source="unique 1"
    )
    store = RunStore(s3, LAYOUT)
    store.put_plan(plan)
    assert s3.objects["b", f"ws/plans/{plan.digest}.json"] == plan.to_json()
    s3.calls.clear()
    assert store.plan(plan.digest) == plan
    assert s3.calls == []
    with pytest.raises(AwsError, match="is not there"):
        store.plan("0" * 64)


def test_outputs_of_a_call_are_kept_until_its_epoch_changes(s3):
    store = RunStore(s3, LAYOUT)
    uri = f"{store.layout.shard('kept', (1,))}outputs.json"
    assert store.call_outputs("kept", (1,), "") is None
    store.put_json(uri, {"outputs": {"x": 1}})
    assert store.call_outputs("kept", (1,), "") == {"x": 1}
    store.put_json(uri, {"outputs": {"x": 2}})
    assert store.call_outputs("kept", (1,), store.epoch("kept")) == {"x": 1}
    store.begin_epoch("kept", "second")
    assert store.call_outputs("kept", (1,), store.epoch("kept")) == {"x": 2}


def test_recent_forgets_what_was_used_longest_ago():
    recent = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)


def test_how_a_scatter_is_divided_is_kept(s3):
    store = RunStore(s3, LAYOUT)
    assert store.read_division("scatter x") is None
    store.write_division("scatter x", {"shards": 3, "chunk": 1})
    assert store.read_division("scatter x") == {"shards": 3, "chunk": 1}


def test_folders_right_below_a_folder(s3):
    store = RunStore(s3, LAYOUT)
    for name in ("calls/b/_/attempts.json", "calls/b/_/0/stdout", "calls/a/0/attempts.json", "calls/loose.json"):
        store.put(LAYOUT.named(name), b"")
    assert store.folders(LAYOUT.named("calls/")) == ("a", "b")
    assert store.folders(LAYOUT.named("tasks/")) == ()


def test_a_link_downloads_under_a_name_that_cannot_break_out_of_its_header(s3):
    link = RunStore(s3, LAYOUT).link("s3://b/k", seconds=60, filename='a";\r\nSet-Cookie: é')
    disposition = unquote(link.partition("&disposition=")[2])
    assert disposition == "attachment; filename*=UTF-8''a%22%3B%0D%0ASet-Cookie%3A%20%C3%A9"
    assert "expires=60" in link


def test_a_list_goes_on_after_a_page_that_failed(s3, monkeypatch):
    monkeypatch.setattr("airflow_wdl_ecs.aws.time.sleep", lambda seconds: None)
    store = RunStore(s3, LAYOUT)
    for number in range(5):
        store.put(f"{FOLDER}a/{number}", b"x")
    found = store.list(f"{FOLDER}a/")
    s3.failures = ["SlowDown", "InternalError"]
    assert [uri[-1] for uri, _ in found] == list("01234")
    pages = store._pages(f"{FOLDER}a/", MaxKeys=2)
    assert len(next(pages)["Contents"]) == 2
    s3.calls.clear()
    s3.failures = ["ServiceUnavailable"]
    assert [len(page["Contents"]) for page in pages] == [2, 1]
    assert len(s3.calls) == 3
    s3.failures = ["AccessDenied"]
    with pytest.raises(SettingsError, match="ListObjectsV2 s3://b/ws/runs/"):
        store.folders(FOLDER)
