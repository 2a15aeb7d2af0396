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
