"""Every file of ``dags/``: it loads in a plain Airflow, it is light, and its plan is that of its WDL."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from airflow_wdl_ecs.errors import AuthorError
from airflow_wdl_ecs.plan import load_plan
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .airflow_home import bags, dag_serialization
from .test_dag import edges

DAGS = Path(__file__).parent.parent / "dags"
FILES = sorted(DAGS.glob("*.py"))
PLANS = sorted(DAGS.glob("*.plan.json"))

HEAVY = ("WDL", "boto3", "botocore", "aiobotocore", "moto", "airflow_wdl_ecs.lifecycle", "airflow_wdl_ecs.local")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_loads_and_survives_serialisation(path):
    bag = bags()[0](dag_folder=path, collect_dags=False)
    bag.process_file(str(path))
    assert not bag.import_errors
    (dag,) = bag.dags.values()
    assert dag.fileloc == str(path)
    serialization = dag_serialization()
    again = serialization.from_dict(serialization.to_dict(dag))
    assert edges(again) == edges(dag)
    assert set(again.task_group_dict) == set(dag.task_group_dict)
    for task in dag.tasks:
        assert [asset.uri for asset in again.get_task(task.task_id).outlets] == [asset.uri for asset in task.outlets]


@pytest.mark.parametrize("plan", ['Path(__file__).with_name("hello.plan.json")', '"hello.plan.json"'])
def test_airflow_loads_one_from_a_zip_archive_with_its_plan(tmp_path, plan):
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        source = (DAGS / "hello.py").read_text().replace('Path(__file__).with_name("hello.plan.json")', plan)
        archive.writestr("packed_hello.py", source)
        archive.write(DAGS / "hello.plan.json", "hello.plan.json")
    bag = bags()[0](dag_folder=packed, collect_dags=False)
    bag.process_file(str(packed))
    assert not bag.import_errors
    assert list(bag.dags) == ["hello"]


@pytest.mark.parametrize(("content", "says"), [("zip", "no such file in .*p.zip"), ("text", "Not a directory")])
def test_a_plan_that_is_not_in_its_archive_is_the_authors_error(tmp_path, content, says):
    packed = tmp_path / "p.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x", "y")
    if content == "text":
        packed.write_text("no archive")
    with pytest.raises(AuthorError, match=says):
        load_plan(packed / "hello.plan.json")


def test_a_plan_that_is_no_utf8_is_the_authors_error(tmp_path):
    path = tmp_path / "hello.plan.json"
    path.write_bytes((DAGS / "hello.plan.json").read_bytes().replace(b"hello", b"h\xffllo"))
    with pytest.raises(AuthorError, match="not a compiled workflow"):
        load_plan(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_takes_less_than_a_second_and_imports_nothing_heavy(path):
    """Seconds of this process alone, beside what Airflow itself takes: the machine may be busy."""
    code = (
        "import runpy, sys, time\nfrom airflow.sdk import DAG\nbefore, begun = set(sys.modules), time.process_time()\n"
        f"runpy.run_path({str(path)!r})\nprint(time.process_time() - begun, *sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    seconds, *loaded = done.stdout.splitlines()[-1].split()
    assert float(seconds) < 1
    assert "airflow_wdl_ecs.operators" in loaded
    assert [name for name in loaded if name.startswith(HEAVY)] == []


HASH = """
import runpy, sys
from airflow.models.serialized_dag import SerializedDagModel
from tests.airflow_home import dag_serialization
for path in sys.argv[1:]:
    print(SerializedDagModel.hash(dag_serialization().to_dict(runpy.run_path(path)["dag"])))
"""


def test_every_process_makes_the_same_dag():
    """Airflow makes a new version of a DAG whenever what it serialises to has changed."""

    def hashes(seed: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", HASH, *map(str, FILES)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(DAGS.parent)},
            check=True,
        )
        return done.stdout.splitlines()[-len(FILES) :]

    assert hashes("1") == hashes("2")


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.name)
def test_its_plan_is_that_of_its_source(path):
    source = DAGS / "wdl" / f"{path.name.removesuffix('.plan.json')}.wdl"
    fresh, kept = compile_wdl(source), load_plan(path)
    assert [call.id for call in kept.calls] == [call.id for call in fresh.calls]
    assert kept.source == fresh.source, f"generate it again: airflow-wdl-ecs generate {source.name} -o dags/"
    assert kept.tasks == {
        key: msgspec.structs.replace(task, position=kept.tasks[key].position) for key, task in fresh.tasks.items()
    }
