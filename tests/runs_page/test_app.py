"""The page's server through Airflow's own doors: its database, its simple auth manager, its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from airflow_wdl_ecs import report_reading
from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.reasons import Reason, keep_of_task
from airflow_wdl_ecs.runs_page import reports
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.usage import Usage

from ..airflow_home import bags
from ..fabricated_run import WORKSPACE, FabricatedRun, attempt
from ..fake_aws import FakeS3, refusal

pytestmark = pytest.mark.airflow

DAG, RUN = "page_samples", "manual__2026-01-01T00:00:00+00:00"
OTHER = "page_without_wdl"
HOSTILE = "<script>alert('x')</script>"
ONE = f"/wdl-runs/api/runs/{DAG}/{quote(RUN, safe='')}"
ROUTES = {
    "report": ONE,
    "shards": f"{ONE}/shards?call=sum_lane",
    "file": f"{ONE}/file?uri=s3://in/reads.fq",
    "log": f"{ONE}/log?call=work&shard=0.1&attempt=0&name=stderr",
}


@pytest.fixture(scope="module")
def dag_runs(airflow_database: None) -> None:
    """A run of a WDL workflow's DAG and one of another DAG, with their task instances."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.sdk import DAG as SdkDag  # noqa: N811
    from airflow.sdk import BaseOperator

    plan = FabricatedRun(FakeS3()).plan
    DagBundlesManager().sync_bundles_to_db()
    with SdkDag(OTHER, schedule=None) as other:
        BaseOperator(task_id="plain")
    DagBag, sync_bag_to_db = bags()  # noqa: N806
    bag = DagBag(collect_dags=False)
    for dag in (build_dag(plan, dag_id=DAG), other):
        dag.fileloc, dag.relative_fileloc = __file__, "page.py"
        bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    _trigger(DAG, {"lanes": [[1, 2], [3]]})
    _trigger(OTHER, {})


def _trigger(dag_id: str, conf: dict[str, Any]) -> None:
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.utils.types import DagRunTriggeredByType

    trigger_dag(dag_id, run_id=RUN, conf=conf, triggered_by=DagRunTriggeredByType.TEST)


@pytest.fixture
def s3() -> FakeS3:
    s3 = FakeS3()
    s3.meta = SimpleNamespace(endpoint_url="https://s3.eu-west-1.amazonaws.com")  # type: ignore[attr-defined]
    return s3


class FakeLogs:
    """A CloudWatch that knows one stream."""

    exceptions = SimpleNamespace(ClientError=type(refusal("X")))

    def get_log_events(self, *, logGroupName: str, logStreamName: str, limit: int) -> dict[str, Any]:  # noqa: N803
        if (logGroupName, logStreamName) != ("/wdl", "wdl/command/0"):
            raise refusal("ResourceNotFoundException")
        return {"events": [{"message": "one"}, {"message": HOSTILE}]}


@pytest.fixture
def run(s3: FakeS3) -> FabricatedRun:
    run = FabricatedRun(
        s3, dag_id=DAG, run_id=RUN, inputs={"lanes": [[1]], "label": HOSTILE}, readable=["s3://in/reads.fq"]
    )
    run.store.put("s3://in/reads.fq", b"@r")
    run.store.put("s3://in/secret", b"")
    run.shard("work", (0, 0), attempt())
    run.shard("work", (0, 1), attempt(kind="command_failed", reason=HOSTILE), stderr=f"first\n{HOSTILE}\n", stdout="")
    run.shard("sum_lane", (0,), attempt(kind=None))
    return run


@pytest.fixture
def client(s3: FakeS3, dag_runs: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from airflow.api_fastapi.app import create_auth_manager
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from airflow_wdl_ecs.plugin import WdlRunsPlugin

    monkeypatch.setenv("AIRFLOW__WDL_ECS__WORKSPACE", WORKSPACE)
    # Airflow 3.1 signs no token without one, with what it ran with at its time.
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_ISSUER", "tests")
    clients = {"s3": s3, "logs": FakeLogs()}
    monkeypatch.setattr(reports, "airflow_clients", lambda settings: clients.__getitem__)
    create_auth_manager().init()
    outer = FastAPI()
    (mounted,) = WdlRunsPlugin.fastapi_apps
    outer.mount(mounted["url_prefix"], mounted["app"])
    with TestClient(outer, raise_server_exceptions=False, follow_redirects=False) as client:
        client.headers["Authorization"] = f"Bearer {token('viewer')}"
        yield client


def token(role: str | None) -> str:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role=role))


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_who_may_read_a_dags_runs(client: Any, run: FabricatedRun, s3: FakeS3, route: str) -> None:
    statuses = {}
    for who in ("viewer", "user", None):
        client.headers["Authorization"] = f"Bearer {token(who)}"
        s3.calls.clear()
        statuses[who] = client.get(route).status_code
        assert who or not s3.calls
    del client.headers["Authorization"]
    statuses["nobody"] = client.get(route).status_code
    client.headers["Authorization"] = "Bearer made-up"
    statuses["forged"] = client.get(route).status_code
    fine = 303 if "/file" in route else 200
    assert statuses == {"viewer": fine, "user": fine, None: 403, "nobody": 401, "forged": 403}


def test_a_cookie_is_as_good_as_a_bearer(client: Any, run: FabricatedRun) -> None:
    from airflow import __version__
    from packaging.version import Version

    if Version(__version__) < Version("3.1.1"):
        pytest.skip("this Airflow knows bearers alone; its interface sends them")
    del client.headers["Authorization"]
    client.cookies["_token"] = token("viewer")
    assert client.get(ONE).status_code == 200
    client.cookies["_token"] = token(None)
    assert client.get(ONE).status_code == 403


def test_the_list_has_runs_of_wdl_that_one_may_read(client: Any) -> None:
    listed = client.get("/wdl-runs/api/runs").json()["runs"]
    assert [(found["dag_id"], found["run_id"]) for found in listed] == [(DAG, RUN)]
    client.headers["Authorization"] = f"Bearer {token(None)}"
    assert client.get("/wdl-runs/api/runs").json() == {"runs": []}
    del client.headers["Authorization"]
    assert client.get("/wdl-runs/api/runs").status_code == 401


def test_a_report_is_what_the_folder_and_airflow_say(client: Any, run: FabricatedRun) -> None:
    answer = client.get(ONE)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    report = answer.json()["report"]
    assert report["inputs"]["label"] == HOSTILE
    work = report["calls"][0]
    assert work["counts"] == {"failed": 1, "succeeded": 1}
    assert [failed["reason"] for failed in report["failures"]] == [HOSTILE]
    links = work["shards"][0]["attempts"][0]["links"]
    assert links["task"].startswith("https://console.aws.amazon.com/ecs/v2/clusters/genomics/tasks/")
    assert work["shards"][0]["instance"]["task_id"] == "work"
    assert report["prices"]["date"]
    assert work["cost"]["tasks"] == work["attempts"]
    shown = client.get(ROUTES["shards"].replace("sum_lane", "work")).json()["shards"]
    assert [shard["cost"]["vcpu_hours"] > 0 for shard in shown] == [True, True]


def test_what_commands_used_is_in_the_report(client: Any, run: FabricatedRun) -> None:
    usage = Usage(1 << 30, "group", 2 << 30, 10.0)
    run.shard("work", (7, 7), attempt(usage=usage, cpu_asked=2.0, memory_asked=4096))
    work = client.get(ONE).json()["report"]["calls"][0]
    assert work["usage"]["advice"] == [
        "`cpu: 1` may be enough: 0.5 of 2 vCPU on average",
        '`memory: "2 GiB"` would be enough: 1 GiB at most were used',
    ]
    (used,) = [one["attempts"][0]["usage"] for one in work["shards"] if one["attempts"][0]["usage"]]
    assert (used["memory"], used["with_cache"], used["cpu"]) == (1 << 30, 2 << 30, 0.5)
    assert used["in_words"] == "1 GiB of 4 GiB memory at most, 2 GiB with the pages of files, 0.5 of 2 vCPU on average"


def test_what_failed_beside_the_calls_is_told(client: Any, run: FabricatedRun, failed: None) -> None:
    answer = client.get(ONE).json()
    assert [(one["task_id"], one["map_index"]) for one in answer["failed"]] == [("outputs", -1)]
    assert {shard["instance"]["state"] for shard in answer["report"]["failures"]} == {"failed"}
    assert client.get(f"{ONE}?only=work").json()["failed"] == []


def test_what_failed_before_a_run_began_is_told(client: Any, failed: None) -> None:
    answer = client.get(ONE).json()
    assert answer["report"] is None
    assert {one["task_id"] for one in answer["failed"]} == {"outputs", "work"}


def test_why_it_failed_is_told_where_a_reason_was_left(client: Any, run: FabricatedRun, failed: None) -> None:
    keep_of_task(run.store, Reason(0, HOSTILE, 1.0, "outputs"))
    assert [one["reason"] for one in client.get(ONE).json()["failed"]] == [HOSTILE]


def test_why_a_run_could_not_begin_is_told(client: Any, s3: FakeS3, failed: None) -> None:
    store = RunStore(s3, Layout(WORKSPACE, DAG, RUN))
    keep_of_task(store, Reason(0, "no such file", 1.0, "work"))
    answer = client.get(ONE).json()
    assert answer["report"] is None
    assert {one["task_id"]: one["reason"] for one in answer["failed"]} == {"work": "no such file", "outputs": ""}


@pytest.fixture
def failed(dag_runs: None) -> Iterator[None]:
    """The workflow's outputs and one of its calls are failed tasks."""
    _mark(("outputs", "work"), "failed")
    yield
    _mark(("outputs", "work"), None)


def _mark(task_ids: tuple[str, ...], state: str | None) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        where = (TaskInstance.dag_id == DAG, TaskInstance.run_id == RUN, TaskInstance.task_id.in_(task_ids))
        session.execute(update(TaskInstance).where(*where).values(state=state))


def test_an_endpoint_that_is_not_amazons_has_no_console(client: Any, run: FabricatedRun, s3: FakeS3) -> None:
    s3.meta.endpoint_url = "http://127.0.0.1:1"  # type: ignore[attr-defined]
    assert client.get(ONE).json()["report"]["calls"][0]["shards"][0]["attempts"][0]["links"] == {}


def test_runs_that_are_not_there_or_not_wdl(client: Any, run: FabricatedRun) -> None:
    missing = client.get(f"/wdl-runs/api/runs/{DAG}/never")
    assert (missing.status_code, missing.json()["detail"]) == (404, f"there is no run never of DAG {DAG}")
    other = client.get(f"/wdl-runs/api/runs/{OTHER}/{quote(RUN, safe='')}").json()
    assert (other["wdl"], other["report"]) == (False, None)


def test_a_run_that_has_not_begun(client: Any) -> None:
    answer = client.get(ONE).json()
    assert (answer["wdl"], answer["report"], answer["run"]["run_id"]) == (True, None, RUN)


def test_shards_come_by_page_by_key_and_by_instance(client: Any, run: FabricatedRun) -> None:
    def keys(query: str) -> tuple[int, list[str]]:
        found = client.get(f"{ONE}/shards?call=work{query}").json()
        return found["total"], [shard["key"] for shard in found["shards"]]

    assert keys("") == (2, ["0.1", "0.0"])
    assert keys("&offset=1&limit=1") == (2, ["0.0"])
    assert keys("&shard=0.0") == (1, ["0.0"])
    assert keys("&map_index=7") == (0, [])
    assert client.get(f"{ONE}/shards?call=nothing").status_code == 404
    assert client.get(f"{ONE}/shards?call=work&shard=../x").status_code == 422


def test_files_of_the_run_alone_can_be_downloaded(client: Any, run: FabricatedRun) -> None:
    inside = f"{run.layout.attempt('work', (0, 1), 0)}stderr"
    answer = client.get(f"{ONE}/file", params={"uri": inside})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("https://bucket.s3.test/wdl/runs/page_samples/")
    assert "attachment" in answer.headers["location"]
    told = client.get(f"{ONE}/file", params={"uri": "s3://in/reads.fq"}, headers={"Accept": "application/json"})
    assert told.json()["name"] == "reads.fq"
    assert f"expires={reports.LINK_SECONDS}" in told.json()["url"]
    for uri in ("s3://in/secret", f"{run.layout.folder}../other/x", f"{run.layout.folder}gone", "file:///etc/passwd"):
        refused = client.get(f"{ONE}/file", params={"uri": uri})
        assert (refused.status_code, "location" in refused.headers) == (404, False), uri


def test_a_hit_of_the_call_cache_shows_what_it_refers_to_and_nothing_else(client: Any, run: FabricatedRun) -> None:
    origin = f"{WORKSPACE}/runs/other/1/calls/work/0.0/0/"
    run.store.put(f"{origin}work/out", b"made there")
    run.store.put(f"{origin}stdout", b"told there")
    run.store.put(f"{WORKSPACE}/runs/other/1/calls/work/0.0/1/work/out", b"none of its business")
    run.store.begin_epoch("work", "of this test")  # a process keeps what it has read of successes
    run.shard("work", (0, 0), attempt(arn="", cached=origin, prefix=origin, cache="hit: the outputs are those of ..."))
    call = next(call for call in client.get(ONE).json()["report"]["calls"] if call["id"] == "work")
    assert (call["cached"], call["attempts"]) == (1, 1)
    assert client.get(f"{ONE}/file", params={"uri": f"{origin}work/out"}).status_code == 303
    assert client.get(f"{ONE}/log?call=work&shard=0.0&attempt=0&name=stdout").text == "told there"
    assert client.get(f"{ONE}/log?call=work&shard=0.0&attempt=0&name=stderr").status_code == 404
    other = f"{WORKSPACE}/runs/other/1/calls/work/0.0/1/work/out"
    assert client.get(f"{ONE}/file", params={"uri": other}).status_code == 404


def test_a_hits_file_is_found_before_the_patience_with_the_runs_ledgers_is_over(
    client: Any, run: FabricatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.store.begin_epoch("work", "of this test")
    mine, others = (f"{WORKSPACE}/runs/other/1/calls/{place}/0/" for place in ("work/1.0", "named_otherwise/0.0"))
    for origin in (mine, others):
        run.store.put(f"{origin}work/out", b"made there")
    run.shard("work", (1, 0), attempt(arn="", cached=mine, prefix=mine))
    run.shard("again", (0,), attempt(arn="", cached=others, prefix=others))
    monkeypatch.setattr(report_reading, "_BATCH", 1)
    monkeypatch.setattr(reports, "PATIENCE", -1.0)

    def status(uri: str) -> int:
        answer = client.get(f"{ONE}/file", params={"uri": uri})
        assert answer.status_code == 303 or "location" not in answer.headers
        return answer.status_code

    # As a rule a shard has the outputs of the shard with its own name, whose ledger says so.
    assert status(f"{mine}work/out") == 303
    # Else the ledger of any shard may say so. What has not been read is no reason to say that there is no such file.
    told = client.get(f"{ONE}/file", params={"uri": f"{others}work/out"})
    assert told.status_code == 503
    assert "ask again" in told.json()["detail"]
    monkeypatch.setattr(reports, "PATIENCE", 600.0)
    assert status(f"{others}work/out") == 303
    assert status(f"{WORKSPACE}/runs/other/1/calls/work/0.1/0/work/out") == 404


def test_logs_are_plain_text(client: Any, run: FabricatedRun) -> None:
    answer = client.get(f"{ONE}/log?call=work&shard=0.1&attempt=0&name=stderr&size=28")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.text == f"{HOSTILE}\n"[-28:]
    assert client.get(f"{ONE}/log?call=work&shard=0.1&attempt=0&name=stdout").text == ""
    live = client.get(f"{ONE}/log?call=work&shard=0.1&attempt=0&name=live")
    assert live.text == f"one\n{HOSTILE}\n"
    assert client.get(f"{ONE}/log?call=work&shard=0.1&attempt=9&name=live").status_code == 404
    assert client.get(f"{ONE}/log?call=work&shard=0.1&attempt=0&name=stage-in.log").status_code == 404
    for wrong in ("name=result.json", "name=..%2F..%2Frun.json", "name=stderr&shard=..%2F", "name=stderr&attempt=-1"):
        assert client.get(f"{ONE}/log?call=work&shard=0.1&attempt=0&{wrong}").status_code == 422, wrong


def test_what_aws_or_the_deployment_refuses_is_told(
    client: Any, run: FabricatedRun, s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "get_object", _refuses("AccessDenied"))
    denied = client.get(ONE)
    assert denied.status_code == 503
    assert "AccessDenied" in denied.json()["detail"]
    monkeypatch.setattr(s3, "get_object", _refuses("InternalError"))
    assert client.get(ONE).status_code == 502
    monkeypatch.setattr(s3, "get_object", _breaks)
    broken = client.get(ONE)
    assert broken.status_code == 500
    assert "no such luck" not in broken.text


def test_a_deployment_without_a_workspace_is_told_so(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WDL_ECS__WORKSPACE", "")
    answer = client.get(ONE)
    assert answer.status_code == 503
    assert "workspace is not set" in answer.json()["detail"]


def _refuses(code: str) -> Any:
    def refuse(**_: Any) -> Any:
        raise refusal(code)

    return refuse


def _breaks(**_: Any) -> Any:
    raise RuntimeError("no such luck")


def test_the_page_lets_no_foreign_script_in(client: Any) -> None:
    del client.headers["Authorization"]
    page = client.get(f"/wdl-runs/page?dag_id={HOSTILE}")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "alert" not in page.text
    script = client.get("/wdl-runs/static/plugin.js")
    assert "javascript" in script.headers["content-type"]
    assert script.headers["cache-control"] == "no-cache"
    assert client.get("/wdl-runs/static/../app.py").status_code == 404


def test_a_folder_in_xcom_is_believed_if_it_is_the_runs_own(client: Any, s3: FakeS3) -> None:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    def say(folder: str) -> None:
        with create_session() as session:
            XComModel.set("return_value", {"folder": folder}, dag_id=DAG, run_id=RUN, task_id="inputs", session=session)

    own = FabricatedRun(s3, dag_id=DAG, run_id=RUN)
    elsewhere = {key[1]: data for key, data in s3.objects.items()}
    s3.objects = {("elsewhere", key): data for key, data in elsewhere.items()}
    say(own.layout.folder.replace("s3://bucket", "s3://elsewhere"))
    try:
        assert client.get(ONE).json()["report"]["folder"].startswith("s3://elsewhere/")
        say("s3://elsewhere/wdl/runs/other/run/")
        assert client.get(ONE).json()["report"] is None
    finally:
        say(own.layout.folder)
