"""Source archives, as `miniwdl zip` makes them: unpacked, once it is known that they stay in their folder.

An archive comes from somebody else as a source does. One that names a place outside its folder, holds a link, or
unpacks to very much is refused before anything of it is written.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import WDL
from WDL import Zip

from ..errors import AuthorError
from .nesting import LARGEST_SOURCE, MOST_DOCUMENTS

_MANIFEST = "MANIFEST.json"
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_MEMBERS = 2 * MOST_DOCUMENTS
"""Files and folders of an archive."""


def is_archive(source: str) -> bool:
    """Whether a source is an archive of `miniwdl zip`, or a folder that one was unpacked to."""
    return source.endswith(_ARCHIVES) or (Path(source) / _MANIFEST).is_file()


@contextmanager
def unpacked_archive(name: str) -> Iterator[Any]:
    """An archive's folder (``dir``), main document (``main_wdl``) and default inputs (``input_file``), for a while.

    :raises AuthorError: if it is no source archive, or one that must not be unpacked.
    """
    with ExitStack() as stack:
        try:
            if os.path.isfile(name) and name.endswith(_ARCHIVES):  # noqa: PTH113 - false as well for what can be no path
                _check_members(_zip_members(name) if zipfile.is_zipfile(name) else _tar_members(name))
            unpacked = stack.enter_context(Zip.unpack(name))
        except (WDL.Error.InputError, tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
            raise AuthorError(f"{name}: not a source archive: {error}") from error
        except (_Refused, NotImplementedError, RuntimeError, ValueError) as error:
            raise AuthorError(f"{name}: this archive is not unpacked: {error}") from error
        yield unpacked


class _Refused(Exception):  # noqa: N818 - it says what it is
    """An archive that must not be unpacked, and why."""


def _zip_members(name: str) -> Iterator[tuple[str, int, bool]]:
    with zipfile.ZipFile(name) as archive:
        for member in archive.infolist():
            mode = member.external_attr >> 16
            yield member.filename, member.file_size, not mode or stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)


def _tar_members(name: str) -> Iterator[tuple[str, int, bool]]:
    # A member's size comes before its contents, so one that is too large is refused before it is read.
    with tarfile.open(name) as archive:
        for member in archive:
            yield member.name, member.size, member.isreg() or member.isdir()


def _check_members(members: Iterator[tuple[str, int, bool]]) -> None:
    """Refuse members that lead out of a folder, are no files, or are too many or too large.

    :param members: of each its name, its size, and whether it is a file or folder.
    """
    total = 0
    for count, (path, size, plain) in enumerate(members, 1):
        total += size
        if path.startswith(("/", "\\")) or ".." in path.replace("\\", "/").split("/"):
            raise _Refused(f"its member {path!r} is outside the archive's folder")
        if not plain:
            raise _Refused(f"its member {path!r} is neither a file nor a folder")
        if count > MOST_MEMBERS:
            raise _Refused(f"it has more than {MOST_MEMBERS} members")
        if total > LARGEST_SOURCE:
            raise _Refused(f"it unpacks to more than {LARGEST_SOURCE} bytes")
