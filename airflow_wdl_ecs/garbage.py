"""When and where Python looks for garbage: not while something large is read that is all to be kept, and not in what
a process that runs for long has held since its start.

Python looks through everything that a process holds when enough has been made since it last did, and Airflow holds some
hundred thousand objects: each look takes up to half a second, in which nothing else happens, and finds nothing. This
module knows nothing of what is read.
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


YOUNG = 20_000
"""Objects that are made before Python looks through the young ones. The evaluation of one shard makes a thousand, and
lets go of nearly all: at Python's own 700 many of them would be found in use, and be looked through again and again.
"""

_spared = False


def spare_what_is_there() -> None:
    """Have Python look through nothing any more that this process holds now, and more seldom through the rest.

    Only the first call does something. For a process that has loaded what it needs. What is let go of is freed all the
    same, unless it is in a cycle.
    """
    global _spared  # noqa: PLW0603 - of the process, as the collector is
    if not _spared:
        _spared = True
        gc.freeze()
        young, *others = gc.get_threshold()
        if young:  # 0: it is switched off
            gc.set_threshold(max(young, YOUNG), *others)
