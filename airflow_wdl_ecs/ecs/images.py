"""Which image a command runs in, and from where it is pulled with which credentials (pure).

Of the images that a task accepts, best first, the first that a registry can have is taken. Its registry may have a
mirror, such as an ECR pull-through cache, and may want credentials that AWS Secrets Manager keeps; a private repository
of ECR needs neither, since the execution role may pull from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import EvaluationError
from .settings import EcsSettings

DOCKER_HUB = "docker.io"
IN_ECR = r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.]+/"
"""How the names of images in private repositories of Amazon ECR begin, dual-stack and FIPS endpoints included."""
_HUBS = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"(?:(?P<registry>localhost(?::\d+)?|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d+)?|[A-Za-z0-9-]+:\d+)/)?"
    rf"(?P<path>{_PART}(?:/{_PART})*)"
    r"(?P<version>(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?)",
    re.ASCII,
)


def usable_image(accepted: Iterable[str], settings: EcsSettings) -> str:
    """The image as ECS is to pull it: the first that is one of a registry, by the mirror of its registry.

    :param accepted: as the task names them, best first; without any, it is the setting ``image``.
    :raises EvaluationError: if there is none that ECS could pull.
    """
    names = list(accepted) or [name for name in (settings.image,) if name]
    if not names:
        raise EvaluationError(
            "the task names no container image",
            hint="name one in its runtime section, or set the setting `image` for tasks that name none",
        )
    for name in names:
        found = _REFERENCE.fullmatch(name)
        if found is not None:
            return _mirrored(name, found, settings)
    raise EvaluationError(
        f"{', '.join(names)}: not an image that ECS can pull",
        hint="write it like ubuntu:24.04 or registry.example.org/path/name:tag@sha256:..., in lower-case letters",
    )


def credentials_of(image: str, settings: EcsSettings) -> str | None:
    """The secret with the credentials of an image's registry, by ARN or name; None if it needs none."""
    found = _REFERENCE.fullmatch(image)
    if found is None:
        return None
    registry, _ = _place(found)
    return settings.registry_credentials.get(registry)


def _mirrored(name: str, found: re.Match[str], settings: EcsSettings) -> str:
    registry, path = _place(found)
    mirror = settings.image_mirrors.get(registry)
    return f"{mirror.rstrip('/')}/{path}{found['version']}" if mirror else name


def _place(found: re.Match[str]) -> tuple[str, str]:
    """The registry, and the path in it: what names neither is an official image of Docker Hub."""
    registry = (found["registry"] or DOCKER_HUB).lower()
    registry = DOCKER_HUB if registry in _HUBS else registry
    path = found["path"]
    return registry, path if "/" in path or registry != DOCKER_HUB else f"library/{path}"
