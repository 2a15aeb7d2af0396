"""Mutated WDL and inputs through the command line: an exit code that is documented, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_wdl_ecs import cli
from airflow_wdl_ecs.commands import given_inputs

from .mutations import corpus, mutated, mutated_inputs, nested
from .oracle import limited
from .test_inputs import EXAMPLE, SOURCE

SEED = 1
CASES = 40


def check_command_line(random: Random, texts: list[str], folder: Path) -> int:
    """Run a command on something with mistakes in it, in this process; its exit code.

    ``run`` reads and checks the inputs, and starts nothing (``--json``).
    """
    source, given = folder / "source.wdl", folder / "given.json"
    command = random.choice(("check", "inputs", "run", "run"))
    text = SOURCE if command == "run" and random.random() < 0.8 else mutated(random, texts)
    source.write_bytes(text.encode(errors="surrogatepass"))
    words = [command, str(source)]
    if command == "run":
        values = _as_json(mutated_inputs(random, EXAMPLE))
        if random.random() < 0.4:
            at = random.randrange(len(values) + 1)
            values = values[:at] + random.choice(("", "}", '"', "\0", "\\", "\ud800", ": - [")) + values[at + 1 :]
        given.write_bytes(values.encode(errors="surrogatepass"))
        words += ["--json", "-i", str(given)]
        words += random.choice(
            ([], ["count=x"], ["name=a\nb"], ["nosuch=1"], ["=1"], ["table=[["], ["--none", "count"])
        )
    with limited():
        return cli.main(words)


def _as_json(values: dict[str, Any]) -> str:
    try:
        return json.dumps(values)
    except RecursionError:
        return '{"table": ' + "[" * 5000 + "]" * 5000 + "}"


@pytest.mark.timeout(300)
def test_exit_codes_are_those_that_are_documented(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")  # what nobody foresaw is raised
    random, texts, codes = Random(SEED), corpus(), set()
    for _ in range(CASES):
        codes.add(check_command_line(random, texts, tmp_path))
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        assert "internal error" not in said.err
    assert codes == {0, 2}


def test_json_that_is_too_deep_is_an_error_of_the_caller(tmp_path, capsys):
    (tmp_path / "source.wdl").write_text(SOURCE)
    (tmp_path / "given.json").write_text(_as_json({"table": nested(5000)}))
    assert cli.main(["run", str(tmp_path / "source.wdl"), "--json", "-i", str(tmp_path / "given.json")]) == 2
    assert "nested too deeply" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["~nobody-of-this-name/f", "x" * 5000, "a/" * 3000, "nul\0"])
def test_what_can_be_no_path_is_an_error_of_the_caller(tmp_path, capsys, path):
    (tmp_path / "source.wdl").write_text("version 1.1\nworkflow w { input { File f } }\n")
    assert cli.main(["run", str(tmp_path / "source.wdl"), "--json", f"f={path}"]) == 2
    assert cli.main(["run", str(tmp_path / "source.wdl"), "--json", "-i", path]) == 2
    assert "internal error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        '{"table": [' + "1, " * 1_000_000 + "]",
        "table: &a [*a]\n",
        "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    ],
    ids=["broken and long", "in itself", "a bomb"],
)
def test_inputs_that_take_for_ever_are_refused_soon(tmp_path, capsys, text):
    (tmp_path / "source.wdl").write_text(SOURCE)
    (tmp_path / "given.yaml").write_text(text)
    with limited(20):
        assert cli.main(["run", str(tmp_path / "source.wdl"), "--json", "-i", str(tmp_path / "given.yaml")]) == 2
    assert "not JSON" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["/dev/zero", "-"])
def test_inputs_that_never_end_are_read_to_a_limit(tmp_path, capsys, monkeypatch, given):
    (tmp_path / "source.wdl").write_text(SOURCE)
    monkeypatch.setattr(given_inputs, "LONGEST_JSON", 1_000_000)
    with Path("/dev/zero").open() as endless, limited(20):
        monkeypatch.setattr("sys.stdin", endless)
        assert cli.main(["run", str(tmp_path / "source.wdl"), "--json", "-i", given]) == 2
    assert "more than 1000000 characters" in capsys.readouterr().err
