"""Keeps standard output for a command's answer: Airflow's own logging writes there too. It knows nothing of Airflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_stdout() -> Iterator[None]:
    """Send to standard error what anything prints meanwhile, whichever stream object it holds."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
