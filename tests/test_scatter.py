"""How an outermost scatter is divided among mapped task instances."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_wdl_ecs.errors import AuthorError, EvaluationError
from airflow_wdl_ecs.scatter import WIDEST, chunk_size, distinct, divide_scatter, label_of, map_index_prefixes


class Store:
    def __init__(self):
        self.divisions = {}

    def write_division(self, section, division):
        self.divisions[section] = division

    def read_division(self, section):
        return self.divisions.get(section)


def run_of(count):
    evaluation = SimpleNamespace(
        shard_count=lambda section, outer: count, shard_label=lambda section, shard: f"item {shard[0]}"
    )
    return SimpleNamespace(
        evaluation=evaluation,
        store=Store(),
        folder="s3://b/r/",
        check_width=lambda what, shards: None,
        secrets=("m 7",),
    )


@pytest.mark.parametrize(
    ("shards", "longest", "size"),
    [
        (0, 1024, 1),
        (1, 1024, 1),
        (WIDEST, 1024, 1),
        (WIDEST, WIDEST - 1, 2),
        (WIDEST + 1, 1024, 3),
        (5000, 1024, 20),
        (100_000, 1024, 400),
        (100, 10, 10),
        (101, 10, 11),
    ],
)
def test_no_more_instances_than_airflow_maps(shards, longest, size):
    assert chunk_size(shards, longest) == size


def test_few_shards_have_an_instance_each_with_its_own_label():
    run = run_of(3)
    assert divide_scatter(run, "scatter_x", longest=1024) == ["item 0", "item 1", "item 2"]
    assert [map_index_prefixes(run, "scatter_x", index) for index in range(3)] == [[(0,)], [(1,)], [(2,)]]


def test_the_labels_of_shards_are_kept_as_a_person_may_see_them():
    run = run_of(8)
    run.evaluation.shard_label = lambda section, shard: "m 7\x1b" if shard[0] == 7 else "same"
    divide_scatter(run, "scatter_x", longest=1024)
    assert run.store.divisions["scatter_x"]["labels"] == ["same"] * 7 + ["***\\x1b"]
    divide_scatter(run, "scatter_x", longest=4)
    assert run.store.divisions["scatter_x"]["labels"] == []


def test_many_shards_are_divided_without_losing_one():
    run = run_of(25)
    labels = divide_scatter(run, "scatter_x", longest=10)
    assert labels[0] == "0-2"
    assert labels[-1] == "24"
    shards = [shard for index in range(len(labels)) for shard in map_index_prefixes(run, "scatter_x", index)]
    assert shards == [(index,) for index in range(25)]


@pytest.mark.parametrize("count", [0, None], ids=["empty", "a false condition around it"])
def test_a_scatter_of_nothing_has_no_instances(count):
    assert divide_scatter(run_of(count), "scatter_x", longest=1024) == []


def test_the_division_does_not_change_while_a_run_is_under_way():
    run = run_of(25)
    divide_scatter(run, "scatter_x", longest=10)
    run.evaluation.shard_count = None
    assert map_index_prefixes(run, "scatter_x", 1) == [(3,), (4,), (5,)]


def test_an_instance_whose_scatter_has_not_run_says_what_to_do():
    with pytest.raises(AuthorError, match=r"clear the scatter's '\.shards' task"):
        map_index_prefixes(run_of(3), "scatter_x", 0)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (["NA1", "NA2"], ["NA1", "NA2"]),
        (["a.bam", "b.bam", "a.bam"], ["0: a.bam", "b.bam", "2: a.bam"]),
        (["", "x", ""], ["0:", "x", "2:"]),
        (['{"a": 1}', "[]"], ['0: {"a": 1}', "1: []"]),
        (["1: x", "x", "x"], ["0: 1: x", "1: x", "2: x"]),
        (["a\x1b[31mb\u202ec\x00"], ["a\\x1b[31mb\\u202ec\\x00"]),
        (['o\'brien "x" {{ y }}'], ['o\'brien "x" {{ y }}']),
        ([], []),
    ],
)
def test_labels_tell_shards_apart_and_play_no_tricks(labels, shown):
    assert distinct(labels) == shown


def test_an_instance_knows_the_label_of_its_shards():
    run = run_of(25)
    assert label_of(run, "scatter_x", [(3,)]) == "item 3"
    assert label_of(run, "scatter_x", [(7,)]) == "ite***", "a secret"
    assert label_of(run, "scatter_x", [(3,), (4,), (5,)]) == "3-5"
    assert label_of(run, "scatter_x", []) == ""


def test_a_label_that_cannot_be_evaluated_is_empty():
    run = run_of(3)

    def broken(section, shard):
        raise EvaluationError("division by zero")

    run.evaluation.shard_label = broken
    assert label_of(run, "scatter_x", [(0,)]) == ""
