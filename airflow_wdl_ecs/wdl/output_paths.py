"""The files and folders among a workflow's outputs: where in a value they are, and how many a type can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from WDL import Type

from ..errors import Position
from ..plan import Document, Input, Output, Plan
from .inputs import PathAt, map_paths
from .values import parse_type

MANY = 2
"""Two files, or any number of them."""


def map_output_paths(plan: Plan, outputs: Mapping[str, Any], fn: Callable[[str, PathAt], str]) -> dict[str, Any]:
    """The outputs with every File and Directory replaced by what ``fn`` gives for it, in order.

    :param outputs: output name -> value as JSON. :param fn: is given the output's name, too.
    """
    typed = replace(plan, inputs=tuple(_as_input(plan, output) for output in plan.outputs))
    mapped: dict[str, Any] = {}
    for name, value in outputs.items():

        def of_output(found: PathAt, name: str = name) -> str:
            return fn(name, found)

        mapped.update(map_paths(typed, {name: value}, of_output))
    return mapped


def _as_input(plan: Plan, output: Output) -> Input:
    """The output as something whose type is known; values are walked by their types, whichever way they go."""
    document, position = _document(plan, output)
    return Input(output.name, output.node, output.type, document, required=False, position=position)


def _document(plan: Plan, output: Output) -> tuple[str, Position]:
    decl = plan.decl_by_id.get(output.node)
    if decl is None:
        return next(iter(plan.documents)), Position("", 1, 1)
    return plan.section_by_id[decl.section].document, decl.position


@dataclass(frozen=True)
class Shape:
    """What an output's type says of its files.

    :param most: how many it has at most: 0, 1 or `MANY`. :param optional: whether it may have none.
    :param alone: whether the output is a file or folder itself, and not within a compound value.
    """

    most: int
    optional: bool
    alone: bool


def shape_of(plan: Plan, output: Output) -> Shape:
    """What an output's type says of its files."""
    document: Document = plan.documents[_document(plan, output)[0]]
    wdl_type = parse_type(output.type, document)
    alone = isinstance(wdl_type, (Type.File, Type.Directory))
    return Shape(_most(wdl_type), wdl_type.optional, alone)


def _most(wdl_type: Type.Base) -> int:
    if isinstance(wdl_type, (Type.File, Type.Directory)):
        return 1
    if isinstance(wdl_type, Type.StructInstance):
        return min(MANY, sum(map(_most, (wdl_type.members or {}).values())))
    within = sum(map(_most, wdl_type.parameters))
    return min(MANY, within if isinstance(wdl_type, Type.Pair) else within * MANY)
