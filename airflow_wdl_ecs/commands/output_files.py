"""Where the files of a run's outputs go on this machine.

``out/NAME/FILE``, and below ``out/NAME`` a folder for each index, key and member that leads to a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import Position
from ..plan import Input, Output, Plan
from ..wdl.inputs import PathAt, map_paths


def place_outputs(plan: Plan, outputs: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Give every file and folder among the outputs its own path below ``folder/out``.

    :param outputs: output name -> value, files and folders as ``s3://`` URIs.
    :return: the outputs with those paths, and URI -> path of what has to be fetched, a folder's URI with a slash at its
        end; an output that two names share is fetched once.
    """
    targets: dict[str, str] = {}
    placed: dict[str, Any] = {}
    typed = replace(plan, inputs=tuple(_as_input(plan, output) for output in plan.outputs))
    for name, value in outputs.items():

        def place(found: PathAt, name: str = name) -> str:
            if not found.value.startswith("s3://"):
                return found.value  # on a shared file system
            uri = f"{found.value.rstrip('/')}/" if found.directory else found.value
            path = folder.joinpath("out", name, *found.steps, PurePosixPath(uri).name)
            return targets.setdefault(uri, str(path))

        placed.update(map_paths(typed, {name: value}, place))
    return placed, targets


def _as_input(plan: Plan, output: Output) -> Input:
    """The output as something whose type is known; values are walked by their types, whichever way they go."""
    decl = plan.decl_by_id.get(output.node)
    document = plan.section_by_id[decl.section].document if decl else next(iter(plan.documents))
    position = decl.position if decl else Position("", 1, 1)
    return Input(output.name, output.node, output.type, document, required=False, position=position)
