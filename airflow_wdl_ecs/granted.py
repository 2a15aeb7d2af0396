"""`Granted`: what a run may read besides its folder and its inputs, because a call of it has taken outputs from others.

All that a process has open of one run shares it, since what one of them has read of a call's outputs, another may have
the value of. It knows nothing of S3.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from weakref import WeakValueDictionary


class Granted:
    """URIs that may be read: files, and folders (which end in ``/``) with all that is below; any thread may use it."""

    def __init__(self) -> None:
        self._files: frozenset[str] = frozenset()
        self._folders: tuple[str, ...] = ()

    def add(self, uris: Iterable[str]) -> None:
        """Let these be read as well."""
        new = set(uris).difference(self._files, self._folders)
        if new:
            with _lock:
                self._files |= {uri for uri in new if not uri.endswith("/")}
                self._folders = tuple({*self._folders, *(uri for uri in new if uri.endswith("/"))})

    def covers(self, uri: str) -> bool:
        """Whether a file or folder is one of them or below one.

        :param uri: without ``.`` and ``..`` in its path.
        """
        folder = uri if uri.endswith("/") else f"{uri}/"
        return uri in self._files or any(folder.startswith(one) for one in self._folders)


_lock = threading.Lock()
_of_runs: WeakValueDictionary[str, Granted] = WeakValueDictionary()


def granted_to(folder: str) -> Granted:
    """What has been granted to the run that keeps everything in a folder; whoever holds on to it keeps it."""
    with _lock:
        found = _of_runs.get(folder)
        if found is None:
            found = _of_runs[folder] = Granted()
        return found
