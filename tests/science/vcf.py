"""What a VCF file says, and what of it depends on where and when it was made.

bcftools writes into the header which commands have made the file, with the paths that they were given and the time;
and the reference's path. Two files are the same when all else is.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DATE = re.compile(r"; Date=.*$")
_FOLDER = re.compile(r"(?<=[\s/])/*(?:[^\s/]+/+)+")
_COMMAND = re.compile(r"^##(bcftools_\w+Command|bcftoolsCommand|reference)=")


@dataclass(frozen=True)
class Vcf:
    """A VCF file's lines.

    :param header: those that begin with ``##``, without folders and dates in those that name a command or the
        reference. :param body: the line of columns, then the records.
    """

    header: tuple[str, ...]
    body: tuple[str, ...]

    def variants(self) -> Iterator[tuple[str, int, str, str, str]]:
        """Contig, position, reference, alternative and genotype of every record with an alternative, in their order."""
        for line in self.body[1:]:
            contig, position, _, ref, alt, _, _, _, _, sample = line.split("\t")
            if alt != ".":
                yield contig, int(position), ref, alt, sample.partition(":")[0]


def read_vcf(path: Path) -> Vcf:
    """Read a VCF file, compressed if its name ends in ``.gz``."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    lines = text.splitlines()
    head = [line for line in lines if line.startswith("##")]
    return Vcf(tuple(map(neutral, head)), tuple(lines[len(head) :]))


def neutral(line: str) -> str:
    """A header's line without the folders and the date that it says, if it names a command or the reference."""
    if not (found := _COMMAND.match(line)):
        return line
    said = _DATE.sub("", line[found.end() :]).removeprefix("file://")
    return found[0] + _FOLDER.sub("", f" {said}")[1:]
