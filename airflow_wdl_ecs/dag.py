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
from collections.abc import Callable, Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, TaskGroup, TriggerRule, task_group
from airflow.sdk.definitions.param import ParamsDict

from .description import describe_call, describe_dag
from .errors import AuthorError
from .operators import WdlEcsTaskOperator
from .params import params_of
from .plan import ROOT, Call, Plan, Section, load_plan
from .workflow_operators import WdlInputsOperator, WdlOutputsOperator, WdlScatterOperator

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
    inputs: Mapping[str, Any] | None = None,
    settings: EcsSettings | Mapping[str, Any] | None = None,
    call_args: CallArgs | None = None,
    **dag_args: Any,
) -> DAG:
    """The DAG of a WDL workflow, for a DAG file: ``dag = wdl_dag("hello.plan.json")``.

    :param source: a ``NAME.plan.json`` that ``airflow-wdl-ecs generate`` wrote, which is read in milliseconds; or a
        WDL source, which is compiled here each time that the file is parsed.
    :param dag_id: default: the workflow's name.
    :param task: for a WDL source without a workflow: which task to run.
    :param inputs: values for inputs that a run does not give, templated: what a DAG with a schedule needs.
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
    return build_dag(plan, dag_id=dag_id, inputs=inputs, settings=settings, call_args=call_args, **dag_args)


def build_dag(
    plan: Plan,
    *,
    dag_id: str | None = None,
    inputs: Mapping[str, Any] | None = None,
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
    params = {**params_of(plan, inputs or {}), **dag_args.pop("params", {})}
    dag_args.setdefault("tags", ["wdl"])
    dag_args.setdefault("doc_md", describe_dag(plan))
    description = plan.meta.get("description")
    if isinstance(description, str):
        dag_args.setdefault("description", description)
    with DAG(dag_id or plan.name, **dag_args) as dag:
        _Builder(plan, inputs or {}, settings, call_args or {}).build()
    # Airflow copies the params that a DAG has into every operator made in it, and validates them all for each one
    # when it serialises the DAG: minutes for a workflow of hundreds of inputs. Those of the DAG are enough.
    dag.params = ParamsDict(params)
    return dag


class _Builder:
    """Walks a plan's sections and makes their groups and operators in the DAG that is open."""

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, Any],
        settings: EcsSettings | Mapping[str, Any] | None,
        call_args: CallArgs,
    ) -> None:
        self.plan = plan
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
        self.upstream = transitive_reduction(self._upstream())
        self.connected: set[tuple[str, str]] = set()

    def build(self) -> None:
        """Make every operator, then draw every edge."""
        inputs = WdlInputsOperator(task_id=self.inputs_id, plan=self.plan, inputs=self.inputs, settings=self.settings)
        self._fill(ROOT, outermost_scatter=None)
        outputs = WdlOutputsOperator(
            task_id=self.outputs_id, settings=self.settings, trigger_rule=TriggerRule.NONE_FAILED
        )
        self._connect(self.operators)
        has_downstream = {node for nodes in self.upstream.values() for node in nodes}
        for node, operator in self.operators.items():
            if not self.upstream[node]:
                operator.set_upstream(inputs)
            if node not in has_downstream:
                operator.set_downstream(outputs)
        if not self.operators:
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
                with TaskGroup(group_id(inner), prefix_group_id=False, group_display_name=inner.label or inner.id):
                    self._fill(inner.id, outermost_scatter)

    def _call_operator(self, call: Call, outermost_scatter: str | None) -> WdlEcsTaskOperator:
        arguments: dict[str, Any] = {
            "task_id": call.id,
            "task_display_name": call.name,
            "doc_md": describe_call(self.plan, call),
            "trigger_rule": TriggerRule.NONE_FAILED,
            **self.call_args.get(call.id, {}),
        }
        return WdlEcsTaskOperator(call=call.id, scatter=outermost_scatter, settings=self.settings, **arguments)

    def _mapped_group(self, section: Section) -> None:
        shards = WdlScatterOperator(
            task_id=self.shards_id[section.id],
            section=section.id,
            settings=self.settings,
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        self.operators[shards.task_id] = shards
        before = set(self.operators)
        label = section.label or section.id

        def members(shard: Any) -> None:
            self._fill(section.id, outermost_scatter=section.id)
            # Airflow makes the shard list the upstream of whatever has no upstream in the group when the group ends.
            self._connect(set(self.operators) - before)

        members.__doc__ = label
        factory: Callable[..., Any] = task_group(
            group_id=group_id(section), prefix_group_id=False, group_display_name=label
        )(members)
        factory.expand(shard=shards.output)  # type: ignore[attr-defined]

    def _connect(self, nodes: Iterable[str]) -> None:
        """Draw the edges between these nodes that are not drawn yet."""
        among = set(nodes)
        for node in sorted(among):
            for above in sorted(self.upstream[node] & among):
                if (above, node) not in self.connected:
                    self.connected.add((above, node))
                    self.operators[node].set_upstream(self.operators[above])


def group_id(section: Section) -> str:
    """A section's id as Airflow has it for a task group: without dots, which a WDL name's ``-`` cannot be taken for."""
    return section.id.replace(".", "-")


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
