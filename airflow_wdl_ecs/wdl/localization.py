"""Where a task's files are: URI to container path, and back.

Inputs are localized as the specification's "Task Input Localization" says: names are kept, files of one S3 folder
stand side by side, and files of different folders are apart. Outputs are the files that the attempt's result lists.
Nothing here evaluates an expression, and only whether a child of an input directory exists is asked of `Files`.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import time
from collections.abc import Iterable
from typing import Any

import regex

from ..errors import EvaluationError
from ..task import Files, Mounted, StageIn, TaskResult, nothing_mounted
from .beside import NOTHING_BESIDE, Beside

_LONGEST_GLOB = 4096
"""Characters of a pattern, as of a path."""
_MATCHING_SECONDS = 10


def leaves_work(pattern: str) -> bool:
    """Whether a pattern of ``glob()`` can match outside the work directory."""
    return pattern.startswith(("/", "~")) or ".." in pattern.split("/")


class TaskLocations:
    """The files that a task's inputs, declarations and command may name (see `stdlib.Locations`).

    :param folder: the attempt's folder in the container.
    :param beside: the files that the plan brings along. :param mounted: knows those on shared file systems.
    """

    def __init__(
        self, folder: str, files: Files, beside: Beside = NOTHING_BESIDE, mounted: Mounted = nothing_mounted
    ) -> None:
        self.beside = beside
        self.mounted = mounted
        self.folder = folder.rstrip("/")
        self.work = f"{self.folder}/work"
        self.stdout = f"{self.folder}/stdout"
        self.stderr = f"{self.folder}/stderr"
        self._files = files
        self._staged: dict[str, StageIn] = {}
        self._directories: dict[str, str] = {}
        self._left: dict[str, StageIn] = {}

    @property
    def left(self) -> tuple[StageIn, ...]:
        """What was left where it is, in order; its ``path`` is its URI."""
        return tuple(self._left.values())

    @property
    def staged(self) -> tuple[StageIn, ...]:
        """What was localized so far, in order."""
        return tuple(self._staged.values())

    def copy(self) -> TaskLocations:
        """The same locations; what is localized there is not staged here."""
        other = TaskLocations(self.folder, self._files, self.beside, self.mounted)
        other._left = dict(self._left)
        other._staged = dict(self._staged)
        other._directories = dict(self._directories)
        return other

    def localize(self, uri: str, *, directory: bool) -> str:
        """The container path of a file or directory that is to be staged.

        What is in a directory that is staged already is staged with it, and has its path there. What is on a shared
        file system is there, and not staged.

        :raises EvaluationError: if it is not in S3, or another file already has its path.
        """
        shared = self.mounted(uri)
        if shared is not None:
            return shared
        bare = uri.rstrip("/")
        if not bare.startswith("s3://") or ".." in bare.split("/"):
            raise EvaluationError(
                f"{uri!r} is not an s3:// URI", hint="Copy it to S3, and give its s3:// URI to the input."
            )
        parent, _, name = bare.rpartition("/")
        above = parent
        while above != "s3:/":
            if above in self._directories:
                return self._directories[above] + bare[len(above) :]
            above = above.rpartition("/")[0]
        key = hashlib.sha256(parent.encode()).hexdigest()[:10]
        path = f"{self.folder}/inputs/{key}/{name}"
        wanted = StageIn(uri=f"{bare}/" if directory else bare, path=path, directory=directory)
        if self._staged.setdefault(path, wanted) != wanted:
            raise EvaluationError(f"{bare} is both a file and a directory")
        if directory:
            self._directories[bare] = path
        return path

    def leave(self, uri: str, *, directory: bool) -> str:
        """What the command has of a file or directory that is not to be staged: its URI, if it is in S3."""
        bare = uri.rstrip("/")
        if not bare.startswith("s3://") or ".." in bare.split("/"):
            return self.localize(uri, directory=directory)
        self._left.setdefault(bare, StageIn(uri=f"{bare}/" if directory else bare, path=bare, directory=directory))
        return bare

    def _left_uri(self, path: str, *, directory: bool) -> str | None:
        """As `input_uri`, of what was left where it is."""
        bare = path.rstrip("/")
        within = any(bare.startswith(f"{above.uri.rstrip('/')}/") for above in self._left.values() if above.directory)
        if bare not in self._left and (not within or ".." in bare.split("/")):
            return None
        return f"{bare}/" if directory else bare

    def written(self, uri: str) -> str:
        """See `stdlib.Locations.written`."""
        return self.localize(uri, directory=False)

    def carried(self, path: str, *, directory: bool) -> str:
        """See `stdlib.Locations.carried`."""
        uri = self.beside.resolve(path, directory=directory)
        return path if uri is None else self.localize(uri, directory=directory)

    def work_directory(self) -> str:
        """See `stdlib.Locations.work_directory`."""
        return self.work

    def uri(self, path: str, *, directory: bool) -> str:
        """See `stdlib.Locations.uri`."""
        if path.startswith("s3://") and ".." not in path.split("/"):
            return path.rstrip("/") + "/" if directory else path
        found = self.input_uri(path, directory=directory)
        if found is None and (carried := self.beside.resolve(path, directory=directory)):
            return f"{carried}/" if directory else carried
        if found is None:
            raise EvaluationError(
                f"{path!r} is not one of the call's inputs",
                hint="Before its command runs, a task reads only its inputs.",
            )
        return found

    def input_uri(self, path: str, *, directory: bool) -> str | None:
        """The URI of an input, or of what stands below a directory that is one; None for any other path.

        What is on a shared file system has no URI but its path.

        :raises EvaluationError: if the input is a file and a directory is wanted, or the reverse.
        """
        if path.startswith("s3://"):
            return self._left_uri(path, directory=directory)
        shared = self.mounted(path)
        if shared is not None:
            return f"{shared}/" if directory else shared
        path = posixpath.normpath(path)
        staged = self._staged.get(path)
        if staged is not None:
            if staged.directory != directory:
                raise EvaluationError(f"{path!r} is a {'directory' if staged.directory else 'file'}")
            return staged.uri
        parent = posixpath.dirname(path)
        while len(parent) > len(self.folder):
            above = self._staged.get(parent)
            if above is not None and above.directory:
                return above.uri + path[len(parent) + 1 :] + ("/" if directory else "")
            parent = posixpath.dirname(parent)
        return None

    def existing_input(self, path: str, *, directory: bool) -> str | None:
        """As `input_uri`, but None also if there is no such thing below the directory; nobody sees a shared one."""
        uri = self.input_uri(path, directory=directory)
        if (
            uri is None
            or not uri.startswith("s3://")
            or posixpath.normpath(path) in self._staged
            or self._files.size(uri) is not None
        ):
            return uri
        return None

    def in_work(self, path: str) -> str | None:
        """A path relative to the work directory, ``.`` for itself; None if it is not below it."""
        if "://" in path:
            return None
        absolute = posixpath.normpath(posixpath.join(self.work, path))
        if absolute == self.work:
            return "."
        return absolute[len(self.work) + 1 :] if absolute.startswith(f"{self.work}/") else None


class OutputLocations:
    """The files that a task's outputs may name: its inputs, its work directory, its stdout and stderr.

    :param prefix: where the attempt is kept, ``s3://.../``.
    """

    def __init__(self, inputs: TaskLocations, result: TaskResult, prefix: str) -> None:
        self.inputs = inputs
        self.result = result
        self.prefix = prefix.rstrip("/") + "/"
        _check_result(result)
        self._kept = {file.path for file in result.files}
        self._directories = {posixpath.normpath(path) for path in result.directories} | {"."}
        for path in self._kept:
            above = posixpath.dirname(path)
            while above and above not in self._directories:
                self._directories.add(above)
                above = posixpath.dirname(above)

    def written(self, uri: str) -> str:
        """See `stdlib.Locations.written`."""
        return self.inputs.localize(uri, directory=False)

    def carried(self, path: str, *, directory: bool) -> str:
        """See `stdlib.Locations.carried`: the outputs' relative paths are the work directory's."""
        return path

    def work_directory(self) -> str:
        """See `stdlib.Locations.work_directory`."""
        return self.inputs.work

    def uri(self, path: str, *, directory: bool) -> str:
        """See `stdlib.Locations.uri`."""
        found = self.locate(path, directory=directory)
        if found is None:
            raise EvaluationError(self.missing(path, directory=directory))
        return found

    def locate(self, path: str, *, directory: bool) -> str | None:
        """The URI of an existing file or directory, or None.

        :raises EvaluationError: if it is outside the work directory and the inputs, or of the other kind.
        """
        if self.inputs.input_uri(path, directory=directory) is not None:
            return self.inputs.existing_input(path, directory=directory)
        if path in (self.inputs.stdout, self.inputs.stderr) and not directory:
            return self.prefix + posixpath.basename(path)
        relative = self.inputs.in_work(path)
        if relative is None:
            raise EvaluationError(
                f"{path!r} is outside the task's work directory and its inputs",
                hint="Copy the file into the work directory in the command.",
            )
        if relative in (self._kept if directory else self._directories):
            raise EvaluationError(f"{path!r} is a {'file' if directory else 'directory'}")
        if relative not in (self._directories if directory else self._kept):
            return None
        below = "work/" if relative == "." else f"work/{relative}"
        return self.prefix + (below.rstrip("/") + "/" if directory else below)

    def missing(self, path: str, *, directory: bool) -> str:
        """Says that a file or directory is not there, and why, if that is known."""
        text = f"the command made no {'directory' if directory else 'file'} {path!r}"
        name = posixpath.basename(path.rstrip("/"))
        why = [problem for problem in self.result.problems if name and name in problem]
        return f"{text} ({'; '.join(why)})" if why else text

    def expand(self, pattern: str) -> list[str]:
        """The files that a pattern of ``glob()`` matched, as container paths, in bash's order.

        :raises EvaluationError: for a pattern that leaves the work directory.
        """
        if leaves_work(pattern):
            raise EvaluationError(f"the pattern {pattern!r} is outside the task's work directory")
        matched = self.result.globs.get(pattern)
        if matched is None:
            # The pattern came out of a file, so bash was not asked; everything is kept, and the names decide.
            matched = tuple(sorted(matches(posixpath.normpath(pattern), self._kept)))
        elif not self._kept.issuperset(matched):
            raise EvaluationError(f"the result of the command lists what it did not keep for {pattern!r}")
        return [posixpath.join(self.inputs.work, path) for path in matched]


def _check_result(result: TaskResult) -> None:
    """Refuse a result that stage-out cannot have written: a command could have written it.

    :raises EvaluationError: naming a path that is not one below the work directory, or a file of no size.
    """
    for path in (*(file.path for file in result.files), *result.directories):
        normal = posixpath.normpath(path)
        inside = normal == path.removesuffix("/") and normal != ".." and not normal.startswith(("/", "../"))
        if (path and not inside) or "\0" in path:
            raise EvaluationError(f"the result of the command names {path!r}, which is not in its work directory")
    if any(file.size < 0 for file in result.files):
        raise EvaluationError("the result of the command names a file of less than nothing")


def matches(pattern: str, paths: Iterable[str]) -> list[str]:
    """The relative paths that a bash pattern without braces matches.

    :raises EvaluationError: if the pattern is none. :raises TimeoutError: if it takes too long.
    """
    expression = _pattern(pattern)
    until = time.monotonic() + _MATCHING_SECONDS
    return [path for path in paths if expression.fullmatch(path, timeout=max(0.001, until - time.monotonic()))]


def _pattern(pattern: str) -> Any:
    """A bash pattern without braces as a regular expression over relative paths.

    What a star takes is never taken back once what follows it has matched, as in any matcher of globs; so many stars
    take no more time than one.
    """
    if len(pattern) > _LONGEST_GLOB:
        raise EvaluationError(f"a pattern of {len(pattern)} characters; {_LONGEST_GLOB} is the most")
    parts: list[str] = []
    for segment in pattern.split("/"):
        chunks = [""]
        for piece in re.findall(r"\[[!^]?\]?[^\]]*\]|.", segment, re.DOTALL):
            if piece == "*":
                chunks.append("")
            else:
                chunks[-1] += _one_character(piece)
        text = "" if segment.startswith(".") else r"(?!\.)"
        text += chunks[0] + "".join(f"(?>[^/]*?{chunk})" for chunk in chunks[1:-1] if chunk)
        parts.append(text + (f"[^/]*{chunks[-1]}" if len(chunks) > 1 else ""))
    try:
        return regex.compile("/".join(parts), regex.DOTALL)
    except regex.error as error:
        raise EvaluationError(f"{pattern!r} is not a pattern: {error}") from error


def _one_character(piece: str) -> str:
    """``?``, a set in brackets or a character that means itself, as a regular expression."""
    if piece == "?":
        return "[^/]"
    if len(piece) == 1:
        return re.escape(piece)
    body = piece[1:-1].replace("\\", "\\\\")
    return f"[{'^' + body[1:] if body.startswith('!') else body}]"
