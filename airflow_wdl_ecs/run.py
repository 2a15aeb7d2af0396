"""A run of a workflow: how it begins, how it is found again, how it ends.

A run is a folder in S3 (`layout.Layout`). `begin_run` checks everything that can be checked before anything is
launched and writes the folder; `open_run` reads it in whichever process a call is hosted; `finish_run` evaluates the
workflow's outputs. All of them block, and none knows Airflow or ECS tasks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from .aws import Clients, side_by_side
from .clean import hint_if_cleaned
from .ecs.console import is_amazon
from .ecs.mounts import mounts_of, path_of
from .ecs.settings import EcsSettings
from .errors import AuthorError, EvaluationError, InputsError, Problem
from .given_files import may_take, taken
from .layout import Layout
from .plan import Plan, Shard
from .run_options import RunOptions, meant_as_options, read_options, unknown_options
from .sensitive import hide, secret_texts, sensitive_inputs, without_secrets
from .storage import RunStore
from .task import StageIn

if TYPE_CHECKING:
    from .wdl.beside import Beside
    from .wdl.shared_values import SharedValues
    from .wdl.workflow_evaluation import WorkflowEvaluation

FORMAT = 1
BESIDE = "source/"
"""The folder in a run's for the files that stood beside its source."""
_LITERAL = re.compile(r"""["'](s3://[^"'\s$~\\]+)["']""")


@dataclass(frozen=True)
class Run:
    """One run, as one process sees it.

    :param settings: with the region set. :param inputs: as `wdl.inputs.bind_inputs` gave them.
    """

    settings: EcsSettings
    clients: Clients = field(repr=False)
    plan: Plan = field(repr=False)
    inputs: Mapping[str, Any] = field(repr=False)
    store: RunStore = field(repr=False)
    dag_id: str
    run_id: str
    scope: str | None = None
    options: RunOptions = field(default_factory=RunOptions)
    """What the run says of itself besides its inputs."""
    sensitive: tuple[str, ...] = ()
    """The names of the inputs that must not be shown."""
    console: bool = False
    """Whether the AWS console knows its ECS tasks and files."""
    epochs: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Call -> its epoch, as it was when this process first asked for outputs of the call."""
    shared: SharedValues | None = field(default=None, repr=False, compare=False)
    """What the shards of one call share of the run's values."""

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not be shown (see ``sensitive``)."""
        return secret_texts(self.inputs, self.sensitive)

    @property
    def shown_inputs(self) -> dict[str, Any]:
        """The inputs, as people may see them."""
        return without_secrets(self.inputs, self.sensitive)

    @property
    def call_cache_mode(self) -> str:
        """What calls do with the call cache: one of ``ecs.settings.CALL_CACHE_MODES``."""
        return self.options.call_cache or self.settings.call_cache

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags that were given to this run alone."""
        return self.options.tags

    @property
    def folder(self) -> str:
        """Where the run keeps everything, ``s3://.../``."""
        return self.store.layout.folder

    @cached_property
    def evaluation(self) -> WorkflowEvaluation:
        """The run's values; it keeps what it has evaluated, so it is for one host of one call."""
        from .wdl.workflow_evaluation import WorkflowEvaluation

        return WorkflowEvaluation(
            self.plan,
            self.inputs,
            self.store,
            self.call_outputs,
            self.beside,
            most_shards=self.settings.max_shards,
            shared=self.shared,
            mounted=self.mounted,
        )

    @cached_property
    def beside(self) -> Beside:
        """The files of the plan, which stood beside its source."""
        from .wdl.beside import Beside

        return Beside(self.plan.files, self.store.layout.named(BESIDE))

    def mounted(self, path: str) -> str | None:
        """What a path or URI on a shared file system is called in the container; None for anything else."""
        return path_of(mounts_of(self.settings.mounts), path)

    def check_staged(self, items: Iterable[StageIn]) -> None:
        """Refuse what a call may not be given, wherever its URI came from.

        :raises EvaluationError: naming the first URI.
        """
        for item in items:
            if not may_take(self.settings, item.uri):
                raise EvaluationError(
                    f"this run may not take {item.uri}",
                    hint=f"the deployment's input_prefixes are {', '.join(self.settings.input_prefixes)}",
                )

    def check_width(self, what: str, shards: int) -> None:
        """Refuse a scatter of more shards than the deployment allows.

        :raises EvaluationError: naming both numbers.
        """
        most = self.settings.max_shards
        if shards > most:
            raise EvaluationError(f"{what} has {shards} shards; max_shards allows {most}")

    def check_widths(self) -> None:
        """As `check_width`, for the outermost scatters whose shards are known before any call has run."""
        for section in self.plan.sections:
            if section.kind == "scatter" and not section.upstream and len(self.plan.scatters(section.id)) == 1:
                try:
                    count = self.evaluation.shard_count(section.id, ()) or 0
                except EvaluationError:
                    continue  # the scatter itself will say so
                self.check_width(section.id, count)

    def call_outputs(self, call: str, shard: Shard) -> dict[str, Any] | None:
        """The outputs of a shard of a call, or None if it has not succeeded."""
        epoch = self.epochs.get(call)
        if epoch is None:
            epoch = self.epochs[call] = self.store.epoch(call)
        return self.store.call_outputs(call, shard, epoch)


def begin_run(
    settings: EcsSettings,
    clients: Clients,
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    dag_id: str,
    run_id: str,
    scope: str | None = None,
    options: Mapping[str, Any] | None = None,
    on_change: Callable[[RunStore], object] = lambda store: None,
) -> Run:
    """Check the settings, the inputs and the options, and write the run's folder.

    :param inputs: as the caller gave them: names (with or without the workflow's) -> values as JSON.
    :param scope: tells several runs within one Airflow run apart, such as a task id.
    :param options: what the run says of itself besides its inputs: option -> value (see ``run_options``).
    :param on_change: called, before the folder says so, if the run had begun with another plan or other inputs.
    :raises SettingsError: if settings are missing or contradict each other.
    :raises InputsError: listing every input that is missing, unknown or of the wrong type, and every option that is
        unknown or wrong; or every file that is not there.
    """
    settings.check()
    sensitive = sensitive_inputs(plan, settings.sensitive_inputs)
    bound, chosen = _checked(settings, plan, inputs, sensitive, options or {})
    layout = Layout(settings.workspace, dag_id, run_id, scope)
    s3 = clients("s3")
    bound, readable = taken(settings, s3, RunStore(s3, layout), plan, bound)
    # The inputs have no order; what is in them has: that of a Map is the order in which its members were given.
    encoded = json.dumps(dict(sorted(bound.items()))).encode()
    about = {
        "format": FORMAT,
        "workflow": plan.name,
        "plan": plan.digest,
        "inputs": hashlib.sha256(encoded).hexdigest(),
        "readable": sorted(set(readable).union(uri for uri in _literals(plan) if may_take(settings, uri))),
        "sensitive": list(sensitive),
        "options": dict(chosen.given),
        "dag_id": dag_id,
        "run_id": run_id,
        "scope": scope,
    }
    store = RunStore(s3, layout, _readable(about, settings))
    store.put_plan(plan)
    store.put(layout.named("inputs.json"), encoded, "application/json")
    carried = [(path, data) for path, data in plan.files.items() if data is not None]
    side_by_side(lambda file: store.put(layout.named(BESIDE + file[0]), base64.b64decode(file[1])), carried)
    run = _run(settings, clients, plan, bound, store, about=about)
    run.check_widths()
    before = store.get_json(layout.named("run.json"))
    if before is not None and any(before.get(what) != about[what] for what in ("plan", "inputs")):
        on_change(store)
    # run.json comes last: a run that has it is complete.
    store.put_json(layout.named("run.json"), about)
    return run


def open_run(
    settings: EcsSettings,
    clients: Clients,
    dag_id: str,
    run_id: str,
    *,
    scope: str | None = None,
    call: str | None = None,
) -> Run:
    """Find a run that has begun.

    The plan and the inputs are kept by the process, so all calls of a run read them once.

    :param call: the call that is to be run: its shards in this process evaluate once what they have in common.

    :raises AuthorError: if it has not begun, or was begun by a version whose runs this one does not know.
    """
    s3 = clients("s3")
    layout = Layout(settings.workspace, dag_id, run_id, scope)
    about = RunStore(s3, layout).shared_json("run.json")
    if about is None or about.get("format") != FORMAT:
        what = "no run" if about is None else f"a run of format {about.get('format')}, not {FORMAT},"
        raise AuthorError(
            f"there is {what} in {layout.folder}", hint="clear the DAG run's inputs task, so that it runs again"
        )
    store = RunStore(s3, layout, _readable(about, settings))
    inputs = store.inputs(about["inputs"])
    run = _run(settings, clients, store.plan(about["plan"]), inputs, store, about=about)
    return run if call is None else replace(run, **_shared_by_shards(run, about, call))


_shared: WeakValueDictionary[Hashable, SharedValues] = WeakValueDictionary()
_sharing = threading.Lock()


def _shared_by_shards(run: Run, about: Mapping[str, Any], call: str) -> dict[str, Any]:
    """What this process has evaluated for other shards of a call, as long as any of them runs.

    It holds for this plan, these inputs and, of the calls before it, these epochs.
    """
    from .wdl.shared_values import SharedValues

    upstream = run.plan.call_by_id[call].upstream
    epochs = dict(zip(upstream, side_by_side(run.store.epoch, list(upstream)), strict=True))
    readable, s = tuple(_readable(about, run.settings)), run.settings
    of_settings = (readable, s.max_shards, tuple(s.mounts.items()))
    key = (run.folder, call, about["plan"], about["inputs"], of_settings, tuple(epochs.items()))
    with _sharing:
        shared = _shared.get(key)
        if shared is None:
            shared = _shared[key] = SharedValues()
    return {"epochs": epochs, "shared": shared}


def finish_run(run: Run) -> dict[str, Any]:
    """The workflow's outputs: name -> WDL value as JSON, files as URIs; also written to ``outputs.json``.

    :raises EvaluationError: if an output cannot be evaluated; where files of the run were deleted, it says so.
    """
    try:
        outputs: dict[str, Any] = run.evaluation.outputs()
    except EvaluationError as error:
        error.hint = "\n".join(filter(None, (error.hint, hint_if_cleaned(run.store)))) or None
        raise
    run.store.write_outputs(outputs)
    return outputs


def _run(
    settings: EcsSettings,
    clients: Clients,
    plan: Plan,
    inputs: Mapping[str, Any],
    store: RunStore,
    *,
    about: Mapping[str, Any],
) -> Run:
    layout = store.layout
    ecs = clients("ecs").meta
    return Run(
        settings.with_defaults_for(ecs.region_name),
        clients,
        plan,
        inputs,
        store,
        layout.dag_id,
        layout.run_id,
        layout.scope,
        RunOptions(about.get("options", {})),
        tuple(about.get("sensitive", ())),
        is_amazon(ecs.endpoint_url),
    )


def _checked(
    settings: EcsSettings, plan: Plan, inputs: Mapping[str, Any], sensitive: tuple[str, ...], options: Mapping[str, Any]
) -> tuple[dict[str, Any], RunOptions]:
    """The inputs, bound, and the options.

    :raises InputsError: with all that is wrong with either; no secret is in it.
    """
    from .wdl.inputs import bind_inputs

    chosen, problems = read_options(options, settings.tags)
    mistaken = meant_as_options(inputs)
    problems += [Problem(text) for text in unknown_options(mistaken)]
    try:
        bound = bind_inputs(plan, {name: value for name, value in inputs.items() if name not in mistaken})
    except InputsError as error:
        hide(error, secret_texts({name.removeprefix(f"{plan.name}."): inputs[name] for name in inputs}, sensitive))
        raise InputsError([*problems, *error.problems], hint=error.hint) from None
    if problems:
        raise InputsError(problems)
    return bound, chosen


def _readable(about: Mapping[str, Any], settings: EcsSettings) -> list[str]:
    return [*about["readable"], *(f"{prefix.rstrip('/')}/" for prefix in settings.readable_prefixes)]


def _literals(plan: Plan) -> Iterable[str]:
    """The S3 URIs that the workflow's author wrote into it."""
    texts = [expression.text for expression in plan.expressions()] + [task.source for task in plan.tasks.values()]
    for text in texts:
        yield from _LITERAL.findall(text)
