"""Keeps moto's S3 objects in files of the state folder, so that they survive a restart and do not fill the memory."""

from __future__ import annotations

from pathlib import Path

from moto.s3.models import s3_backends

from .ecs_tasks import ACCOUNT


class ObjectFolder:
    """The S3 objects in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self) -> None:
        """Make moto use it, and load what is there."""

    def ensure_bucket(self, name: str, region: str) -> None:
        """Create a bucket unless it is there."""
        backend = s3_backends[ACCOUNT]["aws"]
        if name not in backend.buckets:
            backend.create_bucket(name, region)

    def close(self) -> None:
        """Write what is not written yet."""
