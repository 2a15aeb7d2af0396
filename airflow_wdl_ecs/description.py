"""What a person reads about a compiled workflow in Airflow: the DAG's page and the calls' pages, as Markdown."""

from __future__ import annotations

from typing import Any

from .parameter_meta import read_parameter_meta
from .plan import ROOT, Call, Input, Plan, Section

MOST_ROWS = 40
"""Inputs that the DAG's page lists; the trigger form has them all."""


LONGEST_LABEL = 48
"""Characters of a section's label that the graph shows; the tooltip has the rest."""
_ENGINES = ("allowNestedInputs", "volatile")
"""Keys of ``meta`` that speak to engines, not to people."""


def dag_display(plan: Plan, *, named: bool) -> dict[str, Any]:
    """How a workflow's DAG shows itself: arguments of ``airflow.sdk.DAG``.

    :param named: whether the DAG has the workflow's own name. Then it is shown under the title in ``meta``, if there
        is one; other DAGs of the same workflow are told apart by their ids.
    """
    description, title = (plan.meta.get(key) for key in ("description", "title"))
    found: dict[str, Any] = {"doc_md": describe_dag(plan), "tags": _tags(plan)}
    if isinstance(description, str):
        found["description"] = description
    if named and isinstance(title, str) and title.strip():
        found["dag_display_name"] = title.strip()
    return found


def _tags(plan: Plan) -> list[str]:
    """``wdl``, the version of WDL, and the author's: ``tags`` and ``keywords`` in ``meta``, a list or a text."""
    found = ["wdl", f"wdl {plan.documents[plan.section_by_id[ROOT].document].wdl_version}"]
    for key in ("tags", "keywords"):
        words = plan.meta.get(key)
        words = words.split(",") if isinstance(words, str) else words if isinstance(words, list) else []
        found += [word.strip()[:100] for word in words if isinstance(word, str)]
    return list(dict.fromkeys(word for word in found if word))


def group_display(section: Section) -> dict[str, Any]:
    """How a section shows itself in the graph: arguments of ``airflow.sdk.TaskGroup``."""
    label = section.label or section.id
    short = label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
    return {"group_display_name": short, "tooltip": f"{label}, at {section.position}"}


def scatter_display(section: Section) -> dict[str, Any]:
    """How the operator that says how many shards a scatter has shows itself: arguments of the operator."""
    collection = section.expression.text if section.expression else ""
    doc = f"The shards of `{section.label or section.id}` at `{section.position}`\n\n{_block('wdl', collection)}"
    return {"task_display_name": f"shards of {section.variable or section.id}", "doc_md": doc}


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
    where = f" of `{plan.position.file}`" if plan.position is not None else ""
    parts.append(f"Compiled plan `{plan.digest[:12]}`{where}")
    return "\n\n".join(part for part in parts if part)


def describe_call(plan: Plan, call: Call) -> str:
    """A call's page: what its task's author says, the command's template, and where both stand."""
    task = plan.tasks[call.task]
    where = f"Call at `{call.position}` of task `{task.name}` at `{task.position}`"
    parts = [_meta(task.meta), where, _block("bash", task.command) if task.command.strip() else ""]
    return "\n\n".join(part for part in parts if part)


def _meta(meta: dict[str, Any]) -> str:
    """The author's words: the description, then what else is a text or a number, author and e-mail in one line."""
    lines = {key: str(value) for key, value in meta.items() if isinstance(value, (str, int, float))}
    description = lines.pop("description", "")
    if "author" in lines and "email" in lines:
        lines["author"] += f" ({lines.pop('email')})"
    listed = [f"- **{key}**: {value}" for key, value in lines.items() if key not in _ENGINES]
    return "\n\n".join(part for part in (description, "\n".join(listed)) if part)


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
