"""Finds the list of prices that a deployment has set, and keeps it for a while, since many tasks ask for it.

Reports and metrics must not fail for a file of prices: `prices_or_none` gives a list without prices that says why.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from .aws import Clients, impatient
from .ecs.settings import EcsSettings, how_to_set
from .errors import EvaluationError, SettingsError, WdlEcsError
from .layout import Layout
from .prices import MOST_BYTES, Prices, packaged, read_prices
from .storage import RunStore

KEPT = 300.0
"""Seconds for which a process keeps what it has read."""

_kept: dict[str, tuple[float, Prices]] = {}
_reading = threading.Lock()


def load_prices(settings: EcsSettings, clients: Clients) -> Prices:
    """The list of prices of a deployment, read now. It blocks.

    :raises SettingsError: if the file is not there, cannot be read, or has something wrong in it.
    """
    file = settings.prices_file
    if not file:
        return packaged()
    hint = f"see {how_to_set('prices_file')}"
    try:
        data = _read_object(file, clients) if file.startswith("s3://") else _read_file(file)
    except OSError as error:
        raise SettingsError(f"the file of prices {file} cannot be read: {error.strerror}", hint=hint) from error
    except SettingsError:
        raise
    except WdlEcsError as error:
        raise SettingsError(f"the file of prices {file} cannot be read: {error.message}", hint=hint) from error
    if data is None:
        raise SettingsError(f"the file of prices {file} is not there", hint=hint)
    return read_prices(data, file)


def _read_file(file: str) -> bytes:
    if not file.startswith("/"):
        raise SettingsError(
            f"prices_file must be an absolute path or an s3:// URI, not {file!r}", hint=how_to_set("prices_file")
        )
    with Path(file).open("rb") as opened:
        data = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise SettingsError(f"the file of prices {file} has more than {MOST_BYTES} bytes")
    return data


def _read_object(uri: str, clients: Clients) -> bytes | None:
    try:
        return RunStore(clients("s3"), Layout("", "", "")).get(uri, limit=MOST_BYTES)
    except EvaluationError as error:
        raise SettingsError(f"the file of prices {uri} has no name, or more than {MOST_BYTES} bytes") from error


def prices_or_none(settings: EcsSettings, clients: Clients) -> Prices:
    """The list of prices of a deployment, as it was at most `KEPT` seconds ago; if it cannot be had, one without prices
    that says why. It blocks.
    """
    file = settings.prices_file
    if not file:
        return packaged()
    with _reading:
        at, found = _kept.get(file, (float("-inf"), Prices()))
        if time.monotonic() - at > KEPT:
            try:
                with impatient():
                    found = load_prices(settings, clients)
            except SettingsError as error:
                found = Prices(file=file, problem=error.message)
            _kept[file] = (time.monotonic(), found)
        return found
