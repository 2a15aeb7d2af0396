"""What became of an example, and whether that is what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from airflow_wdl_ecs.errors import CallError, InputsError, WdlEcsError
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.wdl.inputs import bind_inputs, map_files
from airflow_wdl_ecs.wdl.lower import compile_wdl

from .comparison import Files, differences
from .examples import Example
from .expectations import Expectation

PASSED = ()


@dataclass(frozen=True)
class Outcome:
    """What became of an example.

    :param at: where it failed, as in `Expectation`; empty if it passed.
    :param detail: for people: the error, or the outputs that differ.
    """

    at: tuple[str, ...] = PASSED
    detail: str = ""


class Host(Files, Protocol):
    """Where examples run. Any thread may call it.

    :param at_once: how many examples it runs side by side at best.
    """

    at_once: int

    def run(self, plan: Plan, inputs: dict[str, Any], name: str) -> dict[str, Any]:
        """Run a workflow to its outputs.

        :param inputs: as `bind_inputs` gives them, files by their absolute local paths.
        :param name: tells runs apart.
        :raises WdlEcsError: if it fails.
        """


def try_example(example: Example, folder: Path, host: Host) -> Outcome:
    """Compile and run an example, compare what comes out.

    :param folder: the one that `write_examples` has filled.
    """
    stage = "compile"
    try:
        plan = compile_wdl(folder / f"{example.name}.wdl", task=example.target)
        stage = "inputs"
        inputs = map_files(plan, bind_inputs(plan, example.inputs), lambda path: local_file(folder, path))
        stage = "run"
        outputs = host.run(plan, inputs, f"{example.version}-{example.name}")
    except WdlEcsError as error:
        return _failed(example, stage, error)
    if example.fails:
        return Outcome(("success",), "it succeeded, and should have failed")
    return _compared(example, outputs, host)


def local_file(folder: Path, path: str) -> str:
    """The absolute path of an example's data file.

    :raises InputsError: if it is not among the data.
    """
    if "://" in path or not (folder / path).exists():
        raise InputsError(f"no such file: {path}")
    return str(folder / path)


def _failed(example: Example, stage: str, error: WdlEcsError) -> Outcome:
    detail = f"{type(error).__name__}: {error}"
    if not example.fails:
        return Outcome((stage,), detail)
    code = error.exit_code if isinstance(error, CallError) else None
    if code is not None and example.return_codes and code not in example.return_codes:
        return Outcome(("exit code",), f"exit code {code}, and not {sorted(example.return_codes)}")
    return Outcome(PASSED, detail)


def _compared(example: Example, outputs: dict[str, Any], files: Files) -> Outcome:
    found = differences(example.outputs, outputs, files, example.excluded)
    names = dict.fromkeys(line.partition(":")[0].partition(".")[0].partition("[")[0] for line in found)
    return Outcome(tuple(names), "\n".join(found))


def judge(outcome: Outcome, expected: Expectation | None) -> str | None:
    """What is wrong with the record, given what became of an example; None if it is right."""
    recorded = expected.at if expected else PASSED
    if set(outcome.at) == set(recorded):
        return None
    if not outcome.at:
        return f"it passes now, and is recorded as failing at {', '.join(recorded)}: {expected and expected.reason}"
    if not recorded:
        return f"it fails at {', '.join(outcome.at)}\n{outcome.detail}"
    return f"it fails at {', '.join(outcome.at)}, and is recorded as failing at {', '.join(recorded)}\n{outcome.detail}"
