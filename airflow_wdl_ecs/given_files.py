"""The input files of a run: which it may take, whether they are there, and the names under which the run knows them.

Those of the web become copies, those of shared file systems their paths. What a run was given has passed the check of
its types. Everything that reaches for a file blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .aws import side_by_side
from .ecs.mounts import mounts_of, path_of
from .ecs.settings import EcsSettings
from .errors import InputsError, Problem
from .layout import split_uri
from .plan import Plan
from .storage import RunStore
from .wdl.web import is_web, shown
from .web_inputs import copied


def taken(
    settings: EcsSettings, s3: Any, store: RunStore, plan: Plan, bound: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The inputs with the names under which the run knows their files, and the URIs in S3 that it may read for them.

    :param store: the run's. :param bound: as `wdl.inputs.bind_inputs` gives them.
    :return: with the defaults that name files of the web; of the URIs, directories with a slash at their end.
    :raises InputsError: naming every file that the run may not take, that is not there, or that cannot be fetched.
    """
    from .wdl.inputs import file_values

    bound = on_mounts(settings, plan, with_web_defaults(plan, bound))
    shared = mounts_of(settings.mounts)
    given = [path for path in file_values(plan, bound) if path_of(shared, path) is None]
    _check_allowed(settings, given)
    readable = _check_files(store, [uri for uri in given if not is_web(uri)])
    if any(map(is_web, given)):
        bound = fetched(s3, store, plan, bound, named=settings.input_prefixes)
    return bound, readable


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


def may_take(settings: EcsSettings, uri: str) -> bool:
    """Whether the deployment lets runs take a file: from the workspace, or from one of ``input_prefixes``.

    :param uri: of a file, or of a directory with or without its slash; or an http(s) URL.
    """
    if not settings.input_prefixes:
        return True
    at = f"{uri.rstrip('/')}/"
    return ".." not in at.split("/") and any(
        at.startswith(f"{prefix.rstrip('/')}/") for prefix in (settings.workspace, *settings.input_prefixes)
    )


def _check_allowed(settings: EcsSettings, files: Iterable[str]) -> None:
    refused = [
        uri for uri in dict.fromkeys(files) if (uri.startswith("s3://") or is_web(uri)) and not may_take(settings, uri)
    ]
    if refused:
        raise InputsError(
            [Problem(f"runs may not take files from there: {shown(uri)}") for uri in refused],
            hint=f"the deployment's input_prefixes are {', '.join(settings.input_prefixes)}",
        )


def _check_files(store: RunStore, files: Iterable[str]) -> list[str]:
    """The URIs that the inputs allow to be read, directories with a slash.

    :raises InputsError: naming every file that is not in S3.
    """
    uris = sorted(set(files))
    wrong = [uri for uri in uris if not uri.startswith("s3://") or not all(split_uri(uri))]
    if wrong:
        raise InputsError(
            [Problem(f"not an s3:// URI of a file: {shown(uri)}") for uri in wrong],
            hint="files of a run come from S3, or by http(s)://",
        )
    found = side_by_side(lambda uri: _as_found(store, uri), uris)
    missing = [uri for uri, readable in zip(uris, found, strict=True) if readable is None]
    if missing:
        raise InputsError([Problem(f"no such file or directory: {uri}") for uri in missing])
    return [uri for uri in found if uri is not None]


def _as_found(store: RunStore, uri: str) -> str | None:
    if not uri.endswith("/") and store.exists(uri):
        return uri
    folder = uri if uri.endswith("/") else f"{uri}/"
    return folder if store.exists(folder) else None
