"""A published workflow, real reads, and what the same commands give by hand.

``make science`` runs these tests; without ``-m science`` they are left out, since they need what is not in this
repository: the workflow (`published`), and Debian's packages bwa, samtools, bcftools and freebayes. The last is for its
examples: 3,327 reads of the person NA12878 from a HiSeq X, of 12 kilobases of chromosome 22, and what the Genome in a
Bottle consortium says of the person's variants there. What is missing fails the tests, and the failure says what to do.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..e2e.conftest import CommandLine, cli, embedded_home, minding_interrupts
from . import published

__all__ = ["CommandLine", "cli", "embedded_home", "minding_interrupts"]

EXAMPLES = Path("/usr/share/doc/freebayes/examples/tiny")
PACKAGES = ("bwa", "samtools", "bcftools", "freebayes")
SAMPLE = "NA12878"
CHROMOSOMES = ("q:1-6000", "q:6001-12356")
"""The reference has one contig; two regions of it stand for two chromosomes."""
INDICES = ("fai", "amb", "ann", "bwt", "pac", "sa")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if re.search(r"\bscience\b", config.getoption("markexpr", default="")):
        return
    left_out = [item for item in items if item.get_closest_marker("science")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@dataclass(frozen=True)
class Sample:
    """Reads and a reference with its indices, as files of one folder."""

    folder: Path

    @property
    def reads(self) -> list[Path]:
        return [self.folder / f"{SAMPLE}_{end}.fastq.gz" for end in (1, 2)]

    @property
    def reference(self) -> Path:
        return self.folder / "q.fa"

    def inputs(self, place: str) -> dict[str, Any]:
        """The workflow's inputs, where all files are in this place, a folder or an ``s3://`` prefix."""
        fasta = f"{place}/{self.reference.name}"
        return {
            "sample_id": SAMPLE,
            "reference": fasta,
            "reference_indices": [f"{fasta}.{index}" for index in INDICES],
            "chromosomes": list(CHROMOSOMES),
            "fastqs": [f"{place}/{reads.name}" for reads in self.reads],
        }


@pytest.fixture(scope="session")
def workflow() -> Path:
    """The published workflow's file."""
    where = published.folder()
    if said := published.problem(where):
        pytest.fail(said, pytrace=False)
    return where / "main.wdl"


@pytest.fixture(scope="session")
def debian() -> None:
    """What has to be installed is."""
    missing = [name for name in PACKAGES[:3] if shutil.which(name) is None]
    if not EXAMPLES.is_dir():
        missing.append(PACKAGES[3])
    if missing:
        pytest.fail(
            f"not installed: {', '.join(missing)}. On Debian: apt-get install {' '.join(missing)}", pytrace=False
        )


@pytest.fixture(scope="session")
def sample(debian: None, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The reads, out of the BAM file that Debian has, and the reference."""
    found = Sample(tmp_path_factory.mktemp("sample"))
    first, second = found.reads
    shutil.copy(EXAMPLES / "q.fa", found.reference)
    bash(
        f"samtools collate -u -O {EXAMPLES}/NA12878.chr22.tiny.bam collated"
        f" | samtools fastq -n -1 {first.name} -2 {second.name} -0 /dev/null -s /dev/null -"
        f" && bwa index {found.reference.name} && samtools faidx {found.reference.name}",
        found.folder,
    )
    return found


@pytest.fixture(scope="session")
def by_hand(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the workflow's commands give when a person types them."""
    folder = tmp_path_factory.mktemp("by-hand")
    first, second = sample.reads
    bash(f"bwa mem -t 16 {sample.reference} {first} {second} > {SAMPLE}.sam", folder)
    bash(f"samtools sort -@ 16 -o {SAMPLE}.bam {SAMPLE}.sam", folder)
    bash(f"samtools index {SAMPLE}.bam {SAMPLE}.bam.bai", folder)
    for region in CHROMOSOMES:
        name = f"{SAMPLE}.{region}"
        bash(
            f"bcftools mpileup --threads 16 -Oz -r {region} -f {sample.reference} {SAMPLE}.bam > {name}.mpileup.gz",
            folder,
        )
        bash(f"bcftools call -m --threads 16 -Oz -t {region} -o {name}.vcf.gz {name}.mpileup.gz", folder)
    return folder


def bash(command: str, folder: Path) -> str:
    """Run a command, and give what it prints."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout
