"""A workflow's values in one run: scatter sizes, guards, what a call's inputs are bound to, the outputs.

A value is evaluated when something asks for it, and kept: a call costs what it depends on, not what the workflow is
long. What a computation needs it yields as a key, and `_run` supplies it from an explicit stack, so a chain of
thousands of declarations needs no deep recursion.

The evaluation knows the plan, the run's inputs, `Files`, and where to ask for the outputs of calls. It does not know
which calls have run: it asks only for those that a value depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import WDL

from ..errors import EvaluationError
from ..plan import ROOT, Call, Decl, Document, Expression, Plan, Ref, Section, Shard
from ..task import Files, Mounted, nothing_mounted
from .beside import NOTHING_BESIDE, Beside, without_absent
from .failures import evaluating
from .limits import MOST_SHARDS, Held, check_value
from .shared_values import SharedValues, label, shell
from .slices import parse_expression, parse_task, position_in_expression
from .stdlib import BEFORE_1_2, Library, WorkflowLocations
from .values import JSON, from_json, parse_type, to_json

CallOutputs = Callable[[str, Shard], Mapping[str, JSON] | None]
"""From a call's id and shard to its outputs as JSON; None if it has none."""


class _Key(NamedTuple):
    """A value of the run: what kind, of which node, in which shard.

    ``ref`` and ``document`` say as what type a call's output or a gathered value is understood; ``below`` is the
    section from which a value is gathered.
    """

    kind: str
    node: str
    shard: Shard
    ref: Ref | None = None
    document: Document | None = None
    below: str = ROOT


class _Gather(NamedTuple):
    """What is gathered, as which document understands it, and scatter -> from how many of its shards so far."""

    ref: Ref
    document: Document
    widths: dict[str, int]


_Value = WDL.Value.Base
_Computing = Generator[_Key, _Value, _Value]


class WorkflowEvaluation:
    """The values of one run.

    :param inputs: the run's normalised inputs, by ``Input.name``, and its runtime overrides.
    :param call_outputs: gives the outputs of calls; it is asked only for calls whose guards are true.
    :param beside: the files that the plan brings along. :param mounted: knows those on shared file systems.
    :param most_shards: for how many shards of a scatter, with those of the scatters around it, it evaluates anything.
    :param shared: what evaluations of the same values share of those outside of scatters; each has its own by default.

    Every method may be called from any thread, and raises `EvaluationError`, with the position in the user's source,
    if an expression fails.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, JSON],
        files: Files,
        call_outputs: CallOutputs,
        beside: Beside = NOTHING_BESIDE,
        *,
        most_shards: int = MOST_SHARDS,
        shared: SharedValues | None = None,
        mounted: Mounted = nothing_mounted,
    ) -> None:
        self.plan = plan
        self._most_shards = most_shards
        self._held = Held("the run's declarations hold")
        self._beside = beside
        self._mounted = mounted
        self.inputs = inputs
        self._files = files
        self._call_outputs = call_outputs
        self._values: dict[_Key, _Value] = {}
        self._shared = SharedValues() if shared is None else shared
        self._outputs: dict[tuple[str, Shard], Mapping[str, JSON]] = {}
        self._libraries: dict[str, Library] = {}

    # --- scatters

    def shard_count(self, scatter: str, outer: Shard = ()) -> int | None:
        """How many shards a scatter has.

        :param scatter: the section's id. :param outer: the indices of the scatters around it.
        :return: None if a conditional around it is false.
        """
        section = self.plan.section_by_id[scatter]
        assert section.parent is not None
        if not self._reached(section.parent, outer):
            return None
        return len(self._get(_Key("items", scatter, outer)).value)

    def shards(self, call: str, prefix: Shard = ()) -> list[Shard]:
        """All shards of a call that begin with ``prefix``, in order.

        Where a conditional around an inner scatter is false there are none. A conditional inside the innermost
        scatter is not asked: its shards are listed, and `call_inputs` is None for them.
        """
        return self._shards(self.plan.scatters(self.plan.call_by_id[call].section), prefix)

    def _shards(self, scatters: tuple[Section, ...], prefix: Shard) -> list[Shard]:
        found = [prefix]
        for scatter in scatters[len(prefix) :]:
            counts = [(shard, self.shard_count(scatter.id, shard) or 0) for shard in found]
            self._check_shards(scatter, sum(count for _, count in counts))
            found = [(*shard, index) for shard, count in counts for index in range(count)]
        return found

    def _check_shards(self, scatter: Section, count: int) -> None:
        if count > self._most_shards:
            raise EvaluationError(
                f"{scatter.id} has {count} shards; max_shards allows {self._most_shards}",
                position=scatter.expression.position if scatter.expression else None,
            )

    def shard_label(self, scatter: str, shard: Shard) -> str:
        """A short text for people that says which shard this is: that of the scatter variable's value.

        :param shard: the indices of the scatters around it and, last, its own.
        """
        return label(self._get(_Key("items", scatter, shard[:-1])).value[shard[-1]])

    # --- calls

    def call_inputs(self, call: str, shard: Shard) -> dict[str, JSON] | None:
        """The inputs of one shard of a call: those that the workflow binds, and those that the run sets.

        An input that nothing sets is left out, for the task's default.

        :return: None if a conditional around the call is false: the shard is to be skipped.
        """
        found = self.plan.call_by_id[call]
        with evaluating("conditions", found.position, None, call=call, shard=shard):
            if not self._reached(found.section, shard):
                return None
        bound = {name: self._input(found, name, expression, shard) for name, expression in found.inputs.items()}
        set_by_run = {
            name.rpartition(".")[2]: self.inputs[name] for name in self._settable.get(call, ()) if name in self.inputs
        }
        return {**bound, **set_by_run}

    # --- outputs

    def outputs(self) -> dict[str, JSON]:
        """The workflow's outputs: name -> WDL value as JSON.

        Every declaration is evaluated first, also those that nothing asks for: one that fails fails the workflow.
        """
        for decl in self.plan.decls:
            for shard in self._shards(self.plan.scatters(decl.section), ()):
                if self._reached(decl.section, shard):
                    self._get(_Key("decl", decl.id, shard))
        found: dict[str, JSON] = {}
        for output in self.plan.outputs:
            value = self._run(self._reference(Ref(output.node, output.type), ROOT, ()))
            with evaluating(f"output {output.name}", self.plan.decl_by_id[output.node].position, None):
                found[output.name] = to_json(value)
        return found

    # --- running computations

    def _get(self, key: _Key) -> _Value:
        def computing() -> _Computing:
            return (yield key)

        return self._run(computing())

    def _run(self, computing: _Computing) -> _Value:
        """Run a computation, and those of what it needs, each once."""
        stack: list[tuple[_Key | None, _Computing]] = [(None, computing)]
        running: set[_Key] = set()
        supply: Any = None
        while stack:
            key, at = stack[-1]
            try:
                needed = at.send(supply)
            except StopIteration as done:
                stack.pop()
                supply = done.value
                if key is not None:
                    running.discard(key)
                    self._kept(key)[key] = supply
                continue
            supply = self._kept(needed).get(needed)
            if supply is None:
                if needed in running:
                    raise EvaluationError(f"{needed.node} depends on itself")
                running.add(needed)
                stack.append((needed, self._computing(needed)))
        assert isinstance(supply, _Value)
        return supply

    def _kept(self, key: _Key) -> dict[Any, Any]:
        """Where a value is kept: those of one shard are nobody else's."""
        return self._values if key.shard else self._shared

    def _computing(self, key: _Key) -> _Computing:
        if key.kind == "decl":
            return self._decl(self.plan.decl_by_id[key.node], key.shard)
        if key.kind == "output":
            return self._output(key)
        if key.kind == "gather":
            return self._gather(key)
        return self._section(self.plan.section_by_id[key.node], key.shard)

    # --- computations

    def _decl(self, decl: Decl, shard: Shard) -> _Computing:
        """A declaration: what the run sets, what the call of its subworkflow binds, its own expression, or null."""
        wdl_type = parse_type(decl.type, self._document(decl.section))
        value: _Value = WDL.Value.Null()
        if decl.input is not None and decl.input in self.inputs:
            with evaluating(f"input {decl.input}", decl.position, None):
                given = self.inputs[decl.input]
                value = from_json(wdl_type.copy(optional=True), given)
        elif decl.bound is not None:
            value = yield from self._expression(decl.bound, shard, decl.id)
        elif decl.expression is not None:
            return (yield from self._expression(decl.expression, shard, decl.id, wdl_type))
        if isinstance(value, WDL.Value.Null) and not wdl_type.optional:
            # Null for an input that has a default and is not optional means the default.
            if decl.expression is not None:
                return (yield from self._expression(decl.expression, shard, decl.id, wdl_type))
            raise EvaluationError(f"{decl.id}: required, and not given", position=decl.position)
        with evaluating(decl.id, decl.position, None):
            return self._placed(value, wdl_type, self._document(decl.section))

    def _section(self, section: Section, shard: Shard) -> _Computing:
        """A scatter's collection, or a conditional's condition."""
        assert section.expression is not None
        wdl_type = WDL.Type.Boolean() if section.kind == "if" else None
        return (yield from self._expression(section.expression, shard, section.label or section.id, wdl_type))

    def _expression(
        self, expression: Expression, shard: Shard, what: str, wdl_type: WDL.Type.Base | None = None
    ) -> _Computing:
        """An expression's value, coerced to ``wdl_type``.

        :param shard: that of a node in the expression's section or below it.
        """
        env: WDL.Env.Bindings[_Value] = WDL.Env.Bindings()
        for name, ref in expression.refs.items():
            value = yield from self._reference(ref, expression.section, shard)
            env = env.bind(name, shell(value))
        document = self._document(expression.section)
        with evaluating(what, expression.position, lambda at: position_in_expression(expression, at)):
            value = self._library(document).evaluate(parse_expression(expression, document), env)
            placed = value if wdl_type is None else self._placed(value, wdl_type, document)
            self._held.add(placed)
            return placed

    def _placed(self, value: _Value, wdl_type: WDL.Type.Base, document: Document) -> _Value:
        """The value as one of a type, its files where the run has them."""
        found = self._beside.in_value(value.coerce(wdl_type))
        return found if document.wdl_version in BEFORE_1_2 else without_absent(found, wdl_type)

    def _reference(self, ref: Ref, section: str, shard: Shard) -> _Computing:
        """What a name means in a section: the node of the same shard, or gathered over the scatters between."""
        node = self.plan.section_by_id.get(ref.node)
        if node is not None:
            depth = len(self.plan.scatters(node.id))
            items = yield _Key("items", node.id, shard[: depth - 1])
            item: _Value = items.value[shard[depth - 1]]
            return item
        shared, between = self._between(section, self._section_of(ref.node))
        depth = len(self.plan.scatters(shared))
        document = self._document(section)
        if all(each.kind == "workflow" for each in between):
            return (yield self._leaf(ref, document, shard[:depth]))
        return (yield _Key("gather", ref.node, shard[:depth], ref, document, shared))

    def _gather(self, key: _Key) -> _Computing:
        assert key.ref is not None
        assert key.document is not None
        _, between = self._between(key.below, self._section_of(key.node))
        wdl_type = parse_type(key.ref.type, key.document)
        gather = _Gather(key.ref, key.document, {})
        return (yield from self._gathered(gather, between, key.shard, wdl_type))

    def _gathered(
        self, gather: _Gather, sections: tuple[Section, ...], shard: Shard, wdl_type: WDL.Type.Base
    ) -> _Computing:
        if not sections:
            return (yield self._leaf(gather.ref, gather.document, shard, wdl_type))
        section, inner = sections[0], sections[1:]
        if section.kind == "if":
            condition = yield _Key("holds", section.id, shard)
            if not condition.value:
                return WDL.Value.Null()
        if section.kind != "scatter":
            return (yield from self._gathered(gather, inner, shard, wdl_type))
        assert isinstance(wdl_type, WDL.Type.Array)
        items = yield _Key("items", section.id, shard)
        gather.widths[section.id] = gather.widths.get(section.id, 0) + len(items.value)
        self._check_shards(section, gather.widths[section.id])
        values: list[_Value] = []
        for index in range(len(items.value)):
            value = yield from self._gathered(gather, inner, (*shard, index), wdl_type.item_type)
            values.append(value)
        return check_value(WDL.Value.Array(wdl_type.item_type, values))

    def _leaf(self, ref: Ref, document: Document, shard: Shard, wdl_type: WDL.Type.Base | None = None) -> _Key:
        if ref.output is None:
            return _Key("decl", ref.node, shard)
        return _Key("output", ref.node, shard, Ref(ref.node, str(wdl_type or ref.type), ref.output), document)

    def _output(self, key: _Key) -> _Computing:
        """One output of one shard of a call."""
        yield from ()  # it needs no other value
        ref = key.ref
        assert ref is not None
        assert ref.output is not None
        outputs = self._outputs.get((key.node, key.shard))
        if outputs is None:
            outputs = self._call_outputs(key.node, key.shard)
        position = self.plan.call_by_id[key.node].position
        if outputs is None or ref.output not in outputs:
            what = "has no outputs yet" if outputs is None else f"has no output {ref.output}"
            raise EvaluationError(f"the call {what}", position=position, call=key.node, shard=key.shard)
        self._outputs[key.node, key.shard] = outputs
        with evaluating(f"output {ref.output}", position, None, call=key.node, shard=key.shard):
            return from_json(ref.type, outputs[ref.output], key.document)

    def _input(self, call: Call, name: str, expression: Expression, shard: Shard) -> JSON:
        """A bound input as JSON, of the type that the task declares."""
        tree = parse_task(self.plan.tasks[call.task])
        decls = tree.postinputs if tree.inputs is None else tree.inputs
        wdl_type = next(decl.type for decl in decls if decl.name == name)
        what = f"input {name}"
        with evaluating(what, expression.position, None, call=call.id, shard=shard):
            # null for an input that is not optional may mean its default: the task decides
            value = self._run(self._expression(expression, shard, what, wdl_type.copy(optional=True)))
            return to_json(value)

    # --- the plan

    def _reached(self, section: str, shard: Shard) -> bool:
        """Whether every conditional around a node is true, from the outside in; the inner ones are not asked then."""
        depth = 0
        for each in self.plan.enclosing(section):
            if each.kind == "if" and not self._get(_Key("holds", each.id, shard[:depth])).value:
                return False
            depth += each.kind == "scatter"
        return True

    def _between(self, here: str, there: str) -> tuple[str, tuple[Section, ...]]:
        """The innermost section around both, and those from below it down to ``there``."""
        shared, around = ROOT, self.plan.enclosing(there)
        for depth, (mine, theirs) in enumerate(zip(self.plan.enclosing(here), around, strict=False)):
            if mine.id != theirs.id:
                return shared, around[depth:]
            shared = mine.id
        return shared, around[len(self.plan.enclosing(shared)) :]

    def _section_of(self, node: str) -> str:
        decl = self.plan.decl_by_id.get(node)
        return decl.section if decl is not None else self.plan.call_by_id[node].section

    def _document(self, section: str) -> Document:
        return self.plan.documents[self.plan.section_by_id[section].document]

    def _library(self, document: Document) -> Library:
        version = document.wdl_version
        if version not in self._libraries:
            self._libraries[version] = Library(version, self._files, WorkflowLocations(self._beside, self._mounted))
        return self._libraries[version]

    @cached_property
    def _settable(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for given in self.plan.inputs:
            found.setdefault(given.node, []).append(given.name)
        return found
