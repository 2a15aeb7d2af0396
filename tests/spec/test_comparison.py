"""The comparison of outputs with those that an example gives."""

from __future__ import annotations

import pytest

from .comparison import differences


class Bucket:
    """One file, below ``s3://b/``."""

    def is_path(self, value):
        return value.startswith("s3://b/")

    def read(self, path):
        return {"s3://b/run/work/out.txt": b"hello world\n"}.get(path)


FILES = Bucket()


def compare(expected, ours, **options):
    return differences({"w.x": expected}, {"w.x": ours}, FILES, **options)


@pytest.mark.parametrize(
    ("expected", "ours"),
    [
        (1, 1),
        (3.1415926, 3.14159265),
        (2, 2.0),
        (None, None),
        (True, True),
        ("a", "a"),
        ([1, None], [1, None]),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
        ({"left": 1, "right": [True]}, {"left": 1, "right": [True]}),
        ({"a": 1}, {"a": 1, "b": None}),
        ({"a": 1, "b": None}, {"a": 1}),
        ("out.txt", "s3://b/run/work/out.txt"),
        ("some/where/out.txt", "s3://b/run/work/out.txt"),
        ("hello world", "s3://b/run/work/out.txt"),
        ("folder", "s3://b/run/work/folder/"),
        ("folder", "s3://b/run/work/folder"),
        (["out.txt"], ["s3://b/run/work/out.txt"]),
    ],
)
def test_equal(expected, ours):
    assert compare(expected, ours) == []


@pytest.mark.parametrize(
    ("expected", "ours"),
    [
        (1, 2),
        (1, "1"),
        (1, True),
        (True, 1),
        (0, None),
        (0.1, 0.1001),
        ("a", "b"),
        ("out.txt", "work/out.txt"),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ({"a": 1}, {"a": 1, "b": 0}),
        ({"a": 1, "b": 0}, {"a": 1}),
        ({"a": 1}, {"a": 2}),
        ("in.txt", "s3://b/run/work/out.txt"),
        ("file", "s3://b/run/work/folder/"),
        ("file", "s3://b/run/work/folder"),
    ],
)
def test_different(expected, ours):
    found = compare(expected, ours)
    assert found
    assert all(line.startswith("x") for line in found)


def test_a_difference_says_where():
    assert compare({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}) == ["x.a[1].b: 2 expected, not 3"]


def test_the_targets_name_is_not_compared_but_the_outputs_is():
    assert differences({"other.x": 1}, {"w.x": 1}, FILES) == []
    assert differences({"w.y": 1}, {"w.x": 1}, FILES) == ["y: no such output"]


def test_what_the_example_does_not_list_or_excludes_is_not_compared():
    assert differences({"w.x": 1}, {"w.x": 1, "w.more": 2}, FILES) == []
    assert differences({"w.x": 1, "w.y": 1}, {"w.x": 2, "w.y": 1}, FILES, excluded=["x"]) == []
    assert differences({"w.x": 1}, {"w.x": 2}, FILES, excluded=["w.x"]) == []
