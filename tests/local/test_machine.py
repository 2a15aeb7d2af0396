"""What the doctor looks at of this machine before the embedded Airflow is started."""

from __future__ import annotations

import importlib.util
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.doctor.findings import Finding, examine
from airflow_wdl_ecs.local import machine, probe
from airflow_wdl_ecs.local.airflow_home import AirflowHome

Usage = namedtuple("Usage", "total used free")


def looked(home: Path, **environment: str) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(machine.machine_checks(AirflowHome(home), environment))}


@pytest.fixture
def nothing_better(monkeypatch: pytest.MonkeyPatch) -> None:
    probes: dict[str, Any] = {name: lambda name=name: f"there is no {name}" for name in ("docker", "podman", "bwrap")}
    monkeypatch.setattr(probe, "PROBES", {**probes, "plain": lambda: None})
    monkeypatch.setattr(probe.choose, "__defaults__", (probe.PROBES,))


def test_a_machine_that_has_everything(tmp_path: Path, nothing_better: None) -> None:
    found = looked(tmp_path / "home")
    assert {name: finding.verdict for name, finding in found.items()} == dict.fromkeys(found, "ok")
    assert list(found) == ["installed", "containers", "disk"]
    assert "moto" in found["installed"].found
    assert "plain processes" in found["containers"].found
    assert "bwrap: there is no bwrap" in found["containers"].found
    assert "GiB free" in found["disk"].found
    assert not list((tmp_path / "home").glob(".doctor*"))


def test_without_the_local_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "moto" else find(name, *rest))
    found = looked(tmp_path)
    assert found["installed"].verdict == "problem"
    assert "airflow-wdl-ecs[local]" in found["installed"].mend
    assert found["containers"].verdict == "skipped"
    assert found["disk"].verdict == "ok"


def test_without_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name == "s5cmd" else f"/bin/{name}")
    found = looked(tmp_path)["installed"]
    assert (found.verdict, found.found) == ("problem", "not on the PATH: s5cmd")


@pytest.mark.parametrize(("wanted", "says"), [("chroot", "is chroot"), ("bwrap", "there is no bwrap")])
def test_a_container_way_that_does_not_work(tmp_path: Path, nothing_better: None, wanted: str, says: str) -> None:
    found = looked(tmp_path, AIRFLOW_WDL_ECS_CONTAINERS=wanted)["containers"]
    assert found.verdict == "problem"
    assert says in found.found
    assert "AIRFLOW_WDL_ECS_CONTAINERS" in found.found + found.mend


def test_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, 300 << 20))
    found = looked(tmp_path)["disk"]
    assert found.verdict == "problem"
    assert "0.3 GiB free" in found.found
    assert "AIRFLOW_WDL_ECS_HOME" in found.mend


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = looked(tmp_path / "file" / "home")["disk"]
    assert found.verdict == "problem"
    assert "cannot be written" in found.found
