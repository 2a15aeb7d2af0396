"""Examine an installation step by step: what was found, and how to mend what is wrong.

Examined is the deployment that Airflow's [wdl_ecs] settings name: settings, credentials, cluster and its capacity, the
tasks' roles, their network's way out, bucket, log group, and a real task of two seconds. Where nothing is set, or with
--local, it is the embedded default of this machine. The real task writes a folder to the workspace, which is removed
again; its task definition, its plan and its log lines stay. The exit code is 0 if there is no problem, else 1; 130 for
an interruption, which stops the task.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from ..doctor.findings import Check, Finding, Verdict, examine, problem
from ..errors import InputsError, SettingsError
from ..local.airflow_home import user_home
from ..printable import printable
from .option import Option
from .own_stdout import own_stdout


def seconds(text: str) -> float:
    """A positive number of seconds; raises ValueError."""
    found = float(text)
    if not 0 < found < float("inf"):
        raise ValueError(text)
    return found


def gib(text: str) -> int:
    """A positive number of GiB; raises ValueError."""
    found = int(text)
    if found <= 0:
        raise ValueError(text)
    return found


NAME = "doctor"
HELP = "examine an installation, and say how to mend what is wrong"
OPTIONS = (
    Option("--local", action="store_true", help="examine the embedded default of this machine, whatever is set"),
    Option(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting that a DAG overrides, such as cluster=gpu (may be repeated)",
    ),
    Option("--image", default="", help="the image of the task (default: the setting image, or else staging_image)"),
    Option("--disk", type=gib, default=0, metavar="GIB", help="disk of the task, such as one that is an EBS volume"),
    Option("--no-task", dest="task", action="store_false", help="run no task"),
    Option("--limit", type=seconds, default=900.0, metavar="SECONDS", help="that the task may take (default: 900)"),
    Option("-v", "--verbose", action="store_true", help="tell what happens to the task, on standard error"),
    Option("--json", dest="as_json", action="store_true", help="print JSON: whether it is healthy, and the findings"),
)
WORDS: dict[Verdict, str] = {
    "ok": "ok",
    "problem": "problem",
    "unknown": "could not be looked at",
    "skipped": "skipped",
}
_NAMING = ("cluster", "workspace", "log_group", "subnets", "task_role_arn", "execution_role_arn")
"""Settings without a default: a deployment has set some of them."""


def execute(options: argparse.Namespace) -> int:
    """Print what is found, as it is found."""
    from .run import terminations_as_interrupts

    if options.local and options.set:
        raise InputsError("--set is for a deployment, and --local for the embedded default")
    findings: list[Finding] = []
    with terminations_as_interrupts():
        with own_stdout():
            where, checks = _checks(options)
        _say("the deployment of Airflow's [wdl_ecs] settings" if where == "deployment" else _embedded_because(options))
        for finding in _aside(examine(checks)):
            findings.append(finding)
            if not options.as_json:
                print(_line(finding), flush=True)
    problems = sum(finding.verdict == "problem" for finding in findings)
    if options.as_json:
        told = {"examined": where, "healthy": not problems, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    unseen = sum(finding.verdict in ("unknown", "skipped") for finding in findings)
    _say(f"{problems or 'no'} problem{'s' * (problems != 1)}" + (f", {unseen} not looked at" if unseen else ""))
    return 1 if problems else 0


def _embedded_because(options: argparse.Namespace) -> str:
    why = "" if options.local else " (Airflow's configuration has no [wdl_ecs] settings of a deployment)"
    return f"the embedded default of this machine{why}"


def _line(finding: Finding) -> str:
    head, *more = finding.found.splitlines() or [""]
    indent = " " * 40
    lines = [f"{WORDS[finding.verdict]:23} {finding.check:15} {head}", *(indent + line for line in more)]
    lines += [f"{indent}{'mend: ' if not at else '      '}{line}" for at, line in enumerate(finding.mend.splitlines())]
    return "\n".join(printable(line) for line in lines)


def _aside(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; what else is printed while they are made goes to standard error."""
    while True:
        with own_stdout():
            finding = next(findings, None)
        if finding is None:
            return
        yield finding


def _checks(options: argparse.Namespace) -> tuple[str, list[Check]]:
    """What is examined, ``deployment`` or ``embedded``, and its checks.

    :raises SettingsError: for a --set that is no setting, or cannot be read.
    :raises InputsError: for a --set without a deployment.
    """
    if not options.local:
        found = _of_deployment(options)
        if found is not None:
            return "deployment", found
        if options.set:
            raise InputsError(
                "--set changes a deployment's settings, and Airflow's configuration has none",
                hint="set at least [wdl_ecs] cluster or workspace; without --set, the embedded default is examined",
            )
    from .embedded_doctor import EmbeddedDoctor

    doctor = EmbeddedDoctor(user_home(), options.image, options.disk, options.task, options.limit, _say)
    return "embedded", doctor.checks()


def _of_deployment(options: argparse.Namespace) -> list[Check] | None:
    """The checks of the deployment; None if there is none."""
    if "airflow" not in sys.modules and not options.verbose:
        # Airflow reads it when it is imported; it would tell of every AWS client that is made.
        os.environ.setdefault("AIRFLOW__LOGGING__NAMESPACE_LEVELS", "airflow.providers.amazon=WARNING")
    from ..doctor.deployment import CHECKS, Deployment, deployment_checks
    from ..doctor.trial import Trial
    from ..ecs.settings import EcsSettings
    from ..host import airflow_clients, has_connection, hurried_clients, resolve_settings

    given = EcsSettings.from_options({}, _overrides(options.set))
    try:
        settings = resolve_settings(given.to_json())
    except SettingsError as error:
        return _unreadable([problem(str(one), "") for one in error.problems], CHECKS)
    except Exception as error:  # a configuration file, or a secret of a backend, that Airflow cannot read
        text = f"Airflow's configuration cannot be read: {type(error).__name__}: {error}"
        return _unreadable([problem(text, "airflow config list must work first")], CHECKS)
    if not any(getattr(settings, name) for name in _NAMING):
        return None
    told = _Told(options.verbose)
    task = Trial(settings, airflow_clients(settings), told, _say, options.image, options.disk, options.limit)
    examined = Deployment(settings, hurried_clients(settings), partial(has_connection, settings))
    return deployment_checks(examined, task if options.task else None)


def _unreadable(problems: list[Finding], names: tuple[str, ...]) -> list[Check]:
    """Checks that say what keeps the settings from being read, and that all others are skipped for it."""
    first, *others = names
    return [Check(first, lambda: problems), *(Check(name, lambda: (), (first,)) for name in others)]


def _overrides(words: list[str]) -> dict[str, str]:
    """What --set gives.

    :raises InputsError: for a word that is not name=value.
    """
    wrong = [word for word in words if not word.partition("=")[0].strip() or "=" not in word]
    if wrong:
        raise InputsError(f"--set {wrong[0]}: expected NAME=VALUE")
    return {name.strip(): value for name, _, value in (word.partition("=") for word in words)}


class _Told:
    """The story of a call as lines on standard error, if anybody wants it."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted

    def info(self, message: str, *values: Any) -> None:
        """Tell a line."""
        if self.wanted:
            _say(message % values if values else message)

    warning = info


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)
