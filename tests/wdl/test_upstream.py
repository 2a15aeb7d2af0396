"""A call's ``upstream`` against what the evaluation of its inputs really asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import WDL
from memory_files import MemoryFiles

from airflow_wdl_ecs.plan import Plan, Shard
from airflow_wdl_ecs.wdl.lower import compile_wdl
from airflow_wdl_ecs.wdl.slices import parse_task
from airflow_wdl_ecs.wdl.values import parse_type
from airflow_wdl_ecs.wdl.workflow_evaluation import WorkflowEvaluation

GOLDEN = Path(__file__).parent.parent / "golden"
SOURCES = sorted(path for path in GOLDEN.glob("*/source.wdl") if not path.parent.name.startswith("error_"))


def some(wdl_type: WDL.Type.Base) -> Any:
    """A value of a type as JSON: numbers so large that every condition of the golden cases is true, two of each."""
    simple = {"Int": 9, "Float": 9.5, "Boolean": True, "String": "x", "File": "s3://b/f", "Directory": "s3://b/d"}
    if isinstance(wdl_type, WDL.Type.Array):
        return [some(wdl_type.item_type)] * 2
    if isinstance(wdl_type, WDL.Type.Map):
        return {"1": some(wdl_type.item_type[1])}
    if isinstance(wdl_type, WDL.Type.Pair):
        return {"left": some(wdl_type.left_type), "right": some(wdl_type.right_type)}
    if isinstance(wdl_type, WDL.Type.StructInstance):
        return {name: some(member) for name, member in (wdl_type.members or {}).items()}
    return simple[str(wdl_type).rstrip("?")]


def evaluation(plan: Plan, asked: set[str], numbers: dict[str, Any]) -> WorkflowEvaluation:
    """A run in which every call has outputs; ``asked`` collects those that are looked at."""

    def outputs(call: str, shard: Shard) -> Mapping[str, Any]:
        asked.add(call)
        tree = parse_task(plan.tasks[plan.call_by_id[call].task])
        return {decl.name: some(decl.type) for decl in tree.outputs}

    inputs = {
        each.name: some(parse_type(each.type, plan.documents[each.document])) for each in plan.inputs if each.required
    }
    return WorkflowEvaluation(plan, {**inputs, **numbers}, MemoryFiles(), outputs)


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.name)
def test_the_evaluation_of_a_call_asks_only_for_calls_upstream(source: Path, flag: bool) -> None:
    plan = compile_wdl(source)
    flags = {each.name: flag for each in plan.inputs if each.type == "Boolean"}
    looked_at = 0
    for call in plan.calls:
        asked: set[str] = set()
        found = evaluation(plan, asked, flags)
        for shard in found.shards(call.id):
            found.call_inputs(call.id, shard)
        assert asked <= set(call.upstream), call.id
        looked_at += len(asked)
    assert looked_at or not flag or not any(call.upstream for call in plan.calls)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.name)
def test_the_evaluation_of_a_scatter_asks_only_for_calls_upstream(source: Path) -> None:
    plan = compile_wdl(source)
    for section in plan.sections:
        if section.kind == "scatter" and len(plan.scatters(section.id)) == 1:
            asked: set[str] = set()
            evaluation(plan, asked, {}).shard_count(section.id)
            guards = {each for outer in plan.enclosing(section.id) for each in outer.upstream}
            assert asked <= guards, section.id
