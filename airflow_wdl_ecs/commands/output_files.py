"""Where the files of a run's outputs go on this machine.

``out/NAME/FILE``, and below ``out/NAME`` a folder for each index, key and member that leads to a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..plan import Plan
from ..wdl.inputs import PathAt
from ..wdl.output_paths import map_output_paths


def place_outputs(plan: Plan, outputs: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Give every file and folder among the outputs its own path below ``folder/out``.

    :param outputs: output name -> value, files and folders as ``s3://`` URIs.
    :return: the outputs with those paths, and URI -> path of what has to be fetched, a folder's URI with a slash at its
        end; an output that two names share is fetched once.
    """
    targets: dict[str, str] = {}

    def place(name: str, found: PathAt) -> str:
        if not found.value.startswith("s3://"):
            return found.value  # on a shared file system
        uri = f"{found.value.rstrip('/')}/" if found.directory else found.value
        path = folder.joinpath("out", name, *found.steps, PurePosixPath(uri).name)
        return targets.setdefault(uri, str(path))

    return map_output_paths(plan, outputs, place), targets
