"""miniwdl's parsers, kept on disk: building one from its grammar takes longer than anything else at a call's start.

miniwdl builds a parser with Lark for each version of WDL and each start symbol, in every process anew: a tenth of a
second each. Lark can keep what it has built (its option ``cache``) and read it back in a hundredth. The files are
pickles, and whoever can write a pickle can run code in the process that reads it; so they are in a folder of the user's
own cache that is closed to everyone else (``$XDG_CACHE_HOME`` or ``~/.cache``, then ``airflow-wdl-ecs/``), and a folder
that is not is left alone. Nothing here is needed: whatever is wrong with the folder, the parsers are built as before.

This module must not know what is parsed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import lark
import WDL
from WDL import _parser

from ..garbage import no_collection

FOLDER = "airflow-wdl-ecs"
"""The folder in the user's cache."""
VERSIONS = ("draft-2", "1.0", "1.1", "1.2")
"""The versions of WDL that `prepare` makes ready."""

_DOCUMENT = """
task of_all_kinds {
  String text = "one ~{1 + 2}, ${3}" + 'two' # three
  Array[File?]+? files = []
  Map[String, Pair[Int, Float]] both = {"four": (5, 6.7)}
  command <<< echo ~{sep=" " files} ${text} >>>
  output { File said = stdout() Boolean is = !defined(files) && (text == "" || both["four"].left >= 1) }
  runtime { docker: "image" memory: 1 }
  meta { words: "text" numbers: [1, 2.5, true] }
  parameter_meta { text: "text" }
}
workflow all_kinds {
  scatter (one in range(3)) {
    if (one < 2) { call of_all_kinds as some { input: text = one, files = [one] } }
  }
  output { Array[File?] said = some.said }
}
"""
_EXPRESSION = """if a.b[0] && !(c < 1.5) then f("x ~{d}", [1, -2]) + 'y' else {"z": (e, true)}"""
"""A parser makes a part of its lexer ready when a text first needs it: these need most of them."""


def keep_parsers() -> None:
    """From now on, take the parsers that miniwdl wants from the user's cache, and leave there those that are not."""
    # With which options a parser is built stays miniwdl's own business, so this stands where it calls Lark.
    vars(_parser)["lark"] = _LarkWithCache()


def prepare() -> None:
    """Make the parsers of every version of WDL ready, in a process from which others are forked."""
    for version in VERSIONS:
        WDL.parse_document(_DOCUMENT, version)
        WDL.parse_expr(_EXPRESSION, version)


class _LarkWithCache:
    """The module ``lark``, except that a parser comes from the cache."""

    def __getattr__(self, name: str) -> Any:
        return getattr(lark, name)

    def Lark(self, grammar: str, **options: Any) -> lark.Lark:  # noqa: N802  # as Lark has it
        """What ``lark.Lark`` gives."""
        try:
            return _cached(grammar, options)
        except Exception:  # what is wrong with the grammar itself is said below
            return lark.Lark(grammar, **options)


def _cached(grammar: str, options: dict[str, Any]) -> lark.Lark:
    """A parser from the cache, in which it is afterwards.

    Lark writes in place: another process could read half a file. So it gets a copy of its own, which then takes the
    file's place; where the copy is not what it wants, it builds the parser and writes that over the copy.
    """
    folder = _folder()
    which = [lark.__version__, sys.version, options.get("start"), grammar]
    kept = folder / f"{hashlib.sha256(repr(which).encode()).hexdigest()}.lark"
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        own = Path(temporary) / kept.name
        if kept.is_file():
            shutil.copyfile(kept, own)
        with no_collection():
            parser = lark.Lark(grammar, **options, cache=_Named(own, kept))
        own.replace(kept)
    return parser


class _Named(str):
    """The path of a file that goes by another name, which is what Lark writes into it and checks when it reads it."""

    name: str

    def __new__(cls, path: Path, name: Path) -> _Named:
        """Make it of the file that is opened, and the one for which it stands."""
        made = super().__new__(cls, path)
        made.name = str(name)
        return made

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (self.name,)


def _folder() -> Path:
    """The folder of the parsers, made if need be.

    :raises OSError: if it cannot be made, or is not this user's alone. :raises RuntimeError: if the user has no home.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification of these folders wants a relative path to be ignored.
    folder = (cache if cache.is_absolute() else Path.home() / ".cache") / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder
