"""What goes wrong in an evaluation becomes an `EvaluationError` with its place in the user's source.

miniwdl wraps whatever a function raises in its own error with the position of the function's call. This module takes
that position, and what this package raised inside it: an `EvaluationError` keeps its message, and any other error of
the package (AWS refused a read) passes unchanged, since it is no fault of the expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import WDL

from ..errors import EvaluationError, Position, WdlEcsError
from ..printable import printable

Locate = Callable[[WDL.SourcePosition], Position]
"""From a position in a slice to the position in the user's source."""


@contextmanager
def evaluating(
    what: str,
    default: Position | None,
    locate: Locate | None,
    *,
    call: str | None = None,
    shard: tuple[int, ...] | None = None,
) -> Iterator[None]:
    """Turn what goes wrong inside into an `EvaluationError`.

    :param what: what is evaluated, such as ``output bam``; the message begins with it.
    :param default: its position, for errors that have none of their own.
    :param locate: how the position of an error is read; without it, every error is at ``default``.
    """
    try:
        yield
    except EvaluationError as error:
        if error.position is not None:  # it has been here before
            error.call = error.call or call
            error.shard = shard if error.shard is None else error.shard
            raise
        raise EvaluationError(
            f"{what}: {printable(error.message)}", position=default, call=call, shard=shard, hint=error.hint
        ) from error
    except WdlEcsError:
        raise
    except (WDL.Error.RuntimeError, FileNotFoundError, ValueError, TypeError, AssertionError, RecursionError) as error:
        not_ours_to_place = foreign(error)
        if not_ours_to_place is not None:
            raise not_ours_to_place from None
        ours = _ours(error)
        found = _position(error)
        position = locate(found) if found is not None and locate is not None else default
        hint = ours.hint if ours is not None else None
        raise EvaluationError(
            f"{what}: {printable(_message(error, hint))}", position=position, call=call, shard=shard, hint=hint
        ) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__


def _ours(error: BaseException) -> WdlEcsError | None:
    return next((found for found in _chain(error) if isinstance(found, WdlEcsError)), None)


def foreign(error: BaseException) -> WdlEcsError | None:
    """The error of this package inside ``error`` that is not the expression's fault, if there is one."""
    ours = _ours(error)
    return None if isinstance(ours, EvaluationError) else ours


def _position(error: BaseException) -> WDL.SourcePosition | None:
    for found in _chain(error):
        position = getattr(found, "pos", None)
        if isinstance(position, WDL.SourcePosition) and position.line > 0:
            return position
    return None


def _message(error: BaseException, hint: str | None) -> str:
    if isinstance(error, FileNotFoundError):  # miniwdl's, for a null
        return "None where a file or directory is due"
    text = str(error).removeprefix("function evaluation failed, ")
    text = text.replace(f"\n{hint}", "") if hint else text
    return text or type(error).__name__
