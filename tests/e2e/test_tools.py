"""A pipeline of real genomics tools on real files: reads of the phage lambda, aligned and called."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from .conftest import CommandLine

EXAMPLES = Path("/usr/share/doc/bowtie2/examples")
VARIANTS, MAPPED = 86, 19572
"""What the same tools give, one after the other in a shell."""
MISSING = [tool for tool in ("bwa", "samtools", "bcftools") if shutil.which(tool) is None]
if not EXAMPLES.exists():
    MISSING.append("bowtie2-examples")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.tools,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (packages of Debian)"),
]


def test_variants_of_phage_lambda(cli: CommandLine) -> None:
    result = cli(
        "run",
        Path(__file__).with_name("lambda_phage.wdl"),
        f"fasta={EXAMPLES}/reference/lambda_virus.fa.gz",
        f"reads_1={EXAMPLES}/reads/reads_1.fq.gz",
        f"reads_2={EXAMPLES}/reads/reads_2.fq.gz",
    )
    found = result.outputs
    assert found["phage.variants"] == VARIANTS
    assert found["phage.mapped"] == MAPPED
    with gzip.open(found["phage.vcf"], "rt") as vcf:
        calls = [line for line in vcf if not line.startswith("#")]
    assert len(calls) == VARIANTS
    assert [Path(path).name for path in found["phage.bams"]] == ["lane.bam", "lane.bam"]
    assert all(Path(path).stat().st_size > 100_000 for path in found["phage.bams"])
