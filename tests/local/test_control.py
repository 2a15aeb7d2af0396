"""What the service does with the runs of command lines; Airflow itself is stood in for."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_wdl_ecs.local import control as module
from airflow_wdl_ecs.local.airflow_home import AirflowHome
from airflow_wdl_ecs.local.control import CLAIM_LIMIT, Control
from airflow_wdl_ecs.local.runs import Snapshot


class Runs:
    """Airflow's side: what was triggered and stopped."""

    def __init__(self) -> None:
        self.triggered: list[str] = []
        self.stopped: list[str] = []

    def register(self, folder: Path, dag_id: str, files: dict[str, str]) -> None:
        """Nothing."""

    def trigger(self, dag_id: str, run_id: str, conf: object) -> None:
        self.triggered.append(f"{dag_id}/{run_id}")

    def stop(self, dag_id: str, run_id: str) -> bool:
        self.stopped.append(f"{dag_id}/{run_id}")
        return True

    def look(self, dag_id: str, run_id: str) -> Snapshot:
        return Snapshot("success")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    found = Runs()
    monkeypatch.setattr(module, "runs", found)
    return found


@pytest.fixture
def control(tmp_path: Path, runs: Runs) -> Control:
    return Control(AirflowHome(tmp_path), "token", idle=None)


def submitted(control: Control, run_id: str, *, owned: bool) -> float:
    """Submit a run; the time by which it counts as nobody's."""
    list(control.on_submit("d", run_id, {}, {}, owned))
    return next(iter(control._unclaimed.values()), 0.0) + CLAIM_LIMIT + 0.1


def test_a_run_whose_command_line_is_gone_before_it_watches_is_stopped_once(control: Control, runs: Runs) -> None:
    late = submitted(control, "r", owned=True)
    control.stop_unclaimed(late - 1)
    assert runs.stopped == []
    control.stop_unclaimed(late)
    control.stop_unclaimed(late + 100)
    assert runs.triggered == runs.stopped == ["d/r"]


def test_a_run_that_is_watched_or_nobodys_own_goes_on(control: Control, runs: Runs) -> None:
    late = submitted(control, "mine", owned=True)
    assert list(control.on_watch("d", "mine", True, lambda: False)) == [{"state": "success"}]
    submitted(control, "others", owned=False)
    control.stop_unclaimed(late + 100)
    assert runs.stopped == []
