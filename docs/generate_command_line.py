"""Writes docs/command-line.md from the parsers of the command line: ``python docs/generate_command_line.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

from airflow_wdl_ecs.cli import COMMANDS, build_parser

PAGE = Path(__file__).with_name("command-line.md")

HEAD = """# Command line

`airflow-wdl-ecs COMMAND ...`; where Airflow's own command line is at hand, `airflow wdl COMMAND ...` is the same.

Exit codes: 0 for success; 1 for what failed while it ran; 2 for what its author or caller must change first (then
nothing was started); 130 for an interruption. A message that begins with `internal error` is a mistake of the program;
with `AIRFLOW_WDL_ECS_DEBUG=1` it says where.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_command(name) for name in COMMANDS)


def _command(name: str) -> str:
    parser = _parser_of(name)
    actions = [action for action in parser._actions if action.dest != "help"]
    words = [f"airflow-wdl-ecs {name}"]
    words += ["[options]"] if any(action.option_strings for action in actions) else []
    words += [_positional(action) for action in actions if not action.option_strings]
    rows = "".join(_row(action) for action in actions)
    usage, text = " ".join(words), (parser.description or "").strip()
    return f"\n## {name}\n\n    {usage}\n\n{text}\n\n| argument | what it is |\n|---|---|\n{rows}"


def _parser_of(name: str) -> argparse.ArgumentParser:
    for action in build_parser(name)._actions:
        if isinstance(action, argparse._SubParsersAction):
            found: argparse.ArgumentParser = action.choices[name]
            return found
    raise LookupError(name)


def _metavar(action: argparse.Action) -> str:
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.metavar if isinstance(action.metavar, str) else action.dest.upper()


def _positional(action: argparse.Action) -> str:
    name = _metavar(action)
    forms = {"+": f"{name} [{name} ...]", "*": f"[{name} ...]", "?": f"[{name}]"}
    return forms.get(str(action.nargs), name)


def _row(action: argparse.Action) -> str:
    names = list(action.option_strings) or [_metavar(action)]
    if action.option_strings and action.nargs != 0:
        names[-1] += f" {_metavar(action)}"
    cells = (", ".join(f"`{name}`" for name in names), (action.help or "").replace("%%", "%"))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
