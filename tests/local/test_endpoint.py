"""Finding, starting and stopping the embedded AWS."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from airflow_wdl_ecs.errors import SettingsError
from airflow_wdl_ecs.local.endpoint import Endpoint, read_endpoint, start_server, stop_server, write_endpoint
from airflow_wdl_ecs.local.server import container_root

ENDPOINT = Endpoint(
    pid=1,
    port=1,
    url="http://127.0.0.1:1",
    nonce="n",
    access_key="A",
    secret_key="S",
    region="us-east-1",
    containers="plain",
    container_root="/c",
    bucket="wdl",
    cluster="wdl",
    log_group="/wdl",
)


def test_the_file_is_for_this_user_alone(tmp_path: Path) -> None:
    write_endpoint(tmp_path, ENDPOINT)
    assert stat.S_IMODE((tmp_path / "aws.json").stat().st_mode) == 0o600
    assert Endpoint(**json.loads((tmp_path / "aws.json").read_text())) == ENDPOINT
    assert [path.name for path in tmp_path.iterdir()] == ["aws.json"]


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({**asdict(ENDPOINT), "more": 1})])
def test_a_file_that_is_none_is_no_endpoint(tmp_path: Path, text: str) -> None:
    assert read_endpoint(tmp_path) is None
    (tmp_path / "aws.json").write_text(text)
    assert read_endpoint(tmp_path) is None


def test_importing_it_is_cheap() -> None:
    heavy = "[name for name in ('moto', 'boto3', 'airflow') if name in sys.modules]"
    script = f"import sys, airflow_wdl_ecs.local.endpoint; print({heavy})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_container_root_is_short_and_without_blanks(tmp_path: Path) -> None:
    assert container_root(Path("/home/me/.wdl")) == Path("/home/me/.wdl/c")
    for awkward in (Path("/home/me/my files"), Path("/" + "long/" * 30)):
        root = container_root(awkward)
        assert len(str(root)) < 80
        assert " " not in str(root)
        assert root == container_root(awkward) != container_root(awkward / "other")


@pytest.mark.local
def test_an_endpoint_answers_only_to_its_own_nonce(embedded_aws: Endpoint, tmp_path: Path) -> None:
    write_endpoint(tmp_path, embedded_aws)
    assert read_endpoint(tmp_path) == embedded_aws
    write_endpoint(tmp_path, replace(embedded_aws, nonce="other"))
    assert read_endpoint(tmp_path) is None


@pytest.mark.local
def test_many_who_start_it_at_once_get_one(tmp_path: Path) -> None:
    state = tmp_path / "with blank"
    try:
        with ThreadPoolExecutor(4) as pool:
            endpoints = set(pool.map(lambda _: start_server(state, containers="plain"), range(4)))
        (endpoint,) = endpoints
        assert os.getpgid(endpoint.pid) == endpoint.pid
        assert " " not in endpoint.container_root
        assert stat.S_IMODE(Path(endpoint.container_root).stat().st_mode) == 0o700
        second = subprocess.run(
            [sys.executable, "-m", "airflow_wdl_ecs.local.server", "--state", str(state)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode != 0
        assert "already runs" in second.stderr
    finally:
        stop_server(state)


@pytest.mark.local
def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unrecognized arguments: --nonsense"):
        start_server(tmp_path, options=("--nonsense",))
