"""The files that stood beside a WDL source and that its plan brings along, as a run's evaluations see them.

How they got into the plan is `source_files`'s; here a relative path of a declaration becomes the URI at which the
run keeps the file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

import WDL

from ..errors import EvaluationError
from .values import admits

LARGEST = 1024 * 1024
"""Bytes of the largest file that a plan carries; a larger one has to be an input."""


class Beside:
    """The files of a plan in a run's folder.

    :param files: as `Plan.files`. :param folder: where the run keeps them, ``s3://.../``.
    """

    def __init__(self, files: Mapping[str, str | None], folder: str) -> None:
        self._files = files
        self._folder = folder

    def resolve(self, path: str, *, directory: bool) -> str | None:
        """The URI of a path as a declaration has it, a directory's without a slash at its end.

        :return: None if the plan has no such file.
        :raises EvaluationError: for one that was too large for the plan.
        """
        if not self._files:
            return None
        name = posixpath.normpath(path)
        within = [file for file in self._files if file.startswith(f"{name}/")] if directory else [name]
        if not within or any(file not in self._files for file in within):
            return None
        large = next((file for file in within if self._files[file] is None), None)
        if large is not None:
            raise EvaluationError(
                f"{large!r}, beside the WDL source, is larger than {LARGEST} bytes", hint="Give it as an input."
            )
        return self._folder + name

    def in_value(self, value: WDL.Value.Base) -> WDL.Value.Base:
        """The value with the URIs of those of its files and directories that the plan brings along."""
        if not self._files:
            return value
        return WDL.Value.rewrite_paths(
            value, lambda v: self.resolve(v.value, directory=isinstance(v, WDL.Value.Directory)) or str(v.value)
        )


def without_absent(value: WDL.Value.Base, wdl_type: WDL.Type.Base) -> WDL.Value.Base:
    """The value with null for relative paths, which nothing is at, if its type allows that; else as it is.

    See WDL 1.2, "Optional Types": a file that does not exist is ``None`` where the type is optional.
    """
    if not holds_path(wdl_type):
        return value
    rewritten = WDL.Value.rewrite_paths(
        value, lambda v: str(v.value) if v.value.startswith("/") or "://" in v.value else None
    )
    return rewritten if admits(wdl_type, rewritten) else value


def holds_path(wdl_type: WDL.Type.Base) -> bool:
    """Whether values of a type can hold a File or Directory."""
    members = (wdl_type.members or {}).values() if isinstance(wdl_type, WDL.Type.StructInstance) else ()
    return isinstance(wdl_type, (WDL.Type.File, WDL.Type.Directory)) or any(
        map(holds_path, [*wdl_type.parameters, *members])
    )


NOTHING_BESIDE = Beside({}, "")
