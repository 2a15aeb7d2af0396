"""Which container way is chosen."""

from __future__ import annotations

from functools import partial

import pytest

from airflow_wdl_ecs.local.containers import ContainerWayError
from airflow_wdl_ecs.local.probe import PROBES, choose
from airflow_wdl_ecs.local.server import parse_arguments


def probes(**problems: str | None) -> dict[str, object]:
    return {name: partial(problems.get, name) for name in PROBES}


@pytest.mark.parametrize(
    ("problems", "chosen"),
    [
        ({}, "docker"),
        ({"docker": "no daemon"}, "podman"),
        ({"docker": "-", "podman": "-"}, "bwrap"),
        ({"docker": "-", "podman": "-", "bwrap": "no namespaces"}, "plain"),
    ],
)
def test_the_first_that_works(problems: dict[str, str], chosen: str) -> None:
    assert choose("auto", probes(**problems)) == chosen  # type: ignore[arg-type]


def test_what_is_asked_for_is_taken_or_refused() -> None:
    assert choose("plain", probes(plain=None)) == "plain"  # type: ignore[arg-type]
    with pytest.raises(ContainerWayError, match="bwrap here: no namespaces"):
        choose("bwrap", probes(bwrap="no namespaces"))  # type: ignore[arg-type]


def test_the_environment_chooses_and_the_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_WDL_ECS_CONTAINERS", "bwrap")
    assert parse_arguments(["--state", "x"]).containers == "bwrap"
    assert parse_arguments(["--state", "x", "--containers", "plain"]).containers == "plain"
    monkeypatch.setenv("AIRFLOW_WDL_ECS_CONTAINERS", "nonsense")
    with pytest.raises(SystemExit):
        parse_arguments(["--state", "x"])
