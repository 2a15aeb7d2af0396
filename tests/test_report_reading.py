"""Reading a run's folder for its report."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_wdl_ecs import report_reading
from airflow_wdl_ecs.errors import WdlEcsError
from airflow_wdl_ecs.report import Instance, shortened, to_json
from airflow_wdl_ecs.report_reading import Told, layout_of, read_report, scopes
from airflow_wdl_ecs.storage import Layout, Recent, RunStore

from .fabricated_run import FabricatedRun, attempt
from .fake_aws import FakeS3


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    monkeypatch.setattr(report_reading, "_succeeded", Recent(20_000))
    return FakeS3()


def test_a_run_that_has_not_begun(s3: FakeS3) -> None:
    assert read_report(RunStore(s3, Layout("s3://b", "d", "r"))) is None


def test_a_run_as_its_folder_tells_it(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    run.store.write_division(run.plan.scatters(run.plan.call_by_id["work"].section)[0].id, {"shards": 2, "chunk": 1})
    run.shard("work", (0, 0), attempt())
    run.shard("work", (0, 1), attempt(0, "command_failed"), attempt(1, "command_failed"))
    run.shard("work", (1, 0), attempt(kind=None))
    run.store.put(f"{run.layout.call('work')}stray/file", b"")
    report = read_report(run.store)
    assert report is not None
    assert (report.workflow, report.state, report.inputs) == ("samples", "failed", {"lanes": [[1, 2], [3]]})
    work, sum_lane, again = report.calls
    assert (work.id, work.scattered, work.attempts) == ("work", True, 4)
    assert [(shard.key, shard.state) for shard in work.shards] == [
        ("0.1", "failed"),
        ("1.0", "running"),
        ("0.0", "succeeded"),
    ]
    # How many shards an inner scatter has is not known before they begin; how many an outermost one has is.
    assert (sum_lane.counts, again.counts) == ({"not_started": 2}, {})
    assert [(shard.call, shard.key) for shard in report.failures] == [("work", "0.1")]
    assert json.loads(json.dumps(to_json(report)))["format"] == 1
    assert [len(call.shards) for call in shortened(report, 1).calls] == [1, 1, 0]


def test_a_run_that_has_ended_well(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    run.shard("work", (0, 0), attempt())
    run.finish(sums=[2, 1])
    report = read_report(run.store)
    assert report is not None
    assert (report.state, report.outputs) == ("succeeded", {"sums": [2, 1]})


def test_what_airflow_says_counts(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    section = run.plan.scatters(run.plan.call_by_id["work"].section)[0].id
    run.store.write_division(section, {"shards": 4, "chunk": 2})
    run.shard("sum_lane", (0,), attempt(kind="command_failed"))
    instances = {
        ("sum_lane", 0): Instance("sum_lane", 0, "up_for_retry", 1),
        ("sum_lane", 1): Instance("sum_lane", 1, "failed", 1),
    }
    report = read_report(run.store, Told("running", instances), only="sum_lane")
    assert report is not None
    (call,) = report.calls
    assert report.state == "running"
    assert {shard.key: (shard.state, shard.instance and shard.instance.map_index) for shard in call.shards} == {
        "0": ("waiting", 0),
        "1": ("waiting", 0),
        "2": ("failed", 1),
        "3": ("failed", 1),
    }


def test_operators_on_their_own_have_runs_within_the_run(s3: FakeS3) -> None:
    run = FabricatedRun(s3, "task_alone", inputs={}, scope="align[3]")
    call = run.plan.calls[0].id
    run.shard(call, (), attempt(kind="command_failed"))
    outside = RunStore(s3, replace(run.layout, scope=None))
    assert scopes(outside) == ["align[3]"]
    told = Told("running", {("align", 3): Instance("align", 3, "up_for_retry", 1)})
    report = read_report(run.store, told)
    assert report is not None
    assert report.scope == "align[3]"
    assert report.calls[0].counts == {"waiting": 1}


def test_a_workflow_that_is_a_task_group_has_the_tasks_of_its_group(s3: FakeS3) -> None:
    run = FabricatedRun(s3, scope="study.first")
    section = run.plan.scatters(run.plan.call_by_id["work"].section)[0].id
    run.store.write_division(section, {"shards": 2, "chunk": 1})
    found = [Instance("study.first.sum_lane", index, state, 1) for index, state in enumerate(("failed", "queued"))]
    others = [Instance("sum_lane", 0, "success", 1), Instance("study.second.sum_lane", 0, "success", 1)]
    told = Told("running", {(one.task_id, one.map_index): one for one in (*found, *others)})
    report = read_report(run.store, told, only="sum_lane")
    assert report is not None
    assert [(shard.state, shard.instance) for shard in report.calls[0].shards] == [
        ("failed", found[0]),
        ("waiting", found[1]),
    ]


def test_shards_are_called_what_the_outermost_scatter_calls_them(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    section = run.plan.scatters(run.plan.call_by_id["work"].section)[0].id
    run.store.write_division(section, {"shards": 2, "chunk": 1, "labels": ["tumor", "normal"]})
    run.shard("work", (1, 3), attempt())
    report = read_report(run.store)
    assert report is not None
    labels = {shard.key: shard.label for call in report.calls for shard in call.shards}
    assert labels == {"0": "tumor", "1": "normal", "1.3": "normal"}
    # As a run has it that began with an earlier version, and one of more shards than task instances.
    run.store.write_division(section, {"shards": 2, "chunk": 1})
    old = read_report(run.store)
    assert old is not None
    assert {shard.label for call in old.calls for shard in call.shards} == {""}


def test_a_layout_is_found_by_its_folder(s3: FakeS3) -> None:
    run, own = FabricatedRun(s3), FabricatedRun(s3, "task_alone", inputs={}, scope="align[3]")
    assert layout_of(s3, run.layout.folder) == run.layout
    assert layout_of(s3, own.layout.folder.rstrip("/")) == own.layout
    with pytest.raises(WdlEcsError, match="no run"):
        layout_of(s3, "s3://bucket/wdl/runs/samples/other/")
    run.store.put("s3://elsewhere/copy/run.json", run.store.get(run.layout.named("run.json")) or b"")
    with pytest.raises(WdlEcsError, match="no run"):
        layout_of(s3, "s3://elsewhere/copy/")


def test_ten_thousand_shards_are_read_in_parts_and_once(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    section = run.plan.scatters(run.plan.call_by_id["work"].section)[0].id
    run.store.write_division(section, {"shards": 10_000, "chunk": 20})
    data = b""
    for index in range(0, 10_000):
        if not data:
            run.shard("sum_lane", (index,), attempt())
            data = s3.objects["bucket", run.layout.shard("sum_lane", (0,))[len("s3://bucket/") :] + "attempts.json"]
        key = run.layout.shard("sum_lane", (index,)).removeprefix("s3://bucket/")
        s3.objects["bucket", f"{key}attempts.json"] = data
    ticks = iter(range(1000))
    first = read_report(run.store, only="sum_lane", seconds=5, clock=lambda: next(ticks))
    assert first is not None
    (call,) = first.calls
    assert 0 < call.counts["succeeded"] < 10_000
    assert call.unread == 10_000 - call.counts["succeeded"]
    before = len(s3.calls)
    whole = read_report(run.store, only="sum_lane")
    assert whole is not None
    assert whole.calls[0].counts == {"succeeded": 10_000}
    again = len([kind for kind, key in s3.calls[before:] if key.endswith("attempts.json")])
    assert again == call.unread
