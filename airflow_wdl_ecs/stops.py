"""Stopping an attempt's ECS task, and keeping what ECS says of it then: it has cost something, and perhaps nobody waits
for its end.
"""

from __future__ import annotations

import time
from contextlib import suppress

from .attempts import Stop
from .aws import briefly
from .ecs.client import EcsClient
from .ecs.request import attempt_prefix
from .errors import WdlEcsError
from .ledger import keep_stop
from .storage import RunStore
from .task import TaskHandle


async def stop_attempt(ecs: EcsClient, store: RunStore, handle: TaskHandle, reason: str) -> None:
    """Stop the task of an attempt, unless it has ended.

    :param store: of its run. :param reason: shown in the ECS console and in the call's error.
    :raises WdlEcsError: if it cannot be stopped. That nothing could be kept is none.
    """
    task = await ecs.stop_task(handle, reason)
    prefix = attempt_prefix(task) or ""
    if prefix.startswith(store.layout.folder):
        with suppress(WdlEcsError):
            # ECS may not say yet that it stops.
            await briefly(keep_stop, store, prefix, Stop.of(task, time.time()))
