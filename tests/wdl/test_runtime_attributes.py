"""Runtime attributes: merging, images, and what the ``task`` variable says of them."""

from __future__ import annotations

import pytest

from airflow_wdl_ecs.errors import EvaluationError
from airflow_wdl_ecs.wdl.runtime_attributes import byte_size, images, is_overridden, merged, task_variable

GIB = 2**30


def test_the_defaults_of_the_specification():
    assert task_variable({}) == {
        "container": None,
        "cpu": 1.0,
        "memory": 2 * GIB,
        "gpu": [],
        "fpga": [],
        "disks": {"/": GIB},
        "end_time": None,
    }


@pytest.mark.parametrize(
    ("disks", "expected"),
    [
        (5, {"/": 5 * GIB}),
        ("5", {"/": 5 * GIB}),
        ("5 GB", {"/": 5 * 10**9}),
        ("/mnt/x 10", {"/mnt/x": 10 * GIB}),
        ("/mnt/x 10 MiB", {"/mnt/x": 10 * 2**20}),
        (["2", "/mnt/outputs 4 GiB", "/mnt/tmp 1 GiB"], {"/": 2 * GIB, "/mnt/outputs": 4 * GIB, "/mnt/tmp": GIB}),
        ("local-disk 100 SSD", {"/": 100 * GIB}),
        ("/mnt/x 10 HDD", {"/mnt/x": 10 * GIB}),
    ],
)
def test_disks(disks, expected):
    assert task_variable({"disks": disks})["disks"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2 GiB", 2 * GIB), ("1.5GB", 15 * 10**8), (1024, 1024), ("2000", 2000), (" 4 G ", 4 * 10**9), ("8gib", 8 * GIB)],
)
def test_amounts(value, expected):
    assert byte_size(value) == expected


@pytest.mark.parametrize("value", ["", "GB", "2 apples", "-1 GB", "1 2 GB"])
def test_what_is_no_amount(value):
    with pytest.raises(EvaluationError, match="storage"):
        byte_size(value)


def test_gpus():
    assert task_variable({"gpu": True})["gpu"] == ["gpu"]
    assert task_variable({"gpu": True, "gpuCount": 2})["gpu"] == ["gpu", "gpu"]
    assert task_variable({"gpu": False})["gpu"] == []
    assert merged({"gpu": True}, {"gpu": True}, {}) == {"gpu": True}


def test_the_later_wins():
    assert merged({"a": 1, "b": 1, "c": 1}, {"b": 2, "c": 2}, {"c": 3}) == {"a": 1, "b": 2, "c": 3}


def test_an_override_counts_under_either_name():
    assert is_overridden("docker", {"container": "x"})
    assert is_overridden("max_retries", {"maxRetries": 1})
    assert not is_overridden("memory", {"container": "x"})


def test_an_image_is_named_by_container_or_docker():
    assert images({"docker": "a", "container": "b"}) == ("b",)
    assert images({"docker": ["a", "*", "docker://b"]}) == ("a", "b")
    assert images({}) == ()
