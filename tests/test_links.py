"""The links, rendered fields and shard labels as Airflow's own API gives them, whichever way they came there."""

from __future__ import annotations

import json
from functools import cache

import pytest
from airflow.sdk import DAG

from airflow_wdl_ecs.dag import build_dag
from airflow_wdl_ecs.links import CALL_LINKS, PAGE, RUN_LINKS, CommandLogLink, EcsTaskLink, S3FolderLink, run_page
from airflow_wdl_ecs.operators import SHARD_LABEL, WdlEcsTaskOperator
from airflow_wdl_ecs.shown import RENDERED
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .airflow_home import dag_serialization
from .test_operators import GREET, run

pytestmark = [pytest.mark.local, pytest.mark.airflow]

SCATTER = """
version 1.0
workflow many {
    input { Array[String] names }
    scatter (name in names) { call hello { input: name = name } }
    output { Array[String] lines = hello.line }
}
task hello {
    input { String name }
    command <<< echo '~{name} {{ here }}' >>>
    output { String line = read_string(stdout()) }
}
"""


def round_trip(dag: DAG):
    serialization = dag_serialization()
    return serialization.from_dict(serialization.to_dict(dag))


@pytest.fixture(scope="module")
def api(airflow_database):
    """Airflow's own API, to which everybody is an administrator."""
    from fastapi.testclient import TestClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
        patch.setenv("AIRFLOW__API_AUTH__JWT_ISSUER", "tests")
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "tests" * 16)
        from airflow.api_fastapi.app import create_app, purge_cached_app

        purge_cached_app()
        with TestClient(create_app("core"), base_url="http://localhost") as client:
            token = client.get("/auth/token").json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client
        purge_cached_app()


def instance(api, dag_run, task_id: str, map_index: int = -1, part: str = "") -> dict:
    place = f"/api/v2/dags/{dag_run.dag_id}/dagRuns/{dag_run.run_id}/taskInstances/{task_id}"
    if part:
        answer = api.get(f"{place}/{part}", params={"map_index": map_index})
    else:
        answer = api.get(place if map_index < 0 else f"{place}/{map_index}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def links(api, dag_run, task_id: str, map_index: int = -1) -> dict:
    return instance(api, dag_run, task_id, map_index, "links")["extra_links"]


def test_links_survive_in_the_serialised_dag():
    plan = compile_wdl(SCATTER)
    with build_dag(plan) as dag:
        WdlEcsTaskOperator(task_id="alone", wdl=GREET)
        WdlEcsTaskOperator.partial(task_id="mapped", wdl=GREET).expand(inputs=[{"name": "a"}])
    read = round_trip(dag)
    for task_id in ("hello", "alone", "mapped"):
        found = {link.name: link.xcom_key for link in read.get_task(task_id).operator_extra_links}
        assert found == {link.name: link.xcom_key for link in CALL_LINKS}
    assert read.get_task("hello").map_index_template == SHARD_LABEL


def test_every_link_has_its_own_name_and_key():
    kinds = {type(link): link for link in (*CALL_LINKS, *RUN_LINKS)}
    names = {link.name for link in kinds.values()}
    keys = {link.xcom_key for link in kinds.values()}
    assert len(names) == len(keys) == len(kinds)


def test_our_own_page_is_below_airflows_address(monkeypatch):
    assert run_page("d", "r 1+", call="a.b", shard="0.3") == f"{PAGE}?dag_id=d&run_id=r%201%2B&call=a.b&shard=0.3"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/team/")
    assert run_page("d", "r", scope="s") == f"/team{PAGE}?dag_id=d&run_id=r&scope=s"


@pytest.fixture(scope="module")
def on_workers(request, embedded_aws, airflow_database):
    """A run of `SCATTER` whose calls run on workers; its names are hostile."""
    from .airflow_home import settings_for

    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings_for(embedded_aws).items():
            patch.setenv(name, value)
        dag = build_dag(compile_wdl(SCATTER), dag_id="shown", call_args={"hello": {"deferrable": False}})
        yield run(dag, {"names": ["NA1", 'o"b {{ x }}\n' + "y" * 100_000]})


def test_a_worker_shows_the_label_of_a_shard(api, on_workers):
    assert instance(api, on_workers, "hello", 0)["rendered_map_index"] == "NA1"
    label = instance(api, on_workers, "hello", 1)["rendered_map_index"]
    assert label.startswith('o"b {{ x }} yyy')
    assert len(label) < 100


def test_a_worker_shows_what_ran(api, on_workers):
    fields = instance(api, on_workers, "hello", 0)["rendered_fields"]
    assert fields["image"] == "none"
    assert "echo 'NA1 {{ here }}'" in fields["command"]
    fields = instance(api, on_workers, "hello", 1)["rendered_fields"]
    assert len(fields["command"]) < 10_000


def test_the_ends_of_a_run_link_to_it(api, on_workers):
    page = run_page(on_workers.dag_id, on_workers.run_id)
    for task_id in ("inputs", "outputs"):
        assert links(api, on_workers, task_id) == {"WDL run": page, "S3 folder": None}


def test_a_worker_shows_its_links(api, on_workers):
    shown = links(api, on_workers, "hello", 1)
    assert shown["CloudWatch log"] is None
    assert shown["ECS task"] == run_page(on_workers.dag_id, on_workers.run_id, call="hello", shard="1")


@pytest.mark.parametrize("way", ["event", "message"])
def test_what_a_triggerer_puts_is_what_the_api_gives(api, on_workers, way):
    from airflow.utils.session import create_session

    address = "https://console.aws.amazon.com/cloudwatch/home?region=r#logsV2:log-groups/log-group/$252Fw%20\"'"
    xcoms = {CommandLogLink.key: address, RENDERED: {"command": 'echo "a"\n', "asked": {"cpu": 2}}}
    if way == "event":
        with create_session() as session:
            found = on_workers.get_task_instance("hello", session=session, map_index=0)
            for key, value in xcoms.items():
                # What the supervisor does with the XComs of the event that ends a task.
                found.xcom_push(key=key, value=value, session=session)
    else:
        put_by_message(on_workers, 0, {**xcoms, S3FolderLink.key: address})
    shown = links(api, on_workers, "hello", 0)
    assert shown["CloudWatch log"] == address
    assert shown["S3 folder"] == (address if way == "message" else None)
    entry = instance(api, on_workers, "hello", 0, f"xcomEntries/{RENDERED}")
    value = entry["value"]
    # Of an event's XComs the API gives text.
    assert (json.loads(value) if isinstance(value, str) else value) == xcoms[RENDERED]


@cache
def supervisors_client():
    """The execution API in this process, as a triggerer's supervisor has it; it takes seconds to make."""
    from airflow.jobs.triggerer_job_runner import in_process_api_server
    from airflow.sdk.api.client import Client

    client = Client(base_url=None, token="", dry_run=True, transport=in_process_api_server().transport)
    client.base_url = "http://in-process.invalid./"
    return client


def put_by_message(dag_run, map_index: int, xcoms: dict) -> None:
    """Put XComs by the message that a triggerer sends, through the handler of its supervisor."""
    from types import SimpleNamespace

    from airflow.jobs.triggerer_job_runner import TriggerRunnerSupervisor
    from airflow.sdk.execution_time.comms import SetXCom

    sent = []
    supervisor = SimpleNamespace(client=supervisors_client(), send_msg=lambda *args, **options: sent.append(args))
    for key, value in xcoms.items():
        message = SetXCom(
            key=key, value=value, dag_id=dag_run.dag_id, run_id=dag_run.run_id, task_id="hello", map_index=map_index
        )
        TriggerRunnerSupervisor._handle_request(supervisor, message, None, 1)
    assert len(sent) == len(xcoms)


def test_a_rerun_shows_its_own_links(api, on_workers):
    put_by_message(on_workers, 0, {EcsTaskLink.key: "https://first"})
    put_by_message(on_workers, 0, {EcsTaskLink.key: "https://second"})
    assert links(api, on_workers, "hello", 0)["ECS task"] == "https://second"
