"""Publishing end to end: a run of the command line, whose real Airflow publishes to the embedded S3."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from airflow_wdl_ecs.local.endpoint import read_endpoint

from .conftest import CommandLine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SOURCE = """
version development
task count {
  input { String sample  Int lane }
  command <<<
    echo "~{sample} ~{lane}" > reads.txt
    mkdir -p qc/plots; echo plot > qc/plots/a.txt
  >>>
  output { File reads = "reads.txt"  Directory qc = "qc" }
}
workflow cohort {
  input { String sample  String? api_token }
  scatter (lane in range(3)) { call count { input: sample = sample, lane = lane } }
  output {
    Array[File] reads = count.reads
    File first = count.reads[0]
    Directory qc = count.qc[0]
    String note = "with ~{api_token}"
  }
}
"""


def objects(cli: CommandLine, prefix: str) -> dict[str, bytes]:
    """The objects below a prefix of the embedded S3's bucket, by what follows it."""
    endpoint = read_endpoint(cli.home / "aws")
    assert endpoint is not None
    s3: Any = boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
    )
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="wdl", Prefix=prefix).get("Contents", [])]
    return {key.removeprefix(prefix): s3.get_object(Bucket="wdl", Key=key)["Body"].read() for key in keys}


def test_a_run_publishes_its_outputs_under_the_names_that_it_is_given(cli: CommandLine) -> None:
    words = ("sample=NA1", "api_token=hunter22", "--publish-to", "s3://wdl/lab/{workflow}/{input.sample}/{run_id}")
    names = ("--publish-name", "reads=fq/{input.sample}.{shard}{suffix}", "--publish-name", "first={output}{suffix}")
    found = cli.run_wdl(SOURCE, *words, *names).json
    folder = f"s3://wdl/lab/cohort/NA1/{found['run_id']}/"
    assert found["published"] == f"{folder}outputs.json"
    # Here they are as ever.
    assert Path(found["outputs"]["cohort.first"]).read_text() == "NA1 0\n"
    there = objects(cli, folder.removeprefix("s3://wdl/"))
    files = {name: body for name, body in there.items() if not name.endswith((".json", "checksums.txt"))}
    assert files == {
        "fq/NA1.0.txt": b"NA1 0\n",
        "fq/NA1.1.txt": b"NA1 1\n",
        "fq/NA1.2.txt": b"NA1 2\n",
        "first.txt": b"NA1 0\n",
        "qc/qc/plots/a.txt": b"plot\n",
    }
    assert json.loads(there["outputs.json"]) == {
        "cohort.reads": [f"{folder}fq/NA1.{lane}.txt" for lane in range(3)],
        "cohort.first": f"{folder}first.txt",
        "cohort.qc": f"{folder}qc/qc",
        "cohort.note": "with ***",
    }
    told = dict(reversed(line.split("  ", 1)) for line in there["checksums.txt"].decode().splitlines())
    assert told == {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    manifest = json.loads(there["manifest.json"])
    assert (manifest["run_id"], len(manifest["files"])) == (found["run_id"], 5)
    assert b"hunter22" not in b"".join(there.values())
    report = cli("report", f"{found['dag_id']}/{found['run_id']}")
    assert f"published  {folder}outputs.json" in report.out


def test_a_bucket_that_is_not_there_stops_a_run_before_it_has_begun(cli: CommandLine) -> None:
    result = cli.run_wdl(SOURCE, "sample=NA1", "--publish-to", "s3://no-such-bucket/x")
    assert result.status == 1
    assert "make the bucket no-such-bucket, or change publish_to" in result.err
    assert "call count[0]: running" not in result.err
