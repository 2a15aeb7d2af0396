"""Reading a run's folder for its report."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_wdl_ecs import report_reading
from airflow_wdl_ecs.attempts import Stop
from airflow_wdl_ecs.commands.report import text_of
from airflow_wdl_ecs.cost import Cost
from airflow_wdl_ecs.errors import WdlEcsError
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.ledger import Ledger, keep_stop, supersede_run
from airflow_wdl_ecs.prices import packaged
from airflow_wdl_ecs.reasons import Reason, keep_of_shard, keep_of_task
from airflow_wdl_ecs.recent import Recent
from airflow_wdl_ecs.report import Instance, shortened, to_json
from airflow_wdl_ecs.report_reading import Told, layout_of, read_not_begun, read_report, scopes
from airflow_wdl_ecs.storage import RunStore

from .fabricated_run import FabricatedRun, attempt
from .fake_aws import FakeS3, refusal


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


def test_a_run_whose_outputs_were_published_says_where(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    place = run.store.layout.named
    run.store.put_json(place("published.json"), {"uri": "s3://lab/outputs.json", "folder": "s3://lab/"})
    # Of an earlier run in the same folder, as long as this one has not ended.
    report = read_report(run.store)
    assert report is not None
    assert report.published == ""
    run.store.put_json(place("outputs.json"), {})
    report = read_report(run.store)
    assert report is not None
    assert report.published == "s3://lab/outputs.json"
    assert "  published  s3://lab/outputs.json" in list(text_of(report, {}))


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


def test_a_call_that_some_shards_never_began_does_not_run_in_a_run_that_has_ended(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    section = run.plan.scatters(run.plan.call_by_id["work"].section)[0].id
    run.store.write_division(section, {"shards": 2, "chunk": 1})
    run.shard("sum_lane", (0,), attempt())
    instances = {
        ("sum_lane", 0): Instance("sum_lane", 0, "success", 1),
        ("sum_lane", 1): Instance("sum_lane", 1, "upstream_failed", 0),
    }
    for airflow, state in (("running", "running"), ("failed", "not_started")):
        report = read_report(run.store, Told(airflow, instances), only="sum_lane")
        assert report is not None
        assert (report.calls[0].state, report.calls[0].ended is None) == (state, airflow == "running")
        assert report.calls[0].counts == {"not_started": 1, "succeeded": 1}


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


def failing(try_number: int = 1, text: str = "no such luck", task: str = "", map_index: int = -1) -> Reason:
    return Reason(try_number, text, 1.0, task, map_index)


def test_a_shard_that_failed_without_an_ecs_task_has_its_reason(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    keep_of_shard(run.store, "work", (0, 1), failing(text="samples.wdl:3:1: not a number"))
    report = read_report(run.store)
    assert report is not None
    assert report.state == "failed"
    assert [(one.call, one.key, one.reason) for one in report.failures] == [
        ("work", "0.1", "samples.wdl:3:1: not a number")
    ]
    # A later try goes on, and succeeds.
    for kind in (None, "succeeded"):
        run.shard("work", (0, 1), attempt(kind=kind, try_number=2))
        later = read_report(run.store)
        assert later is not None
        assert (later.failures, "not a number" in json.dumps(to_json(later))) == ((), False)


def test_no_reason_is_looked_for_where_a_shard_has_succeeded(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    run.shard("work", (0, 0), attempt())
    assert read_report(run.store) is not None
    assert not [key for _, key in s3.calls if key.endswith("failure.json")]


def test_what_fails_beside_the_calls_has_its_reason(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    keep_of_task(run.store, failing(2, "no output", "outputs"))
    keep_of_task(run.store, failing(1, "no shards", "work", 1))
    alone = read_report(run.store)
    assert alone is not None
    assert alone.state == "failed"
    assert {(one.task, one.map_index): one.reason for one in alone.tasks} == {
        ("outputs", -1): "no output",
        ("work", 1): "no shards",
    }
    states = {("outputs", 2): ["no output"], ("outputs", 3): [], ("inputs", 2): []}
    for (task, try_number), reasons in states.items():
        instances = {(task, -1): Instance(task, -1, "failed", try_number)}
        told = read_report(run.store, Told("failed", instances))
        assert told is not None
        assert [one.reason for one in told.tasks] == reasons
    going_on = read_report(run.store, Told("running", {("outputs", -1): Instance("outputs", -1, "up_for_retry", 2)}))
    assert going_on is not None
    assert going_on.tasks == ()


def test_a_task_instance_that_fails_as_a_whole_tells_it_of_its_shards(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    section = run.plan.scatters(run.plan.call_by_id["work"].section)[0].id
    run.store.write_division(section, {"shards": 4, "chunk": 2})
    keep_of_task(run.store, failing(1, "no epoch", "sum_lane", 1))
    report = read_report(run.store, only="sum_lane")
    assert report is not None
    assert {one.key: one.reason for one in report.calls[0].shards if one.state == "failed"} == {
        "2": "no epoch",
        "3": "no epoch",
    }


def test_a_run_whose_inputs_were_refused_has_a_report(s3: FakeS3) -> None:
    store = RunStore(s3, Layout("s3://b", "d", "r"))
    assert read_not_begun(store) is None
    keep_of_task(store, failing(1, "reads: no such file", "inputs"))
    for told in (None, Told("failed", {("inputs", -1): Instance("inputs", -1, "failed", 1)})):
        report = read_not_begun(store, told)
        assert report is not None
        assert (report.state, report.tasks[0].reason) == ("failed", "reads: no such file")
    assert read_not_begun(store, Told("running", {("inputs", -1): Instance("inputs", -1, "running", 2)})) is None


def test_secrets_are_left_out_of_reasons(s3: FakeS3) -> None:
    run = FabricatedRun(s3, inputs={"lanes": [[1]], "token": "very-secret"})
    about = run.store.get_json(run.layout.named("run.json"))
    run.store.put_json(run.layout.named("run.json"), {**about, "sensitive": ["token"]})
    keep_of_shard(run.store, "work", (0, 0), failing(text="cannot open very-secret"))
    keep_of_task(run.store, failing(1, "no very-secret", "outputs"))
    report = read_report(run.store)
    assert report is not None
    assert (report.failures[0].reason, report.tasks[0].reason) == ("cannot open ***", "no ***")


def test_a_dag_run_that_comes_again_has_no_reason_of_the_one_before(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    keep_of_shard(run.store, "work", (0, 0), failing())
    keep_of_task(run.store, failing(1, "no output", "outputs"))
    supersede_run(run.store)
    assert not [key for _, key in s3.objects if "fail" in key]


def test_keeping_a_reason_hides_no_error_and_takes_no_patience(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, asked = FabricatedRun(s3), []

    def refuse(**_: object) -> None:
        asked.append(1)
        raise refusal("SlowDown")

    monkeypatch.setattr(s3, "put_object", refuse)
    keep_of_task(run.store, failing(task="outputs"))
    assert len(asked) == 1
    assert "could not be kept" in caplog.text


def test_what_was_kept_of_a_stopped_attempt_is_read_only_where_nobody_waits_for_it(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    run.shard("work", (0, 0), attempt(kind=None))
    uri = run.layout.attempt("work", (0, 0), 0)
    keep_stop(run.store, uri, Stop({"pull_started": 1000.0, "stopped": 4600.0}))

    def cost(state: str | None) -> Cost:
        s3.calls.clear()
        told = state and Told("running", {("work", 0): Instance("work", 0, state, 1)})
        report = read_report(run.store, told or None, only="work")
        assert report is not None
        return report.cost

    asked = ("get", f"{uri}stopped.json".removeprefix("s3://bucket/"))
    assert (cost("deferred").running, asked in s3.calls) == (1, False)
    assert (cost("failed").vcpu_hours, asked in s3.calls) == (2, True)
    assert (cost(None).vcpu_hours, asked in s3.calls) == (2, True)


STOPPED = Stop(
    {"pull_started": 1000.0, "stopped": 4600.0},
    "arn:aws:ecs:us-east-1:123456789012:task/genomics/1",
    cpu=2.0,
    memory_given=4096,
    launch_type="FARGATE",
    architecture="X86_64",
)


def cost_of_stopped(run: FabricatedRun, told: Told | None = None) -> Cost:
    report = read_report(run.store, told, only="work", prices=packaged())
    assert report is not None
    return report.cost


def test_a_stopped_task_that_nobody_has_recorded_counts(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    keep_stop(run.store, run.layout.attempt("work", (0, 0), 0), STOPPED)
    expected = Cost(tasks=1, estimated=1, vcpu_hours=2, gb_hours=4, amount=pytest.approx(0.09874))
    assert cost_of_stopped(run) == expected
    # The host of the next try finds it, and records it.
    hosted = Told("running", {("work", 0): Instance("work", 0, "deferred", 2)})
    assert cost_of_stopped(run, hosted) == Cost()
    # After one that failed.
    run.shard("work", (0, 1), attempt(kind="command_failed"))
    keep_stop(run.store, run.layout.attempt("work", (0, 1), 1), STOPPED)
    assert (cost_of_stopped(run).tasks, cost_of_stopped(run).estimated) == (3, 2)
    # The DAG run was deleted and came again: what is there counts as lost, and its costs go on to count.
    supersede_run(run.store)
    assert [made.kind for made in Ledger(run.store, "work", (0, 0)).attempts()] == ["lost"]
    assert (cost_of_stopped(run).tasks, cost_of_stopped(run).unknown) == (3, 0)


def test_a_record_of_an_earlier_version_has_times_alone(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    uri = f"{run.layout.attempt('work', (0, 0), 0)}stopped.json"
    run.store.put_json(uri, STOPPED.times)
    assert cost_of_stopped(run) == Cost(unknown=1)
    run.shard("work", (0, 0), attempt(kind=None))
    assert cost_of_stopped(run).vcpu_hours == 2


def test_what_was_stopped_in_anothers_place_is_not_the_others(s3: FakeS3) -> None:
    run = FabricatedRun(s3)
    keep_stop(run.store, run.layout.attempt("work", (0, 0), 0), STOPPED)
    run.shard("work", (0, 0), attempt(kind=None))
    assert cost_of_stopped(run) == Cost(running=1)
