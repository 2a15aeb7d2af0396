"""What a task around the calls leaves in the run's folder when it fails: its reason, without secrets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_wdl_ecs import host
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import EvaluationError, InputsError, SettingsError
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.reasons import read_of_tasks
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.task_context import keeping_reason, secrets_given
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .fabricated_run import WORKSPACE, FabricatedRun
from .fake_aws import FakeS3

PLAN = compile_wdl("version 1.0\nworkflow w { input { String token  Int n } output { Int m = n } }")


def context(task_id: str, try_number: int = 1) -> Any:
    return {"ti": SimpleNamespace(dag_id="d", run_id="r", task_id=task_id, try_number=try_number, map_index=-1)}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    s3 = FakeS3()
    settings = {"workspace": WORKSPACE}
    monkeypatch.setattr(host, "resolve_settings", lambda given: EcsSettings(**(settings | given)))
    monkeypatch.setattr(host, "airflow_clients", lambda settings: {"s3": s3}.__getitem__)
    return s3


def kept(s3: FakeS3, scope: str | None = None) -> dict[tuple[str, int], Any]:
    found = read_of_tasks(RunStore(s3, Layout(WORKSPACE, "d", "r", scope)))
    return {key: (reason.try_number, reason.text) for key, reason in found.items()}


def test_the_inputs_reason_is_kept_until_a_later_try_succeeds(s3: FakeS3) -> None:
    secrets = secrets_given(PLAN, {"w.token": "hush-hush"}, {"n": 1})
    with pytest.raises(InputsError), keeping_reason(context("inputs"), {}, None, secrets):
        raise InputsError("hush-hush is no number", hint="give one")
    assert kept(s3) == {("inputs", -1): (1, "*** is no number\ngive one")}
    with keeping_reason(context("inputs", 2), {}, None, secrets):
        pass
    assert kept(s3) == {}


def test_a_first_try_that_succeeds_asks_s3_for_nothing(s3: FakeS3) -> None:
    with keeping_reason(context("inputs"), {}, None):
        pass
    assert s3.calls == []


def test_the_outputs_reason_is_without_the_runs_secrets(s3: FakeS3) -> None:
    run = FabricatedRun(s3, inputs={"token": "hush-hush"}, dag_id="d", run_id="r")
    about = run.store.get_json(run.layout.named("run.json"))
    run.store.put_json(run.layout.named("run.json"), {**about, "sensitive": ["token"]})
    with pytest.raises(EvaluationError), keeping_reason(context("outputs"), {}, None):
        raise EvaluationError("no file hush-hush")
    assert kept(s3) == {("outputs", -1): (1, "no file ***")}


@pytest.mark.parametrize(
    ("task", "scope", "name"),
    [("group.outputs", "group", "outputs"), ("align", "align", "inputs"), ("align", "align[3]", "inputs")],
)
def test_a_task_is_named_as_in_its_workflow(s3: FakeS3, task: str, scope: str, name: str) -> None:
    with pytest.raises(ZeroDivisionError), keeping_reason(context(task), {}, scope, secrets_given(PLAN)):
        print(1 / 0)
    assert kept(s3, scope) == {(name, -1): (1, "ZeroDivisionError: division by zero")}


@pytest.mark.parametrize("workspace", ["", "nowhere", "s3://forbidden/x"])
def test_a_workspace_that_is_wrong_hides_no_error(s3: FakeS3, monkeypatch: pytest.MonkeyPatch, workspace: str) -> None:
    monkeypatch.setattr(s3, "put_object", lambda **_: 1 / 0)
    with (
        pytest.raises(SettingsError, match="cluster is not set"),
        keeping_reason(context("inputs"), {"workspace": workspace}, None, secrets_given(PLAN)),
    ):
        raise SettingsError("cluster is not set")
