"""The error tree, drawn by who must act.

::

    WdlEcsError
    ├── AuthorError       the WDL source must change (syntax, types, what no engine can do on ECS)
    ├── InputsError       the caller of the workflow must change the inputs
    ├── SettingsError     the deployer must change a setting, a role or the AWS account
    ├── EvaluationError   an expression failed on the values of this run
    ├── CallError         the call's command, or the ECS task around it, failed
    └── AwsError          AWS refused or lost a request

An error says what is wrong, where (position, call, shard) and what to do about it (``hint``). It has fields, not
just text, and survives pickling; as text, nothing of it acts on a terminal. This module imports nothing of the package
but how text is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from .printable import printable_lines


@dataclass(frozen=True, order=True)
class Position:
    """Where something stands in a WDL source: file (as the user named it), line and column (both from 1)."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    :param message: what is wrong, one or more lines, without the position.
    :param position: where in the WDL source, if it is there.
    :param excerpt: the source line, with a second line whose caret marks the column; empty if unknown.
    :param severity: a warning is doubtful, and stops nothing; an exception lists errors only.
    """

    message: str
    position: Position | None = None
    excerpt: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        message = f"warning: {self.message}" if self.severity == "warning" else self.message
        head = f"{self.position}: {message}" if self.position else message
        return f"{head}\n{self.excerpt}" if self.excerpt else head


class WdlEcsError(Exception):
    """Anything this package raises on purpose.

    :param message: what is wrong.
    :param position: where in the WDL source.
    :param call: the call's id, such as ``align.sort``.
    :param shard: the call's shard key, ``()`` outside scatters.
    :param hint: what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        position: Position | None = None,
        call: str | None = None,
        shard: tuple[int, ...] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.call = call
        self.shard = shard
        self.hint = hint

    def __str__(self) -> str:
        who = f"call {self.call}" + (f" shard {list(self.shard)}" if self.shard else "") if self.call else ""
        return self._told(who)

    @property
    def reason(self) -> str:
        """The error as text, for where it stands beside the name of its call and shard."""
        return self._told("")

    def _told(self, who: str) -> str:
        where = ": ".join(part for part in (str(self.position or ""), who) if part)
        text = f"{where}: {self.message}" if where else self.message
        return printable_lines(f"{text}\n{self.hint}" if self.hint else text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self.__dict__), self.args)


def _rebuild(kind: type[WdlEcsError], fields: dict[str, Any], args: tuple[Any, ...]) -> WdlEcsError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class ProblemsError(WdlEcsError):
    """An error that lists every problem at once, so that nobody mends them one by one."""

    def __init__(self, problems: Iterable[Problem] | str, *, hint: str | None = None) -> None:
        found = [Problem(problems)] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(str(problem) for problem in found), hint=hint)
        self.problems: tuple[Problem, ...] = tuple(found)


class AuthorError(ProblemsError):
    """The WDL source must change; every problem carries its position."""


class InputsError(ProblemsError):
    """The workflow's inputs are missing, unknown or of the wrong type; every problem names its input."""


class SettingsError(ProblemsError):
    """The deployment is missing a setting, or two settings contradict each other; each is named."""


FINAL = (AuthorError, InputsError, SettingsError)
"""What trying again does not mend: somebody must change something first."""


class EvaluationError(WdlEcsError):
    """An expression of the workflow or of a task failed on the values of this run."""


class CallError(WdlEcsError):
    """A call's ECS task ended without success, or its outputs are not what the task declares.

    :param kind: the classifier's word for it (see ``ecs.status``), such as ``command_failed``.
    :param exit_code: the command's exit code, if it has one.
    :param stderr: the last lines of the command's stderr.
    :param attempt: the number of the attempt that ended so; None if it is about none, or about several.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str = "",
        exit_code: int | None = None,
        stderr: str = "",
        attempt: int | None = None,
        **where: Any,
    ) -> None:
        super().__init__(message, **where)
        self.kind = kind
        self.exit_code = exit_code
        self.stderr = stderr
        self.attempt = attempt


class AwsError(WdlEcsError):
    """An AWS API refused a request.

    :param code: the API's error code, such as ``AccessDeniedException``.
    :param operation: the API operation, such as ``RunTask``.
    """

    def __init__(self, message: str, *, code: str = "", operation: str = "", **where: Any) -> None:
        super().__init__(message, **where)
        self.code = code
        self.operation = operation
