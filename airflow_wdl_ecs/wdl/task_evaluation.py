"""One attempt of one call: from its bound inputs to what runs, and from the result to its outputs.

The evaluation knows the task's slice, the call's inputs as JSON, and `Files`. It does not submit, wait or stage; it
says what to stage, what to run, what to keep, and what came out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from graphlib import TopologicalSorter

import WDL

from ..errors import EvaluationError
from ..plan import Task
from ..task import CallIdentity, Files, Mounted, OutputRequest, StageIn, TaskResult, nothing_mounted
from .beside import NOTHING_BESIDE, Beside, without_absent
from .failures import evaluating
from .hints import hint_expressions, without_localization
from .limits import Held
from .localization import OutputLocations, TaskLocations
from .output_request import output_request
from .runtime_attributes import images, is_overridden, merged, task_variable
from .slices import parse_task, position_in_task
from .stdlib import BEFORE_1_2, Library, OutputLibrary
from .values import JSON, admits, from_json, to_json

Paths = WDL.Value.File | WDL.Value.Directory

LARGEST_COMMAND = 16 * 1024 * 1024
"""Characters of a command's script."""


class TaskEvaluation:
    """A task's inputs, declarations, environment, runtime attributes and command, evaluated on construction.

    An input with a default that is given as null has its default, unless its type is optional: then null stays null
    ("Optional inputs with defaults").

    :param task: the task's slice.
    :param inputs: the call's bound inputs, name -> WDL value as JSON, files as ``s3://`` URIs.
    :param folder: the attempt's folder in the container.
    :param attempt: from 0; ``task.attempt`` of WDL 1.2.
    :param runtime_overrides: runtime attribute -> value as JSON, given by the run.
    :param identity: who this is, for errors and ``task.id``.
    :param beside: the files that the plan brings along. :param mounted: knows those on shared file systems.
    :raises EvaluationError: if an expression fails or an input is missing, unknown or of the wrong type.
    """

    def __init__(
        self,
        task: Task,
        inputs: Mapping[str, JSON],
        *,
        folder: str,
        files: Files,
        attempt: int = 0,
        runtime_overrides: Mapping[str, JSON] | None = None,
        identity: CallIdentity | None = None,
        beside: Beside = NOTHING_BESIDE,
        mounted: Mounted = nothing_mounted,
    ) -> None:
        self.task = task
        self.attempt = attempt
        self.identity = identity
        self._files = files
        self._tree = parse_task(task)
        beside = NOTHING_BESIDE if task.wdl_version in BEFORE_1_2 else beside
        self._locations = TaskLocations(folder, files, beside, mounted)
        self._env: WDL.Env.Bindings[WDL.Value.Base] = WDL.Env.Bindings()
        self._bind_inputs(inputs)
        self._evaluate_declarations()
        self.runtime: dict[str, JSON] = self._evaluate_runtime(runtime_overrides or {})
        """The runtime attributes as JSON, overrides applied (see `runtime_attributes`)."""

    @cached_property
    def _library(self) -> Library:
        return Library(self.task.wdl_version, self._files, self._locations)

    def rest(self) -> None:
        """Let go of what the outputs do not need, which is most of it, until the command has run."""
        self.__dict__.pop("_library", None)

    # --- what runs

    @property
    def images(self) -> tuple[str, ...]:
        """The container images that the task accepts, best first."""
        return images(self.runtime)

    @property
    def image(self) -> str | None:
        """The container image to use, or None if the task names none."""
        return next(iter(self.images), None)

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables that declarations with ``env`` set; one that is ``None`` is left unset.

        A string or path is set as it is, anything else as its JSON.
        """
        found: dict[str, str] = {}
        for decl in self._declarations:
            value = self._env[decl.name] if decl.decor.get("env") else WDL.Value.Null()
            if not isinstance(value, WDL.Value.Null):
                with self._evaluating(f"env {decl.name}", decl):
                    as_json = to_json(value)
                    found[decl.name] = as_json if isinstance(as_json, str) else json.dumps(as_json, ensure_ascii=False)
        return found

    def command(self) -> str:
        """The script for bash: placeholders evaluated, common leading whitespace removed.

        :raises EvaluationError: if a placeholder fails.
        """
        return self._command

    @cached_property
    def _command(self) -> str:
        with self._evaluating("command", self._tree.command):
            script = str(self._library.evaluate(self._tree.command, self._env_with_task(None)).value)
            if "\0" in script:
                raise EvaluationError("the command has a NUL character, which no shell reads")
            if len(script) > LARGEST_COMMAND:
                raise EvaluationError(
                    f"the command has {len(script)} characters; {LARGEST_COMMAND} is the most",
                    hint="Hand so much over in a file: write_lines() and the like make one.",
                )
            return script

    @property
    def stage_in(self) -> tuple[StageIn, ...]:
        """Every file and directory that must be in place before the command starts.

        :raises EvaluationError: as `command`, since its ``write_*`` functions make files.
        """
        self.command()
        return self._locations.staged

    @property
    def not_staged(self) -> tuple[StageIn, ...]:
        """What the command has by its URI, since its author says that it need not be staged."""
        return self._locations.left

    # --- what comes out

    def output_request(self) -> OutputRequest:
        """What to keep of the work directory, so that the outputs can be evaluated."""
        locations = self._locations.copy()
        library = self._output_library(locations, _no_globs)
        with self._evaluating("outputs", self._tree):
            return output_request(self._outputs_in_order, self._env_with_task(None), library, locations)

    def outputs(self, result: TaskResult, prefix: str) -> dict[str, JSON]:
        """The outputs of an attempt whose command succeeded: name -> WDL value as JSON, files as URIs.

        :param result: what the attempt wrote. :param prefix: where it is kept, ``s3://.../``.
        :raises EvaluationError: if an output fails, names a missing file that is not optional, or a file outside the
            work directory and the inputs.
        """
        locations = OutputLocations(self._locations.copy(), result, prefix)
        library = self._output_library(locations, locations.expand)
        env = self._env_with_task(result.exit_code)
        found: dict[str, JSON] = {}
        held = Held("the task's outputs hold")
        for decl in self._outputs_in_order:
            with self._evaluating(f"output {decl.name}", decl):
                assert decl.expr is not None
                value = library.evaluate(decl.expr, env).coerce(decl.type)
                held.add(value)
                value = _existing(value, decl.type, locations.locate, locations.missing, keep=True)
                env = env.bind(decl.name, value)
                uris = WDL.Value.rewrite_paths(
                    value, lambda v: locations.locate(v.value, directory=isinstance(v, WDL.Value.Directory))
                )
                found[decl.name] = to_json(uris)
        return {decl.name: found[decl.name] for decl in self._tree.outputs}

    # --- evaluation

    @property
    def _declarations(self) -> list[WDL.Tree.Decl]:
        return [*(self._tree.inputs or []), *self._tree.postinputs]

    @cached_property
    def _outputs_in_order(self) -> list[WDL.Tree.Decl]:
        return _in_order(self._tree.outputs)

    def _evaluating(self, what: str, node: WDL.SourceNode) -> AbstractContextManager[None]:
        return evaluating(
            f"task {self.task.name}: {what}",
            position_in_task(self.task, node.pos),
            lambda position: position_in_task(self.task, position),
            call=self.identity.call if self.identity else None,
            shard=self.identity.shard if self.identity else None,
        )

    def _output_library(
        self, locations: TaskLocations | OutputLocations, expand: Callable[[str], list[str]]
    ) -> OutputLibrary:
        return OutputLibrary(
            self.task.wdl_version,
            self._files,
            locations,
            stdout=self._locations.stdout,
            stderr=self._locations.stderr,
            expand=expand,
        )

    def _bind_inputs(self, inputs: Mapping[str, JSON]) -> None:
        # Before WDL 1.0 there is no input section, and every declaration is an input.
        decls = self._tree.postinputs if self._tree.inputs is None else self._tree.inputs
        declared = {decl.name: decl for decl in decls}
        given: dict[str, WDL.Value.Base] = {}
        for name, value in inputs.items():
            if name not in declared:
                with self._evaluating(f"input {name}", self._tree):
                    raise EvaluationError(f"task {self.task.name} has no input {name!r}")
            decl = declared[name]
            if value is None and decl.expr is not None and not decl.type.optional:
                continue
            with self._evaluating(f"input {name}", decl):
                given[name] = from_json(decl.type, value)
        left = without_localization(self.task)
        for name in [name for name in given if name in left]:
            self._env = self._env.bind(name, WDL.Value.rewrite_paths(given.pop(name), self._leave))
        # Directories first, the outer ones before the inner: what is in one of them is not staged besides.
        paths = [path for value in given.values() for path in _paths(value)]
        for path in sorted(
            (path for path in paths if isinstance(path, WDL.Value.Directory)), key=lambda v: len(v.value)
        ):
            with self._evaluating("inputs", self._tree):
                self._localize(path)
        for name, value in given.items():
            with self._evaluating(f"input {name}", declared[name]):
                self._env = self._env.bind(name, WDL.Value.rewrite_paths(value, self._localize))

    def _leave(self, path: Paths) -> str:
        return self._locations.leave(path.value, directory=isinstance(path, WDL.Value.Directory))

    def _localize(self, path: Paths) -> str:
        return self._locations.localize(path.value, directory=isinstance(path, WDL.Value.Directory))

    def _evaluate_declarations(self) -> None:
        held = Held("the task's declarations hold")
        for decl in _in_order(decl for decl in self._declarations if not self._env.has_binding(decl.name)):
            with self._evaluating(f"declaration {decl.name}", decl):
                if decl.expr is None and not decl.type.optional:
                    raise EvaluationError(f"required input {decl.name} is not given")
                value = self._library.evaluate(decl.expr, self._env) if decl.expr else WDL.Value.Null()
                held.add(value)
                value = _existing(value.coerce(decl.type), decl.type, self._declared, _no_such_input, keep=False)
                if self.task.wdl_version not in BEFORE_1_2:
                    value = without_absent(value, decl.type)
                self._env = self._env.bind(decl.name, value)

    def _declared(self, path: str, *, directory: bool) -> str | None:
        """A declaration's path in the container: localized, below an input directory, or as written."""
        # what join_paths() composed is below the work directory, where nothing is yet
        relative = self._locations.in_work(path)
        path = (relative and self._locations.beside.resolve(relative, directory=directory)) or path
        if "://" in path:
            uri = path.rstrip("/") + "/" if directory else path
            if path.startswith("s3://") and self._files.size(uri) is None:
                return None
            return self._locations.localize(path, directory=directory)
        if self._locations.input_uri(path, directory=directory) is None:
            return path  # of the image or of the work directory: only the command can tell
        return path if self._locations.existing_input(path, directory=directory) is not None else None

    def _evaluate_runtime(self, overrides: Mapping[str, JSON]) -> dict[str, JSON]:
        hints = {} if self.task.wdl_version in BEFORE_1_2 else hint_expressions(self.task)

        def evaluated(attributes: Mapping[str, WDL.Expr.Base]) -> dict[str, JSON]:
            found: dict[str, JSON] = {}
            for name, expr in attributes.items():
                if not is_overridden(name, overrides):
                    with self._evaluating(f"runtime {name}", expr):
                        found[name] = to_json(self._library.evaluate(expr, self._env))
            return found

        return merged(evaluated(hints), evaluated(self._tree.runtime), overrides)

    def _env_with_task(self, return_code: int | None) -> WDL.Env.Bindings[WDL.Value.Base]:
        """The environment with WDL 1.2's ``task`` variable; ``return_code`` is known only after the command."""
        if self.task.wdl_version in BEFORE_1_2:
            return self._env
        with self._evaluating("task variable", self._tree):
            known = {
                **task_variable(self.runtime),
                "name": self.task.name,
                "id": self._id(),
                "attempt": self.attempt,
                "meta": self.task.meta,
                "parameter_meta": self.task.parameter_meta,
            }
            if return_code is not None:
                known["return_code"] = return_code
            task_type = self._tree.task_runtime_info_struct_type(output_section=return_code is not None)
            return self._env.bind("task", from_json(task_type, known))

    def _id(self) -> str:
        if self.identity is None:
            return self.task.name
        return f"{self.identity.dag_id}.{self.identity.run_id}.{self.identity}"


def _paths(value: WDL.Value.Base) -> Iterable[Paths]:
    if isinstance(value, (WDL.Value.File, WDL.Value.Directory)):
        yield value
    for child in value.children:
        yield from _paths(child)


def _no_globs(pattern: str) -> list[str]:
    raise EvaluationError("glob() before the command has run")


def _no_such_input(path: str, *, directory: bool) -> str:
    return f"no such {'directory' if directory else 'file'}: {path}"


def _existing(
    value: WDL.Value.Base,
    wdl_type: WDL.Type.Base,
    locate: Callable[..., str | None],
    missing: Callable[..., str],
    *,
    keep: bool,
) -> WDL.Value.Base:
    """The value with paths that do not exist as null.

    :param keep: keep a path that exists as it is written, instead of what ``locate`` says.
    :raises EvaluationError: if one is missing where its type is not optional.
    """
    absent: list[str] = []

    def rewrite(path: Paths) -> str | None:
        directory = isinstance(path, WDL.Value.Directory)
        found = locate(path.value, directory=directory)
        if found is None:
            absent.append(missing(path.value, directory=directory))
            return None
        return str(path.value) if keep else found

    rewritten = WDL.Value.rewrite_paths(value, rewrite)
    if absent and not admits(wdl_type, rewritten):
        raise EvaluationError(absent[0])
    return rewritten


def _in_order(decls: Iterable[WDL.Tree.Decl]) -> list[WDL.Tree.Decl]:
    """Declarations, each after those that its expression refers to, else as they are written."""
    by_name = {decl.name: decl for decl in decls}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, decl in by_name.items():
        sorter.add(name, *(ref for ref in _references(decl.expr) if ref in by_name))
    return [by_name[name] for name in sorter.static_order()]


def _references(expr: WDL.Expr.Base | None) -> Iterable[str]:
    pending = [expr] if expr is not None else []
    while pending:
        at = pending.pop()
        if isinstance(at, WDL.Expr.Ident):
            yield at.name.partition(".")[0]
        pending.extend(child for child in at.children if isinstance(child, WDL.Expr.Base))
