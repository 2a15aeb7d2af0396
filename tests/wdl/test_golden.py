"""What the compiler makes of each folder in tests/golden, compared with what is kept there.

`pytest tests/wdl/test_golden.py --refresh-golden` writes the answers anew; read the difference before it is committed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_wdl_ecs.errors import AuthorError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.lower import compile_wdl

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = sorted(folder.name for folder in GOLDEN.iterdir() if (folder / "source.wdl").exists())


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, refresh_golden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = GOLDEN / case
    monkeypatch.chdir(folder)
    try:
        found = {"plan.json": compile_wdl("source.wdl").to_json(indent=1).decode() + "\n"}
    except AuthorError as error:
        found = {"error.txt": f"{error}\n"}
    if refresh_golden:
        for name in ("plan.json", "error.txt"):
            (folder / name).unlink(missing_ok=True)
        for name, text in found.items():
            (folder / name).write_text(text)
    kept = {name: (folder / name).read_text() for name in ("plan.json", "error.txt") if (folder / name).exists()}
    assert found == kept


def test_the_cases_that_must_fail_are_those_named_so() -> None:
    failing = {folder.name for folder in GOLDEN.iterdir() if (folder / "error.txt").exists()}
    assert failing == {case for case in CASES if case.startswith("error_")}


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("error_")])
def test_a_plan_comes_back_from_its_json(case: str) -> None:
    text = (GOLDEN / case / "plan.json").read_text()
    plan = Plan.from_json(text)
    assert json.loads(plan.to_json()) == json.loads(text)
