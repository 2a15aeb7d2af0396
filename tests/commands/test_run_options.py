"""The words of ``run`` that say something of the run itself: its publishing, its call cache, its tags."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.cli import main
from airflow_wdl_ecs.commands.run_options import RUN_OPTIONS, run_options
from airflow_wdl_ecs.errors import InputsError


def read(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    for option in RUN_OPTIONS:
        option.add_to(parser)
    return run_options(parser.parse_args(words))


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["--cache"], {"call-cache": "on"}),
        (["--cache", "--no-cache"], {"call-cache": "off"}),
        (["--refresh-cache"], {"call-cache": "refresh"}),
        (
            ["--tag", "team=a", "--tag", "cost = 1=2", "--tag", "team=b", "--tag", "empty="],
            {"wdl-tags": {"team": "b", "cost": "1=2", "empty": ""}},
        ),
        (
            ["--publish-to", "s3://wdl/x", "--publish-mode", "link", "--publish-name", "bam={name}"],
            {"publish-to": "s3://wdl/x", "publish-mode": "link", "publish-names": {"bam": "{name}"}},
        ),
    ],
)
def test_words_are_the_options_of_the_run(words: list[str], given: dict[str, Any]) -> None:
    assert read(*words) == given


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--publish-to", "results"], "s3://BUCKET/PREFIX/\n-d DIR puts outputs into a folder of this machine"),
        (["--publish-mode", "link"], "--publish-to has to say where"),
        (["--publish-to", "s3://wdl/x", "--publish-name", "bam"], "--publish-name bam: expected OUTPUT=NAME"),
        (["--publish-to", "s3://wdl/x", "--publish-name", "bam="], "--publish-name bam=: expected OUTPUT=NAME"),
        (["--tag", "team"], "--tag team: not KEY=VALUE"),
        (["--tag", "wdl:run=x"], "keys that begin with wdl: are this package's own"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wf.wdl").write_text("version 1.1\nworkflow wf { output { Int n = 1 } }\n")
    assert main(["run", "wf.wdl", *words]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["wf.wdl"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputsError) as raised:
        read("--tag", "team", "--tag", "aws:x=1", "--publish-name", "bam")
    assert [problem.message.split(":")[0] for problem in raised.value.problems] == [
        "--publish-name bam",
        "--tag team",
        "tag 'aws",
        "--publish-name and --publish-mode say how to publish",
    ]
