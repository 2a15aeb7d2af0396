"""Tells a person where a run is: one line on standard error when a call starts, retries or ends."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from ..plan import Plan
from ..printable import printable

WORDS = {
    "running": "running",
    "deferred": "running",
    "success": "done",
    "failed": "failed",
    "skipped": "skipped",
    "up_for_retry": "failed, will be tried again",
    "upstream_failed": "not run, since a call before it failed",
}
"""Airflow's states that a person is told of."""


class Progress:
    """The progress of one run.

    :param verbose: tell of Airflow's other tasks as well as of calls.
    """

    def __init__(self, plan: Plan, *, verbose: bool = False, stream: TextIO = sys.stderr) -> None:
        self.calls = set(plan.call_by_id)
        self.verbose = verbose
        self.stream = stream
        self.began = time.monotonic()
        self.said: dict[tuple[str, int], str] = {}

    def note(self, task: str, index: int, state: str) -> None:
        """Take note of a task instance's state, and say so if it means something new."""
        word = WORDS.get(state)
        if word is None or self.said.get((task, index)) == word:
            return
        self.said[task, index] = word
        if task in self.calls:
            self.say(f"call {label(task, index)}: {word}")
        elif self.verbose or word == "failed":
            self.say(f"task {label(task, index)}: {word}")

    def say(self, text: str) -> None:
        """One line, with the seconds since the beginning."""
        print(f"[{time.monotonic() - self.began:7.1f} s] {printable(text)}", file=self.stream, flush=True)


def label(task: str, index: int) -> str:
    """A task instance as a person names it: ``sort``, or ``sort[3]`` in a scatter."""
    return task if index < 0 else f"{task}[{index}]"
