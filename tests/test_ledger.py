"""The ledger of a shard: what is written is read, also by many at a time, and what was written earlier."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from airflow_wdl_ecs.attempts import Attempt, Times
from airflow_wdl_ecs.ecs.status import TaskStatus
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.ledger import Ledger, Success, is_deliberate_rerun
from airflow_wdl_ecs.storage import RunStore

from .fabricated_run import GOLDEN
from .fake_aws import FakeS3


def test_a_ledger_of_an_earlier_version_is_read():
    store = RunStore(FakeS3(), Layout("s3://b", "d", "r"))
    old = {"number": 0, "try_number": 1, "arn": "a", "cluster": "c", "started": 1.5, "kind": "lost", "budget": "none"}
    store.put_json(f"{store.layout.shard('c', ())}attempts.json", [old])
    assert Ledger(store, "c", ()).attempts() == [Attempt(0, 1, "a", "c", 1.5, kind="lost")]


def test_a_rerun_is_deliberate_if_nothing_had_failed():
    earlier, now = Success(1, 0, {}), Success(2, 1, {})
    assert is_deliberate_rerun([earlier, earlier], 2)
    assert not is_deliberate_rerun([earlier, None], 2)
    assert not is_deliberate_rerun([earlier, now], 2)
    assert not is_deliberate_rerun([earlier], 1)
    assert not is_deliberate_rerun([], 2)


def test_what_is_written_is_read():
    ledger = Ledger(RunStore(FakeS3(), Layout("s3://b", "d", "r")), "c", (1, 2))
    assert (ledger.success(), ledger.attempts()) == (None, [])
    written = [
        *(
            Attempt(n, 1, f"arn:{n}", "c", 0.0).ended(TaskStatus(kind, 1, "why", budget))
            for n, (kind, budget) in enumerate([("command_failed", "command"), ("out_of_memory", "memory")])
        ),
        Attempt(2, 2, "arn", "c", 1.5, memory=4096, times=Times(created=2.25)),
    ]
    ledger.write_attempts(written)
    ledger.write_success(Success(2, 2, {"x": [1, {"y": None}], "é": "s3://b/é"}))
    assert ledger.attempts() == written
    assert ledger.success() == Success(2, 2, {"x": [1, {"y": None}], "é": "s3://b/é"})
    ledger.clear_success(3)
    assert ledger.success() is None
    assert [found.superseded for found in ledger.attempts()] == [0, 0, 3]
    assert replace(written[0]).handle.arn == "arn:0"


FIRST_READERS = """
import random, sys, threading, time
from pathlib import Path
import msgspec._utils
from airflow_wdl_ecs.ledger import Ledger
from airflow_wdl_ecs.reasons import read_of_shard
from airflow_wdl_ecs.plan import Plan
from airflow_wdl_ecs.layout import Layout
from airflow_wdl_ecs.storage import RunStore
from airflow_wdl_ecs.task import TaskResult

annotations = msgspec._utils.get_class_annotations

def slowly(of):
    time.sleep(random.random() / 20)
    return annotations(of)

class Store(RunStore):
    def get(self, uri, *, limit=None):
        return b'{"try_number": 1, "text": "", "at": 1}' if uri.endswith("failure.json") else ATTEMPTS

PLAN = Path(sys.argv[1]).read_bytes()
ATTEMPTS = b'[{"number": 0, "try_number": 1, "arn": "", "cluster": "", "started": 1, "times": {}}]'
msgspec._utils.get_class_annotations = slowly
store = Store(None, Layout("s3://b", "d", "r"))

def read(number):
    for _ in range(20):
        Ledger(store, "c", (number,)).attempts()
        read_of_shard(store, "c", (number,))
        TaskResult.from_json(b'{"exit_code": 0, "files": []}')
        Plan.from_json(PLAN)

threads = [threading.Thread(target=read, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_ledgers_can_be_read_by_many_threads_at_once_from_the_first() -> None:
    command = [sys.executable, "-c", FIRST_READERS, str(GOLDEN / "scatter" / "plan.json")]
    for _ in range(3):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
