"""What an attempt has left in S3: its result, its last words, and whether its outputs are whole. Everything blocks.

It reads by the layout of an attempt's folder and judges nothing but sizes.
"""

from __future__ import annotations

import msgspec

from .storage import RunStore
from .task import TaskResult

_TAIL = 16 * 1024
_SHOWN = 5
_FEW = 2


def result_of(store: RunStore, prefix: str) -> TaskResult | None:
    """What stage-out wrote last, or None if there is nothing, or nothing that can be read.

    A file's name may be no UTF-8; then it reads with replacement characters, and the rest of the result counts.
    """
    data = store.get(f"{prefix}result.json")
    try:
        return None if data is None else TaskResult.from_json(data.decode(errors="replace").encode())
    except msgspec.DecodeError:
        return None


def staging_log(store: RunStore, prefix: str) -> str:
    """What a staging container that failed has left."""
    logs = (store.tail(f"{prefix}{name}.log", _TAIL) for name in ("stage-in", "stage-out"))
    return "\n".join(log.decode(errors="replace").strip() for log in logs).strip()


def last_words(store: RunStore, prefix: str, lines: int) -> list[str]:
    """The last lines of the command's stderr."""
    return store.tail(f"{prefix}stderr", _TAIL).decode(errors="replace").splitlines()[-lines:]


def what_is_not_whole(store: RunStore, prefix: str, result: TaskResult) -> str:
    """Which of the files that a result names are not in S3 in their full size, in words; empty if all are.

    A few are asked for one by one, which S3 charges a tenth of a list for; one list tells of many.
    """
    wanted = {f"{prefix}work/{file.path}": file.size for file in result.files}
    wanted |= {f"{prefix}stdout": result.stdout_size} if result.stdout_size else {}
    wanted |= {f"{prefix}stderr": result.stderr_size} if result.stderr_size else {}
    # A name that is no UTF-8 cannot be found by what has become of it.
    wanted = {uri: size for uri, size in wanted.items() if "\ufffd" not in uri}
    if not wanted:
        return ""
    there = {uri: store.size(uri) for uri in wanted} if len(wanted) <= _FEW else dict(store.list(prefix))
    wrong = [
        f"{uri} is missing" if there.get(uri) is None else f"{uri} has {there[uri]} of {size} bytes"
        for uri, size in wanted.items()
        if there.get(uri) != size
    ]
    more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return "; ".join(wrong[:_SHOWN]) + more
