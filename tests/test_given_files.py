"""The input files of a run: which it may take, and the names under which it knows them; S3 is made up."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import InputsError
from airflow_wdl_ecs.given_files import taken
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .fake_aws import FakeS3

PLAN = compile_wdl(
    """version 1.2
workflow w {
  input { File? f  Array[File] more = []  Directory? d }
  output { File? o = f }
}
"""
)


def take(inputs: dict[str, Any], **settings: Any) -> tuple[dict[str, Any], list[str]]:
    s3 = FakeS3()
    for key in ("a/x", "a/y", "folder/x"):
        s3.put_object(Bucket="in", Key=key, Body=b"x")
    store = RunStore(s3, Layout("s3://b/wdl", "d", "r"))
    return taken(EcsSettings(workspace="s3://b/wdl", **settings), s3, store, PLAN, inputs)


def test_what_is_in_s3_stays_and_may_be_read() -> None:
    given = {"f": "s3://in/a/x", "more": ["s3://in/a/y", "s3://in/a/x"], "d": "s3://in/folder"}
    assert take(given) == (given, ["s3://in/a/x", "s3://in/a/y", "s3://in/folder/"])
    assert take({}) == ({}, [])


def test_what_is_on_a_shared_file_system_is_its_path_and_nobody_looks_for_it() -> None:
    mounts = {"/refs": "efs://fs-0a1b2c3d/genomes"}
    given = {"f": "efs://fs-0a1b2c3d/genomes/hg38.fa", "more": ["/refs/x"]}
    assert take(given, mounts=mounts) == ({"f": "/refs/hg38.fa", "more": ["/refs/x"]}, [])
    with pytest.raises(InputsError, match="on no file system that tasks see: efs://fs-99999999/x"):
        take({"f": "efs://fs-99999999/x"}, mounts=mounts)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            {"f": "s3://in/nothing", "more": ["s3://in/a/x", "s3://in/a"]},
            ["no such file or directory: s3://in/nothing"],
        ),
        ({"f": "/etc/passwd", "more": ["s3://in"]}, ["not an s3:// URI of a file: /etc/passwd", "file: s3://in"]),
        ({"d": "https://h/folder"}, ["a Directory cannot be fetched from the web: https://h/folder"]),
    ],
)
def test_every_file_that_cannot_be_had_is_named(inputs: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(InputsError) as caught:
        take(inputs)
    assert all(text in str(caught.value) for text in said)
    assert len(caught.value.problems) == len(said)


def test_only_what_the_deployment_allows_is_taken_before_anything_is_looked_for() -> None:
    allowed = {"input_prefixes": ("s3://in/a", "https://h/")}
    assert take({"f": "s3://in/a/x"}, **allowed)[1] == ["s3://in/a/x"]
    refused = {"f": "s3://in/folder/x", "more": ["s3://in/ab/x", "http://h/x", "s3://in/a/nothing"]}
    with pytest.raises(InputsError) as caught:
        take(refused, **allowed)
    assert [str(problem).rpartition(" ")[2] for problem in caught.value.problems] == [
        *("s3://in/folder/x", "s3://in/ab/x", "http://h/x")
    ]
