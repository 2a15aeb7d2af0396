"""Fuzz for as long as one likes: ``python -m tests.fuzz [--seconds N] [--seed N] [--corpus DIR]``.

Every case is named by the seed and a number; a case that goes wrong is printed with its name, and a
source is kept in a file.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from airflow_wdl_ecs.cli import DEBUG_VARIABLE

from .mutations import corpus, mutated, mutated_inputs
from .oracle import TooSlow, check_inputs, check_text
from .test_command_line import check_command_line
from .test_inputs import PLANS

_SHOWN: set[str] = set()
"""Where errors were raised, whose traceback was printed."""


def main() -> int:
    """Run cases until the time is up; the exit status is 1 if one went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--start", type=int, default=0, help="the number of the first case")
    parser.add_argument("--corpus", type=Path, help="a folder of more WDL sources to begin with")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where cases that go wrong are kept")
    options = parser.parse_args()
    os.environ[DEBUG_VARIABLE] = "1"  # what a command did not foresee is raised
    texts = corpus()
    if options.corpus:
        texts += [path.read_text(errors="replace") for path in sorted(options.corpus.rglob("*.wdl"))]
    print(f"seed {options.seed}, {len(texts)} sources", flush=True)
    until, number, counts = time.monotonic() + options.seconds, options.start, Counter[str]()
    while time.monotonic() < until:
        counts[_case(options.seed, number, texts, options.keep)] += 1
        number += 1
    print(f"seed {options.seed}: {number - options.start} cases, {dict(counts)}")
    return 1 if counts["wrong"] else 0


def _case(seed: int, number: int, texts: list[str], keep: Path) -> str:
    random = Random(f"{seed}/{number}")
    of_inputs = number % 5 == 4
    of_commands = number % 5 == 3
    case = ""
    if of_inputs:
        plan, example = random.choice(PLANS)
        values = mutated_inputs(random, example)
    elif not of_commands:
        case = mutated(random, texts)
    began = time.monotonic()
    try:
        if of_commands:
            return _command(random, texts)
        found = check_inputs(plan, values) if of_inputs else check_text(case)
        return "accepted" if found is not None else "refused"
    except (Exception, TooSlow) as error:
        name = f"{seed}/{number}"
        if case:
            keep.mkdir(exist_ok=True)
            (keep / f"{seed}-{number}.wdl").write_text(case, errors="surrogatepass")
        print(f"{name}: {time.monotonic() - began:.1f} s: {type(error).__name__}: {str(error)[:200]!r}", flush=True)
        at = traceback.extract_tb(error.__traceback__)[-1]
        if (place := f"{type(error).__name__} at {at.filename}:{at.lineno}") not in _SHOWN:
            _SHOWN.add(place)
            print("".join(traceback.format_tb(error.__traceback__, limit=-5)), flush=True)
        return "wrong"


def _command(random: Random, texts: list[str]) -> str:
    """A command with what it prints thrown away."""
    with (
        TemporaryDirectory() as folder,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        status = check_command_line(random, texts, Path(folder))
    assert status in (0, 2), f"exit code {status}"
    return "command accepted" if status == 0 else "command refused"


if __name__ == "__main__":
    sys.exit(main())
