"""The published workflow that these tests run, which is not part of this repository.

It is a germline path of three tools, bwa, samtools and bcftools, with a scatter over the chromosomes: the workflow
``simple_variant_call`` of W. L. Pang's ``demo-genomics-workflow-wdl`` (Apache-2.0), which was written for Cromwell on
AWS. It is run as it is: the tests refuse a file with another digest.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

REPOSITORY = "https://github.com/wleepang/demo-genomics-workflow-wdl"
COMMIT = "88e204a2d5be68616486d93fb26e8ca703e6cb5e"
SHA256 = {
    "main.wdl": "ecb99a5e77e83cbe2d61b64701cb0f3316a72d276a3ea992a8b8d159d41b4f51",
    "LICENSE": "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
}
CLONE = Path(__file__).with_name("demo-genomics-workflow-wdl")
IMAGES = {
    "biocontainers/bwa:v0.7.15_cv4",
    "biocontainers/samtools:v1.7.0_cv4",
    "biocontainers/bcftools:v1.5_cv3",
}
"""What the workflow says; the embedded ECS runs the commands with this machine's tools where it has no engine."""


def folder() -> Path:
    """Where the workflow is looked for: the folder that ``WDL_SCIENCE`` names, or a clone beside this file."""
    return Path(os.environ.get("WDL_SCIENCE") or CLONE)


def problem(where: Path) -> str | None:
    """What is wrong with the workflow in a folder, and what to do; None if it is the published one."""
    for name, wanted in SHA256.items():
        path = where / name
        if not path.is_file():
            return f"{path} is not there. Fetch it: git clone {REPOSITORY} {CLONE}; or set WDL_SCIENCE to its folder"
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            return f"{path} is not what was published. In its folder: git checkout {COMMIT}"
    return None
