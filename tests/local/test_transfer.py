"""Where local files go in the embedded S3, and what is sent."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.errors import AwsError, InputsError
from airflow_wdl_ecs.local.transfer import download, plan_uploads, upload


class Store:
    """An S3 client that keeps objects in a dict, and counts what is put."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []

    def put_object(self, Bucket: str, Key: str, Body: Any, **_: Any) -> None:  # noqa: N803
        self.objects[Key] = Body if isinstance(Body, bytes) else Body.read()
        self.puts.append(Key)

    def list_objects_v2(self, Bucket: str, Prefix: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        found = sorted(key for key in self.objects if key.startswith(Prefix))
        return {"Contents": [{"Key": key, "Size": len(self.objects[key])} for key in found]}

    def get_paginator(self, _: str) -> Any:
        store = self

        class Pages:
            def paginate(self, **arguments: Any) -> list[dict[str, Any]]:
                return [store.list_objects_v2(**arguments)]

        return Pages()

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        data = self.objects[Key]

        class Body(BytesIO):
            def iter_chunks(self, size: int) -> Any:
                return iter(lambda: self.read(size), b"")

        return {"Body": Body(data), "ContentLength": len(data)}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("a/x.bam", "a/x.bai", "b/x.bam", "d/inner/f", "d/g"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "empty").mkdir()
    return tmp_path


def uris(paths: list[Path]) -> dict[Path, str]:
    found, _ = plan_uploads(map(str, paths), "bucket")
    return {path: found[str(path)] for path in paths}


def test_files_side_by_side_stay_so_and_equal_names_stay_apart(files: Path) -> None:
    found = uris([files / "a/x.bam", files / "a/x.bai", files / "b/x.bam"])
    bam, bai, other = found.values()
    assert bam.rpartition("/")[0] == bai.rpartition("/")[0]
    assert bam != other
    assert other.endswith("/x.bam")
    assert bam.startswith("s3://bucket/uploads/")


def test_a_changed_file_goes_elsewhere(files: Path) -> None:
    path = files / "a/x.bam"
    before = uris([path])[path]
    assert uris([path])[path] == before
    os.utime(path, (1, 1))
    assert uris([path])[path] != before


def test_a_folder_goes_whole(files: Path) -> None:
    found, wanted = plan_uploads([str(files / "d"), str(files / "empty")], "bucket")
    assert found[str(files / "d")].endswith("/d/")
    assert sorted(each.key.partition("/d/")[2] for each in wanted if each.path) == ["g", "inner/f"]
    assert [each.key for each in wanted if each.path is None] == [
        found[str(files / "empty")].removeprefix("s3://bucket/")
    ]


def test_what_cannot_be_read_is_named_all_at_once(files: Path) -> None:
    with pytest.raises(InputsError) as raised:
        plan_uploads([str(files / "no"), str(files / "a/x.bam"), str(files / "nor")], "bucket")
    assert len(raised.value.problems) == 2


def test_what_is_there_is_not_sent_again(files: Path) -> None:
    store = Store()
    _, wanted = plan_uploads([str(files / "a/x.bam"), str(files / "d")], "bucket")
    assert upload(store, "bucket", wanted) == sum(len(name) for name in ("a/x.bam", "d/inner/f", "d/g"))
    assert len(store.puts) == 3
    assert upload(store, "bucket", wanted) == 0
    assert len(store.puts) == 3


def test_downloads_of_files_and_folders(tmp_path: Path) -> None:
    store = Store()
    store.objects = {"run/out.txt": b"text", "run/out.txt.gz": b"other", "run/dir/a": b"1", "run/dir/in/b": b"22"}
    targets = {
        "s3://bucket/run/out.txt": str(tmp_path / "out/x/out.txt"),
        "s3://bucket/run/dir": str(tmp_path / "out/dir"),
        "s3://bucket/run/dir/": str(tmp_path / "out/same"),
        "s3://bucket/run/none/": str(tmp_path / "out/none"),
    }
    assert download(store, targets) == 4 + 3 + 3
    assert (tmp_path / "out/x/out.txt").read_bytes() == b"text"
    assert (tmp_path / "out/dir/in/b").read_bytes() == b"22"
    assert (tmp_path / "out/same/a").read_bytes() == b"1"
    assert (tmp_path / "out/none").is_dir()
    assert not list((tmp_path / "out").rglob("*.partial"))
    with pytest.raises(AwsError, match="is not there"):
        download(store, {"s3://bucket/run/gone": str(tmp_path / "gone")})
