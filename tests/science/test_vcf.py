"""The comparison of VCF files sees what matters, and nothing else."""

from __future__ import annotations

import gzip

import pytest

from .vcf import neutral, read_vcf

CALL = "##bcftools_callCommand=call -m -t q:1-60 -o out/a.vcf.gz {}a.mpileup.gz; Date=Wed Nov 25 17:07:28 2026"


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        (CALL.format("/tmp/one/in puts/"), "##bcftools_callCommand=call -m -t q:1-60 -o a.vcf.gz in a.mpileup.gz"),
        (CALL.format("/tmp/one/"), "##bcftools_callCommand=call -m -t q:1-60 -o a.vcf.gz a.mpileup.gz"),
        (CALL.format(""), "##bcftools_callCommand=call -m -t q:1-60 -o a.vcf.gz a.mpileup.gz"),
        ("##reference=file:///tmp/one/q.fa", "##reference=q.fa"),
        ("##reference=file://q.fa", "##reference=q.fa"),
        ('##INFO=<ID=DP,Description="of a/b; Date=now">', '##INFO=<ID=DP,Description="of a/b; Date=now">'),
    ],
)
def test_folders_and_dates_are_left_out_of_commands_alone(line, rest):
    assert neutral(line) == rest


def test_other_options_are_another_command():
    assert neutral(CALL.format("/a/")) != neutral(CALL.format("/a/").replace("-m", "-c"))
    assert neutral(CALL.format("/a/")) != neutral(CALL.format("/a/").replace("a.mpileup", "b.mpileup"))


def test_a_file_compressed_or_not(tmp_path):
    text = (
        "##fileformat=VCFv4.2\n#CHROM\tetc\nq\t7\t.\tA\tG\t9\t.\t.\tGT:PL\t0/1:1,2\nq\t8\t.\tC\t.\t9\t.\t.\tGT\t0/0\n"
    )
    (tmp_path / "a.vcf").write_text(text)
    (tmp_path / "a.vcf.gz").write_bytes(gzip.compress(text.encode()))
    found = read_vcf(tmp_path / "a.vcf")
    assert found == read_vcf(tmp_path / "a.vcf.gz")
    assert found.header == ("##fileformat=VCFv4.2",)
    assert list(found.variants()) == [("q", 7, "A", "G", "0/1")]
