"""Which inputs of a run are secrets, and text without them.

An input is sensitive if its author says so (``parameter_meta { token: { sensitive: true } }``) or if its name fits a
pattern of the deployment's. Decided once, when the run begins, and kept with the run, so that everything that shows
something of a run (logs, XComs, reports, pages) leaves out the same. What computes has the values as they are: the
run's folder in S3, and the command. This module knows the plan; it knows neither Airflow nor S3.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Protocol

from .errors import CallError, ProblemsError, WdlEcsError
from .plan import Input, Plan
from .printable import printable

MASK = "***"
"""What stands in place of a secret."""

SHORTEST = 4
"""Characters of the shortest text that is looked for elsewhere: a shorter one would blot out half of a log."""

LONGEST = 2000
"""Characters of a value that a line of a log shows."""


class Log(Protocol):
    """What is told a story; a `logging.Logger` is one."""

    def info(self, message: str, /, *values: Any) -> Any:
        """Tell what happens."""

    def warning(self, message: str, /, *values: Any) -> Any:
        """Tell what a person may want to change."""


def sensitive_inputs(plan: Plan, patterns: Collection[str]) -> tuple[str, ...]:
    """The names of a plan's sensitive inputs.

    :param patterns: shell patterns of names in lower case, which the last part of an input's name must fit.
    """
    return tuple(declared.name for declared in plan.inputs if _is_sensitive(declared, patterns))


def _is_sensitive(declared: Input, patterns: Collection[str]) -> bool:
    said = declared.meta.get("sensitive") if isinstance(declared.meta, Mapping) else None
    if isinstance(said, bool):
        return said
    name = declared.name.rpartition(".")[2].lower()
    holds_text = declared.type.rstrip("?") == "String"
    return holds_text and any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


def without_secrets(inputs: Mapping[str, Any], sensitive: Collection[str]) -> dict[str, Any]:
    """The inputs with `MASK` for the values of the sensitive ones; null stays null."""
    return {name: MASK if name in sensitive and value is not None else value for name, value in inputs.items()}


def secret_texts(inputs: Mapping[str, Any], sensitive: Collection[str]) -> tuple[str, ...]:
    """The texts in the values of sensitive inputs that must not be shown, the longest first.

    A text of several lines is shown line by line, and in JSON with escapes, so these are secrets as well.
    """
    values = {text for name in sensitive for text in _texts(inputs.get(name))}
    forms = {form for text in values for form in (text, *text.splitlines(), *_in_json(text))}
    texts = {form for form in forms if len(form.strip()) >= SHORTEST}
    return tuple(sorted(texts, key=lambda text: (-len(text), text)))


def _in_json(text: str) -> Iterator[str]:
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]


def _texts(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        at = pending.pop()
        if isinstance(at, str):
            yield at
        elif isinstance(at, Mapping):
            pending.extend(at.values())
        elif isinstance(at, list):
            pending.extend(at)
        elif isinstance(at, (int, float)) and not isinstance(at, bool):
            yield str(at)


def redact(value: Any, secrets: Iterable[str]) -> Any:
    """The value with `MASK` for every secret in its texts, in lists and objects too."""
    secrets = tuple(secrets)
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, Mapping):
        return {redact(key, secrets): redact(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(redact(item, secrets) for item in value)
    return value


def hide(error: WdlEcsError, secrets: tuple[str, ...]) -> None:
    """Take the secrets out of an error."""
    if not secrets:
        return
    error.message, error.hint = redact(error.message, secrets), redact(error.hint, secrets)
    error.args = redact(error.args, secrets)
    if isinstance(error, CallError):
        error.stderr = redact(error.stderr, secrets)
    if isinstance(error, ProblemsError):
        error.problems = tuple(
            replace(problem, message=redact(problem.message, secrets), excerpt=redact(problem.excerpt, secrets))
            for problem in error.problems
        )


class DiscreetLog:
    """A log to which secrets are never told, and in which no value looks like a line of its own or is very long.

    :param log: has ``info`` and ``warning``. :param secrets: as `secret_texts` gives them.
    """

    def __init__(self, log: Log, secrets: tuple[str, ...]) -> None:
        self._log = log
        self._secrets = secrets

    def info(self, message: str, *values: Any) -> None:
        """Tell what happens."""
        self._log.info(redact(message, self._secrets), *(self._discreet(value) for value in values))

    def warning(self, message: str, *values: Any) -> None:
        """Tell what a person may want to change."""
        self._log.warning(redact(message, self._secrets), *(self._discreet(value) for value in values))

    def _discreet(self, value: Any) -> Any:
        if isinstance(value, (int, float)):
            return value
        # Cut last: of a secret that is cut, what is left could not be found.
        text = redact(str(value), self._secrets)
        return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)")
