"""The call cache and files that come from elsewhere than S3, are not staged, or were deleted since; embedded AWS."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.clean import clean_run
from airflow_wdl_ecs.local.endpoint import Endpoint

from .test_cached_calls import CHAIN, COUNT, Cached

pytestmark = pytest.mark.local
_numbers = itertools.count()

FOLDERS = """version 1.2
task t {
  input { Directory d  File? f }
  command <<< ls ~{d} > names; cat ~{f} >> names; date +%s%N >>>
  output { Array[String] out = read_lines(stdout())  File names = "names" }
  requirements { container: "debian:12" }
}
"""

PASSED_ON = """version 1.1
task t {
  input { File f }
  command <<< date +%s%N >>>
  output { String out = read_string(stdout())  Array[Pair[Int, File]] same = [(1, f)] }
  runtime { docker: "debian:12" }
}
"""


@pytest.fixture
def world(embedded_aws: Any) -> Cached:
    found = Cached(embedded_aws)
    prefix = f"s3://{found.bucket}/call-cache-of-files-{next(_numbers)}"
    found.settings = replace(found.settings, call_cache_prefix=prefix)
    return found


@pytest.fixture
def refs(embedded_aws: Endpoint, world: Cached) -> Path:
    """A folder of fs-0a1b2c3d that is mounted; plain processes see it at its own path only."""
    folder = Path(embedded_aws.container_root).parent / "efs" / "fs-0a1b2c3d" / "refs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.fa").write_text("ACGT\n")
    (folder / "y.fa").write_text("TTTT\n")
    world.settings = replace(world.settings, mounts={str(folder): "efs://fs-0a1b2c3d/refs"})
    return folder


def test_a_file_on_a_shared_file_system_counts_by_its_path(world: Cached, refs: Path) -> None:
    first = world.begin(COUNT, {"f": f"{refs}/x.fa"}).out()
    assert world.said() == ["miss: no entry yet"]
    assert "could not be asked" not in world.log
    assert world.begin(COUNT, {"f": "efs://fs-0a1b2c3d/refs/x.fa"}).out() == first
    # Nobody here sees what is in it.
    (refs / "x.fa").write_text("ACGTACGT\n")
    assert world.begin(COUNT, {"f": f"{refs}/x.fa"}).out() == first
    assert len(world.started()) == 1
    assert world.begin(COUNT, {"f": f"{refs}/y.fa"}).out() != first
    assert world.said() == ["miss: input `f` changed"]


def test_the_same_path_on_another_file_system_is_another_file(world: Cached, refs: Path) -> None:
    given = {"f": f"{refs}/x.fa"}
    alone = world.begin(COUNT).out()
    first = world.begin(COUNT, given).out()
    world.settings = replace(world.settings, mounts={str(refs): f"host://{refs}"})
    assert world.begin(COUNT, given).out() != first
    assert world.said() == ["miss: a shared file system that the call names is mounted from elsewhere"]
    # A call that names nothing there does not mind.
    assert world.begin(COUNT).out() == alone
    # How it is mounted makes no difference to what is there.
    world.settings = replace(world.settings, mounts={str(refs): "efs://fs-0a1b2c3d/refs?tls=false"})
    assert world.begin(COUNT, given).out() == first


def test_a_mount_that_the_task_itself_names_counts_too(world: Cached, refs: Path) -> None:
    wdl = COUNT.replace("File? f", f'File? f = "{refs}/x.fa"')
    first = world.begin(wdl).out()
    assert world.begin(wdl).out() == first
    world.settings = replace(world.settings, mounts={str(refs): f"host://{refs}"})
    assert world.begin(wdl).out() != first


def test_a_folder_on_a_shared_file_system_beside_a_file_in_s3(world: Cached, refs: Path) -> None:
    given = {"d": f"{refs}/", "f": world.put("in/beside-a-mount.txt", "1")}
    first = world.begin(FOLDERS, given).out()
    assert world.begin(FOLDERS, given).out() == first
    world.put("in/beside-a-mount.txt", "2")
    world.begin(FOLDERS, given).out()
    assert world.said() == ["miss: input `f` changed"]


def test_outputs_on_a_shared_file_system_are_not_kept_and_the_log_says_why(world: Cached, refs: Path) -> None:
    given = {"f": f"{refs}/x.fa"}
    world.begin(PASSED_ON, given).out()
    assert f"the outputs are not kept: {refs}/x.fa is on a shared file system" in world.log
    assert world.cache_objects() == []
    world.begin(PASSED_ON, given).out()
    assert world.said() == ["miss: no entry yet"]


def test_a_file_that_is_not_staged_counts_by_its_contents_as_any_other(world: Cached) -> None:
    wdl = COUNT.replace("command <<<", "parameter_meta { f: { localization_optional: true } }\n command <<<")
    wdl = wdl.replace("cat ~{f}", "cat")
    first = world.begin(wdl, {"f": world.put("in/left/a/x", "12345")}).out()
    assert world.begin(wdl, {"f": world.put("in/left/b/x", "12345")}).out() == first
    assert world.begin(wdl, {"f": world.put("in/left/b/x", "54321")}).out() != first
    assert world.said() == ["miss: input `f` changed"]


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server of this machine: its address, and what it has."""
    pages: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = pages[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("size", [5, 17 * 1024 * 1024])
def test_a_file_of_the_web_counts_by_its_contents(world: Cached, web: tuple[str, dict[str, bytes]], size: int) -> None:
    address, pages = web
    pages["/d/x"] = b"1" * size
    world.settings = replace(world.settings, input_prefixes=(f"{address}/",))
    first = world.begin(COUNT, {"f": f"{address}/d/x"}).out()
    assert world.begin(COUNT, {"f": f"{address}/d/x"}).out() == first
    assert len(world.started()) == 1
    pages["/d/x"] = b"2" * size
    assert world.begin(COUNT, {"f": f"{address}/d/x"}).out() != first
    assert world.said() == ["miss: input `f` changed"]


def test_of_a_cleaned_run_what_is_kept_is_taken_and_what_is_gone_is_a_miss(world: Cached) -> None:
    given = {"f": world.put("in/cleaned.txt", "12345")}
    first = world.begin(CHAIN, given).through()
    assert first is not None
    layout = world.open().store.layout
    cleaned = clean_run(world.s3, layout, lambda *_: "success")
    assert [(group.name, group.files) for group in cleaned.groups] == [("after", 1), ("written by expressions", 1)]
    again = world.begin(CHAIN, given).through()
    assert again is not None
    # The workflow's own output was kept, and is taken; what the other call had made is not there any more.
    assert again["kept"] == first["kept"]
    taken, missed = world.said()
    assert taken.startswith(f"hit: the outputs are those of t of run dag/{layout.run_id}")
    assert missed == f"miss: output file {layout.attempt('after', (), 0)}work/again is gone"
    # A run may be cleaned that has taken another one's file: that one stays.
    clean_run(world.s3, world.open().store.layout, lambda *_: "success")
    assert world.open().store.exists(first["kept"])
