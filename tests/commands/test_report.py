"""What ``report`` prints, and where it finds runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from airflow_wdl_ecs import host, report_reading
from airflow_wdl_ecs.attempts import Stop, Times
from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.commands.report import CACHE_LINES, LONGEST_VALUE, seconds
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.ledger import keep_stop
from airflow_wdl_ecs.reasons import Reason, keep_of_shard, keep_of_task
from airflow_wdl_ecs.recent import Recent
from airflow_wdl_ecs.report import to_json
from airflow_wdl_ecs.report_reading import read_report
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.usage import Usage

from ..fabricated_run import WORKSPACE, FabricatedRun, attempt
from ..fake_aws import FakeS3

NAME = "samples/manual__2026-01-01T00:00:00+00:00"


@pytest.fixture
def run(deployment_s3: FakeS3) -> FabricatedRun:
    """A run of a deployment."""
    run = FabricatedRun(deployment_s3)
    run.shard("work", (0, 0), attempt())
    run.shard("work", (0, 1), attempt(kind="command_failed"), stderr="one\n\x1b]0;owned\x07no such luck\n")
    return run


@pytest.mark.parametrize("name", [NAME, f"{WORKSPACE}/runs/samples/manual__2026-01-01T00=3A00=3A00=2B00=3A00/"])
def test_a_run_in_words(run: FabricatedRun, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["report", name]) == 0
    text = capsys.readouterr().out
    head, _, rest = text.partition("FAILED work[0, 1]\n")
    assert head.startswith("samples: failed\n")
    assert f"folder   {run.layout.folder}" in head
    assert "  the command failed with exit code 1\n" in rest
    assert "    \\x1b]0;owned\\x07no such luck\n" in rest
    assert f"  everything of it is in {run.layout.attempt('work', (0, 1), 0)}\n" in rest
    assert "  its log is /wdl wdl/command/0\n" in rest
    lines = [line.split("  ") for line in rest.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["call", "state", "tasks", "queue", "wait", "pull", "stage-in", "command", "stage-out"] in cells
    assert ["work", "1 failed, 1 succeeded", "2", "5.0 s", "10 s", "5.0 s", "10 s", "20 s", "10 s"] in cells
    assert "  lanes = [[1, 2], [3]]\n" in rest
    assert "outputs" not in rest


EAST = {"arn": "arn:aws:ecs:us-east-1:123456789012:task/genomics/0", "architecture": "X86_64"}


def rows_of(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_what_a_run_has_used_and_cost(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_reading, "_succeeded", Recent(1))
    # From the pull to the end 45 s, billed as 60: 2 vCPUs and 4 GB for 1/60 h,
    # 0.03333 * 0.04048 + 0.06667 * 0.004445 = 0.0013493 + 0.0002963 = 0.0016457 USD each.
    run.shard("work", (0, 0), attempt(kind="command_failed", **EAST), attempt(1, **EAST))
    run.shard("work", (0, 1), attempt(kind="interrupted", **EAST | {"launch_type": "FARGATE_SPOT"}))
    run.shard("work", (1, 0), attempt(kind=None), attempt(1, kind="lost", times=Times()))
    assert main(["report", NAME, "--by-shard"]) == 0
    text = capsys.readouterr().out
    rows = rows_of(text)
    assert ["used and cost", "vCPU-h", "GB-h", "cost"] in rows
    assert ["work", "0.1000", "0.2000", "0.0033+ USD"] in rows
    assert ["work[0, 0]", "0.0667", "0.1333", "0.0033 USD"] in rows
    assert ["work[0, 1]", "0.0333", "0.0667", "no price"] in rows
    assert ["work[1, 0]"] in rows
    assert ["all", "0.1000", "0.2000", "0.0033+ USD"] in rows
    assert "(1 ECS task without a price: no price for FARGATE_SPOT in us-east-1 (X86_64))" in text
    assert "(in no sum: 1 ECS task of which no time is known)" in text
    assert "(in no sum: 1 ECS task not known to have ended)" in text
    assert "(prices of 2026-11-25: AWS's list prices" in text
    assert main(["report", NAME, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["cost"]["amount"] == pytest.approx(2 * 0.09874 / 60)
    (work,) = (call for call in report["calls"] if call["id"] == "work")
    assert [attempt["cost"]["tasks"] for shard in work["shards"] for attempt in shard["attempts"]] == [1, 0, 0, 1, 1]
    assert report["prices"]["currency"] == "USD"
    assert main(["report", NAME]) == 0
    assert not any(row[0] == "work[0, 0]" for row in rows_of(capsys.readouterr().out) if row)


def test_a_run_whose_calls_are_all_from_the_call_cache_has_no_table_of_costs(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_reading, "_succeeded", Recent(1))
    times = Times(taken_up=1.0, stopped=2.0)
    for shard in ((0, 0), (0, 1)):
        run.shard("work", shard, attempt(arn="", times=times, cached=f"{WORKSPACE}/runs/other/1/calls/work/0.0/0/"))
    assert main(["report", NAME]) == 0
    text = capsys.readouterr().out
    assert "used and cost" not in text
    assert "USD" not in text


def test_an_attempt_that_was_stopped_and_that_nobody_waited_for_has_cost_something(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run.shard("work", (0, 1), attempt(kind=None, **EAST))
    times = {"pull_started": 1000.0, "stopped": 4600.0, "x": 1.0}
    keep_stop(run.store, run.layout.attempt("work", (0, 1), 0), Stop(times))
    assert main(["report", NAME, "--by-shard"]) == 0
    text = capsys.readouterr().out
    assert ["work[0, 1]", "2.0000", "4.0000", "0.0987 USD"] in rows_of(text)
    assert "(1 ECS task of which ECS has not told all times: at least these hours)" in text


def test_prices_that_cannot_be_read_do_not_hide_a_report(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        host, "resolve_settings", lambda: EcsSettings(workspace=WORKSPACE, prices_file="/nowhere/prices.json")
    )
    assert main(["report", NAME]) == 0
    text = capsys.readouterr().out
    assert "(no prices: the file of prices /nowhere/prices.json cannot be read: No such file or directory)" in text
    assert ["work", "0.0667", "0.1333", "no price"] in rows_of(text)


def test_a_shard_has_its_label(run: FabricatedRun, capsys: pytest.CaptureFixture[str]) -> None:
    section = run.plan.scatters(run.plan.call_by_id["work"].section)[0].id
    run.store.write_division(section, {"shards": 1, "chunk": 1, "labels": ["tumor"]})
    assert main(["report", NAME]) == 0
    assert "\nFAILED work[0, 1] (tumor)\n" in capsys.readouterr().out


def test_what_commands_used_stands_beside_what_they_asked_for(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    used = {"usage": Usage(3 << 28, "group", 0, 4.0), "cpu_asked": 2.0, "memory_asked": 4096}
    measured = FabricatedRun(run.store._s3, run_id="measured")
    measured.shard("work", (0, 0), attempt(**used))
    measured.shard("work", (0, 1), attempt(**used))
    assert main(["report", "samples/measured"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("memory and CPU that commands used, of what was asked for:")
    assert lines[at - 1] == ""
    assert lines[at + 1 : at + 5] == [
        "  work  768 MiB of 4 GiB memory at most, 0.2 of 2 vCPU on average, 0.2 in the busiest shard (2 shards)",
        "        `cpu: 1` may be enough: 0.2 of 2 vCPU on average, 0.2 in the busiest shard",
        '        `memory: "1 GiB"` would be enough: 768 MiB at most were used',
        "",
    ]


def test_where_nothing_was_measured_nothing_is_told_of_it(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", NAME]) == 0
    assert "memory and CPU that commands used" not in capsys.readouterr().out


def test_what_the_call_cache_had(run: FabricatedRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.store.begin_epoch("work", "of this test")  # a process keeps what it has read of successes
    hit = "hit: the outputs are those of work of run samples/before"
    for shard in ((0, 0), (0, 1)):
        run.shard("work", shard, attempt(arn="", cached="s3://bucket/before/", cache=hit))
    run.shard("work", (1, 0), attempt(cache="miss: input `lane` changed"))
    assert main(["report", NAME]) == 0
    text = capsys.readouterr().out
    assert f"\ncall cache:\n  work: {hit} (2 shards)\n  work: miss: input `lane` changed\n" in text
    assert re.search(r"^work +3 succeeded +1 ", text, re.MULTILINE)
    for number in range(CACHE_LINES + 3):
        run.shard("work", (2, number), attempt(cache=f"miss: {number}"))
    assert main(["report", NAME]) == 0
    assert "  work: and 5 other answers, which --json has\n" in capsys.readouterr().out


def test_a_run_as_json(run: FabricatedRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.finish(sums=[1])
    assert main(["report", NAME, "--json"]) == 0
    report = read_report(run.store)
    assert report is not None
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(to_json(report)))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["samples/never"], 1, "no run in s3://bucket/wdl/runs/samples/never/"),
        (["s3://bucket/elsewhere/"], 1, "there is no run in s3://bucket/elsewhere/"),
        (["samples"], 2, "give DAG_ID/RUN_ID"),
        ([], 1, "no workflow has been run on this machine"),
    ],
)
def test_runs_that_are_not_there(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    assert main(["report", *words]) == status
    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True)


def test_a_deployment_without_a_workspace(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "resolve_settings", EcsSettings)
    assert main(["report", NAME]) == 1
    assert "name no workspace" in capsys.readouterr().err


def test_a_run_of_an_operator_on_its_own(run: FabricatedRun, capsys: pytest.CaptureFixture[str]) -> None:
    own: Any = FabricatedRun(run.store._s3, "task_alone", inputs={}, scope="align[3]")
    own.shard(own.plan.calls[0].id, (), attempt())
    assert main(["report", NAME, "--task", "align[3]"]) == 0
    assert "task align[3]" in capsys.readouterr().out


def test_what_failed_without_an_ecs_task_is_told_before_all_else(
    run: FabricatedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_of_shard(run.store, "work", (1, 0), Reason(2, "samples.wdl:9:3: division by zero", 1.0))
    keep_of_task(run.store, Reason(1, "no output\x1b[2J", 1.0, "outputs"))
    assert main(["report", NAME]) == 0
    head, _, _ = capsys.readouterr().out.partition("\ncall ")
    assert "\nFAILED work[1, 0]\n  samples.wdl:9:3: division by zero\n" in head
    assert "\nFAILED outputs\n  no output\\x1b[2J\n" in head
    assert main(["report", NAME, "--json"]) == 0
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert (task["task"], task["try_number"]) == ("outputs", 1)


def test_a_run_whose_inputs_were_refused(run: FabricatedRun, capsys: pytest.CaptureFixture[str]) -> None:
    refused = RunStore(run.store._s3, replace(run.layout, run_id="refused"))
    keep_of_task(refused, Reason(1, "reads: no such file", 1.0, "inputs"))
    assert main(["report", "samples/refused"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("samples: failed\n")
    assert text.endswith("\nFAILED inputs\n  reads: no such file\n")


def test_lengths_of_time() -> None:
    assert [seconds(length) for length in (0.04, 9.9, 61.2, 150, 7260)] == [
        "0.0 s",
        "9.9 s",
        "61 s",
        "2 min",
        "2 h 01 min",
    ]


def test_a_large_value_leaves_room_for_all_else(run: FabricatedRun, capsys: pytest.CaptureFixture[str]) -> None:
    big = FabricatedRun(run.store._s3, run_id="big", inputs={"lanes": [[1] * 3000, [2]]})
    big.shard("work", (0, 0), attempt())
    whole = json.dumps([[1] * 3000, [2]])
    assert main(["report", "samples/big"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  lanes = "))
    assert line == f"  lanes = {whole[:LONGEST_VALUE]}... ({len(whole)} characters, which --json has)"
    assert main(["report", "samples/big", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"] == {"lanes": [[1] * 3000, [2]]}


def test_what_a_reason_says_is_not_said_again(run: FabricatedRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run.layout.attempt("work", (0, 1), 0)
    reason = f"no file\nthe last lines of its stderr:\n  no luck\neverything of the attempt is in {folder}"
    keep_of_shard(run.store, "work", (0, 1), Reason(1, reason, 2e9))
    assert main(["report", NAME]) == 0
    text = capsys.readouterr().out
    assert [text.count(words) for words in ("no file", "stderr:", "no luck", folder)] == [1, 1, 1, 1]
