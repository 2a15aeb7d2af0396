"""What plain processes leave at the container root."""

from __future__ import annotations

import time
from pathlib import Path

from airflow_wdl_ecs.local.plain import Plain, empty_folder


def wait_until_alone(root: Path) -> None:
    deadline = time.monotonic() + 5
    while list(root.parent.iterdir()) != [root]:
        assert time.monotonic() < deadline, list(root.parent.iterdir())
        time.sleep(0.01)


def test_the_root_is_emptied_at_once_and_stays(tmp_path: Path) -> None:
    root = tmp_path / "c"
    (root / "attempt" / "work").mkdir(parents=True)
    (root / "attempt" / "work" / "f").write_text("x")
    empty_folder(root)
    assert list(root.iterdir()) == []
    wait_until_alone(root)


def test_an_empty_or_missing_root_is_left_alone(tmp_path: Path) -> None:
    empty_folder(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_what_a_crashed_server_had_moved_aside_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "c"
    root.mkdir()
    (tmp_path / ".trash-c-1" / "d").mkdir(parents=True)
    Plain(root).sweep()
    assert list(tmp_path.iterdir()) == [root]
