"""What clients register survives a restart of the embedded AWS."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_wdl_ecs.local.endpoint import start_server, stop_server
from airflow_wdl_ecs.local.journal import KEPT, Journal

from .conftest import Tasks, client_of, container, exit_codes


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "j"
    target = sorted(KEPT)[0]
    Journal(path).add(target, "us-east-1", b'{"clusterName": "x"}')
    with path.open("a") as stream:
        stream.write('{"target": "cut')
    seen = []

    def application(environ: dict[str, object], start_response: object) -> list[bytes]:
        seen.append((environ["HTTP_X_AMZ_TARGET"], environ["wsgi.input"].read()))  # type: ignore[attr-defined]
        return []

    assert Journal(path).replay(application, "AKIA") == 1
    assert seen == [(target, b'{"clusterName": "x"}')]
    Journal(path).add(target, "us-east-1", b"{}")
    assert Journal(path).replay(application, "AKIA") == 2


@pytest.mark.local
def test_definitions_clusters_and_log_groups_survive_a_restart(tmp_path: Path) -> None:
    try:
        first = start_server(tmp_path, containers="plain")
        tasks = Tasks(client_of(first, "ecs"))
        old = tasks.register(container("a", "exit 1"), family="kept")
        new = tasks.register(container("a", "exit 2"), family="kept")
        tasks.ecs.deregister_task_definition(taskDefinition=old)
        tasks.ecs.create_cluster(clusterName="mine")
        client_of(first, "logs").create_log_group(logGroupName="/mine")
        stop_server(tmp_path)

        second = start_server(tmp_path, containers="plain")
        tasks = Tasks(client_of(second, "ecs"), "mine")
        assert tasks.ecs.list_task_definitions(familyPrefix="kept")["taskDefinitionArns"] == [new]
        assert exit_codes(tasks.stopped(tasks.run(new))) == {"a": 2}
        assert tasks.register(container("a", "exit 3"), family="kept").endswith("kept:3")
        groups = client_of(second, "logs").describe_log_groups()["logGroups"]
        assert [group["logGroupName"] for group in groups] == ["/mine", "/wdl"]
    finally:
        stop_server(tmp_path)
