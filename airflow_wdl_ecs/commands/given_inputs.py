"""A run's inputs as the caller gave them: JSON, name=value words and local files, checked all at once."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import InputsError, Problem, SettingsError
from ..local.airflow_home import MOUNTS_VARIABLE
from ..plan import Plan
from ..wdl.inputs import PathAt, check_inputs, map_files, map_paths, parse_assignments, resolve_name
from ..wdl.web import is_web, open_url, shown


def given_inputs(
    plan: Plan,
    assignments: Iterable[str],
    *,
    json_text: str | None = None,
    empty: Iterable[str] = (),
    none: Iterable[str] = (),
) -> dict[str, Any]:
    """The inputs of a run, by `Input.name`; local files by their absolute paths.

    :param assignments: ``name=value`` words; they override JSON, and those of one array come together.
    :param json_text: a JSON object, a file that holds one, or ``-`` for standard input.
    :param empty: inputs to be set to the empty string or array. :param none: to be set to None.
    :raises InputsError: with everything that is missing, unknown, of a wrong type, or not there.
    """
    values = read_json(json_text) if json_text else {}
    explicit, problems = _read_assignments(plan, joined(assignments))
    explicit.update(dict.fromkeys(none))
    explicit.update({name: _empty(plan, name) for name in empty})
    overridden = {resolve_name(plan, name) for name in explicit}
    kept = {name: value for name, value in values.items() if resolve_name(plan, name) not in overridden}
    bound, found = check_inputs(plan, {**kept, **explicit})
    unread = tuple(f"missing input {resolve_name(plan, name)} " for name in problems)
    others = [problem for problem in found if not problem.message.startswith(unread)]
    placed, not_there = _with_files(plan, bound)
    if problems or others or not_there:
        raise InputsError([*problems.values(), *others, *not_there])
    return placed


_FETCH_SECONDS = 60


def fetched(plan: Plan, inputs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The inputs with what they name on the web as local files, each in a folder of its own below ``folder``.

    :raises InputsError: naming every URL that does not answer.
    """
    problems: list[Problem] = []
    there: dict[str, str] = {}

    def fetch(path: str) -> str:
        if path in there or not is_web(path):
            return there.get(path, path)
        try:
            name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(path).path)).name
        except ValueError:
            problems.append(Problem(f"no URL of a file: {shown(path)}"))
            return path
        name = "index" if name in ("", "..") or "\0" in name else name
        target = folder / str(len(there)) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_url(path, timeout=_FETCH_SECONDS) as answer, target.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except OSError as error:
            problems.append(Problem(f"cannot fetch {shown(path)}: {getattr(error, 'reason', None) or error}"))
        there[path] = str(target)
        return there[path]

    found = map_files(plan, inputs, fetch)
    if problems:
        raise InputsError(problems)
    return found


def _read_assignments(plan: Plan, words: Iterable[str]) -> tuple[dict[str, Any], dict[str, Problem]]:
    """The values of the words that can be read, and name -> problem of the others."""
    readable: list[str] = []
    problems: dict[str, Problem] = {}
    for word in words:
        try:
            parse_assignments(plan, [word])
            readable.append(word)
        except InputsError as error:
            problems[word.partition("=")[0]] = error.problems[0]
    return parse_assignments(plan, readable), problems


def joined(words: Iterable[str]) -> list[str]:
    """The words with a value that was separated from its ``name=`` by a blank put back to it, for the shell's sake.

    An empty string is given with ``--empty``, or as the last word.
    """
    found: list[str] = []
    for word in words:
        if found and found[-1].endswith("=") and found[-1].count("=") == 1:
            found[-1] += word
        else:
            found.append(word)
    return found


def read_json(text: str) -> dict[str, Any]:
    """A JSON object: literally, from a file, or from standard input (``-``). What is YAML of an object will do, too.

    :raises InputsError: if there is none.
    """
    where = "-i" if text.lstrip().startswith("{") else "standard input" if text == "-" else text
    try:
        found = _parsed(text if where == "-i" else _read_text(text))
    except OSError as error:
        raise InputsError(f"{text}: {error.strerror}") from error
    except RecursionError:
        raise InputsError(f"{where}: lists or objects are nested too deeply") from None
    except ValueError as error:
        raise InputsError(f"{where}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputsError(f"{where}: expected a JSON object of inputs")
    return found


LONGEST_JSON = 256 * 1024 * 1024
"""Characters of a run's inputs; what never ends (``/dev/zero``) is read no further."""

LONGEST_YAML = 256 * 1024
"""Characters of YAML: reading it takes seconds for what JSON is read in milliseconds."""

_MOST_VALUES = 1_000_000


def _read_text(path: str) -> str:
    """The text of a file, or of standard input (``-``).

    :raises OSError: if it cannot be read. :raises ValueError: if it is not UTF-8, or too long.
    """
    if path == "-":
        content = sys.stdin.read(LONGEST_JSON + 1)
    else:
        with Path(os.path.expanduser(path)).open(encoding="utf-8-sig") as file:  # noqa: PTH111 - ~nobody keeps its name
            content = file.read(LONGEST_JSON + 1)
    if len(content) > LONGEST_JSON:
        raise ValueError(f"it has more than {LONGEST_JSON} characters")
    return content


def _parsed(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        if len(content) <= LONGEST_YAML:
            try:
                return _without_bombs(YAML(typ="safe", pure=True).load(content))
            except YAMLError:
                pass  # most of those who write it mean JSON
        raise


def _without_bombs(value: Any) -> Any:
    """A value from YAML, where one list may stand in another many times, and in itself.

    :raises ValueError: if it has too many values, each counted as often as it stands somewhere.
    """
    pending, count = [value], 0
    while pending:
        at = pending.pop()
        count += 1
        if count > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
        if isinstance(at, (dict, list)):
            pending.extend(at.values() if isinstance(at, dict) else at)
    return value


def _empty(plan: Plan, name: str) -> Any:
    """The empty value of an input; an unknown name is left for `bind_inputs` to refuse."""
    found = next((known for known in plan.inputs if known.name == resolve_name(plan, name)), None)
    if found is None or found.type.startswith("Array["):
        return []
    if found.type.rstrip("?") != "String":
        raise InputsError(f"--empty {name}: a {found.type} can be neither an empty string nor an empty array")
    return ""


def is_shared(path: str) -> bool:
    """Whether a file is on what the embedded ECS shows to every task, so that nobody uploads it."""
    from ..ecs.mounts import mounts_of, path_of
    from ..ecs.setting import read

    try:
        pairs = read(os.environ.get(MOUNTS_VARIABLE, ""), "pairs")
    except ValueError as error:
        raise SettingsError(f"{MOUNTS_VARIABLE}: {error}") from None
    return path.startswith("efs://") or path_of(mounts_of(pairs), path) is not None


def _with_files(plan: Plan, bound: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The inputs with local files by their absolute paths, URLs as they are; and what is wrong with the files."""
    problems: list[Problem] = []
    found: dict[str, Any] = {}
    for name, value in bound.items():

        def local(at: PathAt, name: str = name) -> str:
            path = at.value.removeprefix("file://")
            if path.startswith("s3://") or is_web(path) or is_shared(path):
                return path
            if "://" in path:
                problems.append(Problem(f"input {name}: {path}: only local files, s3:// and http(s):// can be read"))
                return path
            absolute = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - a link, and ~nobody, keep their names
            if not os.path.exists(absolute):  # noqa: PTH110 - false as well for what can be no path
                problems.append(Problem(f"input {name}: no such file: {path}"))
            elif at.directory != os.path.isdir(absolute):  # noqa: PTH112 - as above
                words = ("a file", "a Directory") if at.directory else ("a directory", "a File")
                problems.append(Problem(f"input {name}: {path} is {words[0]}, and the input wants {words[1]}"))
            return absolute

        found.update(map_paths(plan, {name: value}, local))
    return found, problems
