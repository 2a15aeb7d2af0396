"""The layout of a run in S3, and names as segments of keys."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.layout import Layout, instance_of_scope, key_safe, scope_of, shard_key, shard_of, split_uri

LAYOUT = Layout("s3://b/ws/", "my dag", "manual__2026-01-01T00:00:00+00:00")
FOLDER = "s3://b/ws/runs/my=20dag/manual__2026-01-01T00=3A00=3A00=2B00=3A00/"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("align.sort-1_x", "align.sort-1_x"),
        ("a b", "a=20b"),
        ("é", "=C3=A9"),
        ("", "="),
        (".", "==2E"),
        ("..", "==2E=2E"),
        ("=", "=3D"),
        ("a/b", "a=2Fb"),
    ],
)
def test_names_as_key_segments(name, key):
    assert key_safe(name) == key


@given(st.text(max_size=8), st.text(max_size=8))
def test_different_names_have_different_keys_of_safe_characters(one, other):
    assert (key_safe(one) == key_safe(other)) == (one == other)
    assert not set(key_safe(one)) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-=")
    assert key_safe(one) not in ("", ".", "..")


NAMES = st.one_of(
    st.sampled_from(
        ["", ".", "..", "/", "a", "a/b", "tasks", "calls", "files", "run.json", "_", "0", "0.1", "=2F", "é"]
    ),
    st.text(max_size=6),
)
ATTEMPTS = st.tuples(
    st.builds(Layout, st.just("s3://b/w"), NAMES, NAMES, st.one_of(st.none(), NAMES)),
    NAMES,
    st.lists(st.integers(0, 30), max_size=3).map(tuple),
    st.integers(0, 30),
)


@given(ATTEMPTS, ATTEMPTS)
def test_no_two_attempts_share_a_key_whatever_dag_run_call_and_shard_are_called(one, other):
    keys = [layout.attempt(call, shard, number) for layout, call, shard, number in (one, other)]
    assert one == other or not (keys[0].startswith(keys[1]) or keys[1].startswith(keys[0]))
    for layout, call, shard, number in (one, other):
        folders = [layout.folder, layout.call(call), layout.shard(call, shard), layout.attempt(call, shard, number)]
        assert all(inner.startswith(outer) for outer, inner in pairwise(folders))
        assert all("/../" not in folder and "/./" not in folder and "//" not in folder[5:] for folder in folders)


@given(ATTEMPTS, ATTEMPTS, NAMES)
def test_what_a_run_keeps_besides_is_in_no_attempt_of_any_run(one, other, name):
    layout, call, shard, number = one
    attempt = layout.attempt(call, shard, number)
    owner, other_call, other_shard, _ = other
    besides = [owner.named(own) for own in ("run.json", "inputs.json", "outputs.json")]
    besides += [owner.file("0" * 64, name), f"{owner.call(other_call)}epoch.json"]
    besides += [f"{owner.shard(other_call, other_shard)}{own}" for own in ("outputs.json", "attempts.json")]
    assert not any(key.startswith(attempt) for key in besides)


def test_shards_as_words():
    assert (shard_of("_"), shard_of("0.3")) == ((), (0, 3))
    assert [shard_key(shard_of(key)) for key in ("_", "7", "0.3")] == ["_", "7", "0.3"]
    with pytest.raises(ValueError, match="invalid literal"):
        shard_of("x")


@pytest.mark.parametrize(("task_id", "index", "scope"), [("a", -1, "a"), ("a", None, "a"), ("g.a", 12, "g.a[12]")])
def test_an_operator_on_its_own_is_found_by_its_scope(task_id, index, scope):
    assert scope_of(task_id, index) == scope
    assert instance_of_scope(scope) == (task_id, -1 if index is None else index)


def test_layout():
    assert LAYOUT.folder == FOLDER
    assert LAYOUT.attempt("align.sort", (0, 3), 2) == f"{FOLDER}calls/align.sort/0.3/2/"
    assert LAYOUT.shard("sort", ()) == f"{FOLDER}calls/sort/_/"
    assert LAYOUT.plan("ab") == "s3://b/ws/plans/ab.json"
    assert Layout("s3://b", "d", "r", "my task").folder == "s3://b/runs/d/r/tasks/my=20task/"
    assert shard_key((10,)) == "10"


@pytest.mark.parametrize("uri", ["/etc/passwd", "http://b/k", "s3://", "s3:///k", ""])
def test_what_is_no_s3_uri(uri):
    with pytest.raises(EvaluationError):
        split_uri(uri)
