"""Wall time of staging in and out, beside plain ``aws s3 cp``, on the embedded S3.

Many small files, and one large one; by the scripts of an attempt's stage-in and stage-out containers, with both
staging tools, and by ``aws s3 cp --recursive`` of the same files, in turn. The AWS CLI is that of ``.venv-others``
(requirements/others.txt), put first on PATH.

python benchmarks/staging.py [--files 1000] [--kib 4] [--gib 5] [-n RUNS] [--large-runs RUNS] [-o RESULT.json]

Each is run once more, first, to warm up. 5 GiB need 25 GiB of disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import ratios, report

from airflow_wdl_ecs.ecs.attributes import Policy
from airflow_wdl_ecs.ecs.staging import library, stage_in_script, stage_out_script
from airflow_wdl_ecs.local.endpoint import Endpoint, start_server, stop_server
from airflow_wdl_ecs.task import CallIdentity, OutputRequest, StageIn, TaskRequest

OTHERS = Path(__file__).parent.parent / ".venv-others" / "bin"
PLAIN = "aws s3 cp --recursive"


def bash(script: str, environment: dict[str, str]) -> None:
    """Run a script; its failure ends the benchmark."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:  # longer than an argument can be
        file.write(script)
        file.flush()
        done = subprocess.run(["bash", file.name], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"staging ended with {done.returncode}\n{done.stderr[-2000:]}")


def attempt(folder: Path, prefix: str, names: list[str], source: str) -> TaskRequest:
    """An attempt that takes these files in and gives them out again."""
    at = f"{folder}/inputs"
    inputs = tuple(StageIn(f"{source}{name}", f"{at}/{name}") for name in names)
    outputs = OutputRequest(globs=("out/*",))
    return TaskRequest(CallIdentity("d", "r", "c"), 0, "none", "true\n", str(folder), prefix, inputs, outputs)


def measured(
    names: list[str], files: Path, *, bucket: str, work: Path, environment: dict[str, str], runs: int
) -> dict[str, Any]:
    """Seconds of staging these files in and out, in turn by each way.

    :param files: the folder with the files.
    """
    times: dict[str, dict[str, list[float]]] = {"in": {}, "out": {}}

    def timed(direction: str, way: str, do: Callable[[], None], keep: bool) -> None:
        start = time.perf_counter()
        do()
        if keep:
            times[direction].setdefault(way, []).append(round(time.perf_counter() - start, 2))

    source = f"s3://{bucket}/source/{work.name}/"
    bash(f"aws s3 cp --only-show-errors --recursive {files}/ {source}", environment)
    for turn in range(runs + 1):
        for way in (PLAIN, "aws", "s5cmd"):
            folder, prefix = work / way.split()[0] / str(turn), f"s3://{bucket}/{way.split()[0]}/{turn}/"
            request = attempt(folder, prefix, names, source)
            if way == PLAIN:
                stage_in = f"aws s3 cp --only-show-errors --recursive {source} {folder}/inputs/"
                stage_out = f"aws s3 cp --only-show-errors --recursive {folder}/work/out/ {prefix}"
            else:
                stage_in = library("stage-in", way) + stage_in_script(request, way)
                stage_out = library("stage-out", way) + stage_out_script(request, Policy())
            timed("in", way, lambda script=stage_in: bash(script, environment), turn > 0)  # type: ignore[misc]
            # What came in goes out again.
            (folder / "work").mkdir(exist_ok=True)
            (folder / "inputs").rename(folder / "work" / "out")
            (folder / "exit_code").write_text("0\n")
            for stream in ("stdout", "stderr"):
                (folder / stream).touch()
            timed("out", way, lambda script=stage_out: bash(script, environment), turn > 0)  # type: ignore[misc]
            shutil.rmtree(folder)
            bash(f"s5cmd rm '{prefix}*'", environment)
    medians = {at: {way: statistics.median(found) for way, found in ways.items()} for at, ways in times.items()}
    return {
        **times,
        "ratios": {
            f"{at}: {pair}": value
            for at in medians
            for way in ("aws", "s5cmd")
            for pair, value in ratios(medians[at], way, PLAIN).items()
        },
    }


def environment_of(endpoint: Endpoint) -> dict[str, str]:
    """What a staging container sees."""
    path = os.pathsep.join((str(OTHERS), str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**os.environ, **endpoint.environment(), "PATH": path}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--kib", type=int, default=4, help="of each small file")
    parser.add_argument("--gib", type=float, default=5, help="of the large file")
    parser.add_argument("-n", "--runs", type=int, default=5, help="with the small files")
    parser.add_argument("--large-runs", type=int, default=3, help="with the large one")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if not (OTHERS / "aws").exists():
        sys.exit("the AWS CLI is not there: python3 .ci/install.py others")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        endpoint = start_server(folder / "aws", containers="plain")
        try:
            small, large = folder / "small", folder / "large"
            small.mkdir(), large.mkdir()
            names = [f"sample-{number:04}.txt" for number in range(options.files)]
            for name in names:
                (small / name).write_bytes(os.urandom(options.kib * 1024))
            with (large / "reads.bam").open("wb") as file:
                for _ in range(int(options.gib * 64)):
                    file.write(os.urandom(16 * 2**20))
            environment = environment_of(endpoint)
            for what, files, runs in (
                ("small files", small, options.runs),
                ("one large file", large, options.large_runs),
            ):
                listed = sorted(path.name for path in files.iterdir())
                work = folder / "work" / what.replace(" ", "-")
                figures[what] = measured(
                    listed, files, bucket=endpoint.bucket, work=work, environment=environment, runs=runs
                )
                shutil.rmtree(files)
        finally:
            stop_server(folder / "aws")
    figures["small files"]["files"], figures["small files"]["KiB each"] = options.files, options.kib
    figures["one large file"]["GiB"] = options.gib
    report("staging", figures, options.output)


if __name__ == "__main__":
    main()
