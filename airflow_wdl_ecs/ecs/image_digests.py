"""What an image's tag means now: the digest of the image, where that can be known.

An image that is named by its digest is known by it. Of a tag in Amazon ECR, also of what a pull-through cache has
there, ECR is asked; other registries are not, since who evaluates a workflow should not send requests to whatever host
its author writes down.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from ..aws import Clients, aws_errors, patient
from ..errors import WdlEcsError
from ..recent import Recent
from ..shared_reads import SharedReads
from .images import IN_ECR

GOOD_FOR = 60.0
"""Seconds for which a process believes what ECR has said of a tag, also that it does not say."""

_PINNED = re.compile(r"@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")
_ECR = re.compile(rf"{IN_ECR}(?P<repository>[^:@]+)(?::(?P<tag>[\w.-]+))?")
_known = Recent(1024)
_asking = SharedReads()


@dataclass(frozen=True)
class ImageDigest:
    """The digest of an image, ``sha256:...``; empty if it is not known, and then why, in words."""

    digest: str = ""
    why_not: str = ""


def image_digest(image: str, clients: Clients) -> ImageDigest:
    """What an image's reference means now. It blocks, and raises nothing.

    :param image: as ECS pulls it.
    """
    pinned = _PINNED.search(image)
    if pinned is not None:
        return ImageDigest(pinned[1])
    found = _ECR.fullmatch(image)
    if found is None:
        return ImageDigest(why_not="only those of tags in Amazon ECR are looked up")

    def ask() -> ImageDigest:
        known = _remembered(image)  # another thread may have asked meanwhile
        if known is None:
            try:
                digest = _asked(clients("ecr"), found)
                known = ImageDigest(digest, "" if digest else "it is in another region than the tasks")
            except WdlEcsError as error:
                known = ImageDigest(why_not=error.message)
            _known.put(image, (known, time.monotonic()))
        return known

    return _remembered(image) or _asking.get(image, ask)


def _remembered(image: str) -> ImageDigest | None:
    known: tuple[ImageDigest, float] | None = _known.get(image)
    return known[0] if known is not None and time.monotonic() - known[1] < GOOD_FOR else None


@patient
def _asked(ecr: Any, image: re.Match[str]) -> str:
    """The digest, from ECR; empty if it is another region's."""
    if ecr.meta.region_name != image["region"]:
        return ""
    with aws_errors("DescribeImages", image[0]):
        answer = ecr.describe_images(
            registryId=image["account"],
            repositoryName=image["repository"],
            imageIds=[{"imageTag": image["tag"] or "latest"}],
        )
    return str(answer["imageDetails"][0]["imageDigest"])
