"""The submission of one attempt: its scripts put in place, and its ECS task asked for, which is started once.

It outlives the host's waiting for it, since a task that has started must come into the ledger. What an attempt is, and
what becomes of it, is for ``shard``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from .aws import in_thread
from .ecs.client import EcsClient, StartedTask
from .ecs.request import STAGE_IN, STAGE_OUT, may_travel, run_task, task_definition
from .ecs.staging import stage_in_script, stage_out_script
from .errors import AwsError
from .preparation import Prepared
from .remains import result_of
from .run import Run
from .sensitive import Log
from .task import TaskHandle


@dataclass(eq=False)
class Starting:
    """An attempt whose task ECS is being asked for; it outlives the host's waiting for it.

    :param prefix: the attempt's folder. :param try_number: Airflow's try that starts it.
    :param stop: why its task is to be stopped as soon as it is there, if it is.
    :param left: whether the host has gone away, so that nobody waits for capacity any more.
    """

    prefix: str
    try_number: int
    stop: str = ""
    left: bool = False
    task: asyncio.Future[None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for the task."""
        return not (self.left or self.stop)


_starting: WeakKeyDictionary[EcsClient, set[Starting]] = WeakKeyDictionary()


def starting(ecs: EcsClient) -> set[Starting]:
    """What is being started on an event loop."""
    return _starting.setdefault(ecs, set())


@dataclass(frozen=True)
class Submitted:
    """A task that ECS has taken.

    :param spot: whether it was asked for on Spot capacity.
    :param at: when it was asked for, in seconds since the epoch; None if it was not, since its result is there.
    """

    task: StartedTask
    spot: bool
    at: float | None = None


async def submit(
    run: Run, ecs: EcsClient, prepared: Prepared, start: Starting, *, spot: bool, log: Log, begun: bool = True
) -> Submitted:
    """Have the ECS task of an attempt started, unless it has been.

    :param spot: whether to ask for Spot capacity first, for ``spot_capacity_timeout``.
    :param begun: whether another host may have started it.
    :raises AwsError: if ECS refuses, or has no capacity for ``capacity_timeout``.
    :raises SettingsError: if a setting is to blame.
    """
    request, settings = prepared.request, run.settings
    definition = task_definition(
        request.image, settings, gpu=prepared.size.gpu, ebs=bool(prepared.size.ebs), tags=run.tags
    )
    scripts: Mapping[str, str] = {
        STAGE_IN: stage_in_script(request, settings.staging_tool),
        STAGE_OUT: stage_out_script(request, prepared.policy),
    }
    travel = _may_travel(run, prepared, scripts)
    found, arn, _ = await asyncio.gather(
        in_thread(result_of, run.store, request.prefix) if begun else asyncio.sleep(0),
        ecs.register_task_definition(definition),
        _put_scripts(run, prepared, {} if travel else scripts),
    )
    if found is not None:
        # A host that died before it could record the attempt has started it, and ECS may have forgotten it.
        return Submitted(StartedTask(TaskHandle("", settings.cluster), earlier=True), spot)

    async def ask(spot: bool, patience: float) -> Submitted:
        """The token is the same for both capacities, so what one has started the other cannot start again."""
        arguments = run_task(
            request,
            prepared.size,
            settings,
            definition=arn,
            scope=run.scope,
            spot=spot,
            scripts=scripts if travel else None,
            tags=run.tags,
        )
        at = time.time()
        task = await ecs.run_task(
            arguments,
            capacity_timeout=patience,
            on_wait=partial(log.warning, "waiting for capacity: %s"),
            wanted=lambda: start.wanted,
        )
        return Submitted(task, spot, at)

    try:
        if spot:
            try:
                return await ask(True, settings.spot_capacity_timeout)
            except AwsError as error:
                if error.code != "CapacityError" or not start.wanted:
                    raise
                log.warning("on-demand capacity is asked for: %s", error.message)
        return await ask(False, settings.capacity_timeout)
    except AwsError:
        ecs.forget_task_definition(definition)
        raise


def _may_travel(run: Run, prepared: Prepared, scripts: Mapping[str, str]) -> bool:
    """Whether the scripts go with RunTask, which spares each container a download before it begins.

    What has a secret in it goes through S3: overrides are seen by whoever may describe the task.
    """
    request = prepared.request
    named = (*(item.uri for item in request.inputs), *request.outputs.paths, *request.outputs.globs)
    texts = (request.command, *request.environment.values(), *named)
    hidden = any(secret in text for text in texts for secret in run.secrets)
    return not hidden and may_travel(request, prepared.size, scripts)


async def _put_scripts(run: Run, prepared: Prepared, scripts: Mapping[str, str]) -> None:
    """Write to S3 the command, for people, and the scripts that do not travel with the request."""
    request = prepared.request
    texts = {"command.sh": request.command, **{f"{stage}.sh": text for stage, text in scripts.items()}}
    await asyncio.gather(
        *(
            in_thread(run.store.put, f"{request.prefix}{name}", text.encode(), "text/x-shellscript")
            for name, text in texts.items()
        )
    )
