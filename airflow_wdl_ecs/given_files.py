"""Input files of a run that are not in S3: those of the web become copies, those of shared file systems their paths.

What a run was given has passed the check of its types; here its files get the names under which the run knows them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .ecs.mounts import mounts_of, path_of
from .ecs.settings import EcsSettings
from .errors import InputsError, Problem
from .plan import Plan
from .storage import RunStore
from .wdl.web import shown
from .web_inputs import copied, is_web


def on_mounts(settings: EcsSettings, plan: Plan, bound: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with files on shared file systems by their paths in the container.

    :raises InputsError: for those on file systems that are not mounted.
    """
    from .wdl.inputs import map_files

    mounts = mounts_of(settings.mounts)
    unknown: list[str] = []

    def placed(path: str) -> str:
        found = path_of(mounts, path)
        if found is None and path.startswith("efs://"):
            unknown.append(path)
        return found or path

    found = map_files(plan, bound, placed)
    if unknown:
        raise InputsError(
            [Problem(f"on no file system that tasks see: {path}") for path in dict.fromkeys(unknown)],
            hint=f"the deployment's mounts are {', '.join(map('='.join, settings.mounts.items())) or 'none'}; what an "
            "access point shows is named by its path in the container",
        )
    return found


def with_web_defaults(plan: Plan, bound: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with the defaults of those that are not given where these name files of the web.

    Such a default is what a run would be given: a copy can be made of it before any task asks for it.
    """
    from .wdl.inputs import file_values

    found = dict(bound)
    for declared in plan.inputs:
        if declared.name not in found and declared.default is not None:
            default = {declared.name: declared.default}
            if any(map(is_web, file_values(plan, default))):
                found.update(default)
    return found


def fetched(
    s3: Any, store: RunStore, plan: Plan, bound: Mapping[str, Any], *, named: Collection[str]
) -> dict[str, Any]:
    """The inputs with copies of their files that are on the web.

    :param named: prefixes of URLs; what a prefix with a host names need not be where everybody can reach it.
    :raises InputsError: for what cannot be fetched, and for directories, which the web does not have.
    """
    from .wdl.inputs import PathAt, map_paths

    files: list[str] = []
    directories: list[str] = []

    def note(at: PathAt) -> str:
        if is_web(at.value):
            (directories if at.directory else files).append(at.value)
        return at.value

    map_paths(plan, bound, note)
    if directories:
        raise InputsError([Problem(f"a Directory cannot be fetched from the web: {shown(url)}") for url in directories])
    copies = copied(s3, store, files, named=named)
    return map_paths(plan, bound, lambda at: copies.get(at.value, at.value))
