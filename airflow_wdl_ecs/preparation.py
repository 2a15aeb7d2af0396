"""An attempt that is ready to be staged and started: its evaluation, what it asks ECS for, and what it is given.

It reads the run's plan and evaluates the task; it starts nothing, and does not know how earlier attempts ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .ecs.attributes import Policy, policy_of, resources_of
from .ecs.images import usable_image
from .ecs.resources import TaskSize, size_of, with_time_limit
from .run import Run
from .task import CallIdentity, Files, TaskRequest

if TYPE_CHECKING:
    from .wdl.task_evaluation import TaskEvaluation


@dataclass(frozen=True)
class Prepared:
    """An attempt that is ready to be staged and started."""

    request: TaskRequest
    evaluation: TaskEvaluation
    size: TaskSize
    policy: Policy


def prepare(
    run: Run, who: CallIdentity, inputs: Mapping[str, Any], *, attempt: int, memory: int, files: Files | None = None
) -> Prepared:
    """Evaluate an attempt: blocks and computes.

    :param inputs: the call's bound inputs. :param attempt: from 0, over all tries.
    :param memory: MiB to ask for in place of the task's own; 0 for its own.
    :param files: what its expressions see, if it is to be another than the run's store.
    :raises EvaluationError: if an expression fails, or nothing that ECS has is enough.
    """
    from .wdl.inputs import runtime_overrides
    from .wdl.task_evaluation import TaskEvaluation

    folder = f"{run.settings.container_root.rstrip('/')}/{_folder_name(run, who)}-{attempt}"
    evaluation = TaskEvaluation(
        run.plan.tasks[run.plan.call_by_id[who.call].task],
        inputs,
        folder=folder,
        files=files or run.store,
        attempt=attempt,
        runtime_overrides=runtime_overrides(run.plan, run.inputs, who.call),
        identity=who,
        beside=run.beside,
        mounted=run.mounted,
    )
    image = usable_image(evaluation.images, run.settings)
    run.check_staged([*evaluation.stage_in, *evaluation.not_staged])
    asked = resources_of(evaluation.runtime)
    policy = with_time_limit(policy_of(evaluation.runtime), run.settings)
    request = TaskRequest(
        identity=who,
        attempt=attempt,
        image=image,
        command=evaluation.command(),
        folder=folder,
        prefix=run.store.layout.attempt(who.call, who.shard, attempt),
        inputs=evaluation.stage_in,
        outputs=evaluation.output_request(),
        environment=evaluation.environment,
        resources=replace(asked, memory=memory) if memory else asked,
        time_limit=policy.time_limit,
        grace=run.settings.stop_timeout,
        measure=run.settings.measure_usage,
    )
    evaluation.rest()
    return Prepared(request, evaluation, size_of(request.resources, run.settings), policy)


def _folder_name(run: Run, who: CallIdentity) -> str:
    """A short name for the shard, in which no value can make a path too long or strange."""
    parts = (run.dag_id, run.run_id, run.scope, who.call, who.shard)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]
