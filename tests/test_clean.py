"""Which files of a run are intermediate, what keeps a file, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_wdl_ecs import aws
from airflow_wdl_ecs.clean import AT_ONCE, CLEANED, LARGEST_LOG, clean_finished, clean_run, hint_if_cleaned
from airflow_wdl_ecs.errors import AwsError, SettingsError, WdlEcsError
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .fabricated_run import FabricatedRun, attempt
from .fake_aws import FakeS3


def ended(dag_id: str, run_id: str) -> str:
    return "success"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    monkeypatch.setattr(aws.time, "sleep", lambda seconds: None)
    return FakeS3()


@pytest.fixture
def run(s3: FakeS3) -> FabricatedRun:
    """A run whose calls have left files of each kind."""
    run = FabricatedRun(s3)
    run.shard("work", (0, 0), attempt(), stdout="few words", stderr="", **{"work/out.bam": "b" * 10})
    run.shard("work", (0, 1), attempt(kind="command_failed"), attempt(1), **{"result.json": "{}", "work/a b": "xyz"})
    run.store.put(f"{run.layout.attempt('work', (0, 1), 0)}work/lost", b"lost")
    run.store.put(run.layout.file("0" * 64, "list.txt"), b"list")
    run.store.put(run.layout.named("web/0a/reads.fq"), b"ACGT")
    return run


def below(s3: FakeS3, run: FabricatedRun) -> set[str]:
    folder = run.layout.folder
    return {uri[len(folder) :] for bucket, key in s3.objects if (uri := f"s3://{bucket}/{key}").startswith(folder)}


def clean(s3: FakeS3, run: FabricatedRun, ask: Any = ended, **how: bool) -> Any:
    return clean_run(s3, run.layout, ask, **how)


def test_everything_but_outputs_records_and_logs_goes(s3: FakeS3, run: FabricatedRun) -> None:
    kept = f"{run.layout.attempt('work', (0, 0), 0)}work/out.bam"
    run.finish(bams=[{"left": kept, "right": 1}])
    before = below(s3, run)
    found = clean(s3, run)
    gone = {
        "calls/work/0.1/0/work/lost",
        "calls/work/0.1/1/work/a b",
        f"files/{'0' * 64}/list.txt",
        "web/0a/reads.fq",
    }
    assert before - below(s3, run) == gone
    assert below(s3, run) - before == {CLEANED}
    assert {group.name: (group.files, group.bytes) for group in found.groups} == {
        "work": (2, 7),
        "written by expressions": (1, 4),
        "fetched from the web": (1, 4),
    }
    assert (found.files, found.bytes, found.kept.files, found.kept.bytes) == (4, 15, 1, 10)
    assert clean(s3, run).files == 0


def test_a_dry_run_deletes_nothing(s3: FakeS3, run: FabricatedRun) -> None:
    run.finish(n=1)
    before = dict(s3.objects)
    assert clean(s3, run, dry_run=True).files == 5
    assert s3.objects == before
    assert hint_if_cleaned(run.store) == ""
    assert clean(s3, run).files == 5
    assert "clear all of its tasks" in hint_if_cleaned(run.store)


def test_a_directory_keeps_what_is_in_it_and_a_name_that_begins_alike_does_not(s3: FakeS3, run: FabricatedRun) -> None:
    folder = f"{run.layout.attempt('work', (0, 0), 0)}work/"
    for name in ("d/one", "d/e/two", "dd/three", "d2"):
        run.store.put(f"{folder}{name}", b"x")
    run.finish(where={f"{folder}d": 1})
    clean(s3, run)
    assert {name[len("calls/work/0.0/0/work/") :] for name in below(s3, run) if "/0/work/" in name} == {
        "d/one",
        "d/e/two",
    }


def test_a_stdout_that_is_no_log_goes(s3: FakeS3, run: FabricatedRun) -> None:
    prefix = run.layout.attempt("work", (0, 0), 0)
    run.store.put(f"{prefix}stdout", b"x" * (LARGEST_LOG + 1))
    run.finish(n=1)
    clean(s3, run)
    assert not run.store.exists(f"{prefix}stdout")
    assert run.store.exists(f"{prefix}stderr")


@pytest.mark.parametrize("scope", [None, "align"])
def test_what_another_run_was_given_or_gave_stays(s3: FakeS3, run: FabricatedRun, scope: str | None) -> None:
    run.finish(n=1)
    folder = run.layout.attempt("work", (0, 0), 0)
    given, taken, under_way = (f"{folder}work/{name}" for name in ("given", "taken", "under way"))
    for uri in (given, taken, under_way):
        run.store.put(uri, b"x")
    other = FabricatedRun(s3, inputs={"x": given}, dag_id="later", run_id="r", scope=scope)
    other.finish(out=taken)
    third = FabricatedRun(s3, inputs={}, dag_id="now", run_id="r")
    third.store.put_json(f"{third.layout.shard('work', (0, 0))}outputs.json", {"outputs": {"o": [under_way]}})
    clean(s3, run)
    assert [run.store.exists(uri) for uri in (given, taken, under_way, f"{folder}work/out.bam")] == [True] * 3 + [False]


@pytest.mark.parametrize("state", ["running", "queued"])
def test_a_run_that_runs_is_left_alone(s3: FakeS3, run: FabricatedRun, state: str) -> None:
    run.finish(n=1)
    before = dict(s3.objects)
    with pytest.raises(WdlEcsError, match=f"has not ended: it is {state}"):
        clean(s3, run, lambda *_: state, ended=True, failed=True)
    assert s3.objects == before


def test_a_run_that_airflow_does_not_know_has_ended_if_the_caller_says_so(s3: FakeS3, run: FabricatedRun) -> None:
    run.finish(n=1)
    with pytest.raises(WdlEcsError, match="not known whether") as caught:
        clean(s3, run, lambda *_: None)
    assert "--ended" in str(caught.value)
    assert clean(s3, run, lambda *_: None, ended=True).files == 5


def test_a_run_that_failed_keeps_what_it_can_be_taken_up_from(s3: FakeS3, run: FabricatedRun) -> None:
    with pytest.raises(WdlEcsError, match="has no outputs"):
        clean(s3, run, lambda *_: "failed")
    assert clean(s3, run, lambda *_: "failed", failed=True).files == 5


def test_a_run_that_has_failed_after_it_had_outputs_is_taken_for_failed(s3: FakeS3, run: FabricatedRun) -> None:
    run.finish(n=1)
    before = dict(s3.objects)
    with pytest.raises(WdlEcsError, match="has failed, after it had its outputs") as caught:
        clean(s3, run, lambda *_: "failed")
    assert "--failed" in str(caught.value)
    assert s3.objects == before
    assert clean(s3, run, lambda *_: "failed", failed=True).files == 5


@pytest.mark.parametrize("state", ["success", "failed", None])
def test_outputs_that_are_older_than_the_calls_are_no_end_of_a_run(
    s3: FakeS3, run: FabricatedRun, state: str | None
) -> None:
    kept = f"{run.layout.attempt('work', (0, 0), 0)}work/out.bam"
    run.store.write_outputs({"bams": [kept]})
    run.store.reopen()
    with pytest.raises(WdlEcsError, match="older than its calls"):
        clean(s3, run, lambda *_: state, ended=True)
    assert clean(s3, run, lambda *_: state, ended=True, failed=True, dry_run=True).files == 4
    run.store.write_outputs({"bams": [kept]})
    assert clean(s3, run).files == 4
    assert run.store.exists(kept)


def test_what_calls_of_a_run_that_runs_again_have_given_stays(s3: FakeS3, run: FabricatedRun) -> None:
    run.finish(n=1)
    taken = f"{run.layout.attempt('work', (0, 0), 0)}work/out.bam"
    other = FabricatedRun(s3, inputs={}, dag_id="again", run_id="r")
    other.store.write_outputs({"n": 1})
    other.store.reopen()
    other.store.put_json(f"{other.layout.shard('work', (0, 0))}outputs.json", {"outputs": {"o": [taken]}})
    assert clean(s3, run).kept.files == 1
    assert run.store.exists(taken)


def test_a_run_that_has_ended_costs_three_requests_however_many_shards_it_has(s3: FakeS3, run: FabricatedRun) -> None:
    run.finish(n=1)
    other = FabricatedRun(s3, inputs={}, dag_id="wide", run_id="r")
    for number in range(50):
        other.store.put_json(f"{other.layout.shard('work', (number,))}outputs.json", {"outputs": {}})
    other.store.write_outputs({"n": 1})
    s3.calls.clear()
    clean(s3, run, dry_run=True)
    assert sorted(what for what, key in s3.calls if key.startswith("wdl/runs/wide/r/")) == ["get", "get", "list"]


TASK = """
version 1.0
task one { command <<< >>> output { File kept = "kept" } }
"""


def test_the_outputs_of_an_operator_on_its_own_are_those_of_its_call(s3: FakeS3) -> None:
    plan = compile_wdl(TASK, task="one")
    layout = Layout("s3://bucket/wdl", "d", "r", "align")
    store = RunStore(s3, layout)
    store.put_plan(plan)
    store.put_json(layout.named("run.json"), {"plan": plan.digest})
    prefix = layout.attempt("one", (), 0)
    for name in ("kept", "scratch"):
        store.put(f"{prefix}work/{name}", b"x")
    with pytest.raises(WdlEcsError, match="has no outputs"):
        clean_run(s3, layout, ended)
    store.put_json(f"{layout.shard('one', ())}outputs.json", {"outputs": {"kept": f"{prefix}work/kept"}})
    assert clean_run(s3, layout, ended).uris == (f"{prefix}work/scratch",)
    assert store.exists(f"{prefix}work/kept")


def test_a_folder_without_a_run_is_said_to_be_one(s3: FakeS3, run: FabricatedRun) -> None:
    s3.objects.pop(("bucket", f"{run.layout.folder.removeprefix('s3://bucket/')}run.json"))
    with pytest.raises(WdlEcsError, match="there is no run in s3://bucket/wdl/runs/samples/"):
        clean(s3, run)


def test_many_files_go_a_thousand_at_a_time(s3: FakeS3, run: FabricatedRun) -> None:
    for number in range(AT_ONCE + 1):
        run.store.put(f"{run.layout.attempt('work', (0, 0), 0)}work/{number}", b"")
    s3.calls.clear()
    assert clean_finished(s3, run.store, {}).files == AT_ONCE + 6
    assert sorted(size for what, size in s3.calls if what == "delete many") == ["1000", "6"]


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [("AccessDenied", SettingsError, "s3:DeleteObject"), ("MalformedXML", AwsError, r"MalformedXML: no \(1 of 5")],
)
def test_what_is_not_deleted_is_said(
    s3: FakeS3, run: FabricatedRun, code: str, error: type[WdlEcsError], said: str
) -> None:
    run.finish(n=1)
    s3.undeletable = code
    with pytest.raises(error, match=said):
        clean(s3, run)
