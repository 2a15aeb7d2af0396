"""The examination of the embedded default: this machine, the service, the embedded AWS, and a real run."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass
from pathlib import Path

from ..doctor import trial
from ..doctor.findings import Check, Finding, ok, problem
from ..errors import WdlEcsError
from ..local import client
from ..local.airflow_home import AirflowHome
from ..local.machine import machine_checks
from .progress import Progress
from .run import LocalRun

_WORDS = {"queue": "queue", "wait": "waiting", "pull": "images", "stage_in": "staging in", "stage_out": "staging out"}


@dataclass(frozen=True)
class EmbeddedDoctor:
    """Examines the embedded default of a home.

    :param image: of the command of the run; empty for the settings' own. :param disk: GiB that it asks for; 0 for none.
    :param task: whether to make the run. :param limit: seconds that it may take. :param say: told what takes long.
    """

    home: AirflowHome
    image: str
    disk: int
    task: bool
    limit: float
    say: Callable[[str], None]

    def checks(self) -> list[Check]:
        """Its checks, in order."""
        machine = machine_checks(self.home)
        checks = [
            *machine,
            Check("service", self._service, [check.name for check in machine]),
            Check("embedded AWS", self._aws, ("service",)),
        ]
        if self.task:
            checks.append(Check("run", self._run, ("service", "embedded AWS")))
        return checks

    def _service(self) -> Iterator[Finding]:
        was = client.running(self.home)
        began = time.monotonic()
        service = client.connect(self.home, self.say)
        service.ask("status")
        seconds = time.monotonic() - began
        how = "runs" if was is not None and was.endpoint == service.endpoint else f"started in {seconds:.1f} s"
        yield ok(f"the embedded Airflow {how}: process {service.endpoint.pid}, {service.endpoint.ui}")

    def _aws(self) -> Iterator[Finding]:
        service = client.connect(self.home, self.say)
        bad = 0
        for answer in service.stream("doctor"):
            finding = Finding(**answer["finding"])
            bad += finding.verdict == "problem"
            yield finding
        if bad:
            mend = f"start it anew: airflow-wdl-ecs local stop; its logs are in {self.home.logs} and {self.home.aws}"
            yield problem("the embedded AWS is not as it should be", mend)

    def _run(self) -> Iterator[Finding]:
        plan, letter = trial.plan(), secrets.token_hex(8)
        with tempfile.TemporaryDirectory(prefix="airflow-wdl-ecs-doctor-") as name:
            folder = Path(name)
            (folder / "letter.txt").write_text(letter)
            given = {"letter": str(folder / "letter.txt"), "image": self.image, "disk": self.disk}
            inputs = {name: value for name, value in given.items() if value}
            run = LocalRun(self.home, plan, folder, Progress(plan))
            began = time.monotonic()
            pool = ThreadPoolExecutor(1)
            try:
                read = pool.submit(run.outputs, inputs).result(self.limit).get("read")
            except TimeoutError:
                run.stop()
                yield problem(
                    f"not ended after {self.limit:g} s, and stopped", f"its logs are in {self.home.airflow}/logs"
                )
                return
            except KeyboardInterrupt:
                run.stop()
                raise
            finally:
                pool.shutdown(wait=False)
            seconds = time.monotonic() - began
        if read != letter:
            yield problem(f"the command read {read!r} in its input, which holds {letter!r}", "this should not be")
            return
        yield ok(f"a command of {trial.SECONDS} s ran through Airflow in {seconds:.1f} s{self._phases(run)}")

    def _phases(self, run: LocalRun) -> str:
        """What took how long, as far as the run's report tells."""
        with contextlib.suppress(WdlEcsError):
            found = client.connect(self.home, self.say).ask("report", run=f"{run.dag_id}/{run.run_id}", scope=None)
            calls = (found.get("report") or {}).get("calls", [])
            told = [
                f"{_WORDS.get(name, name)} {spent:.1f} s" for call in calls for name, spent in call["seconds"].items()
            ]
            return f": {', '.join(told)}" if told else ""
        return ""
