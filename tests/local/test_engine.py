"""How containers are given to an engine; no engine is needed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from airflow_wdl_ecs.local.containers import ContainerSpec, Mount
from airflow_wdl_ecs.local.engine import Engine, engine_problem, run_argv


def spec(tmp_path: Path, **more: object) -> ContainerSpec:
    fields: dict[str, object] = {
        "id": "0123-command",
        "task_id": "0123",
        "name": "command",
        "image": "ubuntu:24.04",
        "entry_point": ("bash", "-c"),
        "command": ("echo hi",),
        "folder": tmp_path / "0123",
        **more,
    }
    return ContainerSpec(**fields)  # type: ignore[arg-type]


def test_run_argv(tmp_path: Path) -> None:
    made = spec(
        tmp_path,
        environment={"SECRET": "s", "PATH": "/opt/bin"},
        mounts=(Mount("work", None, "/wdl"), Mount("ref", Path("/data"), "/ref", read_only=True)),
        cpu=512,
        memory=1024,
        user="1000",
        working_directory="/wdl/x",
    )
    argv = run_argv("podman", made, "label=1")
    assert argv[:2] == ("podman", "run")
    assert argv[-4:] == ("bash", "ubuntu:24.04", "-c", "echo hi")
    pairs = set(pairwise(argv))
    assert {
        ("--name", "wdl-0123-command"),
        ("--label", "label=1"),
        ("--network", "host"),
        ("--env", "SECRET"),
        ("--env", "PATH=/opt/bin"),
        ("--volume", "wdl-0123-work:/wdl"),
        ("--volume", "/data:/ref:ro"),
        ("--memory", "1024m"),
        ("--cpu-shares", "512"),
        ("--user", "1000"),
        ("--workdir", "/wdl/x"),
        ("--entrypoint", "bash"),
    } <= pairs
    assert not any(part == "s" or "SECRET=s" in part for part in argv)


def test_what_is_not_given_is_the_images_own(tmp_path: Path) -> None:
    argv = run_argv("docker", spec(tmp_path, entry_point=(), command=()), "l")
    assert argv[-1] == "ubuntu:24.04"
    assert not {"--entrypoint", "--user", "--workdir", "--memory", "--cpu-shares"} & set(argv)


def test_the_client_keeps_its_own_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/client/bin")
    monkeypatch.setenv("AIRFLOW_SECRET", "x")
    launch = Engine("docker", tmp_path).launch(spec(tmp_path, environment={"PATH": "/opt/bin", "A": "1"}))
    assert launch.environment["PATH"] == "/client/bin"
    assert launch.environment["A"] == "1"
    assert "AIRFLOW_SECRET" not in launch.environment


def fake_engine(tmp_path: Path, script: str) -> str:
    program = tmp_path / "engine"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_probe(tmp_path: Path) -> None:
    assert engine_problem(fake_engine(tmp_path, "exit 0")) is None
    assert engine_problem(fake_engine(tmp_path, "echo no daemon >&2; exit 1")) == "no daemon"
    assert engine_problem(str(tmp_path / "none")) is not None


@pytest.mark.parametrize(("images", "reason"), [("", "CannotPullContainerError"), ("sha", "CannotStartContainerError")])
def test_an_engine_that_makes_no_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: str, reason: str
) -> None:
    fake_engine(tmp_path, f"echo {images}")
    (tmp_path / "engine").rename(tmp_path / "docker")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    engine, made = Engine("docker", tmp_path), spec(tmp_path)
    failure = engine.failure(made, 125)
    assert failure is not None
    assert failure.reason.startswith(reason)
    assert engine.failure(made, 1) is None
    made.folder.mkdir()
    (made.folder / "command.cid").write_text("id")
    assert engine.failure(made, 125) is None
