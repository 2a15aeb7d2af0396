"""What a run may read because a call of it has taken outputs from others."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from airflow_wdl_ecs.granted import Granted, granted_to

FILE, FOLDER = "s3://b/runs/d/r/calls/c/0/0/work/a.bam", "s3://b/runs/d/r/calls/c/1/0/work/out/"


@pytest.mark.parametrize(
    ("uri", "covered"),
    [
        (FILE, True),
        (f"{FILE}/", False),
        (f"{FILE}.bai", False),
        (FILE.rpartition("/")[0], False),
        (FOLDER, True),
        (FOLDER.rstrip("/"), True),
        (f"{FOLDER}deep/x", True),
        (f"{FOLDER}deep/", True),
        (f"{FOLDER.rstrip('/')}side/x", False),
        ("s3://b/", False),
        ("s3://b/x", False),
        ("no URI", False),
    ],
)
def test_a_file_is_granted_itself_and_a_folder_with_all_that_is_in_it(uri: str, covered: bool) -> None:
    granted = Granted()
    granted.add([FILE, FOLDER])
    granted.add([])
    granted.add([FILE])
    assert granted.covers(uri) is covered


def test_all_that_have_a_run_open_share_what_it_was_granted_and_others_do_not() -> None:
    first = granted_to("s3://b/runs/d/r/")
    first.add([FILE])
    assert granted_to("s3://b/runs/d/r/").covers(FILE)
    assert not granted_to("s3://b/runs/d/other/").covers(FILE)
    del first
    gc.collect()
    assert not granted_to("s3://b/runs/d/r/").covers(FILE)


class Unlooked(set[str]):
    """A set that may be asked for what is in it, and not be gone through."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("each of ten thousand hits would look at those of all others")


def test_a_wide_scatter_of_hits_takes_no_more_time_for_each_of_them() -> None:
    granted = Granted()
    granted._files, granted._folders = Unlooked(), Unlooked()
    places = [f"s3://b/runs/d/r/calls/c/{shard}/0/work/" for shard in range(3)]
    for place in places:
        granted.add([f"{place}a.bam", f"{place}out/"])
        assert granted.covers(f"{place}out/x")
    assert granted.covers(f"{places[0]}a.bam")
