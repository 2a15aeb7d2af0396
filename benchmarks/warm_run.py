"""Wall time of a warm ``run`` of whole workflows on the embedded default.

python benchmarks/warm_run.py [WORKFLOW.wdl ...] [-n RUNS] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measure import interleaved, report

EXAMPLES = Path(__file__).parent.parent / "dags" / "wdl"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("workflows", nargs="*", type=Path, default=[EXAMPLES / "hello.wdl", EXAMPLES / "kmers.wdl"])
    arguments.add_argument("-n", "--runs", type=int, default=5)
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            workflow.name: [sys.executable, "-m", "airflow_wdl_ecs", "run", str(workflow), "-d", folder]
            for workflow in options.workflows
        }
        figures = interleaved(commands, options.runs)
    report("warm run", figures, options.output)


if __name__ == "__main__":
    main()
