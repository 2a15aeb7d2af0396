"""`Granted`: what a run may read besides its folder and its inputs, because a call of it has taken outputs from others.

All that a process has open of one run shares it, since what one of them has read of a call's outputs, another may have
the value of. It knows nothing of S3.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from weakref import WeakValueDictionary

from .layout import folders_above


class Granted:
    """URIs that may be read: files, and folders (which end in ``/``) with all that is below; any thread may use it.

    A call of ten thousand shards may be one of ten thousand hits, so nothing here looks at all that was granted.
    """

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, uris: Iterable[str]) -> None:
        """Let these be read as well."""
        for uri in uris:
            (self._folders if uri.endswith("/") else self._files).add(uri)

    def covers(self, uri: str) -> bool:
        """Whether a file or folder is one of them or below one.

        :param uri: without ``.`` and ``..`` in its path.
        """
        folder = uri if uri.endswith("/") else f"{uri}/"
        return uri in self._files or any(above in self._folders for above in folders_above(folder))


_lock = threading.Lock()
_of_runs: WeakValueDictionary[str, Granted] = WeakValueDictionary()


def granted_to(folder: str) -> Granted:
    """What has been granted to the run that keeps everything in a folder; whoever holds on to it keeps it."""
    with _lock:
        found = _of_runs.get(folder)
        if found is None:
            found = _of_runs[folder] = Granted()
        return found
