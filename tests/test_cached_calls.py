"""The call cache on the embedded ECS and S3: what is taken from it, what is not, and what is said about it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_wdl_ecs.errors import EvaluationError, InputsError
from airflow_wdl_ecs.report_reading import read_report
from airflow_wdl_ecs.run import begin_run, finish_run, open_run
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .test_lifecycle import World, task

pytestmark = pytest.mark.local
_numbers = itertools.count()

COUNT = task(
    'cat ~{f} /dev/null | wc -c; date +%s%N; echo "~{x}" > kept.txt',
    'Array[String] out = read_lines(stdout()) File kept = "kept.txt"',
)

CHAIN = """version 1.1
workflow w {
  input { File f  String x = "a" }
  call t { input: f = f, x = x }
  call after { input: lines = read_lines(t.kept), kept = t.kept }
  output { File kept = t.kept  String seen = after.out  Array[String] made = read_lines(after.again) }
}
task after {
  input { Array[String] lines  File kept }
  command <<< cat ~{kept} ~{write_lines([kept])} > again; echo ~{sep=',' lines} >>>
  output { String out = read_string(stdout())  File again = "again" }
  runtime { docker: "debian:12" }
}
""" + COUNT.replace("version 1.1", "")

SCATTER = """version 1.1
workflow w {
  input { Array[String] xs }
  scatter (x in xs) { call t { input: x = x } }
  output { Array[File] kept = t.kept }
}
""" + COUNT.replace("version 1.1", "")


class Cached(World):
    """Runs with a call cache of their own."""

    def __init__(self, endpoint: Any) -> None:
        super().__init__(endpoint)
        self.settings = replace(
            self.settings, call_cache="on", call_cache_prefix=f"s3://{self.bucket}/call-cache-{next(_numbers)}"
        )
        self.dag_id = "dag"

    def begin(
        self, wdl: str, inputs: dict[str, Any] | None = None, *, call_cache: str = "", dag: str = "dag"
    ) -> Cached:
        """Begin a run, the next one each time."""
        self.run_id, self.dag_id = f"cached run {next(_numbers)}", dag
        self.log.lines.clear()
        plan = compile_wdl(wdl)
        options = {"call-cache": call_cache} if call_cache else {}
        begin_run(self.settings, self.clients, plan, inputs or {}, dag_id=dag, run_id=self.run_id, options=options)
        return self

    def open(self) -> Any:
        return open_run(self.settings, self.clients, self.dag_id, self.run_id)

    def put(self, name: str, text: str) -> str:
        self.s3.put_object(Bucket=self.bucket, Key=name, Body=text.encode())
        return f"s3://{self.bucket}/{name}"

    def remove(self, uri: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=uri.split("/", 3)[3])

    def said(self) -> list[str]:
        """What became of each look into the cache."""
        lines = [line.partition("call cache: ")[2] for line in self.log.lines if "call cache: " in line]
        return [line for line in lines if line.startswith(("hit", "miss", "not used"))]

    def out(self, *args: Any, **kwargs: Any) -> Any:
        return self.done(*args, **kwargs).outputs[()]

    def through(self) -> Any:
        """Run both calls of `CHAIN`; the workflow's outputs."""
        for call in ("t", "after"):
            outcome = self.done(call)
            assert not outcome.failures, outcome.failures
        return finish_run(self.open())

    def cache_objects(self) -> list[str]:
        prefix = self.settings.call_cache_prefix.split("/", 3)[3]
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{prefix}/")
        return [item["Key"] for item in found.get("Contents", ())]


@pytest.fixture
def world(embedded_aws: Any) -> Cached:
    return Cached(embedded_aws)


def test_the_second_run_takes_the_outputs_of_the_first_and_starts_nothing(world: Cached) -> None:
    given = {"f": world.put("in/one.txt", "12345"), "x": "a"}
    first = world.begin(COUNT, given).out()
    assert world.said() == ["miss: no entry yet"]
    made_by = f"dag/{world.run_id}"
    assert world.begin(COUNT, given).out() == first
    folder = first["kept"].rpartition("work/")[0]
    hit_said = f"hit: the outputs are those of t of run {made_by}"
    assert world.said() == [f"{hit_said}; no ECS task is started, and everything is in {folder}"]
    assert len(world.started()) == 1
    (hit,) = world.attempts()
    assert (hit["arn"], hit["kind"], hit["exit_code"]) == ("", "succeeded", 0)
    assert (hit["cache"], hit["cached"]) == (hit_said, folder)
    # A host that comes later finds the hit in the ledger as any success.
    assert world.out() == first
    assert len(world.attempts()) == 1


def test_dags_share_it_and_it_goes_by_contents_not_by_place(world: Cached) -> None:
    first = world.begin(COUNT, {"f": world.put("in/a/same.txt", "12345")}).out()
    assert world.begin(COUNT, {"f": world.put("in/b/same.txt", "12345")}, dag="another").out() == first
    assert len(world.started()) == 1
    # A command sees a file's name.
    assert world.begin(COUNT, {"f": world.put("in/b/other.txt", "12345")}).out() != first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda wdl, given, world: (wdl, {"f": world.put("in/two.txt", "54321")}), "miss: input `f` changed"),
        (lambda wdl, given, world: (wdl, given | {"x": "b"}), "miss: input `x` changed"),
        (lambda wdl, given, world: (wdl.replace("wc -c", "wc -m"), given), "miss: the command changed"),
        (lambda wdl, given, world: (wdl.replace("File kept", "File  kept"), given), "miss: the task's source changed"),
        (
            lambda wdl, given, world: (wdl.replace("debian:12", "debian:13").replace("wc -c", "wc -m"), given),
            "miss: the command changed; the image changed: debian:13 instead of debian:12",
        ),
        (
            lambda wdl, given, world: (wdl, given | {"t.runtime.docker": "debian:13"}),
            "miss: the image changed: debian:13 instead of debian:12",
        ),
        (
            lambda wdl, given, world: (wdl, given | {"t.runtime.returnCodes": [0, 1]}),
            "miss: the CPU architecture, the exit codes of success or what the task reads of `task` changed",
        ),
    ],
)
def test_what_has_changed_is_said(world: Cached, change: Callable[..., Any], said: str) -> None:
    given = {"f": world.put("in/two.txt", "12345"), "x": "a"}
    world.begin(COUNT, given).out()
    wdl, changed = change(COUNT, given, world)
    world.begin(wdl, {"x": "a", **changed}).out()
    assert world.said() == [said]
    assert len(world.started()) == 2


def test_more_memory_is_no_reason_to_run_again(world: Cached) -> None:
    first = world.begin(COUNT, {}).out()
    assert world.begin(COUNT, {"t.runtime.memory": "4 GiB", "t.runtime.maxRetries": 3}).out() == first


def test_an_output_that_is_gone_or_changed_is_a_miss_and_its_entry_is_replaced(world: Cached) -> None:
    first = world.begin(COUNT).out()
    world.remove(first["kept"])
    second = world.begin(COUNT).out()
    assert world.said() == [f"miss: output file {first['kept']} is gone"]
    assert second["kept"] != first["kept"]
    assert world.begin(COUNT).out() == second
    world.put(second["kept"].split("/", 3)[3], "something else")
    world.begin(COUNT).out()
    assert world.said() == [f"miss: output file {second['kept']} has changed since"]
    assert len(world.started()) == 3


def test_an_entry_that_is_gone_or_broken_is_a_miss(world: Cached) -> None:
    world.begin(COUNT).out()
    (entry,) = [key for key in world.cache_objects() if "/entries/" in key]
    world.put(entry, '{"format": 1}')
    world.begin(COUNT).out()
    assert world.said() == ["miss: its entry cannot be read"]
    world.remove(f"s3://{world.bucket}/{entry}")
    world.begin(COUNT).out()
    assert world.said() == ["miss: its entry is no longer there"]


def test_what_comes_after_a_hit_reads_and_gets_its_files_as_any_others(world: Cached) -> None:
    given = {"f": world.put("in/three.txt", "12345")}
    first = world.begin(CHAIN, given).through()
    # The second call writes a file with container paths in it, which differ by run, and is known all the same.
    assert world.begin(CHAIN, given).through() == first
    assert [line.partition(":")[0] for line in world.said()] == ["hit", "hit"]
    # Only the first is taken, and the second reads and is given its files.
    changed = CHAIN.replace("sep=','", "sep=';'")
    again = world.begin(changed, given).through()
    assert again is not None
    assert first is not None
    assert again["kept"] == first["kept"]
    assert [line.partition(":")[0] for line in world.said()] == ["hit", "miss"]
    assert len(world.started()) == 3


def test_only_a_hit_lets_a_run_read_what_is_another_runs(world: Cached) -> None:
    kept = world.begin(COUNT).out()["kept"]
    reads = task("echo", f'String s = read_string("{kept}")').replace(
        "version 1.1", "version 1.1\nworkflow v { input { String u } call t output { String r = read_string(u) } }"
    )
    world.begin(reads.replace(f'read_string("{kept}")', "read_string(stdout())"), {"u": kept}).done("t")
    with pytest.raises(EvaluationError, match="may not read"):
        finish_run(world.open())


@pytest.mark.parametrize(
    ("wdl", "said"),
    [
        (COUNT.replace("command <<<", "meta { volatile: true }\n command <<<"), "`volatile: true` in its meta section"),
        (COUNT.replace('docker: "debian:12"', 'docker: "debian:12" volatile: true'), "`volatile: true`"),
        (
            COUNT.replace("version 1.1", "version 1.2")
            .replace("runtime {", "hints { cacheable: false }\n requirements {")
            .replace("docker:", "container:"),
            "`cacheable: false`",
        ),
        (
            COUNT.replace("version 1.1", "version 1.2")
            .replace("runtime {", "hints { volatile: true }\n requirements {")
            .replace("docker:", "container:"),
            "`volatile: true`",
        ),
    ],
)
def test_a_task_that_says_so_is_never_cached(world: Cached, wdl: str, said: str) -> None:
    world.begin(wdl).out()
    world.begin(wdl).out()
    assert world.said() == [f"not used: the task says {said}"]
    assert len(world.started()) == 2
    assert world.cache_objects() == []


def test_a_run_says_of_one_call_that_it_is_volatile(world: Cached) -> None:
    world.begin(COUNT).out()
    world.begin(COUNT, {"t.runtime.volatile": True}).out()
    assert world.said() == ["not used: the task says `volatile: true`"]


def test_what_was_cleared_runs_again_and_also_its_retries_do(world: Cached) -> None:
    first = world.begin(COUNT).out()
    second = world.out(try_number=2)
    assert second != first
    assert world.said()[-1] == "not used: the call was cleared, so that it runs again; its outputs are kept"
    assert len(world.started()) == 2
    # It has replaced what was kept.
    assert world.begin(COUNT).out() == second
    # A hit that is cleared runs as well, and is no hit in the tries after that.
    third = world.out(try_number=2)
    assert third not in (first, second)
    assert [attempt["superseded"] for attempt in world.attempts()] == [2, 0]
    key = f"{world.open().folder}calls/t/_/outputs.json"
    world.remove(key)
    fourth = asyncio.run(world.call(try_number=3, fresh=True)).outputs[()]
    assert fourth == third  # its result is there, and is adopted
    assert len(world.started()) == 3


def test_a_run_that_has_come_again_under_its_name_may_take_what_it_had_made(world: Cached) -> None:
    from airflow_wdl_ecs.ledger import supersede_run

    first = world.begin(COUNT).out()
    supersede_run(world.open().store)
    assert world.out() == first
    assert len(world.started()) == 1


def test_a_hit_whose_host_died_before_it_could_say_so_is_looked_for_again(world: Cached) -> None:
    first = world.begin(COUNT).out()
    assert world.begin(COUNT).out() == first
    world.remove(f"{world.open().folder}calls/t/_/outputs.json")
    assert world.out() == first
    assert len(world.started()) == 1


@pytest.mark.parametrize("mode", ["off", "refresh"])
def test_a_run_may_leave_it_alone_or_renew_it(world: Cached, mode: str) -> None:
    first = world.begin(COUNT).out()
    second = world.begin(COUNT, call_cache=mode).out()
    assert second != first
    assert world.said() == (["not used: the run refreshes it; its outputs are kept"] if mode == "refresh" else [])
    assert world.begin(COUNT).out() == (second if mode == "refresh" else first)


def test_a_run_may_ask_for_it_where_the_setting_is_off(world: Cached) -> None:
    world.settings = replace(world.settings, call_cache="off")
    first = world.begin(COUNT).out()
    assert world.cache_objects() == []
    second = world.begin(COUNT, call_cache="on").out()
    assert world.begin(COUNT, call_cache="on").out() == second != first
    assert world.begin(COUNT).out() not in (first, second)


def test_a_run_that_asks_for_something_else_is_refused(world: Cached) -> None:
    with pytest.raises(InputsError, match="call-cache is 'yes', not on, off or refresh"):
        world.begin(COUNT, call_cache="yes")


def test_without_it_s3_is_asked_for_nothing_more(world: Cached) -> None:
    asked: list[str] = []
    world.s3.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    world.settings = replace(world.settings, call_cache="off")
    world.begin(COUNT, {"f": world.put("in/four.txt", "1")})
    asked.clear()
    world.done()
    off = sorted(asked)
    world.begin(COUNT, {"f": f"s3://{world.bucket}/in/four.txt"}, call_cache="on")
    asked.clear()
    world.done()
    more = list(asked)
    for name in off:
        more.remove(name)
    # One look for the input before and one after; the entry; why there is none; the output; and two objects are kept.
    assert sorted(more) == ["GetObject"] * 2 + ["HeadObject"] * 3 + ["PutObject"] * 2
    world.begin(COUNT, {"f": f"s3://{world.bucket}/in/four.txt"}, call_cache="on")
    asked.clear()
    world.done()
    assert sum(name == "PutObject" for name in asked) == 2  # the ledger's


def test_an_input_that_changes_while_the_command_runs_is_not_kept_under_either_key(world: Cached) -> None:
    given = {"f": world.put("in/five.txt", "before")}

    def change(call: Callable[..., Any], **arguments: Any) -> Any:
        answer = call(**arguments)
        world.put("in/five.txt", "after it has started")
        return answer

    world.ecs.change["run_task"] = change
    world.begin(COUNT, given).out()
    assert "the outputs are not kept: an input, the image or another file" in world.log
    assert world.cache_objects() == []


def test_a_call_with_a_secret_is_never_cached(world: Cached) -> None:
    secret = (
        task("echo ~{x}")
        .replace("workflow", "")
        .replace("version 1.1", "version 1.1\nworkflow w { input { String password } call t { input: x = password } }")
    )
    world.begin(secret, {"password": "open sesame"}).out()
    assert world.said() == ["not used: the call is given a secret"]
    assert world.cache_objects() == []
    # Another call of such a run may be.
    world.begin(secret.replace("{ input: x = password }", ""), {"password": "open sesame"}).out()
    assert world.said() == ["miss: no entry yet"]


def test_what_the_task_reads_besides_its_inputs_counts(world: Cached) -> None:
    beside = world.put("in/beside.txt", "one")
    world.settings = replace(world.settings, readable_prefixes=(f"s3://{world.bucket}/in/",))
    wdl = task(f"echo ~{{read_string('{beside}')}}; date +%s%N").replace("'", '"')
    first = world.begin(wdl).out()
    assert world.begin(wdl).out() == first
    world.put("in/beside.txt", "two")
    assert world.begin(wdl).out() != first
    assert world.said() == ["miss: a file changed that the task reads besides its inputs"]


def test_directories_go_by_what_is_in_them_and_their_files_are_checked(world: Cached) -> None:
    wdl = """version 1.2
    task t {
      input { Directory d }
      command <<< mkdir made; cp ~{d}/* made/; date +%s%N > made/when >>>
      output { Directory made = "made" }
      requirements { container: "debian:12" }
    }
    """
    for place in ("a", "b"):
        world.put(f"dirs/{place}/d/one", "1")
        world.put(f"dirs/{place}/d/two", "2")
    folder = f"s3://{world.bucket}/dirs/{{}}/d/"
    first = world.begin(wdl, {"d": folder.format("a")}).out()
    assert world.begin(wdl, {"d": folder.format("b")}).out() == first
    world.remove(f"{first['made']}/when")
    world.begin(wdl, {"d": folder.format("b")}).out()
    assert world.said() == [f"miss: output file {first['made']}/when is gone"]
    world.put("dirs/b/d/three", "3")
    world.begin(wdl, {"d": folder.format("b")}).out()
    assert world.said() == ["miss: input `d` changed"]


def test_files_side_by_side_differ_from_files_apart(world: Cached) -> None:
    wdl = COUNT.replace("File? f", "File? f File? index")
    for place in ("near", "far"):
        world.put(f"{place}/reads.bam", "bam")
        world.put(f"{place}/reads.bai", "bai")
    near, far = (f"s3://{world.bucket}/{place}/reads" for place in ("near", "far"))
    first = world.begin(wdl, {"f": f"{near}.bam", "index": f"{near}.bai"}).out()
    assert world.begin(wdl, {"index": f"{far}.bai", "f": f"{far}.bam"}).out() == first
    assert world.begin(wdl, {"f": f"{near}.bam", "index": f"{far}.bai"}).out() != first


def test_shards_are_taken_one_by_one_and_the_report_tells_of_each(world: Cached) -> None:
    world.begin(SCATTER, {"xs": ["a", "b", "c"]}).done("t", [()])
    world.begin(SCATTER, {"xs": ["a", "B", "c"]}).done("t", [()])
    assert sorted(line.partition(":")[0] for line in world.said()) == ["hit", "hit", "miss"]
    assert len(world.started()) == 4
    report = read_report(world.open().store)
    assert report is not None
    (call,) = report.calls
    assert (call.state, call.counts, call.attempts, call.cached) == ("succeeded", {"succeeded": 3}, 1, 2)
    by_key = {shard.key: shard.cache for shard in call.shards}
    assert by_key["1"] == "miss: input `x` changed"
    assert by_key["0"].startswith("hit: the outputs are those of t of run dag/")
    assert len(finish_run(world.open())["kept"]) == 3


def test_an_image_known_by_its_tag_alone_is_not_cached_where_the_deployment_says_so(world: Cached) -> None:
    world.settings = replace(world.settings, call_cache_tags=False)
    world.begin(COUNT).out()
    why = "only those of tags in Amazon ECR are looked up"
    assert world.said() == [
        f"not used: the digest of image debian:12 is not known ({why}), and call_cache_tags is false"
    ]
    pinned = COUNT.replace("debian:12", f"debian@sha256:{'0' * 64}")
    first = world.begin(pinned).out()
    assert world.begin(pinned).out() == first


def test_a_cache_that_cannot_be_read_or_written_fails_no_call(world: Cached) -> None:
    world.settings = replace(world.settings, call_cache_prefix="s3://no-such-bucket/cache")
    world.begin(COUNT).out()
    assert "call cache: it could not be asked" in world.log
    assert "the outputs are not kept" in world.log


def test_what_is_kept_refers_to_the_files_and_holds_no_input(world: Cached) -> None:
    given = {"f": world.put("in/six.txt", "12345"), "x": "not to be found in the cache"}
    wdl = COUNT.replace('echo "~{x}" > kept', "echo > kept")
    out = world.begin(wdl, given).out()
    texts = {
        key: world.s3.get_object(Bucket=world.bucket, Key=key)["Body"].read().decode() for key in world.cache_objects()
    }
    (entry,) = [json.loads(text) for key, text in texts.items() if "/entries/" in key]
    assert entry["outputs"] == out
    (file,) = entry["files"]
    head = world.s3.head_object(Bucket=world.bucket, Key=out["kept"].split("/", 3)[3])
    assert file == {"uri": out["kept"], "size": head["ContentLength"], "etag": head["ETag"].strip('"')}
    assert not any("not to be found" in text for text in texts.values())
