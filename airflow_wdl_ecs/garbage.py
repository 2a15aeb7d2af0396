"""When Python looks for garbage: not while something large is read that is all to be kept.

Python looks through everything that a process holds when enough has been made since it last did, and Airflow holds more
than a hundred thousand objects: each look takes a tenth of a second, and finds nothing. This module knows nothing of
what is read.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Put off the collection of garbage until the end; of the whole process, so not for anything that waits."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
