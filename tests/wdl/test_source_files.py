"""Files beside a source: which are found, what of them the plan carries, and what their paths become in a run."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from memory_files import MemoryFiles

from airflow_wdl_ecs.errors import AuthorError, EvaluationError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.beside import LARGEST, Beside
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.task_evaluation import TaskEvaluation
from airflow_wdl_ecs.wdl.workflow_evaluation import WorkflowEvaluation

FOLDER = "s3://b/run/source/"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_wdl", ".wdl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def carried(plan: Plan) -> dict[str, str | None]:
    return {path: data and base64.b64decode(data).decode() for path, data in plan.files.items()}


def test_a_plan_carries_what_its_declarations_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        data__one="1",
        data__two="2",
        data__three="3",
        folder__deep__four="4",
        bound="5",
        default="6",
        unused="7",
        text="8",
        of_a_task="9",
        of_outputs="10",
        main_wdl="""
            version 1.2
            task t {
                input { File x  File y = "default" }
                File z = "of_a_task"
                command <<< true >>>
                output { File made = "unused" }
            }
            workflow w {
                input { Array[File] listed = ["data/one", "./data/two"] }
                Directory folder = "folder"
                String text = "text"
                File elsewhere = "nowhere"
                String read = read_string("data/three")
                call t { input: x = "bound" }
                output { String out = read  File of_outputs = "of_outputs" }
            }
        """,
    )
    assert carried(compile_wdl(tmp_path / "main.wdl")) == {
        "bound": "5",
        "data/one": "1",
        "data/three": "3",
        "data/two": "2",
        "default": "6",
        "folder/deep/four": "4",
        "of_a_task": "9",
        "of_outputs": "10",
    }


def test_before_1_2_a_task_names_files_of_its_container(tmp_path: Path) -> None:
    source = 'version 1.1\ntask t { File x = "one" command <<< true >>> }\nworkflow w { File y = "two" call t }\n'
    write(tmp_path, one="1", two="2", main_wdl=source)
    assert carried(compile_wdl(tmp_path / "main.wdl")) == {"two": "2"}


def test_nothing_outside_the_folder_of_the_source_is_carried(tmp_path: Path) -> None:
    write(tmp_path, secret="s", flow__main_wdl='version 1.2\nworkflow w { File x = "../secret"  File y = "link" }\n')
    (tmp_path / "flow" / "link").symlink_to(tmp_path / "secret")
    assert compile_wdl(tmp_path / "flow" / "main.wdl").files == {}


def test_an_import_names_files_beside_itself(tmp_path: Path) -> None:
    imported = 'version 1.2\nworkflow inner { File x = "data"  output { String text = read_string(x) } }\n'
    main = 'version 1.2\nimport "lib/inner.wdl" as lib\nworkflow w { call lib.inner }\n'
    write(tmp_path, lib__inner_wdl=imported, lib__data="of the library", main_wdl=main)
    assert carried(compile_wdl(tmp_path / "main.wdl")) == {"data": "of the library"}
    write(tmp_path, data="another", main_wdl=main.replace("call", 'File x = "data"  call'))
    with pytest.raises(AuthorError, match="'data' is another file here"):
        compile_wdl(tmp_path / "main.wdl")


def test_a_large_file_has_to_be_an_input(tmp_path: Path) -> None:
    write(tmp_path, large="x" * (LARGEST + 1), main_wdl='version 1.2\nworkflow w { File x = "large" }\n')
    plan = compile_wdl(tmp_path / "main.wdl")
    assert plan.files == {"large": None}
    evaluation = WorkflowEvaluation(plan, {}, MemoryFiles(), lambda call, shard: None, Beside(plan.files, FOLDER))
    with pytest.raises(EvaluationError, match=r"'large', beside the WDL source, is larger") as caught:
        evaluation.outputs()
    assert caught.value.hint == "Give it as an input."


def test_a_path_is_the_uri_at_which_the_run_keeps_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        data__one="first",
        data__two="second",
        main_wdl="""
            version 1.2
            task t {
                input { File x }
                Directory d = "data"
                Boolean same = d == "data"
                File joined = join_paths("elsewhere", "../data/one")
                command <<< cat ~{x} ~{d}/two ~{read_string("data/two")} ~{joined} ~{same} >>>
            }
            workflow w {
                input { File one = "data/one" }
                Directory d = "data"
                Array[File] files = [one, "data/../data/two"]
                Map[File, Int] numbers = {"data/one": 1}
                call t { input: x = "data/one" }
                output {
                    String text = read_string(one) + read_string("data/two")
                    Array[File] all = files
                    Directory folder = d
                    Float bytes = size(d)
                    Boolean same = one == "data/one" && d == "data" && one != "data/two" && contains(files, "data/two")
                    Int number = numbers["data/one"]
                }
            }
        """,
    )
    plan = compile_wdl(tmp_path / "main.wdl")
    files = MemoryFiles({f"{FOLDER}data/one": "first", f"{FOLDER}data/two": "second"})
    beside = Beside(plan.files, FOLDER)
    evaluation = WorkflowEvaluation(plan, {}, files, lambda call, shard: {}, beside)
    assert evaluation.outputs() == {
        "text": "firstsecond",
        "all": [f"{FOLDER}data/one", f"{FOLDER}data/two"],
        "folder": f"{FOLDER}data",
        "bytes": 11.0,
        "same": True,
        "number": 1,
    }
    inputs = evaluation.call_inputs("t", ())
    assert inputs == {"x": f"{FOLDER}data/one"}
    task = TaskEvaluation(plan.tasks["t"], inputs, folder="/wdl/a", files=files, beside=beside)
    one, folder = task.stage_in
    assert (one.uri, folder.uri, folder.directory) == (f"{FOLDER}data/one", f"{FOLDER}data/", True)
    assert task.command().strip() == f"cat {one.path} {folder.path}/two second {folder.path}/one true"


def test_an_input_of_the_run_is_no_path_of_the_source(tmp_path: Path) -> None:
    write(
        tmp_path, data="beside", main_wdl='version 1.2\nworkflow w { input { File x = "data" } output { File y = x } }'
    )
    plan = compile_wdl(tmp_path / "main.wdl")
    given = WorkflowEvaluation(plan, {"x": "s3://b/data"}, MemoryFiles(), lambda c, s: None, Beside(plan.files, FOLDER))
    assert given.outputs() == {"y": "s3://b/data"}


def test_an_optional_file_that_is_not_there_is_none_from_1_2_on() -> None:
    text = """
        version {version}
        task t {{
            File? gone = "data/gone"
            command <<< ~{{defined(gone)}} >>>
        }}
        workflow w {{
            File? gone = "data/gone"
            Array[File?] some = ["data/gone", "s3://b/x"]
            call t
            output {{ Boolean there = defined(gone)  Array[Boolean] which = [defined(some[0]), defined(some[1])] }}
        }}
    """
    for version, there in (("1.1", True), ("1.2", False)):
        plan = compile_wdl(text.format(version=version))
        evaluation = WorkflowEvaluation(plan, {}, MemoryFiles(), lambda call, shard: {})
        assert evaluation.outputs() == {"there": there, "which": [there, True]}
        task = TaskEvaluation(plan.tasks["t"], {}, folder="/wdl/a", files=MemoryFiles())
        assert task.command().strip() == str(there).lower()
