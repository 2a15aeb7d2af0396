"""Run a WDL workflow or task on this machine: through a real Airflow, on an embedded ECS.

Inputs are name=value words (arrays by repeating, local files by their paths), or JSON with -i. Standard output gets one
JSON object with the outputs, whose files are in a new folder; everything else goes to standard error. The exit code is
0 for success, 1 for a run that failed, 2 for what has to be mended before anything can run.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import CallError, InputsError, Problem, WdlEcsError
from ..generate import dag_file
from ..local import client
from ..local.airflow_home import AirflowHome, user_home
from ..plan import Plan
from ..run_options import CALL_CACHE
from .option import LANGUAGE, SOURCE, TASK, Option
from .progress import Progress, label
from .run_options import RUN_OPTIONS, run_options

NAME = "run"
HELP = "run a workflow on this machine"
OPTIONS = (
    SOURCE,
    Option("inputs", metavar="name=value", nargs="*", help="inputs; for arrays repeat: name=value1 name=value2"),
    Option(
        "-i",
        "--input",
        metavar="INPUT.json",
        dest="input_file",
        help="inputs as JSON (or YAML): a file, a literal, or -",
    ),
    Option("--empty", metavar="NAME", action="append", default=[], help="set an input to the empty string or array"),
    Option("--none", metavar="NAME", action="append", default=[], help="set an optional input to None"),
    TASK,
    *LANGUAGE,
    Option("-j", "--json", dest="json_only", action="store_true", help="print the inputs as JSON, and do not run"),
    Option("-o", metavar="OUT.json", dest="out_file", help="write the JSON there, too, also for a run that failed"),
    Option("--error-json", action="store_true", help="write JSON for a run that failed, too (-o does)"),
    Option(
        "-d",
        "--dir",
        metavar="DIR",
        dest="run_dir",
        default="",
        help="make the run's folder in DIR (default: here); . or DIR/. for that folder itself",
    ),
    *RUN_OPTIONS,
    Option("-v", "--verbose", action="store_true", help="show every task of Airflow"),
    Option("--debug", dest="verbose", action="store_true", help="as --verbose"),
    *(
        Option(
            flag,
            dest="of_miniwdl",
            help=f"of miniwdl, without effect here: {why}",
            **({"metavar": argument} if argument else {"action": "store_true"}),
        )
        for flag, argument, why in (
            ("--no-color", "", "nothing is coloured"),
            ("--log-json", "", "logs are Airflow's"),
            ("--copy-input-files", "", "every call has its own copies"),
            ("--copy-input-files-for", "TASK", "every call has its own copies"),
            ("--as-me", "", "the image says who runs its commands"),
            ("--cfg", "FILE", "settings are Airflow's"),
            ("-@", "N", "capacity is ECS's"),
            ("--runtime-cpu-max", "N", "capacity is ECS's"),
            ("--runtime-memory-max", "N", "capacity is ECS's"),
        )
    ),
)
TRAILING = "inputs"
RECONNECTIONS = 5


def execute(options: argparse.Namespace) -> int:
    """Run the workflow; gives the exit status."""
    from ..wdl.load import archive_inputs
    from ..wdl.lower import compile_wdl
    from .given_inputs import fetched

    plan = compile_wdl(options.source, task=options.task, check_quant=options.check_quant, path=options.path)
    json_text = options.input_file or archive_inputs(options.source)
    inputs, own = _wanted(plan, options, json_text)
    if options.json_only:
        print(json.dumps({f"{plan.name}.{name}": value for name, value in inputs.items()}, indent=2))
        return 0
    folder = make_run_folder(options.run_dir, plan.name)
    (folder / "inputs.json").write_text(json.dumps({f"{plan.name}.{n}": v for n, v in inputs.items()}, indent=2) + "\n")
    progress = Progress(plan, verbose=options.verbose)
    run = LocalRun(user_home(), plan, folder, progress, own)
    with terminations_as_interrupts():
        try:
            found = run.outputs(fetched(plan, inputs, folder / "fetched"))
        except KeyboardInterrupt:
            run.stop()
            raise
        except WdlEcsError as error:
            (folder / "error.json").write_text(json.dumps(error_json(error), indent=2) + "\n")
            if options.out_file or options.error_json:
                write_result({**run.place(), **error_json(error)}, options.out_file)
            raise
    outputs = {f"{plan.name}.{name}": value for name, value in found.items()}
    result = {"outputs": outputs, **run.place(), **({"published": run.published} if run.published else {})}
    (folder / "outputs.json").write_text(json.dumps(result["outputs"], indent=2) + "\n")
    write_result(result, options.out_file)
    return 0


def _wanted(plan: Plan, options: argparse.Namespace, json_text: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs and the options of the run.

    :raises InputsError: with everything that is wrong with either, and with the file of ``-o``.
    """
    from .given_inputs import given_inputs

    problems: list[Problem] = []
    hint = None
    inputs, own = {}, {}
    try:
        inputs = given_inputs(plan, options.inputs, json_text=json_text, empty=options.empty, none=options.none)
    except InputsError as error:
        problems += error.problems
    try:
        own = run_options(options)
    except InputsError as error:
        problems += error.problems
        hint = error.hint
    if options.out_file and (wrong := what_forbids_writing(Path(options.out_file), options.run_dir)):
        problems.append(Problem(f"-o {options.out_file}: {wrong}"))
    if problems:
        raise InputsError(problems, hint=hint)
    return inputs, own


def what_forbids_writing(path: Path, run_dir: str) -> str:
    """Why a file cannot be written once the run is over, or nothing: who has waited for hours is not to learn it then.

    :param run_dir: where the run's folder will be made, with the folders above it.
    """
    folder = path.absolute().parent
    made = Path(os.path.expanduser(run_dir)).absolute()  # noqa: PTH111 - ~nobody stays as it is
    if path.is_dir():
        return os.strerror(errno.EISDIR)
    if not path.exists() and folder in (made, *made.parents) and not folder.exists():
        return ""
    if not path.exists() and not folder.is_dir():
        return os.strerror(errno.ENOTDIR if folder.exists() else errno.ENOENT)
    return "" if os.access(path if path.exists() else folder, os.W_OK) else os.strerror(errno.EACCES)


@dataclass
class LocalRun:
    """One run of a plan through the embedded Airflow.

    :param folder: where its outputs are wanted. :param options: of the DAG run, as its conf has them.
    """

    home: AirflowHome
    plan: Plan
    folder: Path
    progress: Progress
    options: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    submitted: bool = False
    published: str = ""
    """The URI of the published ``outputs.json``, once there is one."""

    @property
    def dag_id(self) -> str:
        """Versions of a workflow have their own DAGs, so that a run is never of another version than its caller's."""
        return f"{self.plan.name}-{self.plan.digest[:12]}"

    def place(self) -> dict[str, str]:
        """Where the run is: its folder here, and its name in Airflow."""
        return {"dir": str(self.folder), "dag_id": self.dag_id, "run_id": self.run_id}

    def outputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run to the end; the outputs, with their files in the run's folder.

        :param inputs: as `given_inputs` gives them.
        :raises CallError: if the run failed.
        """
        from ..wdl.inputs import file_values, map_files
        from .given_inputs import is_shared
        from .output_files import place_outputs

        service = client.connect(self.home, self.progress.say)
        paths = [
            path for path in file_values(self.plan, inputs) if not path.startswith("s3://") and not is_shared(path)
        ]
        uris: dict[str, str] = service.ask("upload", paths=paths)["uris"] if paths else {}
        conf = map_files(self.plan, inputs, lambda path: uris.get(path, path))
        self._submit(service, {**conf, **self.options})
        self.progress.say(f"run {self.run_id} of {self.dag_id}: {service.endpoint.ui}/dags/{self.dag_id}")
        service, state = self._follow(service)
        if state != "success":
            raise self._failure(service)
        self._tell_of_cache(service)
        ended = service.ask("outputs", dag_id=self.dag_id, run_id=self.run_id)
        self.published = (ended["published"] or {}).get("uri", "")
        placed, targets = place_outputs(self.plan, ended["outputs"], self.folder)
        if targets:
            service.ask("download", targets=targets)
        return placed

    def _submit(self, service: client.Client, conf: Mapping[str, Any]) -> None:
        self.run_id = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}_{secrets.token_hex(4)}"
        plan_name = f"{self.dag_id}.plan.json"
        files = {
            plan_name: self.plan.to_json().decode(),
            f"{self.dag_id}.py": dag_file(self.plan, plan_name=plan_name, dag_id=self.dag_id),
        }
        self.submitted = True
        service.ask("submit", dag_id=self.dag_id, run_id=self.run_id, files=files, inputs=conf, owned=True)

    def _follow(self, service: client.Client) -> tuple[client.Client, str]:
        """Tell of the run's progress until it has ended; a service that breaks down meanwhile is started again."""
        for attempt in range(RECONNECTIONS + 1):
            try:
                for answer in service.stream("watch", dag_id=self.dag_id, run_id=self.run_id, owned=True):
                    if "task" not in answer:
                        return service, answer["state"]
                    self.progress.note(answer["task"], answer["index"], answer["state"])
            except client.ServiceLostError:
                if attempt == RECONNECTIONS:
                    raise
                self.progress.say("lost the connection to the embedded Airflow; connecting again")
                service = client.connect(self.home, self.progress.say)
        raise AssertionError("a watched run either ends or raises")

    def _tell_of_cache(self, service: client.Client) -> None:
        """Tell what the call cache had of the calls, where it was asked for."""
        if self.options.get(CALL_CACHE) != "on":
            return
        import msgspec

        from ..report import RunReport
        from .report import cache_lines

        with contextlib.suppress(WdlEcsError):  # the run has ended well all the same
            answer = service.ask("report", run=f"{self.dag_id}/{self.run_id}", scope=None)
            for line in cache_lines(msgspec.convert(answer["report"], RunReport).calls):
                self.progress.say(f"call cache: {line}")

    def _failure(self, service: client.Client) -> CallError:
        """What went wrong, by call and shard."""
        texts = []
        for failed in service.stream("failures", dag_id=self.dag_id, run_id=self.run_id):
            errors = "\n".join(failed["errors"]) or "failed without an error in its log"
            name = label(failed["task"], failed["index"])
            texts.append(errors if failed["task"] in errors else f"{name}: {errors}")
        logs = self.home.airflow / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        return CallError("\n".join([*texts, f"run {self.run_id} of {self.dag_id} failed; its logs: {logs}"]))

    def stop(self) -> None:
        """Stop what runs, with its ECS tasks; a second interruption does not wait for it."""
        service = client.running(self.home)
        if service is None or not self.submitted:
            return
        self.progress.say("interrupted: stopping the run (once more: do not wait)")
        with contextlib.suppress(WdlEcsError):
            if not service.ask("stop_run", dag_id=self.dag_id, run_id=self.run_id)["ended"]:
                self.progress.say("its ECS tasks take long to end; they are told to")


def make_run_folder(wanted: str, name: str) -> Path:
    """Make the run's folder: a new ``<time>_<name>`` in ``wanted``, or ``wanted`` itself if it ends in ``/.``.

    :raises InputsError: if it cannot be made.
    """
    try:
        if wanted == "." or wanted.endswith("/."):
            folder = Path(wanted).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        parent = Path(os.path.expanduser(wanted)).absolute()  # noqa: PTH111 - ~nobody stays as it is
        parent.mkdir(parents=True, exist_ok=True)
        moment = f"{datetime.now():%Y%m%d_%H%M%S}_{name}"
        for number in range(1000):
            folder = parent / (moment if number == 0 else f"{moment}_{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                _point_to(folder)
                return folder
    except OSError as error:
        raise InputsError(f"-d {wanted}: {error.strerror}") from error
    raise InputsError(f"-d {wanted}: too many runs of {name} at once")


def _point_to(folder: Path) -> None:
    """Let ``_LAST``, beside the run's folder, be a link to it. A folder that has no links goes without."""
    link = folder.with_name(f".{folder.name}.last")
    with contextlib.suppress(OSError):
        link.symlink_to(folder.name)
        link.replace(folder.with_name("_LAST"))


def error_json(error: WdlEcsError) -> dict[str, Any]:
    """A failure for programs."""
    return {"error": type(error).__name__, "message": str(error)}


def write_result(result: Mapping[str, Any], out_file: str | None) -> None:
    """Write the one JSON object that a run gives, to standard output and to a file, if there is one."""
    text = json.dumps(result, indent=2)
    print(text, flush=True)
    if out_file and not _is_standard_output(Path(out_file)):
        Path(out_file).write_text(text + "\n")


def _is_standard_output(path: Path) -> bool:
    """Whether a path, such as ``/dev/stdout``, is where standard output goes already."""
    try:
        return path.samefile("/dev/fd/1")
    except OSError:
        return False


@contextlib.contextmanager
def terminations_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop a run as Ctrl-C does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
