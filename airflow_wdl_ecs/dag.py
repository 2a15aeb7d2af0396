"""Plan -> Airflow DAG: the shape of a workflow as Airflow sees it.

``inputs`` -> calls -> ``outputs``. There is no task for a declaration or a condition: a call evaluates what it depends
on. Sections become task groups; the outermost scatter becomes a *mapped* task group over the shard list that its own
small operator gives, so that a shard's second call starts as soon as its first is done; an inner scatter is a plain
group, since each of its calls' instances runs the inner shards of its outer one.

Nothing here reads AWS or imports miniwdl: this module is what the DAG processor runs every thirty seconds, and a
worker at the start of every task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, TaskGroup, TriggerRule, task_group

from .errors import AuthorError
from .operators import WdlEcsTaskOperator, WdlInputsOperator, WdlOutputsOperator, WdlScatterOperator
from .params import params_of
from .plan import ROOT, Call, Plan, Section, load_plan

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from .ecs.settings import EcsSettings

CallArgs = Mapping[str, Mapping[str, Any]]
"""Call id -> keyword arguments for its operator, such as ``{"align": {"pool": "big"}}``."""


def wdl_dag(
    source: str | Path,
    *,
    dag_id: str | None = None,
    task: str | None = None,
    settings: EcsSettings | Mapping[str, Any] | None = None,
    call_args: CallArgs | None = None,
    **dag_args: Any,
) -> DAG:
    """The DAG of a WDL workflow, for a DAG file: ``dag = wdl_dag("hello.plan.json")``.

    :param source: a ``NAME.plan.json`` that ``airflow-wdl-ecs generate`` wrote, which is read in milliseconds; or a
        WDL source, which is compiled here each time that the file is parsed.
    :param dag_id: default: the workflow's name.
    :param task: for a WDL source without a workflow: which task to run.
    :param settings: overrides of the deployment's ``[wdl_ecs]`` settings.
    :param call_args: keyword arguments for the operators of calls, by call id.
    :param dag_args: anything else that ``airflow.sdk.DAG`` takes.
    :raises AuthorError: if the source cannot be read or compiled, or ``call_args`` names no call.
    """
    if str(source).endswith(".plan.json"):
        plan = load_plan(source)
    else:
        from .wdl.lower import compile_wdl

        plan = compile_wdl(source, task=task)
    return build_dag(plan, dag_id=dag_id, settings=settings, call_args=call_args, **dag_args)


def build_dag(
    plan: Plan,
    *,
    dag_id: str | None = None,
    settings: EcsSettings | Mapping[str, Any] | None = None,
    call_args: CallArgs | None = None,
    **dag_args: Any,
) -> DAG:
    """The DAG of a compiled workflow; for the parameters see `wdl_dag`."""
    unknown = sorted(set(call_args or {}) - set(plan.call_by_id))
    if unknown:
        raise AuthorError(
            f"call_args names no call of {plan.name}: {', '.join(unknown)}",
            hint=f"its calls are: {', '.join(plan.call_by_id) or '(none)'}",
        )
    dag_args.setdefault("schedule", None)
    dag_args.setdefault("catchup", False)
    dag_args.setdefault("params", params_of(plan))
    dag_args.setdefault("tags", ["wdl"])
    description = plan.meta.get("description")
    if isinstance(description, str):
        dag_args.setdefault("description", description)
    with DAG(dag_id or plan.name, **dag_args) as dag:
        _Builder(plan, settings, call_args or {}).build()
    return dag


class _Builder:
    """Walks a plan's sections and makes their groups and operators in the DAG that is open."""

    def __init__(
        self, plan: Plan, settings: EcsSettings | Mapping[str, Any] | None, call_args: CallArgs
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.call_args = call_args
        self.operators: dict[str, BaseOperator] = {}
        self.scatter_operators: dict[str, WdlScatterOperator] = {}
        self.sections_in: dict[str, list[Section]] = defaultdict(list)
        self.calls_in: dict[str, list[Call]] = defaultdict(list)
        self.occupied = {section.id for section in plan.sections} | set(plan.call_by_id)
        holding = {found.id for call in plan.calls for found in plan.enclosing(call.section)}
        for section in plan.sections:
            if section.parent is not None and section.id in holding:
                self.sections_in[section.parent].append(section)
        for call in plan.calls:
            self.calls_in[call.section].append(call)

    def build(self) -> None:
        inputs = WdlInputsOperator(task_id=self._free("inputs"), plan=self.plan, settings=self.settings)
        self._fill(ROOT, outermost_scatter=None)
        outputs = WdlOutputsOperator(
            task_id=self._free("outputs"), settings=self.settings, trigger_rule=TriggerRule.NONE_FAILED
        )
        self._connect(inputs, outputs)

    def _free(self, name: str) -> str:
        """A task id for an operator of ours, out of the way of a call that has this name."""
        while name in self.occupied:
            name += "_"
        self.occupied.add(name)
        return name

    def _fill(self, section: str, outermost_scatter: str | None) -> None:
        """Make the operators and groups of what stands directly in a section."""
        for call in self.calls_in[section]:
            self.operators[call.id] = self._call_operator(call, outermost_scatter)
        for inner in self.sections_in[section]:
            if inner.kind == "scatter" and outermost_scatter is None:
                self._mapped_group(inner)
            else:
                with TaskGroup(inner.id, prefix_group_id=False, group_display_name=inner.label or inner.id):
                    self._fill(inner.id, outermost_scatter)

    def _call_operator(self, call: Call, outermost_scatter: str | None) -> WdlEcsTaskOperator:
        arguments: dict[str, Any] = {
            "task_id": call.id,
            "task_display_name": call.name,
            "trigger_rule": TriggerRule.NONE_FAILED,
            **self.call_args.get(call.id, {}),
        }
        return WdlEcsTaskOperator(call=call.id, scatter=outermost_scatter, settings=self.settings, **arguments)

    def _mapped_group(self, section: Section) -> None:
        shards = WdlScatterOperator(
            task_id=self._free(f"{section.id}.shards"),
            section=section.id,
            settings=self.settings,
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        self.scatter_operators[section.id] = shards
        label = section.label or section.id

        def members(shard: Any) -> None:  # noqa: ARG001 -- Airflow maps the group over it; the operators do not read it
            self._fill(section.id, outermost_scatter=section.id)

        members.__doc__ = label
        factory: Callable[..., Any] = task_group(
            group_id=section.id, prefix_group_id=False, group_display_name=label
        )(members)
        factory.expand(shard=shards.output)  # type: ignore[attr-defined]

    def _connect(self, inputs: BaseOperator, outputs: BaseOperator) -> None:
        """Draw the edges that the plan's upstreams ask for, and none that another path already gives."""
        upstream: dict[str, set[str]] = {call.id: set(call.upstream) for call in self.plan.calls}
        for section_id, operator in self.scatter_operators.items():
            section = self.plan.section_by_id[section_id]
            above = {found for outer in self.plan.enclosing(section_id) for found in outer.upstream}
            upstream[operator.task_id] = above
            self.operators[operator.task_id] = operator
            for call in self.plan.calls:
                if section in self.plan.enclosing(call.section):
                    upstream[call.id].add(operator.task_id)
        reduced = transitive_reduction(upstream)
        has_downstream = {node for nodes in reduced.values() for node in nodes}
        for node, nodes in reduced.items():
            operator = self.operators[node]
            for above_id in sorted(nodes):
                operator.set_upstream(self.operators[above_id])
            if not nodes:
                operator.set_upstream(inputs)
            if node not in has_downstream:
                operator.set_downstream(outputs)
        if not self.operators:
            inputs.set_downstream(outputs)


def transitive_reduction(upstream: Mapping[str, Sequence[str] | set[str]]) -> dict[str, set[str]]:
    """The fewest edges with the same order: each node -> those of its upstream nodes that no other implies.

    :param upstream: node -> nodes before it; acyclic, every node a key.
    """
    ancestors: dict[str, set[str]] = {}
    reduced: dict[str, set[str]] = {}
    for node in _in_order(upstream):
        direct = set(upstream[node])
        implied = set().union(*(ancestors[above] for above in direct)) if direct else set()
        reduced[node] = direct - implied
        ancestors[node] = direct | implied
    return reduced


def _in_order(upstream: Mapping[str, Sequence[str] | set[str]]) -> list[str]:
    from graphlib import TopologicalSorter

    return list(TopologicalSorter({node: sorted(nodes) for node, nodes in upstream.items()}).static_order())
