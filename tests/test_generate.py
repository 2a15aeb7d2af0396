"""The files that ``generate`` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_wdl_ecs.errors import InputsError
from airflow_wdl_ecs.generate import dag_file, write_dag
from airflow_wdl_ecs.plan import Plan, load_plan
from airflow_wdl_ecs.wdl.lower import compile_wdl

SOURCE = """
version 1.0
task greet { input { String name } command <<< echo "{}" '%s' >>> }
workflow hello { input { String name } call greet { input: name } }
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "hello.wdl").write_text(SOURCE.replace("input: name }", "input: name = name }"))
    return compile_wdl(tmp_path / "hello.wdl")


def test_the_plan_is_rewritten_and_the_dag_file_is_kept(plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "dags" / "wdl"
    written = write_dag(plan, folder)
    assert written == {folder / "hello.plan.json": True, folder / "hello.py": True}
    assert load_plan(folder / "hello.plan.json") == plan
    (folder / "hello.py").write_text("# mine\n")
    (folder / "hello.plan.json").write_text("{}")
    assert write_dag(plan, folder) == {folder / "hello.plan.json": True, folder / "hello.py": False}
    assert (folder / "hello.py").read_text() == "# mine\n"
    assert load_plan(folder / "hello.plan.json") == plan


def test_a_generated_plan_is_for_people_to_read_and_to_compare(plan: Plan, tmp_path: Path) -> None:
    write_dag(plan, tmp_path)
    text = (tmp_path / "hello.plan.json").read_text()
    assert text.endswith("}\n")
    assert len(text.splitlines()) > 10
    assert json.loads(text)["name"] == "hello"


def test_the_dag_file_defines_the_dag_wherever_it_is_read(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dag(plan, tmp_path, name="greetings", dag_id="my-dag")
    monkeypatch.chdir("/")
    path = tmp_path / "greetings.py"
    scope: dict[str, object] = {"__file__": str(path)}
    exec(compile(path.read_text(), path, "exec"), scope)
    dag = scope["dag"]
    assert dag.dag_id == "my-dag"  # type: ignore[attr-defined]
    assert "greet" in dag.task_ids  # type: ignore[attr-defined]


def test_the_comments_of_a_dag_file_are_python_once_they_are_not_comments(plan: Plan) -> None:
    text = dag_file(plan, plan_name="hello.plan.json", dag_id="hello")
    for line in text.splitlines():
        if line.startswith("    # settings=") or line.startswith("    # call_args="):
            option = line.removeprefix("    # ").partition(", for ")[0]
            compile(f"f({option})", "option", "eval")


@pytest.mark.parametrize("name", ["a/b", "../up", "", " x", "a\nb", "-x"])
def test_names_that_airflow_or_a_folder_would_refuse(plan: Plan, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputsError):
        write_dag(plan, tmp_path, name=name or "/", dag_id=name or "/")
