"""The call cache on the embedded ECS and S3: what looks like a hit and is none, what is not kept, and who is told."""

from __future__ import annotations

from typing import Any

import pytest

from .test_cached_calls import Cached

pytestmark = pytest.mark.local

MAP = """version 1.1
task t {
  input { Map[String, String] m }
  command <<< cut -f1 ~{write_map(m)} | tr '\\n' ' ' >>>
  output { String out = read_string(stdout())  Array[String] k = keys(m) }
  runtime { docker: "debian:12" }
}
"""

PASSED_ON = """version 1.1
workflow w { input { File f } call p { input: f = f } call q { input: f = p.g } }
task p { input { File f } command <<< true >>> output { File g = f } runtime { docker: "debian:12" } }
task q {
  input { File f }
  command <<< cat ~{f} >>>
  output { String s = read_string(stdout()) }
  runtime { docker: "debian:12" }
}
"""


@pytest.fixture
def world(embedded_aws: Any) -> Cached:
    return Cached(embedded_aws)


@pytest.mark.parametrize("call_cache", ["on", "off"])
def test_a_map_has_the_order_in_which_it_was_given(world: Cached, call_cache: str) -> None:
    first = world.begin(MAP, {"m": {"y": "1", "x": "2"}}, call_cache=call_cache).out()
    assert (first["out"].split(), first["k"]) == (["y", "x"], ["y", "x"])
    second = world.begin(MAP, {"m": {"x": "2", "y": "1"}}, call_cache=call_cache).out()
    assert (second["out"].split(), second["k"]) == (["x", "y"], ["x", "y"])
    assert world.said() == (["miss: input `m` changed"] if call_cache == "on" else [])


def test_a_map_that_comes_in_another_order_is_another_input_to_a_run_that_begins_again(world: Cached) -> None:
    world.begin(MAP, {"m": {"y": "1", "x": "2"}}, call_cache="off").out()
    run_id = world.run_id
    world.begin(MAP, {"m": {"x": "2", "y": "1"}}, call_cache="off")
    other = world.open().store.get_json(world.open().store.layout.named("run.json"))["inputs"]
    world.run_id = run_id
    assert world.open().store.get_json(world.open().store.layout.named("run.json"))["inputs"] != other


def test_who_reads_the_whole_of_task_reads_what_differs_between_runs(world: Cached) -> None:
    wdl = """version 1.2
    task t {
      command <<< cat ~{write_json(task)} >>>
      output { String out = read_string(stdout()) }
      requirements { container: "debian:12"  memory: "1 GiB" }
    }
    """
    world.begin(wdl).out()
    second = world.begin(wdl, {"t.runtime.memory": "2 GiB"}).out()
    assert world.run_id in second["out"]
    assert str(2 * 1024**3) in second["out"]
    assert world.said()[0].startswith("miss: the CPU architecture")


def unrecorded(world: Cached) -> None:
    """As if the host had died after RunTask, before it recorded the attempt."""
    for name in ("attempts.json", "outputs.json"):
        world.remove(f"{world.open().folder}calls/t/_/{name}")
    for key in world.cache_objects():
        world.remove(f"s3://{world.bucket}/{key}")
