"""The call cache on the embedded ECS and S3: what looks like a hit and is none, what is not kept, and who is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_wdl_ecs.ecs import image_digests
from airflow_wdl_ecs.ledger import Ledger
from airflow_wdl_ecs.report_reading import read_report
from airflow_wdl_ecs.shard import ShardRun

from .fake_aws import FakeEcs, refusal
from .test_cached_calls import COUNT, Cached
from .test_lifecycle import task, until

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


def test_a_result_of_an_attempt_that_nobody_recorded_is_not_kept_under_todays_key(world: Cached) -> None:
    given = {"f": world.put("in/adopted.txt", "v1")}
    wdl = task("cat ~{f}")
    assert world.begin(wdl, given).out() == {"out": "v1"}
    unrecorded(world)
    world.put("in/adopted.txt", "v2")
    assert world.out() == {"out": "v1"}
    assert world.attempts()[0]["cache_key"] == ""
    assert world.cache_objects() == []
    assert "the outputs will not be kept: an earlier host may have started" in world.log
    assert world.begin(wdl, given).out() == {"out": "v2"}


def test_nor_is_that_of_a_task_that_ecs_gives_again_for_its_token(world: Cached, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    given = {"f": world.put("in/running.txt", "v1")}
    world.begin(task(f"cat ~{{f}}; until test -e {ready}; do sleep 0.1; done"), given)
    ledger = Ledger(world.open().store, "t", ())

    async def leave() -> None:
        host = asyncio.ensure_future(world.call())
        await until(ledger.attempts)
        host.cancel()
        await asyncio.gather(host, return_exceptions=True)

    asyncio.run(leave())
    arn = ledger.attempts()[0].arn
    unrecorded(world)
    world.put("in/running.txt", "v2")

    async def go_on() -> None:
        host = asyncio.ensure_future(world.call())
        await until(ledger.attempts)
        ready.touch()
        await host

    asyncio.run(go_on())
    (taken,) = world.attempts()
    assert (taken["arn"], taken["kind"], taken["cache_key"]) == (arn, "succeeded", "")
    assert world.cache_objects() == []


def test_files_that_the_run_may_not_take_are_no_hit(world: Cached) -> None:
    here, there = world.put("A/x", "same"), world.put("B/x", "same")
    world.settings = replace(world.settings, input_prefixes=(f"s3://{world.bucket}/A/",))
    world.begin(PASSED_ON, {"f": here}).done("p")
    world.settings = replace(world.settings, input_prefixes=(f"s3://{world.bucket}/B/",))
    world.begin(PASSED_ON, {"f": there}).done("p")
    assert world.said() == [f"miss: its output {here} is where this run may take no files from (input_prefixes)"]
    outcome = world.done("q")
    assert (outcome.outputs, outcome.failures) == ({(): {"s": "same"}}, {})


def test_a_retry_after_the_hosts_restart_keeps_its_outputs(
    world: Cached, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    world.begin(task(f"test -e {ready} || exit 3; date +%s%N", runtime="maxRetries: 1"))

    def die(_: ShardRun) -> bool:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(ShardRun, "_again", die)
        with pytest.raises(asyncio.CancelledError):
            world.done()
    (failed,) = world.attempts()
    assert (failed["kind"], bool(failed["cache_key"])) == ("command_failed", True)
    ready.touch()
    out = world.out()
    again = world.attempts()[1]
    assert (again["cache"], again["cache_key"]) == (failed["cache"], failed["cache_key"])
    assert world.begin(task(f"test -e {ready} || exit 3; date +%s%N", runtime="maxRetries: 1")).out() == out


def test_what_a_workflow_wrote_of_a_secret_is_not_cached(world: Cached) -> None:
    wdl = """version 1.1
    workflow w {
      input { String password }
      call t { input: f = write_lines([password]) }
    }
    task t { input { File f } command <<< cat ~{f} > o >>> output { File o = "o" } runtime { docker: "debian:12" } }
    """
    world.begin(wdl, {"password": "open sesame"}).out()
    why = "the call is given a file that the workflow wrote, in which there may be a secret"
    assert world.said() == [f"not used: {why}"]
    assert world.cache_objects() == []
    # Where nothing is secret, what a workflow writes is an input like any other.
    open_to_all = wdl.replace("password", "greeting")
    first = world.begin(open_to_all, {"greeting": "hello"}).out()
    assert world.begin(open_to_all, {"greeting": "hello"}).out() == first


def test_a_digest_that_becomes_known_by_the_first_pull_is_told_as_what_it_is(
    world: Cached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_digests, "GOOD_FOR", 0.0)
    answer = {"imageDetails": [{"imageDigest": f"sha256:{'a' * 64}"}]}
    ecr = FakeEcs(describe_images=[refusal("ImageNotFoundException"), answer, answer, answer])
    ecr.meta = SimpleNamespace(region_name="eu-west-1")  # type: ignore[attr-defined]
    of_world = world.clients
    world.clients = lambda service: ecr if service == "ecr" else of_world(service)  # type: ignore[method-assign]
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/hub/debian:12"
    world.begin(COUNT.replace("debian:12", image)).out()
    assert f"the outputs are not kept: the digest of image {image} was not known before it was pulled" in world.log
    assert "has changed while it ran" not in world.log
    assert world.cache_objects() == []
    world.begin(COUNT.replace("debian:12", image)).out()
    assert len(world.cache_objects()) == 2


def test_a_report_tells_of_a_task_that_says_it_is_volatile_in_its_meta_section(world: Cached) -> None:
    world.begin(COUNT.replace("command <<<", "meta { volatile: true }\n command <<<")).out()
    report = read_report(world.open().store)
    assert report is not None
    told = [shard.cache for call in report.calls for shard in call.shards]
    assert told == world.said() == ["not used: the task says `volatile: true` in its meta section"]
