"""A published germline workflow over reads of NA12878 gives what its commands give by hand, file by file.

The workflow runs unmodified, through a generated DAG on a real Airflow: from the command line, and as the DAG file that
``generate`` writes. On the embedded ECS the commands are processes of this machine, with its tools in place of those of
the images that the workflow names.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_wdl_ecs.local.airflow_home import AirflowHome

from ..faults.embedded_airflow import EmbeddedAirflow, WorkflowRun
from .conftest import CHROMOSOMES, EXAMPLES, SAMPLE, CommandLine, Sample, bash
from .published import IMAGES
from .vcf import read_vcf

pytestmark = [pytest.mark.science, pytest.mark.local, pytest.mark.airflow]

LIMIT = 240.0
SITES = 12_000
"""Of the reference's 12,356 bases nearly all have reads, and so a record."""


def test_the_variants_by_hand_are_those_that_are_known_of_the_person(by_hand: Path) -> None:
    known = read_vcf(EXAMPLES / "NA12878.chr22.tiny.giab.vcf")
    called = [variant for region in CHROMOSOMES for variant in read_vcf(vcf_of(by_hand, region)).variants()]
    # The consortium's file has no indels here; bcftools calls some, in short repeats.
    substitutions = [(c, p, ref, alt, gt) for c, p, ref, alt, gt in called if len(ref) == len(alt) == 1]
    assert substitutions == list(known.variants())
    assert len(substitutions) == 14


def test_from_the_command_line(cli: CommandLine, workflow: Path, sample: Sample, by_hand: Path) -> None:
    (cli.folder / "inputs.json").write_text(json.dumps(sample.inputs(str(sample.folder))))
    found = cli("run", workflow, "-i", "inputs.json").outputs
    same_as(by_hand, {name.removeprefix("simple_variant_call."): found[name] for name in found})


def test_as_a_compiled_dag_file(
    cli: CommandLine,
    embedded_home: Path,
    workflow: Path,
    sample: Sample,
    by_hand: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = cli("generate", workflow, "-o", "dags")
    assert made.status == 0, made.err
    files = {path.name: path.read_text() for path in (cli.folder / "dags").iterdir()}
    assert set(files) == {"simple_variant_call.py", "simple_variant_call.plan.json"}
    assert all(image in files["simple_variant_call.plan.json"] for image in IMAGES)

    monkeypatch.setenv("AIRFLOW_WDL_ECS_CONTAINERS", "plain")
    airflow = EmbeddedAirflow(AirflowHome(embedded_home), cli.folder)
    airflow.start()
    for path in sample.folder.iterdir():
        airflow.boto("s3").upload_file(str(path), airflow.aws.bucket, f"science/{path.name}")
    inputs = sample.inputs(f"s3://{airflow.aws.bucket}/science")
    airflow.service.ask("submit", dag_id="simple_variant_call", run_id="by_dag", files=files, inputs=inputs)
    run = WorkflowRun(airflow, "simple_variant_call", "by_dag", cli.folder)
    assert run.ended(LIMIT) == "success"
    # One task instance for each call, and one for each chromosome in the scatter.
    shards = {index for name, index in run.instances() if name.rpartition(".")[2] == "bcftools_call"}
    assert shards == set(range(len(CHROMOSOMES)))
    outputs = airflow.api("GET", f"{run.path}/taskInstances/outputs/xcomEntries/return_value?deserialize=true")["value"]
    same_as(by_hand, fetched(airflow, outputs, cli.folder))


def same_as(by_hand: Path, outputs: dict[str, Any]) -> None:
    """The workflow's outputs are the files that were made by hand.

    :param outputs: the workflow's outputs, as local paths.
    """
    assert set(outputs) == {"bam_file", "bai_file", "vcf_files"}
    # The BAM file's header has the commands' paths; its records are compared as they are.
    records = [bash(f"samtools view {bam}", by_hand) for bam in (by_hand / f"{SAMPLE}.bam", outputs["bam_file"])]
    assert len(records[0].splitlines()) > 3000
    assert records[0] == records[1]
    assert [Path(path).name for path in outputs["vcf_files"]] == [vcf_of(by_hand, r).name for r in CHROMOSOMES]
    sites = 0
    for region, path in zip(CHROMOSOMES, map(Path, outputs["vcf_files"]), strict=True):
        assert gzip.decompress(path.read_bytes()).startswith(b"##fileformat=VCF")
        wanted, found = read_vcf(vcf_of(by_hand, region)), read_vcf(path)
        assert found.header == wanted.header
        assert found.body == wanted.body
        sites += len(found.body) - 1
    assert sites > SITES


def vcf_of(folder: Path, region: str) -> Path:
    """The VCF file that was made by hand of a region."""
    return folder / f"{SAMPLE}.{region}.vcf.gz"


def fetched(airflow: EmbeddedAirflow, outputs: Any, folder: Path) -> Any:
    """Outputs with local paths in place of their ``s3://`` URIs."""
    if isinstance(outputs, dict):
        return {name: fetched(airflow, value, folder) for name, value in outputs.items()}
    if isinstance(outputs, list):
        return [fetched(airflow, value, folder) for value in outputs]
    bucket, _, key = str(outputs).removeprefix("s3://").partition("/")
    path = folder / "fetched" / Path(key).name
    path.parent.mkdir(exist_ok=True)
    airflow.boto("s3").download_file(bucket, key, str(path))
    return str(path)
