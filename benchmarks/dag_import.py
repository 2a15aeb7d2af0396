"""How long a DAG file's import takes, beside a process that only imports Airflow's SDK, and beside ``WDL.load``.

python benchmarks/dag_import.py [WORKFLOW.wdl ...] [-n RUNS] [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import interleaved, report

EXAMPLES = Path(__file__).parent.parent / "dags" / "wdl"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("workflows", nargs="*", type=Path, default=[EXAMPLES / "kmers.wdl"])
    arguments.add_argument("-n", "--runs", type=int, default=5)
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AIRFLOW_HOME": folder}
        for workflow in options.workflows:
            dags = Path(folder, workflow.stem)
            generate = [sys.executable, "-m", "airflow_wdl_ecs", "generate", str(workflow), "-o", str(dags)]
            subprocess.run(generate, check=True, capture_output=True)
            (dag_file,) = dags.glob("*.py")
            commands = {
                "airflow.sdk alone": [sys.executable, "-c", "from airflow.sdk import DAG"],
                "DAG file": [sys.executable, str(dag_file)],
                "WDL.load": [sys.executable, "-c", f"import WDL; WDL.load({str(workflow)!r})"],
            }
            times = interleaved(commands, options.runs, environment)
            beyond = times["DAG file"]["median"] - times["airflow.sdk alone"]["median"]
            figures[workflow.name] = {**times, "beyond importing Airflow": round(beyond, 3)}
    report("DAG file import", figures, options.output)


if __name__ == "__main__":
    main()
