"""From a checked document to a Plan.

Subworkflows are inlined where they are called, scatters and conditionals become sections, and each task becomes a
slice. Pure: it reads no file and evaluates no expression. What it cannot compile it refuses, at its position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import WDL
from WDL import Type

from ..errors import AuthorError, Problem
from ..plan import ROOT, Call, Decl, Expression, Output, Plan, Ref, Section
from .documents import Documents, NoSuchTypeError, refuse
from .expressions import lower_expression
from .load import Read, load, read_location
from .nesting import LONGEST_ID
from .problems import position
from .scopes import Ids, Scope, open_scope
from .settable import InputsOf, is_private, task_inputs
from .source_files import files_beside
from .task_slices import TaskSlices, plain_meta
from .upstream import with_upstream


def compile_wdl(
    source: str | Path,
    *,
    task: str | None = None,
    read: Read = read_location,
    check_quant: bool = True,
    path: Iterable[str | Path] = (),
) -> Plan:
    """Load and lower a WDL source; see `lower` for ``task``, `load` for everything else.

    :raises AuthorError: with every problem of the source.
    """
    return lower(load(source, read=read, check_quant=check_quant, path=path), task=task)


def lower(document: WDL.Tree.Document, *, task: str | None = None) -> Plan:
    """Compile a checked document.

    The plan is that of its workflow; that of ``task``, if it is named; or that of its only task, if it has no
    workflow. A task's plan has one call, whose id is the task's name; its inputs and outputs are named as the task's.

    :raises AuthorError: if there is nothing to run or nothing that says which task, or for a construct that is not
        compiled.
    """
    if task is None and document.workflow is not None:
        return _Lowering(document).workflow(document.workflow)
    return _Lowering(document).task(_choose(document, task))


def _choose(document: WDL.Tree.Document, name: str | None) -> WDL.Tree.Task:
    names = [task.name for task in document.tasks]
    if name in names:
        return document.tasks[names.index(name)]
    if name is None and len(names) == 1:
        return document.tasks[0]
    listed = ", ".join(names) or "none"
    if name is not None:
        raise AuthorError(f"{document.pos.uri}: no task {name} (tasks: {listed})")
    if not names:
        raise AuthorError(f"{document.pos.uri}: neither a workflow nor a task to run")
    raise AuthorError(
        f"{document.pos.uri}: no workflow, and more than one task: {listed}", hint="choose one with --task NAME"
    )


@dataclass
class _Lowering:
    """One compilation: the parts of the plan as they grow."""

    document: WDL.Tree.Document
    documents: Documents = field(default_factory=Documents)
    ids: Ids = field(default_factory=Ids)
    sections: list[Section] = field(default_factory=list)
    decls: list[Decl] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    after: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.documents.key(self.document)
        self.slices = TaskSlices(self.documents)
        self.inputs = InputsOf(self.documents)
        self.slice_of: dict[str, int] = {}

    def workflow(self, workflow: WDL.Tree.Workflow) -> Plan:
        scope = open_scope(workflow, self.document, ROOT, self.documents, self.ids)
        self.sections.append(Section(ROOT, "workflow", scope.key, position(workflow), label=workflow.name))
        self.scope(scope, None, ())
        if workflow.outputs is None:
            self.call_outputs(scope)
        else:
            for output in workflow.outputs:
                self.outputs.append(Output(output.name, scope.outputs[output.name], self.type_of(output, scope)))
        return self.plan(workflow.name, workflow)

    def task(self, task: WDL.Tree.Task) -> Plan:
        key = self.documents.key(self.document)
        self.sections.append(Section(ROOT, "workflow", key, position(task), label=task.name))
        id_ = self.ids.claim(task.name)
        self.calls.append(Call(id_, ROOT, task.name, "", position(task)))
        self.slice_of[id_] = self.slices.index(task)
        self.inputs.of_task(task, id_, "", frozenset())
        for output in task.outputs:
            node = self.ids.claim(output.name, f"output_{output.name}")
            written = self.documents.type_text(key, output.type)
            text = f"{task.name}.{output.name}"
            refs = {text: Ref(id_, written, output.name)}
            expression = Expression(text, written, ROOT, position(output), refs)
            self.decls.append(Decl(node, ROOT, output.name, written, position(output), expression))
            self.outputs.append(Output(output.name, node, written))
        return self.plan(task.name, task)

    def plan(self, name: str, target: WDL.Tree.Workflow | WDL.Tree.Task) -> Plan:
        self.check_names(name, target)
        sections, calls = with_upstream(self.sections, self.decls, self.calls, self.after)
        keys = self.slices.keys()
        return Plan(
            name=name,
            documents=self.documents.to_plan(),
            sections=sections,
            decls=tuple(self.decls),
            calls=tuple(_with_task(call, keys[self.slice_of[call.id]]) for call in calls),
            tasks=dict(zip(keys, self.slices.tasks, strict=True)),
            inputs=tuple(self.inputs.found),
            outputs=tuple(self.outputs),
            meta=plain_meta(target.meta),
            source=self.document.source_text,
            position=position(target),
            files=files_beside(self.document),
        )

    def check_names(self, name: str, target: WDL.Tree.Workflow | WDL.Tree.Task) -> None:
        """Refuse what cannot be the id of a DAG or a task in Airflow."""
        named = [(name, position(target)), *((call.id, call.position) for call in self.calls)]
        named += [(section.id, section.position) for section in self.sections]
        problems = [
            Problem(f"the name {id_[:50]}... has {len(id_)} characters; {LONGEST_ID} is the most", place)
            for id_, place in named
            if len(id_) > LONGEST_ID
        ]
        if problems:
            raise AuthorError(problems, hint="its parts are the names of the calls around it; give them shorter ones")

    def scope(self, scope: Scope, call: tuple[WDL.Tree.Call, Scope, str] | None, after: tuple[str, ...]) -> None:
        """Lower a workflow.

        :param call: the call that inlines it, with the scope and the section in which that stands.
        :param after: the calls after which all of its own are ordered.
        """
        workflow = scope.workflow
        settable = {decl.name: decl for decl in _settable(workflow)}
        bound: dict[str, Expression] = {}
        if call is not None:
            statement, caller, section = call
            for name, expression in statement.inputs.items():
                bound[name] = lower_expression(expression, caller, section, self.documents, settable[name].type)
        for decl in workflow.inputs or []:
            self.decl(decl, scope, scope.section, settable=True, bound=bound.get(decl.name))
        for node in workflow.body:
            if isinstance(node, WDL.Tree.Decl) and node.name in settable:
                by_run = not is_private(node, workflow)
                self.decl(node, scope, scope.section, settable=by_run, bound=bound.get(node.name))
            else:
                self.node(node, scope, scope.section, after)
        for output in workflow.outputs or []:
            self.decl(output, scope, scope.section)

    def body(self, nodes: Iterable[WDL.Tree.WorkflowNode], scope: Scope, section: str, after: tuple[str, ...]) -> None:
        for node in nodes:
            self.node(node, scope, section, after)

    def node(self, node: WDL.Tree.WorkflowNode, scope: Scope, section: str, after: tuple[str, ...]) -> None:
        if isinstance(node, WDL.Tree.Decl):
            self.decl(node, scope, section)
        elif isinstance(node, WDL.Tree.Call):
            self.call(node, scope, section, after)
        elif isinstance(node, WDL.Tree.WorkflowSection):
            id_ = self.section(node, scope, section)
            self.body(node.body, scope, id_, after)
        else:
            raise refuse("this construct is not supported", node, scope.document)

    def decl(
        self,
        decl: WDL.Tree.Decl,
        scope: Scope,
        section: str,
        *,
        settable: bool = False,
        bound: Expression | None = None,
    ) -> None:
        written = self.type_of(decl, scope)
        id_ = scope.ids[decl.workflow_node_id]
        expression = (
            lower_expression(decl.expr, scope, section, self.documents, decl.type) if decl.expr is not None else None
        )
        name = scope.inside(decl.name) if settable and bound is None else None
        if name is not None:
            self.inputs.of_decl(decl, id_, name, scope.document, scope.workflow.parameter_meta)
        self.decls.append(Decl(id_, section, decl.name, written, position(decl), expression, bound, name))

    def section(self, node: WDL.Tree.WorkflowSection, scope: Scope, parent: str) -> str:
        id_ = scope.ids[node.workflow_node_id]
        where = position(node)
        if isinstance(node, WDL.Tree.Scatter):
            expression = lower_expression(node.expr, scope, parent, self.documents)
            label = f"scatter {node.variable}"
            self.sections.append(
                Section(id_, "scatter", scope.key, where, parent, label, expression, variable=node.variable)
            )
        else:
            assert isinstance(node, WDL.Tree.Conditional)
            expression = lower_expression(node.expr, scope, parent, self.documents, Type.Boolean())
            label = f"if {' '.join(expression.text.split())}"
            self.sections.append(Section(id_, "if", scope.key, where, parent, label, expression))
        return id_

    def call(self, call: WDL.Tree.Call, scope: Scope, section: str, after: tuple[str, ...]) -> None:
        id_ = scope.ids[call.workflow_node_id]
        after = (*after, *(each for name in call.after for each in scope.calls_of(name)))
        called = scope.called.get(call.name)
        if called is not None:
            label = f"workflow {call.name}"
            self.sections.append(Section(id_, "workflow", called.key, position(call), section, label))
            self.scope(called, (call, scope, section), after)
            return
        task = call.callee
        assert isinstance(task, WDL.Tree.Task)
        types = {decl.name: decl.type for decl in task_inputs(task)}
        inputs = {
            name: lower_expression(expression, scope, section, self.documents, types[name])
            for name, expression in call.inputs.items()
        }
        self.calls.append(Call(id_, section, call.name, "", position(call), inputs))
        self.slice_of[id_] = self.slices.index(task)
        self.after[id_] = after
        self.inputs.of_task(task, id_, scope.inside(call.name), frozenset(inputs))

    def call_outputs(self, scope: Scope) -> None:
        """A workflow without an output section exposes what its calls do."""
        for binding in scope.workflow.effective_outputs:
            node = binding.info
            while isinstance(node, WDL.Tree.Gather):
                node = node.final_referee
            output = binding.name.removeprefix(f"{node.name}.")
            called = scope.called.get(node.name)
            written = self.documents.type_text(scope.key, binding.value)
            target = (
                Ref(called.outputs[output], written)
                if called is not None
                else Ref(scope.ids[node.workflow_node_id], written, output)
            )
            id_ = self.ids.claim(binding.name, f"output_{binding.name}")
            expression = Expression(binding.name, written, ROOT, position(node), {binding.name: target})
            self.decls.append(Decl(id_, ROOT, binding.name, written, position(node), expression))
            self.outputs.append(Output(binding.name, id_, written))

    def type_of(self, decl: WDL.Tree.Decl, scope: Scope) -> str:
        try:
            return self.documents.type_text(scope.key, decl.type)
        except NoSuchTypeError as error:
            raise refuse(str(error), decl, scope.document) from None


def _settable(workflow: WDL.Tree.Workflow) -> list[WDL.Tree.Decl]:
    """A workflow's own inputs; without an input section (as in draft-2), every declaration at its top level."""
    if workflow.inputs is not None:
        return workflow.inputs
    return [node for node in workflow.body if isinstance(node, WDL.Tree.Decl)]


def _with_task(call: Call, key: str) -> Call:
    return Call(call.id, call.section, call.name, key, call.position, call.inputs, call.upstream)
