"""Shared file systems and files that are not staged, on the embedded AWS: what the command really sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.errors import InputsError
from airflow_wdl_ecs.local.endpoint import Endpoint
from airflow_wdl_ecs.run import begin_run, open_run
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .direct import DAG, DirectRunner

pytestmark = pytest.mark.local

MOUNTED = """
version 1.2
workflow w {
  input { File fasta  Directory folder  Array[File] more }
  call count { input: fasta, folder, more }
  output { Int bases = count.bases  File same = count.same  Float disk = size(fasta)  String names = count.names }
}
task count {
  input { File fasta  Directory folder  Array[File] more }
  command <<<
    cat '~{fasta}' ~{sep=" " more} | wc -c
    ls '~{folder}' > names
    [[ ~{fasta} != */inputs/* ]]
  >>>
  output { Int bases = read_int(stdout())  File same = fasta  String names = read_string("names") }
}
"""

LEFT = """
version 1.1
workflow w {
  input { File bam }
  call first { input: bam = bam }
  call second { input: bam = first.same }
  output { String head = second.head  Array[String] named = [first.named, second.named] }
}
task first {
  input { File bam }
  parameter_meta { bam: { localization_optional: true } }
  command <<< echo '~{bam}' >>>
  output { String named = read_string(stdout())  File same = bam }
}
task second {
  input { File bam }
  parameter_meta { bam: { localization_optional: true } }
  command <<< s5cmd cat '~{bam}' | head -c 4 > head; echo '~{bam}'; ls "$PWD/.." > ls; ! grep -q inputs ls >>>
  output { String named = read_string(stdout())  String head = read_string("head") }
}
"""


@pytest.fixture
def file_system(embedded_aws: Endpoint) -> Path:
    """The folder that stands for fs-0a1b2c3d; plain processes see it at its own path only."""
    folder = Path(embedded_aws.container_root).parent / "efs" / "fs-0a1b2c3d" / "genomes"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hg38.fa").write_text("ACGT\n")
    (folder / "hg38.fa.fai").write_text("chr1\n")
    return folder


@pytest.mark.parametrize("kind", ["efs", "host"])
async def test_a_command_reads_what_is_mounted(embedded_aws: Endpoint, file_system: Path, kind: str) -> None:
    source = "efs://fs-0a1b2c3d/genomes" if kind == "efs" else f"host://{file_system}"
    runner = DirectRunner(embedded_aws, mounts={str(file_system): source})
    named = "efs://fs-0a1b2c3d/genomes/hg38.fa" if kind == "efs" else f"{file_system}/hg38.fa"
    staged = f"s3://{embedded_aws.bucket}/mounted/more"
    runner.client("s3").put_object(Bucket=embedded_aws.bucket, Key="mounted/more", Body=b"AC\n")
    given: dict[str, Any] = {"fasta": named, "folder": f"{file_system}/", "more": [staged]}
    run_id = f"mounted-{kind}"
    plan = compile_wdl(MOUNTED)
    begin_run(runner.settings, runner.client, plan, given, dag_id=DAG, run_id=run_id)
    outputs = await runner.run_begun(plan, run_id)
    assert outputs == {"bases": 8, "same": f"{file_system}/hg38.fa", "disk": 0.0, "names": "hg38.fa\nhg38.fa.fai"}
    run = open_run(runner.settings, runner.client, DAG, run_id)
    script = run.store.get(f"{run.store.layout.attempt('count', (), 0)}command.sh") or b""
    assert f"cat '{file_system}/hg38.fa'".encode() in script


def test_what_is_on_no_mount_is_refused_at_the_beginning(embedded_aws: Endpoint) -> None:
    runner = DirectRunner(embedded_aws, mounts={"/refs": "efs://fs-0a1b2c3d/genomes"})
    given = {"fasta": "efs://fs-4e5f6a7b/x", "folder": "/refs/hg38", "more": ["/data/x"]}
    with pytest.raises(InputsError, match="on no file system that tasks see: efs://fs-4e5f6a7b/x") as caught:
        begin_run(runner.settings, runner.client, compile_wdl(MOUNTED), given, dag_id=DAG, run_id="unmounted")
    assert "/refs=efs://fs-0a1b2c3d/genomes" in str(caught.value)
    given["fasta"] = "/refs/x"
    with pytest.raises(InputsError, match="not an s3:// URI of a file: /data/x"):
        begin_run(runner.settings, runner.client, compile_wdl(MOUNTED), given, dag_id=DAG, run_id="unmounted")


async def test_a_file_that_need_not_be_staged_is_read_where_it_is(embedded_aws: Endpoint) -> None:
    runner = DirectRunner(embedded_aws)
    uri = f"s3://{embedded_aws.bucket}/left/x.bam"
    runner.client("s3").put_object(Bucket=embedded_aws.bucket, Key="left/x.bam", Body=b"BAM1 and more")
    outputs = await runner.run(compile_wdl(LEFT), {"bam": uri}, "left")
    assert outputs == {"head": "BAM1", "named": [uri, uri]}
