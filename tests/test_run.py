"""How a run begins, is found again and ends; S3 is a dictionary."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from airflow_wdl_ecs.clean import clean_finished
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import AuthorError, EvaluationError, InputsError, SettingsError
from airflow_wdl_ecs.ledger import Ledger, Success
from airflow_wdl_ecs.run import begin_run, finish_run, open_run
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .ecs.test_settings import COMPLETE
from .fake_aws import FakeS3

WORKFLOW = """version 1.2
workflow w {
  input { Array[File] reads  File panel = "s3://panels/p.bed"  Directory? ref  Int n = 2 }
  Int twice = n * 2
  call t { input: n = twice }
  output { Int total = t.y + twice  String first = read_string(reads[0]) }
}
task t { input { Int n } command <<< >>> output { Int y = n } runtime { docker: "x" } }
"""


@pytest.fixture
def s3() -> FakeS3:
    found = FakeS3()
    for key in ("a.fq", "b.fq", "ref/x/y"):
        found.put_object(Bucket="in", Key=key, Body=b"ACGT")
    return found


@pytest.fixture
def clients(s3):
    ecs = SimpleNamespace(
        meta=SimpleNamespace(region_name="eu-west-1", endpoint_url="https://ecs.eu-west-1.amazonaws.com")
    )
    return {"s3": s3, "ecs": ecs}.__getitem__


@pytest.fixture(scope="module")
def plan():
    return compile_wdl(WORKFLOW)


def test_a_run_is_found_again_as_it_began(s3, clients, plan):
    inputs = {"w.reads": ["s3://in/a.fq", "s3://in/b.fq"], "ref": "s3://in/ref"}
    begun = begin_run(COMPLETE, clients, plan, inputs, dag_id="d", run_id="r")
    found = open_run(COMPLETE, clients, "d", "r")
    assert found.folder == begun.folder == "s3://b/wdl/runs/d/r/"
    assert found.plan == plan
    assert found.inputs == begun.inputs
    assert found.inputs["reads"] == ["s3://in/a.fq", "s3://in/b.fq"]
    assert found.settings.region == "eu-west-1"
    about = json.loads(s3.objects["b", "wdl/runs/d/r/run.json"])
    assert about["plan"] == plan.digest
    assert set(about["readable"]) == {"s3://in/a.fq", "s3://in/b.fq", "s3://in/ref/", "s3://panels/p.bed"}
    assert found.store.size("s3://in/ref/") == 4
    with pytest.raises(EvaluationError, match="may not read"):
        found.store.read("s3://in/other")


def test_a_run_has_its_own_tags(s3, clients, plan):
    settings = replace(COMPLETE, tags={f"k{number}": "" for number in range(45)})

    def begin(**tags):
        given = {"dag_id": "d", "run_id": "tagged", "options": {"wdl-tags": tags}}
        begin_run(settings, clients, plan, {"reads": ["s3://in/a.fq"]}, **given)

    begin(project="p17", k0="of-the-run")
    assert open_run(settings, clients, "d", "tagged").tags == {"project": "p17", "k0": "of-the-run"}
    with pytest.raises(InputsError, match="there are 47 tags, and a task takes 46"):
        begin(project="p17", team="a")
    with pytest.raises(InputsError, match="tag 'project': its value has '&'"):
        begin(project="R&D")
    about = json.loads(s3.objects["b", "wdl/runs/d/tagged/run.json"])
    assert about["options"] == {"wdl-tags": {"project": "p17", "k0": "of-the-run"}}
    del about["options"]
    s3.put_object(Bucket="b", Key="wdl/runs/d/old/run.json", Body=json.dumps(about).encode())
    s3.objects["b", "wdl/runs/d/old/inputs.json"] = s3.objects["b", "wdl/runs/d/tagged/inputs.json"]
    assert open_run(settings, clients, "d", "old").tags == {}, "a run of an earlier version"


def test_what_is_wrong_with_inputs_and_options_is_told_at_once(s3, clients, plan):
    inputs = {"reads": 1, "call-cahce": "on", "x": 1}
    options = {"call-cache": "yes", "publish-to": "lab", "wdl-tags": {"a": "&"}}
    with pytest.raises(InputsError) as raised:
        begin_run(COMPLETE, clients, plan, inputs, dag_id="d", run_id="wrong", options=options)
    assert [problem.message.split(":")[0].split(",")[0] for problem in raised.value.problems] == [
        "call-cache is 'yes'",
        "publish-to is 'lab'",
        "tag 'a'",
        "unknown option call-cahce; did you mean call-cache?",
        "input reads",
        "unknown input x",
    ]
    assert ("b", "wdl/runs/d/wrong/run.json") not in s3.objects
    given = {"reads": ["s3://in/a.fq"], "call-cahce": "on"}
    with pytest.raises(InputsError, match="unknown option call-cahce"):
        begin_run(COMPLETE, clients, plan, given, dag_id="d", run_id="wrong")


def test_a_run_that_is_found_again_has_its_options(s3, clients, plan):
    options = {"call-cache": "refresh", "publish-to": "s3://lab/", "publish-names": {"*": "{name}"}}
    given = {"dag_id": "d", "run_id": "options", "options": options}
    begun = begin_run(COMPLETE, clients, plan, {"reads": ["s3://in/a.fq"]}, **given)
    found = open_run(COMPLETE, clients, "d", "options")
    assert found.options == begun.options
    assert (found.call_cache_mode, found.tags) == ("refresh", {})
    assert found.options.publish_settings == {"publish_to": "s3://lab/", "publish_names": {"*": "{name}"}}


def test_the_plan_and_the_inputs_are_read_once_per_process(s3, clients, plan):
    begin_run(COMPLETE, clients, plan, {"reads": ["s3://in/a.fq"]}, dag_id="d", run_id="once")
    open_run(COMPLETE, clients, "d", "once")
    s3.calls.clear()
    open_run(COMPLETE, clients, "d", "once")
    assert s3.calls == [("get", "wdl/runs/d/once/run.json")]


def test_a_run_that_begins_again_as_another_one_says_so_first(s3, clients, plan):
    told = []

    def begin(plan, n):
        inputs = {"reads": ["s3://in/a.fq"], "n": n}
        begin_run(
            COMPLETE, clients, plan, inputs, dag_id="d", run_id="r", on_change=lambda store: told.append(stored())
        )

    def stored():
        about = json.loads(s3.objects["b", "wdl/runs/d/r/run.json"])
        return about["plan"], about["inputs"]

    begin(plan, 1)
    begin(plan, 1)
    assert told == []
    first = stored()
    begin(plan, 2)
    second = stored()
    begin(compile_wdl(WORKFLOW.replace("y = n", "y = n + 1")), 2)
    assert told == [first, second]


def test_runs_with_a_scope_of_their_own_do_not_meet(clients, plan):
    inputs = {"reads": ["s3://in/a.fq"]}
    one = begin_run(COMPLETE, clients, plan, {**inputs, "n": 3}, dag_id="d", run_id="r", scope="task one")
    begin_run(COMPLETE, clients, plan, {**inputs, "n": 4}, dag_id="d", run_id="r", scope="task two")
    assert one.folder == "s3://b/wdl/runs/d/r/tasks/task=20one/"
    assert open_run(COMPLETE, clients, "d", "r", scope="task one").inputs["n"] == 3
    assert open_run(COMPLETE, clients, "d", "r", scope="task two").inputs["n"] == 4


def test_all_files_that_are_not_there_are_named_at_once(s3, clients, plan):
    inputs = {"reads": ["s3://in/a.fq", "s3://in/no", "s3://in/neither"], "ref": "s3://in/re"}
    before = dict(s3.objects)
    with pytest.raises(InputsError) as caught:
        begin_run(COMPLETE, clients, plan, inputs, dag_id="d", run_id="r")
    assert [problem.message.split()[-1] for problem in caught.value.problems] == [
        "s3://in/neither",
        "s3://in/no",
        "s3://in/re",
    ]
    assert s3.objects == before


def test_a_file_that_is_not_in_s3_is_refused(clients, plan):
    with pytest.raises(InputsError, match=r"not an s3:// URI of a file: /data/a\.fq"):
        begin_run(COMPLETE, clients, plan, {"reads": ["/data/a.fq"]}, dag_id="d", run_id="r")


def test_settings_are_checked_before_anything_else(s3, clients, plan):
    s3.calls.clear()
    with pytest.raises(SettingsError, match="cluster is not set"):
        begin_run(EcsSettings(), clients, plan, {}, dag_id="d", run_id="r")
    assert s3.calls == []


def test_a_run_that_has_not_begun_says_what_to_do(clients):
    with pytest.raises(AuthorError, match="no run in s3://b/wdl/runs/d/none/") as caught:
        open_run(COMPLETE, clients, "d", "none")
    assert "clear" in str(caught.value)


def test_a_run_of_another_format_is_refused(s3, clients):
    s3.put_object(Bucket="b", Key="wdl/runs/d/old/run.json", Body=b'{"format": 99}')
    with pytest.raises(AuthorError, match="format 99, not 1"):
        open_run(COMPLETE, clients, "d", "old")


def test_the_end_of_a_run_evaluates_its_outputs_from_those_of_its_calls(s3, clients, plan):
    run = begin_run(COMPLETE, clients, plan, {"reads": ["s3://in/a.fq"]}, dag_id="d", run_id="ends")
    with pytest.raises(EvaluationError, match="has no outputs yet"):
        finish_run(run)
    run.store.put_json(f"{run.store.layout.shard('t', ())}outputs.json", {"outputs": {"y": 7}})
    assert finish_run(open_run(COMPLETE, clients, "d", "ends")) == {"total": 11, "first": "ACGT"}
    assert json.loads(s3.objects["b", "wdl/runs/d/ends/outputs.json"]) == {"total": 11, "first": "ACGT"}


READING = """version 1.0
workflow w { call t  output { String text = read_string(t.o) } }
task t { command <<< >>> output { File o = "o" } }
"""


def test_outputs_that_need_a_deleted_file_say_that_it_was_deleted(s3, clients):
    run = begin_run(COMPLETE, clients, compile_wdl(READING), {}, dag_id="d", run_id="gone")
    made = f"{run.store.layout.attempt('t', (), 0)}work/o"
    run.store.put(made, b"made")
    run.store.put_json(f"{run.store.layout.shard('t', ())}outputs.json", {"outputs": {"o": made}})
    assert finish_run(run) == {"text": "made"}
    run.store.delete(made)
    with pytest.raises(EvaluationError, match="no such file") as caught:
        finish_run(open_run(COMPLETE, clients, "d", "gone"))
    assert "were deleted" not in str(caught.value), "nobody has cleaned the run"
    run.store.put(made, b"made")
    clean_finished(s3, run.store, {"text": "made"})
    with pytest.raises(EvaluationError, match="no such file") as caught:
        finish_run(open_run(COMPLETE, clients, "d", "gone"))
    assert "the intermediate files of this run were deleted; clear all of its tasks" in str(caught.value)


SCATTERED = """version 1.0
workflow w {
  input { File names }
  call before
  Array[String] lines = read_lines(names)
  Array[String] marked = suffix(before.mark, lines)
  scatter (i in range(length(lines))) {
    String own = marked[i]
    call t { input: line = own }
  }
}
task before { command <<< >>> output { String mark = "!" } runtime { docker: "x" } }
task t { input { String line } command <<< >>> output { String out = line } runtime { docker: "x" } }
"""


def test_the_shards_of_a_call_evaluate_once_what_they_have_in_common(s3, clients):
    s3.put_object(Bucket="in", Key="names", Body=b"a\nb\nc\n")
    run = begin_run(COMPLETE, clients, compile_wdl(SCATTERED), {"names": "s3://in/names"}, dag_id="d", run_id="r")

    def marked(mark: str) -> None:
        Ledger(run.store, "before", ()).write_success(Success(1, 0, {"mark": mark}))

    def of_call(shard: int):
        return open_run(COMPLETE, clients, "d", "r", call="t"), (shard,)

    marked("!")
    shards = [of_call(shard) for shard in range(3)]
    s3.calls.clear()
    found = [run.evaluation.call_inputs("t", shard) for run, shard in shards]
    assert found == [{"line": "a!"}, {"line": "b!"}, {"line": "c!"}]
    assert sorted(s3.calls) == [("get", "names"), ("get", "wdl/runs/d/r/calls/before/_/outputs.json")]
    # A call before it that was cleared has other outputs.
    marked("?")
    run.store.begin_epoch("before", "second")
    again, shard = of_call(1)
    assert again.evaluation.call_inputs("t", shard) == {"line": "b?"}
    assert shards[1][0].evaluation.call_inputs("t", shard) == {"line": "b!"}, "as it was when it began"
    del shards, again
    gc.collect()
    s3.calls.clear()
    later, shard = of_call(2)
    assert later.evaluation.call_inputs("t", shard) == {"line": "c?"}
    assert ("get", "names") in s3.calls, "nothing is kept for shards that have gone"
