"""Plan -> Airflow DAG: the shape of a workflow as Airflow sees it.

``inputs`` -> calls -> ``outputs``. There is no task for a declaration or a condition: a call evaluates what it depends
on. Sections become task groups; the outermost scatter becomes a *mapped* task group over the shard list that its own
small operator gives, so that a shard's second call starts as soon as its first is done; an inner scatter is a plain
group, since each of its calls' instances runs the inner shards of its outer one.

Nothing here reads AWS or imports miniwdl: this module is what the DAG processor runs every thirty seconds, and a
worker at the start of every task.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import DAG, TaskGroup, TriggerRule
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.definitions.taskgroup import MappedTaskGroup

from .description import dag_display, describe_call, group_display, scatter_display
from .errors import AuthorError
from .garbage import no_collection
from .operators import WdlEcsTaskOperator
from .params import option_params, params_of
from .plan import ROOT, Call, Plan, Section, load_plan
from .task_context import settings_overrides
from .workflow_operators import WdlInputsOperator, WdlOutputsOperator, WdlScatterOperator, outputs_asset

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, XComArg

    from .ecs.settings import EcsSettings

CallArgs = Mapping[str, Mapping[str, Any]]
"""Call id -> keyword arguments for its operator, such as ``{"align": {"pool": "big"}}``; likewise for the workflow's
other tasks (``inputs``, ``outputs``, and a scatter's list of shards)."""

OWN_ARGUMENTS = frozenset({"task_id", "call", "scatter", "scope", "section", "plan", "wdl", "task", "inputs", "dag"})
"""What ``call_args`` cannot set: the workflow says it."""

Operator = TypeVar("Operator", bound="BaseOperator")


def wdl_dag(
    source: str | Path,
    *,
    dag_id: str | None = None,
    task: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    settings: EcsSettings | Mapping[str, Any] | None = None,
    call_args: CallArgs | None = None,
    outlets: Sequence[Any] | None = None,
    **dag_args: Any,
) -> DAG:
    """The DAG of a WDL workflow, for a DAG file: ``dag = wdl_dag("hello.plan.json")``.

    :param source: a ``NAME.plan.json`` that ``airflow-wdl-ecs generate`` wrote, which is read in milliseconds; or a
        WDL source, which is compiled here each time that the file is parsed. A relative path is looked for beside the
        DAG file, and then in the current folder.
    :param dag_id: default: the workflow's name.
    :param task: for a WDL source without a workflow: which task to run.
    :param inputs: values for inputs that a run does not give, templated (see ``templates``): what a DAG with a schedule
        needs.
    :param settings: overrides of the deployment's ``[wdl_ecs]`` settings.
    :param call_args: keyword arguments for the operators of calls, by call id.
    :param outlets: assets that a run updates, with its outputs in the event; default: ``outputs_asset(dag_id)``.
    :param dag_args: anything else that ``airflow.sdk.DAG`` takes.
    :raises AuthorError: if the source cannot be read or compiled, or ``call_args`` names no call.
    """
    beside = sys._getframe(1).f_code.co_filename
    with no_collection():
        plan = _plan_of(source, task, beside=beside)
        return build_dag(
            plan, dag_id=dag_id, inputs=inputs, settings=settings, call_args=call_args, outlets=outlets, **dag_args
        )


def _plan_of(source: str | Path | Plan, task: str | None, beside: str) -> Plan:
    """The plan that a DAG file names.

    :param beside: the DAG file.
    """
    if isinstance(source, Plan):
        return source
    # A source may also be a URL, or the WDL text itself.
    if str(source).endswith((".plan.json", ".wdl", ".zip")):
        near = Path(beside).parent / source
        # A DAG file that is no file is in a zip archive.
        source = near if near.is_file() or not Path(beside).is_file() else source
    if str(source).endswith(".plan.json"):
        return load_plan(source)
    from .wdl.lower import compile_wdl

    return compile_wdl(source, task=task)


def build_dag(
    plan: Plan,
    *,
    dag_id: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    settings: EcsSettings | Mapping[str, Any] | None = None,
    call_args: CallArgs | None = None,
    outlets: Sequence[Any] | None = None,
    **dag_args: Any,
) -> DAG:
    """The DAG of a compiled workflow; for the parameters see `wdl_dag`."""
    dag_args.setdefault("schedule", None)
    dag_args.setdefault("catchup", False)
    options = option_params(settings_overrides(settings))
    params = {**params_of(plan, inputs or {}), **options, **dag_args.pop("params", {})}
    dag_args = {**dag_display(plan, named=dag_id in (None, plan.name)), **dag_args}
    if outlets is None:
        outlets = [outputs_asset(dag_id or plan.name)]
    with DAG(dag_id or plan.name, **dag_args) as dag:
        _Builder(plan, inputs or {}, settings, call_args or {}).build(outlets)
    # Airflow copies the params that a DAG has into every operator made in it, and validates them all for each one
    # when it serialises the DAG: minutes for a workflow of hundreds of inputs. Those of the DAG are enough.
    dag.params = ParamsDict(params)
    if dag.timetable.can_be_scheduled:
        _refuse_missing(plan, inputs or {})
    return dag


def _refuse_missing(plan: Plan, inputs: Mapping[str, Any]) -> None:
    """Nobody fills in a form for a run that a schedule or an asset starts."""
    given = {name.removeprefix(f"{plan.name}.") for name in inputs}
    missing = [declared.name for declared in plan.inputs if declared.required and declared.name not in given]
    if missing:
        raise AuthorError(
            f"the DAG of {plan.name} has a schedule, but no value for: {', '.join(missing)}",
            hint='give them to wdl_dag: inputs={"' + missing[0] + '": ...}',
        )


class WdlTaskGroup(TaskGroup):
    """A WDL workflow as a task group of a DAG; see `wdl_task_group`."""

    @property
    def output(self) -> XComArg:
        """The workflow's outputs, for tasks downstream: ``group.output``, or ``group.output["bam"]`` for one."""
        outputs: WdlOutputsOperator = next(
            task for task in self.children.values() if isinstance(task, WdlOutputsOperator)
        )
        return outputs.output


def wdl_task_group(
    source: str | Path | Plan,
    *,
    group_id: str | None = None,
    inputs: Mapping[str, Any] | XComArg | None = None,
    task: str | None = None,
    settings: EcsSettings | Mapping[str, Any] | None = None,
    call_args: CallArgs | None = None,
    outlets: Sequence[Any] = (),
    **group_args: Any,
) -> WdlTaskGroup:
    """A WDL workflow among the other tasks of the DAG that is open, from its ``inputs`` task to its ``outputs`` task.

    A DAG may have several, of the same workflow too: their task ids begin with the group's, and each keeps its files
    in a folder of its own.

    :param source: as for `wdl_dag`, or a compiled `Plan`.
    :param group_id: default: the workflow's name.
    :param inputs: the workflow's inputs, by name: values, templates (see ``templates``) and the outputs of other tasks,
        which then run first; or one output that is an object with them all. The DAG's params are not read for inputs.
    :param outlets: assets that a run updates, with the workflow's outputs in the event.
    :param group_args: anything else that ``airflow.sdk.TaskGroup`` takes. For the others see `wdl_dag`.
    :raises AuthorError: as `wdl_dag`, or if the group would be in a mapped one, which Airflow cannot map again.
    """
    plan = _plan_of(source, task, beside=sys._getframe(1).f_code.co_filename)
    group_args.setdefault("tooltip", f"WDL workflow {plan.name}")
    group = WdlTaskGroup(group_id=group_id or plan.name, prefix_group_id=False, **group_args)
    if any(True for _ in group.iter_mapped_task_groups()):
        raise AuthorError(
            f"{group.group_id}: a workflow cannot be in a mapped task group",
            hint="scatter over the items in WDL, or start the workflow's DAG for each with TriggerDagRunOperator",
        )
    with group:
        _Builder(plan, inputs, settings, call_args or {}, scope=group.group_id).build(outlets)
    return group


class _Builder:
    """Walks a plan's sections and makes their groups and operators in the DAG or task group that is open.

    :param scope: the id of the task group that the workflow is; None if it is a DAG.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, Any] | XComArg | None,
        settings: EcsSettings | Mapping[str, Any] | None,
        call_args: CallArgs,
        scope: str | None = None,
    ) -> None:
        self.plan = plan
        self.scope = scope
        self.prefix = "" if scope is None else f"{scope}."
        # The inputs task of a group is skipped where the DAG branches past it. A call that runs when all its upstream
        # calls are skipped, for a condition of the workflow, must be skipped then as well.
        self.trigger_rule = TriggerRule.NONE_FAILED if scope is None else TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
        self.inputs = inputs
        self.settings = settings
        self.call_args = call_args
        self.operators: dict[str, BaseOperator] = {}
        self.sections_in: dict[str, list[Section]] = defaultdict(list)
        self.calls_in: dict[str, list[Call]] = defaultdict(list)
        occupied = {section.id for section in plan.sections} | set(plan.call_by_id)
        holding = {found.id for call in plan.calls for found in plan.enclosing(call.section)}
        for section in plan.sections:
            if section.parent is not None and section.id in holding:
                self.sections_in[section.parent].append(section)
        for call in plan.calls:
            self.calls_in[call.section].append(call)
        self.inputs_id = _free("inputs", occupied)
        self.outputs_id = _free("outputs", occupied)
        mapped = {scatters[0].id for call in plan.calls if (scatters := plan.scatters(call.section))}
        self.shards_id = {section: _free(f"{section}.shards", occupied) for section in sorted(mapped)}
        self.in_mapped_group = {call.id for call in plan.calls if plan.scatters(call.section)}
        self._check_call_args()
        everything = self._upstream()
        self.upstream = transitive_reduction(everything)
        if scope is not None:
            for call_id in self.in_mapped_group:
                self.upstream[call_id] |= everything[call_id] & set(self.shards_id.values())
        self.connected: set[tuple[str, str]] = set()

    def _check_call_args(self) -> None:
        """Refuse arguments for what is not there, and those that make an operator what it is."""
        around = {self.inputs_id, self.outputs_id, *self.shards_id.values()}
        unknown = sorted(set(self.call_args) - set(self.plan.call_by_id) - around)
        if unknown:
            raise AuthorError(
                f"call_args names no call of {self.plan.name}: {', '.join(unknown)}",
                hint=f"its calls are: {', '.join(self.plan.call_by_id) or '(none)'}; "
                f"its other tasks: {', '.join(sorted(around))}",
            )
        for name, arguments in self.call_args.items():
            if not isinstance(arguments, Mapping):
                raise AuthorError(
                    f"call_args[{name!r}] is {arguments!r}, not the operator's keyword arguments",
                    hint=f'such as call_args={{"{name}": {{"pool": "big"}}}}',
                )
            fixed = sorted(OWN_ARGUMENTS & set(arguments))
            if fixed:
                raise AuthorError(f"call_args[{name!r}] cannot set {', '.join(fixed)}: the workflow says what it is")

    def _made(self, kind: type[Operator], name: str, own: Mapping[str, Any], given: Mapping[str, Any]) -> Operator:
        """An operator of the workflow.

        :param name: in ``call_args``. :param own: what makes it what it is.
        :param given: what ``call_args`` may change.
        :raises AuthorError: if Airflow does not take the arguments.
        """
        arguments = {**own, **given, **self.call_args.get(name, {})}
        settings = {**settings_overrides(self.settings), **settings_overrides(arguments.pop("settings", None))}
        if settings:
            # Without any, those of the DAG's default_args hold.
            arguments["settings"] = settings
        try:
            return kind(**arguments)
        except (TypeError, ValueError, AirflowException) as error:
            if name not in self.call_args:
                raise
            raise AuthorError(f"call_args[{name!r}]: {error}") from error

    def build(self, outlets: Sequence[Any]) -> None:
        """Make every operator, then draw every edge.

        :param outlets: of the ``outputs`` task.
        """
        own: dict[str, Any] = {"task_id": self.prefix + self.inputs_id, "scope": self.scope}
        own |= {"plan": self.plan, "inputs": self.inputs}
        inputs = self._made(WdlInputsOperator, self.inputs_id, own, {})
        if inputs.dag.fail_fast:
            raise AuthorError(
                f"{self.plan.name}: a DAG with a WDL workflow cannot have fail_fast",
                hint="Airflow wants every task of such a DAG to follow successes only; calls follow skipped ones too",
            )
        self._fill(ROOT, outermost_scatter=None)
        outputs = self._made(
            WdlOutputsOperator,
            self.outputs_id,
            {"task_id": self.prefix + self.outputs_id, "scope": self.scope},
            {"outlets": list(outlets), "trigger_rule": self.trigger_rule},
        )
        self._connect(self.operators)
        has_downstream = {node for nodes in self.upstream.values() for node in nodes}
        for node, operator in self.operators.items():
            if not self.upstream[node] or (self.scope is not None and node not in self.in_mapped_group):
                operator.set_upstream(inputs)
            if node not in has_downstream:
                operator.set_downstream(outputs)
        if not self.operators or self.scope is not None:
            inputs.set_downstream(outputs)

    def _upstream(self) -> dict[str, set[str]]:
        """What must be done before each call and each mapped scatter's shard list."""
        upstream: dict[str, set[str]] = {}
        for section, operator in self.shards_id.items():
            upstream[operator] = {found for around in self.plan.enclosing(section) for found in around.upstream}
        for call in self.plan.calls:
            scatters = self.plan.scatters(call.section)
            upstream[call.id] = set(call.upstream) | {self.shards_id[found.id] for found in scatters[:1]}
        return upstream

    def _fill(self, section: str, outermost_scatter: str | None) -> None:
        """Make the operators and groups of what stands in a section."""
        for call in self.calls_in[section]:
            self.operators[call.id] = self._call_operator(call, outermost_scatter)
        for inner in self.sections_in[section]:
            if inner.kind == "scatter" and outermost_scatter is None:
                self._mapped_group(inner)
            else:
                with TaskGroup(self._group_id(inner), prefix_group_id=False, **group_display(inner)):
                    self._fill(inner.id, outermost_scatter)

    def _call_operator(self, call: Call, outermost_scatter: str | None) -> WdlEcsTaskOperator:
        given: dict[str, Any] = {
            "task_display_name": call.name,
            "doc_md": describe_call(self.plan, call),
            "trigger_rule": self.trigger_rule,
        }
        own = {"task_id": self.prefix + call.id, "call": call.id, "scatter": outermost_scatter, "scope": self.scope}
        return self._made(WdlEcsTaskOperator, call.id, own, given)

    def _mapped_group(self, section: Section) -> None:
        name = self.shards_id[section.id]
        own = {"task_id": self.prefix + name, "section": section.id, "scope": self.scope}
        shards = self._made(
            WdlScatterOperator, name, own, {"trigger_rule": self.trigger_rule, **scatter_display(section)}
        )
        self.operators[self.shards_id[section.id]] = shards
        before = set(self.operators)
        # What the decorator @task_group makes, without the import of Airflow's decorators, which takes a while.
        expansion = DictOfListsExpandInput({"shard": shards.output})
        names = {"group_id": self._group_id(section), "prefix_group_id": False, **group_display(section)}
        with MappedTaskGroup(expand_input=expansion, **names):
            self._fill(section.id, outermost_scatter=section.id)
            # Airflow makes the shard list the upstream of whatever has no upstream in the group when the group ends.
            self._connect(set(self.operators) - before)

    def _group_id(self, section: Section) -> str:
        """A section's id as Airflow has it for a task group: without dots, which a WDL name's ``-`` cannot be."""
        return (self.prefix + section.id).replace(".", "-")

    def _connect(self, nodes: Iterable[str]) -> None:
        """Draw the edges between these nodes that are not drawn yet."""
        among = set(nodes)
        for node in sorted(among):
            for above in sorted(self.upstream[node] & among):
                if (above, node) not in self.connected:
                    self.connected.add((above, node))
                    self.operators[node].set_upstream(self.operators[above])


def _free(name: str, occupied: set[str]) -> str:
    """A task id for an operator of ours, out of the way of a call or section that has this name."""
    while name in occupied:
        name += "_"
    occupied.add(name)
    return name


def transitive_reduction(upstream: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """The fewest edges with the same order: each node -> those of its upstream nodes that no other implies.

    :param upstream: node -> nodes before it; acyclic, every node a key.
    """
    ancestors: dict[str, set[str]] = {}
    reduced: dict[str, set[str]] = {}
    for node in TopologicalSorter({node: sorted(nodes) for node, nodes in upstream.items()}).static_order():
        direct = set(upstream[node])
        implied = set().union(*(ancestors[above] for above in direct))
        reduced[node] = direct - implied
        ancestors[node] = direct | implied
    return reduced
