"""Values that are too large for Airflow's database: XCom says where in S3 they are, and who needs them reads them."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import ClassVar

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.bases.xcom import BaseXCom
from airflow.utils.state import DagRunState, TaskInstanceState

from airflow_wdl_ecs import host, read_outputs
from airflow_wdl_ecs.dag import build_dag, wdl_task_group
from airflow_wdl_ecs.ecs.settings import EcsSettings
from airflow_wdl_ecs.errors import AuthorError, AwsError
from airflow_wdl_ecs.host import xcom_of
from airflow_wdl_ecs.ledger import Ledger, Success
from airflow_wdl_ecs.lifecycle import CallOutcome
from airflow_wdl_ecs.operators import STARTS_FROM_TRIGGER, WdlEcsTaskOperator
from airflow_wdl_ecs.triggers import WdlEcsTaskTrigger
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.xcom_values import NOTE, Reference, bytes_of, limited

from .fabricated_run import WORKSPACE, FabricatedRun
from .fake_aws import FakeS3
from .test_operators import run, states, xcom

LONG = "x" * 5000


def place(name: str) -> tuple[str, tuple[str, ...]]:
    return "s3://b/w/outputs.json", (name,)


def test_what_is_small_enough_stays_as_it_is():
    values = {"text": LONG, "n": 1}
    assert limited(values, bytes_of(values), place) == values
    assert limited(values, 0, place) == values


def test_the_largest_values_are_referred_to_until_the_rest_is_small_enough():
    found = limited({"a": "x" * 600, "b": LONG, "c": 1}, 1000, place)
    assert found == {
        "a": "x" * 600,
        "b": {"uri": "s3://b/w/outputs.json", "path": ["b"], "bytes": 5002, "note": NOTE},
        "c": 1,
    }
    assert bytes_of(found) <= 1000


def test_no_value_is_referred_to_by_what_is_larger():
    values = {str(n): n for n in range(100)}
    assert limited(values, 50, place) == values


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        [NOTE],
        {"note": NOTE},
        {"uri": "s3://b/x", "path": ["a"], "bytes": 1, "note": "mine"},
        {"uri": "s3://b/x", "path": 7, "bytes": 1, "note": NOTE},
        {"uri": "s3://b/x", "path": [], "bytes": 1, "note": NOTE, "shards": ["0"]},
    ],
)
def test_a_value_is_no_reference(value):
    assert Reference.from_json(value) is None


@pytest.mark.parametrize("shards", [None, ("0.1", "3")])
def test_a_reference_is_known_again_after_json(shards):
    reference = Reference("s3://b/x", ("a", "b"), 7, shards)
    assert Reference.from_json(json.loads(json.dumps(reference.to_json()))) == reference


class Folder:
    """A run's folder in a fake S3, in which shards of a call have succeeded."""

    def __init__(self, most: int, scope: str | None = None) -> None:
        self.s3 = FakeS3()
        self.made = FabricatedRun(self.s3, scope=scope)
        self.run = SimpleNamespace(
            settings=EcsSettings(workspace=WORKSPACE, xcom_max_bytes=most), store=self.made.store, scope=scope
        )

    def outcome(self, outputs, secrets=()) -> CallOutcome:
        for shard, values in outputs.items():
            if values is not None:
                Ledger(self.made.store, "align", shard).write_success(Success(1, 0, values))
        return CallOutcome(outputs, secrets=secrets, run=self.run)


@pytest.fixture
def folder(monkeypatch):
    """Makes a `Folder`; what is read is read from it."""

    def make(most: int, **more) -> Folder:
        made = Folder(most, **more)
        monkeypatch.setattr(
            host, "resolve_settings", lambda overrides: EcsSettings(**{"workspace": WORKSPACE, **overrides})
        )
        monkeypatch.setattr(host, "airflow_clients", lambda settings: lambda service: made.s3)
        return made

    return make


def test_a_calls_small_outputs_are_in_xcom_beside_a_reference_to_a_large_one(folder):
    made = folder(1000)
    found = xcom_of(made.outcome({(3,): {"lines": LONG, "n": 1}}), "align", None)
    uri = f"{made.made.layout.folder}calls/align/3/outputs.json"
    assert found == {"lines": Reference(uri, ("outputs", "lines"), 5002).to_json(), "n": 1}
    assert read_outputs(found) == {"lines": LONG, "n": 1}
    assert read_outputs(found["lines"]) == LONG
    assert read_outputs(found["n"]) == 1


@pytest.mark.parametrize("most", [0, 1_000_000])
def test_without_a_limit_or_below_it_all_is_in_xcom(folder, most):
    outputs = {"lines": LONG}
    assert xcom_of(folder(most).outcome({(): outputs}), "align", None) == outputs


def test_a_backend_gets_values_of_any_size(folder):
    outputs = {"lines": LONG}
    assert xcom_of(folder(10).outcome({(): outputs}), "align", None, whole=True) == outputs


def test_of_several_shards_the_large_ones_are_referred_to(folder):
    outputs = {(0, 0): {"text": "a"}, (0, 1): {"text": LONG}, (0, 2): None}
    found = xcom_of(folder(1000).outcome(outputs), "align", None)
    assert found["0.0"] == {"text": "a"}
    assert found["0.1"]["uri"].endswith("/calls/align/0.1/outputs.json")
    assert read_outputs(found) == {"0.0": {"text": "a"}, "0.1": {"text": LONG}, "0.2": None}


def test_of_very_many_shards_the_folder_is_referred_to(folder):
    made = folder(2000)
    outputs = {(i,): {"text": f"{i} {LONG}"} for i in range(2, 40)}
    outputs[(30,)] = None
    made.outcome({(1,): {"text": "of another instance"}, (40,): {"text": "likewise"}})
    found = xcom_of(made.outcome(outputs), "align", None)
    assert bytes_of(found) < 2000
    assert found["uri"] == f"{made.made.layout.folder}calls/align/"
    assert read_outputs(found) == {str(i): {"text": f"{i} {LONG}"} for i in range(2, 40) if i != 30}


def test_a_secret_is_in_no_reference(folder):
    outputs = {"said": "my-token " + LONG, "n": "my-token"}
    found = xcom_of(folder(1000).outcome({(): outputs}, secrets=("my-token",)), "align", None)
    assert "my-token" not in json.dumps(found)
    assert found["n"] == "***"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://elsewhere/wdl/runs/d/r/outputs.json",
        f"{WORKSPACE}/plans/x.json",
        f"{WORKSPACE}/runs/../plans/x.json",
        "file:///etc/passwd",
    ],
)
def test_what_looks_like_a_reference_leads_nowhere_but_to_runs(folder, uri):
    made = folder(10)
    with pytest.raises(AuthorError, match="not in the folder of a run"):
        read_outputs({"bam": Reference(uri, (), 1).to_json()})
    assert not [key for what, key in made.s3.calls if what == "get" and "plans/x" in key]


def test_a_dag_with_a_workspace_of_its_own_says_so(folder):
    made = folder(10)
    uri = "s3://other/w/runs/d/r/outputs.json"
    made.made.store.put_json(uri, {"bam": 7})
    assert read_outputs(Reference(uri, ("bam",), 1).to_json(), settings={"workspace": "s3://other/w"}) == 7


@pytest.mark.parametrize("path", [("outputs", "gone"), ("gone",), ("outputs", "n", "deeper")])
def test_a_value_that_is_there_no_more_is_an_error_that_says_so(folder, path):
    made = folder(10)
    made.outcome({(): {"n": 1}})
    uri = f"{made.made.layout.folder}calls/align/_/outputs.json"
    with pytest.raises(AwsError, match="is not in s3://"):
        read_outputs(Reference(uri, path, 1).to_json())
    with pytest.raises(AwsError, match="is not in s3://"):
        read_outputs(Reference(uri.replace("_", "7"), path, 1).to_json())


def test_a_value_is_read_once_however_many_outputs_are_in_it(folder):
    made = folder(500)
    found = xcom_of(made.outcome({(): {"a": LONG, "b": LONG}}), "align", None)
    made.s3.calls.clear()
    assert read_outputs(found) == {"a": LONG, "b": LONG}
    assert [what for what, _ in made.s3.calls] == ["get"]


class Backend(BaseXCom):
    """A deployment's own; it fails if it is told to."""

    got: ClassVar[list] = []
    fails = False

    @classmethod
    def set(cls, key, value, **where):
        if cls.fails:
            raise OSError("no such disk")
        cls.got.append(value)


@pytest.mark.parametrize(
    ("backend", "scope", "refers", "pushed"),
    [
        (None, None, True, 0),
        ("works", None, False, 1),
        ("works", "align", False, 1),
        ("fails", None, True, 0),
        ("fails", "align", True, 0),
    ],
)
async def test_a_trigger_sends_no_large_value_past_the_backend(folder, monkeypatch, backend, scope, refers, pushed):
    made = folder(1000, scope=scope)
    outputs = {"lines": LONG, "n": 1}
    outcome = made.outcome({(): outputs})
    instance = {"dag_id": "d", "run_id": "r", "task_id": "align", "try_number": 1, "map_index": -1}
    trigger = WdlEcsTaskTrigger("align", scope=scope, instance=instance)
    monkeypatch.setattr(Backend, "got", [])
    monkeypatch.setattr(Backend, "fails", backend == "fails")
    if backend is not None:
        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", Backend)

    async def ended(*_: object):
        return outcome, None

    monkeypatch.setattr(trigger, "_outcome", ended)
    (event,) = [event async for event in trigger.run()]
    assert len(Backend.got) == pushed
    assert all(value == outputs for value in Backend.got)
    assert ("return_value" in event.xcoms) == refers
    if refers:
        assert bytes_of(event.xcoms) < 1000
        assert read_outputs(event.xcoms["return_value"]) == outputs


WIDE = """
version 1.1
workflow wide {
    input { Array[Int] sizes  String note = "n" }
    scatter (size in sizes) { call fill { input: size = size } }
    call join { input: texts = fill.text }
    output { Array[String] texts = fill.text  Int length = join.length  String noted = note }
}
task fill {
    input { Int size }
    command <<< printf 'y%.0s' $(seq ~{size}) >>>
    output { String text = read_string(stdout()) }
}
task join {
    input { Array[String] texts }
    command <<< cat '~{write_lines(texts)}' | tr -d '\\n' | wc -c >>>
    output { Int length = read_int(stdout()) }
}
"""
MOST = {"xcom_max_bytes": 600}


@pytest.mark.local
@pytest.mark.airflow
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_run_has_no_large_value_in_airflows_database(airflow_on_embedded_aws, deferrable):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    plan = compile_wdl(WIDE)
    arguments = {call.id: {"deferrable": deferrable} for call in plan.calls}
    dag = build_dag(plan, dag_id=f"large_{deferrable}", settings=MOST, call_args=arguments)
    dag_run = run(dag, {"sizes": [3, 900], "note": "z" * 2000})
    assert dag_run.state == DagRunState.SUCCESS
    outputs = xcom(dag_run, "outputs")
    assert outputs["length"] == 903
    assert outputs["texts"]["note"] == NOTE
    assert read_outputs(outputs) == {"texts": ["yyy", "y" * 900], "length": 903, "noted": "z" * 2000}
    inputs = xcom(dag_run, "inputs")
    assert read_outputs(inputs)["inputs"] == {"sizes": [3, 900], "note": "z" * 2000}
    own = dag_run.get_task_instance("outputs")
    assert read_outputs(own.xcom_pull(task_ids="outputs", key="texts")) == ["yyy", "y" * 900]
    with create_session() as session:
        found = session.scalars(select(XComModel.value).where(XComModel.dag_id == dag.dag_id)).all()
    values = [value for value in map(_as_text, found) if "y" * 700 in value or "z" * 700 in value]
    assert values == []


def _as_text(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.local
@pytest.mark.airflow
def test_large_values_reach_other_tasks_and_other_workflows(airflow_on_embedded_aws):
    plan = compile_wdl(WIDE)
    with DAG("large_between", schedule=None) as dag:
        one = wdl_task_group(plan, group_id="one", inputs={"sizes": [5, 2000]}, settings=MOST)
        join = WdlEcsTaskOperator(
            task_id="join", wdl=WIDE, task="join", inputs={"texts": one.output["texts"]}, settings=MOST
        )
        templated = WdlEcsTaskOperator(
            task_id="templated",
            wdl=WIDE,
            task="join",
            inputs={"texts": "{{ ti.xcom_pull(task_ids='one.outputs')['texts'] }}"},
        )
        fill = WdlEcsTaskOperator(task_id="fill", wdl=WIDE, task="fill", inputs={"size": 3000}, settings=MOST)

        @task
        def check(outputs: dict, filled: dict, joined: dict, again: dict) -> list:
            assert outputs["texts"]["note"] == NOTE
            assert filled["text"]["note"] == NOTE
            return [len(read_outputs(filled)["text"]), joined["length"], again["length"]]

        one >> templated
        check(one.output, fill.output, join.output, templated.output)
    dag_run = run(dag)
    assert states(dag_run)["check"] == TaskInstanceState.SUCCESS
    assert xcom(dag_run, "check") == [3000, 2005, 2005]


@pytest.mark.local
@pytest.mark.airflow
@pytest.mark.parametrize("deferrable", [True, False])
def test_no_task_asks_for_the_xcoms_of_shards(airflow_on_embedded_aws, monkeypatch, deferrable):
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    pulls = []
    pull = RuntimeTaskInstance.xcom_pull

    def counted(self, task_ids=None, **more):
        pulls.append((self.task_id, self.map_index, task_ids))
        return pull(self, task_ids, **more)

    monkeypatch.setattr(RuntimeTaskInstance, "xcom_pull", counted)
    plan = compile_wdl(WIDE)
    arguments = {call.id: {"deferrable": deferrable} for call in plan.calls}
    dag_run = run(build_dag(plan, dag_id=f"pulls_{deferrable}", call_args=arguments), {"sizes": [1, 2, 3, 4]})
    assert dag_run.state == DagRunState.SUCCESS
    # A worker renders the label of its own shard, by the one list of them.
    assert {(task_id, task_ids) for task_id, _, task_ids in pulls} == {("fill", "scatter_size.shards")}
    # One that a worker defers is executed anew when it resumes.
    most = 2 if deferrable and not STARTS_FROM_TRIGGER else 1
    assert max(Counter(pulls).values()) <= most
