"""What a person reads about a compiled workflow in Airflow: the DAG's page and the calls' pages, as Markdown."""

from __future__ import annotations

import json
from typing import Any

from .parameter_meta import read_parameter_meta
from .plan import Call, Input, Plan

MOST_ROWS = 40
"""Inputs that the DAG's page lists; the trigger form has them all."""


def describe_dag(plan: Plan) -> str:
    """The DAG's page: what the author says, the inputs and outputs as tables, and the WDL source."""
    parts = [_meta(plan.meta)]
    shown = sorted(plan.inputs, key=lambda declared: not declared.required)
    if shown:
        parts.append("### Inputs\n\n| input | type | default | |\n|---|---|---|---|")
        parts[-1] += "".join(f"\n{_input_row(declared)}" for declared in shown[:MOST_ROWS])
    if len(shown) > MOST_ROWS:
        parts.append(f"and {len(shown) - MOST_ROWS} more, in the trigger form.")
    if plan.outputs:
        parts.append("### Outputs\n\n| output | type |\n|---|---|")
        parts[-1] += "".join(f"\n| `{output.name}` | {_cell(f'`{output.type}`')} |" for output in plan.outputs)
    parts.append(f"### Source\n\n{_block('wdl', plan.source)}")
    parts.append(f"Compiled plan `{plan.digest[:12]}`")
    return "\n\n".join(part for part in parts if part)


def describe_call(plan: Plan, call: Call) -> str:
    """A call's page: what its task's author says, the command's template, and where both stand."""
    task = plan.tasks[call.task]
    where = f"Call at `{call.position}` of task `{task.name}` at `{task.position}`"
    parts = [_meta(task.meta), where, _block("bash", task.command) if task.command.strip() else ""]
    return "\n\n".join(part for part in parts if part)


def _meta(meta: dict[str, Any]) -> str:
    description = meta.get("description")
    head = [description] if isinstance(description, str) else []
    others = {key: value for key, value in meta.items() if key != "description"}
    head += [f"- **{key}**: {value if isinstance(value, str) else json.dumps(value)}" for key, value in others.items()]
    return "\n".join(head)


def _input_row(declared: Input) -> str:
    default = "required" if declared.required else f"`{declared.default_text}`" if declared.default_text else ""
    cells = (f"`{declared.name}`", f"`{declared.type}`", default, read_parameter_meta(declared.meta).description)
    return f"| {' | '.join(_cell(text) for text in cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _block(language: str, text: str) -> str:
    """A fenced block whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"
