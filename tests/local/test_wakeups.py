"""How components of the embedded Airflow wake each other: through a named pipe, and when a change can be seen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from airflow_wdl_ecs.local.wakeups import Wakeup

# In a process of its own: what `wake_on_commit` listens to is every database of its process.
COMMITS = """
import json, sqlite3, sys
from sqlalchemy import create_engine, text
from airflow_wdl_ecs.local.wakeups import wake_on_commit

path, seen = sys.argv[1], []

class Recorded:
    def __init__(self, name):
        self.name = name

    def send(self):
        rows = sqlite3.connect(path).execute("SELECT (SELECT count(*) FROM trigger), (SELECT count(*) FROM dag_run)")
        seen.append([self.name, *rows.fetchone()])

engine = create_engine(f"sqlite:///{path}")
with engine.begin() as connection:
    connection.execute(text("CREATE TABLE trigger (id INTEGER)"))
    connection.execute(text("CREATE TABLE dag_run (id INTEGER)"))
wake_on_commit({"INSERT INTO TRIGGER": Recorded("triggerer"), "UPDATE DAG_RUN": Recorded("scheduler")})
with engine.begin() as connection:
    connection.execute(text('INSERT INTO "trigger" VALUES (1)'))
    connection.execute(text("INSERT INTO trigger VALUES (2)"))
try:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO trigger VALUES (3)"))
        raise KeyError
except KeyError:
    pass
with engine.begin() as connection:
    connection.execute(text("INSERT INTO dag_run VALUES (1)"))
with engine.begin() as connection:
    connection.execute(text("UPDATE dag_run SET id = 2"))
print(json.dumps(seen))
"""


def test_others_are_woken_once_when_a_change_can_be_seen_and_not_when_it_is_rolled_back(tmp_path):
    command = [sys.executable, "-c", COMMITS, str(tmp_path / "airflow.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == '[["triggerer", 2, 0], ["scheduler", 2, 1]]', done.stderr


def test_who_waits_is_woken_and_a_wake_up_before_that_is_not_lost(tmp_path):
    waiting, other = Wakeup(tmp_path / "pipe"), Wakeup(tmp_path / "pipe")
    other.send()  # nobody has ever waited
    waiting.wait(0)
    timer = threading.Timer(0.2, other.send)
    timer.start()
    start = time.monotonic()
    waiting.wait(30)
    assert time.monotonic() - start < 20
    timer.join()
    for _ in range(3):
        other.send()
    start = time.monotonic()
    waiting.wait(30)
    assert time.monotonic() - start < 20
    start = time.monotonic()
    waiting.wait(0.2)
    assert time.monotonic() - start >= 0.2, "what was sent before counts once"


def test_whoever_wakes_never_waits(tmp_path):
    gone, full = Wakeup(tmp_path / "gone"), Wakeup(tmp_path / "full")
    gone.wait(0)
    os.close(gone.fileno())
    Wakeup(tmp_path / "gone").send()
    full.wait(0)
    descriptor = os.open(tmp_path / "full", os.O_WRONLY | os.O_NONBLOCK)
    os.write(descriptor, bytes(2**20))  # as much as it takes
    os.close(descriptor)
    Wakeup(tmp_path / "full").send()
    full.wait(5)
    start = time.monotonic()
    full.wait(0.1)
    assert time.monotonic() - start >= 0.1


def test_without_named_pipes_a_wait_takes_its_time(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError("no named pipes here")

    monkeypatch.setattr(os, "mkfifo", refused)
    waiting = Wakeup(tmp_path / "pipe")
    start = time.monotonic()
    waiting.wait(0.1)
    Wakeup(tmp_path / "pipe").send()
    waiting.wait(0.1)
    assert time.monotonic() - start >= 0.2
