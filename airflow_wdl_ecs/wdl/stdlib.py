"""WDL's standard library over `Files`: what an expression may read, measure and write.

miniwdl has the signatures and most functions; the functions here replace those that would touch a disk, and those
that differ from the text of the specification. An expression never reads the machine that evaluates it: a path means
something only through the `Locations` of its context - at workflow level S3 URIs alone, in a task the files staged
for it and, once its command has run, its work directory.

Where the specification leaves a choice, or miniwdl chose otherwise:

- ``read_string`` strips every trailing end of line; ``read_int`` and ``read_float`` take one number and nothing else.
- ``round`` rounds half up for negative numbers too: ``round(-1.5)`` is ``-1``.
- ``basename`` takes off the suffix after the folders, and ignores a trailing slash.
- ``sub``'s replacement is literal but for ``\\1`` to ``\\9`` where the pattern has such a group.
- ``write_json`` writes a ``Pair`` as a ``left``/``right`` object, as every engine does, though the text lists none; it
  refuses a ``Map`` whose keys are not strings from version 1.1 on, as the text says, and in 1.0 writes the keys' text.
- ``size`` takes its units in any case.
- ``read_tsv`` takes any unique, non-empty column names, not only identifiers.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import posixpath
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol, cast

import WDL

from ..errors import EvaluationError
from ..task import Files, Mounted, nothing_mounted
from .beside import NOTHING_BESIDE, Beside
from .limits import Held, bound, check_separators, check_value
from .text_functions import basename, find, integer, lines_of, objects, parse_json, real, search, substitute
from .values import to_json

_UNIT = re.compile(r"([kmgt]?)(i?)b?", re.IGNORECASE)

INTERPOLATED_SELECT_FIRST = "_interpolation_select_first"
"""``select_first`` in a placeholder: ``None`` where there is nothing to select."""

BEFORE_1_2 = ("draft-2", "1.0", "1.1")
"""The WDL versions without the ``task`` variable and all else that 1.2 brought."""

Arguments = list[WDL.Value.Base]
Implementation = Callable[[WDL.Expr.Apply, Arguments], WDL.Value.Base]


class Locations(Protocol):
    """What the paths of a context mean."""

    def uri(self, path: str, *, directory: bool) -> str:
        """The URI behind a path; a directory's ends with a slash.

        :raises EvaluationError: if the context may not read it.
        """

    def written(self, uri: str) -> str:
        """The path under which the context sees a file that a ``write_*`` function just made."""

    def carried(self, path: str, *, directory: bool) -> str:
        """What the context calls a file that the plan brings along; any other path as it is."""

    def work_directory(self) -> str:
        """The directory against which relative paths are resolved.

        :raises EvaluationError: if the context has none.
        """


class WorkflowLocations:
    """At workflow level a path is its own URI, and there is no working directory.

    :param beside: the files that the plan brings along. :param mounted: knows those on shared file systems.
    """

    def __init__(self, beside: Beside = NOTHING_BESIDE, mounted: Mounted = nothing_mounted) -> None:
        self._beside = beside
        self._mounted = mounted

    def uri(self, path: str, *, directory: bool) -> str:
        """See `Locations.uri`."""
        shared = self._mounted(path)
        if shared is not None:
            return shared
        path = self._beside.resolve(path, directory=directory) or path
        if not path.startswith("s3://") or ".." in path.split("/"):
            raise EvaluationError(
                f"cannot read {path!r}: an expression of a workflow reads only s3:// files of its run",
                hint="Pass the file as an input, or read it in a task.",
            )
        return path.rstrip("/") + "/" if directory else path

    def written(self, uri: str) -> str:
        """See `Locations.written`."""
        return uri

    def carried(self, path: str, *, directory: bool) -> str:
        """See `Locations.carried`."""
        return self._beside.resolve(path, directory=directory) or path

    def work_directory(self) -> str:
        """See `Locations.work_directory`."""
        raise EvaluationError("a relative path has no meaning in a workflow, which has no working directory")


class Implemented(WDL.StdLib.EagerFunction):
    """A function with miniwdl's signature and another implementation."""

    def __init__(self, signature: WDL.StdLib.Function, implementation: Implementation) -> None:
        self.signature = signature
        self.implementation = implementation

    def infer_type(self, expr: WDL.Expr.Apply) -> WDL.Type.Base:
        """The type of an application, by miniwdl's signature."""
        return self.signature.infer_type(expr)

    def _call_eager(self, expr: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
        try:
            return self.implementation(expr, arguments)
        except WDL.Error.RuntimeError:
            raise
        except Exception as error:
            # miniwdl would lay the error at the innermost argument's door
            raise WDL.Error.EvalError(expr, f"{expr.function_name}(): {error}") from error


class _FileFunctions:
    """The functions shared by the two libraries; mixed into a miniwdl library."""

    _files: Files
    _locations: Locations
    wdl_version: str
    made: Held
    """Counts what the expression at hand has made (see `evaluate`)."""
    select_first: WDL.StdLib.Function

    def evaluate(self, expr: WDL.Expr.Base, env: WDL.Env.Bindings[WDL.Value.Base]) -> WDL.Value.Base:
        """The value of an expression, if that and all that is made on the way are within the limits.

        :raises EvaluationError: if not, or miniwdl's own errors.
        """
        self.made.forget()
        return check_value(expr.eval(env, cast(WDL.StdLib.Base, self)))

    # --- what miniwdl asks of a context

    def _devirtualize_filename(self, filename: str) -> str:
        raise EvaluationError(f"no expression reads {filename!r} from a disk")

    def _resolve_source_relative_path(self, filename: str) -> str:
        # miniwdl asks it of what is compared with a path or looked up by one, with a slash after a directory
        return self._locations.carried(filename.rstrip("/"), directory=filename.endswith("/"))

    def _read(self, parse: Callable[[str], WDL.Value.Base]) -> Callable[[WDL.Value.Base], WDL.Value.Base]:
        def read(file: WDL.Value.Base) -> WDL.Value.Base:
            text = self.text(file)
            check_separators(text, "\n\t")
            return parse(text)

        return read

    def _write(self, serialize: Callable[[WDL.Value.Base, Any], None]) -> Callable[[WDL.Value.Base], WDL.Value.Base]:
        # After `implement` only write_tsv comes here.
        def write(value: WDL.Value.Base) -> WDL.Value.Base:
            out = io.BytesIO()
            serialize(value, out)
            return self.write(out.getvalue(), "write_tsv", ".tsv")

        return write

    # --- reading and writing

    def text(self, file: WDL.Value.Base) -> str:
        """The contents of a ``File`` (or of a string that is one) as text.

        :raises EvaluationError: if it is not UTF-8, or may not be read.
        """
        path = file.coerce(WDL.Type.File()).value
        try:
            uri = self._locations.uri(path, directory=False)
            if not uri.startswith("s3://"):
                raise EvaluationError(
                    f"{path} is on a shared file system, which tasks see and expressions do not",
                    hint="Read it in a command, or give it as an s3:// URI.",
                )
            return self._files.read(uri).decode()
        except UnicodeDecodeError as error:
            raise EvaluationError(f"{path} is not UTF-8 text: {error}") from error

    def write(self, data: bytes, function: str, extension: str) -> WDL.Value.Base:
        """Keep what a ``write_*`` function made; equal contents are the same file."""
        name = f"{function}_{hashlib.sha256(data).hexdigest()[:12]}{extension}"
        return WDL.Value.File(self._locations.written(self._files.write(data, name)))

    def size_of(self, value: WDL.Value.Base) -> int:
        """Bytes of all files and directories in a value; ``None`` counts nothing.

        Nor does what is on a shared file system: it takes no room of the task's disk, and is not seen here.

        :raises EvaluationError: if one does not exist or may not be read.
        """
        if isinstance(value, (WDL.Value.File, WDL.Value.Directory)):
            directory = isinstance(value, WDL.Value.Directory)
            uri = self._locations.uri(value.value, directory=directory)
            found = self._files.size(uri) if uri.startswith("s3://") else 0
            if found is None:
                raise EvaluationError(f"no such {'directory' if directory else 'file'}: {value.value}")
            return found
        return sum(self.size_of(child) for child in value.children)

    # --- the functions

    def implement(self) -> None:
        """Replace the functions of the miniwdl library that this is mixed into."""
        self.made = Held("the expression makes")
        replacements: dict[str, Implementation] = {
            "round": lambda _, args: WDL.Value.Int(math.floor(Fraction(_float(args[0])) + Fraction(1, 2))),
            "sub": lambda _, args: WDL.Value.String(substitute(*(_text(arg) for arg in args))),
            "basename": lambda _, args: WDL.Value.String(basename(_text(args[0]), *(map(_optional_text, args[1:])))),
            "size": self._size,
            "read_string": lambda _, args: WDL.Value.String(self.text(args[0]).rstrip("\r\n")),
            "read_int": lambda _, args: WDL.Value.Int(integer(self.text(args[0]))),
            "read_float": lambda _, args: WDL.Value.Float(real(self.text(args[0]))),
            "read_json": self._read_json,
            "read_tsv": self._read_tsv,
            "write_lines": self._write_lines,
            "write_map": self._write_map,
            "write_json": self._write_json,
            "find": lambda _, args: find(_text(args[0]), _text(args[1])),
            "matches": lambda _, args: WDL.Value.Boolean(search(_text(args[0]), _text(args[1])) is not None),
            "join_paths": self._join_paths,
        }
        for name, implementation in replacements.items():
            signature = getattr(self, name, None)
            if signature is not None:  # some are only in later versions
                setattr(self, name, Implemented(signature, implementation))
        setattr(self, INTERPOLATED_SELECT_FIRST, Implemented(self.select_first, _select_first_or_none))
        bound(self, self.made)

    def _size(self, expr: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
        value, declared = arguments[0], expr.arguments[0].type
        if isinstance(declared, WDL.Type.String) and not isinstance(value, WDL.Value.Null):
            value = value.coerce(WDL.Type.File())
        elif isinstance(declared, WDL.Type.Array) and isinstance(declared.item_type, WDL.Type.String):
            value = value.coerce(WDL.Type.Array(WDL.Type.File(optional=True)))
        unit = bytes_in(_text(arguments[1])) if len(arguments) > 1 else 1
        return WDL.Value.Float(self.size_of(value) / unit)

    def _read_json(self, expr: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
        text = self.text(arguments[0])
        check_separators(text, ",[{")
        return WDL.Value.from_json(WDL.Type.Any(), parse_json(text))

    def _read_tsv(self, expr: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
        text = self.text(arguments[0])
        check_separators(text, "\n\t")
        rows = [line.rstrip("\r").split("\t") for line in lines_of(text)]
        if len(arguments) == 1:
            cells: Arguments = [
                WDL.Value.Array(WDL.Type.String(), [WDL.Value.String(cell) for cell in row]) for row in rows
            ]
            return WDL.Value.Array(WDL.Type.Array(WDL.Type.String()), cells)
        header = rows[0] if rows and arguments[1].value else []
        names = [_text(name) for name in arguments[2].value] if len(arguments) == 3 else header
        body = rows[1:] if arguments[1].value else rows
        return objects(names, body)

    def _write_lines(self, expr: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
        lines = [_text(item) for item in arguments[0].coerce(WDL.Type.Array(WDL.Type.String())).value]
        return self.write("".join(f"{line}\n" for line in lines).encode(), "write_lines", ".txt")

    def _write_map(self, expr: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
        rows = [(_text(key), _text(item)) for key, item in arguments[0].value]
        if any(mark in cell for row in rows for cell in row for mark in "\t\n"):
            raise EvaluationError("a key or value has a tab or an end of line")
        return self.write("".join(f"{key}\t{item}\n" for key, item in rows).encode(), "write_map", ".tsv")

    def _write_json(self, expr: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
        if self.wdl_version not in ("draft-2", "1.0"):
            _check_serializable(arguments[0])
        text = json.dumps(to_json(arguments[0]), ensure_ascii=False)
        return self.write(text.encode(), "write_json", ".json")

    def _join_paths(self, expr: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
        parts = [
            _text(part)
            for argument in arguments
            for part in (argument.value if isinstance(argument, WDL.Value.Array) else [argument])
        ]
        if not parts:
            raise EvaluationError("no paths to join")
        if any(part.startswith("/") or "://" in part for part in parts[1:]):
            raise EvaluationError("only the first path may be absolute")
        scheme, found, rest = parts[0].partition("://")
        if found:
            joined = posixpath.normpath(posixpath.join("/", rest, *parts[1:]))
            return WDL.Value.String(f"{scheme}:/{joined}")
        if not parts[0].startswith("/"):
            parts.insert(0, self._locations.work_directory())
        return WDL.Value.String(posixpath.normpath(posixpath.join(*parts)))


class Library(_FileFunctions, WDL.StdLib.Base):  # type: ignore[misc]
    """The functions for workflow-level expressions and for a task's inputs, declarations, command and runtime."""

    def __init__(self, wdl_version: str, files: Files, locations: Locations) -> None:
        self._files = files
        self._locations = locations
        super().__init__(wdl_version, write_dir="unused")
        self.implement()


class OutputLibrary(_FileFunctions, WDL.StdLib.TaskOutputs):  # type: ignore[misc]
    """The functions for a task's outputs: also ``stdout()``, ``stderr()`` and ``glob()``.

    :param stdout: the path that ``stdout()`` gives; ``stderr`` likewise.
    :param expand: the files that a pattern of ``glob()`` matched, as paths, in bash's order.
    """

    def __init__(
        self,
        wdl_version: str,
        files: Files,
        locations: Locations,
        *,
        stdout: str,
        stderr: str,
        expand: Callable[[str], list[str]],
    ) -> None:
        self._files = files
        self._locations = locations
        super().__init__(wdl_version, write_dir="unused")  # type: ignore[no-untyped-call]
        self.implement()

        def glob(_: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
            return WDL.Value.Array(WDL.Type.File(), [WDL.Value.File(path) for path in expand(_text(arguments[0]))])

        for name, implementation in {
            "stdout": lambda *_: WDL.Value.File(stdout),
            "stderr": lambda *_: WDL.Value.File(stderr),
            "glob": glob,
        }.items():
            setattr(self, name, Implemented(getattr(self, name), implementation))
        bound(self, self.made)


def bytes_in(unit: str) -> int:
    """Bytes in a unit of storage: ``B``, ``KB``, ``K``, ``KiB``, ``Ki`` to tera, in any case.

    :raises EvaluationError: for anything else. See "Units of Storage".
    """
    matched = _UNIT.fullmatch(unit.strip())
    prefix = matched.group(1).lower() if matched else ""
    if not matched or not unit.strip() or (matched.group(2) and not prefix):
        raise EvaluationError(f"no such unit of storage: {unit!r}", hint="Use B, KB, MB, GB, TB, KiB, MiB, GiB or TiB.")
    return int((1024 if matched.group(2) else 1000) ** " kmgt".index(prefix or " "))


# --- parsing and printing ---------------------------------------------------------------------------------------------


def _text(value: WDL.Value.Base) -> str:
    return str(value.coerce(WDL.Type.String()).value)


def _optional_text(value: WDL.Value.Base) -> str:
    return "" if isinstance(value, WDL.Value.Null) else _text(value)


def _float(value: WDL.Value.Base) -> float:
    return float(value.coerce(WDL.Type.Float()).value)


def _check_serializable(value: WDL.Value.Base) -> None:
    if isinstance(value, WDL.Value.Map) and value.value:
        key_type = value.type.item_type[0]
        if not isinstance(key_type, (WDL.Type.String, WDL.Type.File, WDL.Type.Directory)):
            raise EvaluationError(f"a {value.type} has no form in JSON: its keys are not strings")
    for child in value.children:
        _check_serializable(child)


def _select_first_or_none(_: WDL.Expr.Apply, arguments: Arguments) -> WDL.Value.Base:
    candidates = [*arguments[0].value, *arguments[1:]]
    return next((found for found in candidates if not isinstance(found, WDL.Value.Null)), WDL.Value.Null())
