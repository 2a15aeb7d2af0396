"""The command line without a service: parsing, exit codes, messages, what is imported."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_wdl_ecs import cli
from airflow_wdl_ecs.errors import AuthorError, CallError, InputsError, SettingsError
from airflow_wdl_ecs.input_form import example

WORKFLOW = """
version 1.0
struct Sample { String name  Int? lane  File? reads }
task greet { input { String name } command {} output { String s = name } }
workflow greetings {
  input { String name  Array[Int] xs  Sample sample  Float f = 1.5  File? file }
  call greet { input: name = name }
  output { String s = greet.s }
}
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("greetings.wdl").write_text(WORKFLOW)
    return "greetings.wdl"


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main(words)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_check_prints_positions_and_fails_for_errors_only(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", source, capsys=capsys)[0] == 0
    Path("bad.wdl").write_text(WORKFLOW.replace("name = name", "nom = name"))
    status, out, _ = run("check", source, "bad.wdl", capsys=capsys)
    assert status == 2
    assert "bad.wdl:7:" in out


def test_inputs_prints_what_is_required(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("inputs", source, capsys=capsys)
    assert status == 0
    assert json.loads(out) == {
        "greetings.name": "String",
        "greetings.xs": [42],
        "greetings.sample": {"name": "String"},
    }
    found = json.loads(run("inputs", source, "--all", "--no-namespace", capsys=capsys)[1])
    assert (found["f"], found["file"]) == (1.5, None)


def test_examples_of_compound_types() -> None:
    file = {"type": "string", "format": "file-path"}
    pair = {"type": ["object", "null"], "properties": {"left": file, "right": {"type": "boolean"}}}
    assert example({**pair, "required": ["left", "right"]}) == {"left": "File", "right": False}
    assert example({"type": "object", "additionalProperties": {"type": "array", "items": file}}) == {"key": ["File"]}


def test_the_template_is_taken_by_run(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("inputs.json").write_text(run("inputs", source, capsys=capsys)[1])
    assert run("run", source, "-i", "inputs.json", "--json", capsys=capsys)[0] == 0


def test_inputs_come_together_from_json_and_words(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = '{"greetings.name": "json", "greetings.xs": [9], "greetings.sample": {"name": "s"}}'
    words = ("run", source, "-i", given, "greetings.name=", "word", "xs=1", "--none", "file", "xs=2", "-j")
    status, out, err = run(*words, capsys=capsys)
    assert status == 0, err
    assert json.loads(out) == {
        "greetings.name": "word",
        "greetings.xs": [1, 2],
        "greetings.sample": {"name": "s", "lane": None, "reads": None},
        "greetings.file": None,
    }
    status, out, _ = run("run", source, "-i", given, "--empty", "xs", "--empty", "name", "-j", capsys=capsys)
    assert status == 0
    assert (json.loads(out)["greetings.xs"], json.loads(out)["greetings.name"]) == ([], "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run"], "WORKFLOW.wdl"),
        (["run", "nonesuch.wdl"], "nonesuch.wdl"),
        (["run", "greetings.wdl", "--unknown"], "--unknown"),
        (["run", "greetings.wdl", "-i", "nonesuch.json"], "nonesuch.json"),
        (["run", "greetings.wdl", "-i", "[1]"], "[1]"),
        (["run", "greetings.wdl", "-i", "greetings.wdl"], "not JSON"),
        (["run", "greetings.wdl", "word"], "name=value"),
        (["run", "greetings.wdl", "--empty", "f", "name=x"], "--empty f"),
        (["run", "greetings.wdl", "--task", "nonesuch"], "nonesuch"),
        (["check"], "WORKFLOW.wdl"),
        (["check", "greetings.wdl", "--oops"], "--oops"),
        (["nonesuch"], "nonesuch"),
        ([], "COMMAND"),
        (["local", "dance"], "dance"),
        (["local", "stop", "scheduler"], "takes no component, not 'scheduler'"),
        (["standalone", "--dags", "nonesuch"], "nonesuch"),
        (["generate", "greetings.wdl", "--name", "a/b"], "--name 'a/b'"),
        (["generate", "greetings.wdl", "-o", "greetings.wdl/dags"], "-o greetings.wdl/dags: Not a directory"),
    ],
)
def test_what_the_caller_must_mend_is_said_with_exit_code_2(
    source: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(*words, capsys=capsys)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_all_problems_of_the_inputs_at_once(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run("run", source, "f=much", "nam=x", "sample={}", capsys=capsys)
    assert status == 2
    for said in ("input f: expected Float", "unknown input nam; did you mean name?", "missing input name", "sample"):
        assert said in err
    assert "missing input f" not in err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AuthorError("a"), 2),
        (InputsError("b"), 2),
        (SettingsError("c"), 2),
        (CallError("d"), 1),
        (PermissionError(13, "Permission denied", "somewhere"), 1),
        (TypeError("a mistake of our own"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_are_exit_codes(error: BaseException, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    class Module:
        @staticmethod
        def execute(options: argparse.Namespace) -> int:
            raise error

    assert cli.execute(Module, argparse.Namespace()) == status  # type: ignore[arg-type]
    assert capsys.readouterr().err


def test_what_the_system_refuses_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    class Module:
        @staticmethod
        def execute(options: argparse.Namespace) -> int:
            raise PermissionError(13, "Permission denied", "/some/where")

    assert cli.execute(Module, argparse.Namespace()) == 1  # type: ignore[arg-type]
    assert capsys.readouterr().err == "airflow-wdl-ecs: /some/where: Permission denied\n"


def test_nothing_slow_is_imported_before_it_is_needed(source: str) -> None:
    program = (
        "import sys; from airflow_wdl_ecs.cli import main; "
        f"main(['run', {source!r}, 'name=x', 'xs=1', 'sample={{\"name\": \"s\"}}', '-j']); "
        "import airflow_wdl_ecs.local.client; "
        "slow = {'airflow', 'boto3', 'botocore', 'moto', 'sqlalchemy', 'psutil'} & set(sys.modules); "
        "sys.exit(f'imported: {slow}' if slow else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_airflow_takes_the_same_commands(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    from airflow.cli.cli_parser import _add_command

    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    (group,) = cli.airflow_commands()
    _add_command(subparsers, group)
    options = parser.parse_args(["wdl", "run", source, "name=airflow", "xs=1", 'sample={"name": "s"}', "-j"])
    with pytest.raises(SystemExit) as ended:
        options.func(options)
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["greetings.name"] == "airflow"
    assert {command.name for command in group.subcommands} == set(cli.COMMANDS)
