"""A run's inputs: from what a caller wrote to values that the plan's types allow, and the files among them.

All problems of the inputs are found at once. Files are only strings here: whether one exists is for those who can
read it. This module knows the plan and WDL's types, no syntax tree.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from WDL import Type

from ..errors import InputsError, Problem
from ..plan import Input, Plan
from .values import ValueMismatch, check_text, from_json, in_range, parse_type, to_json

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_OVERRIDES = ("runtime", "requirements")
_LONGEST_NAME = 200
_LONGEST_REASON = 500
DEEPEST_OVERRIDE = 10
"""Lists and objects within one another in the value of a runtime override."""
MOST_PARTS_OF_OVERRIDE = 10_000
"""Values in the value of a runtime override, at every depth."""


def resolve_name(plan: Plan, name: str) -> str | None:
    """The name under which `bind_inputs` answers for ``name``, or None if the plan has no such input.

    The workflow's own name may stand before an input's (``wf.align.x``), and the called subworkflow's after the
    call's (``align.align_wf.x``, which older tools write). A runtime override is ``CALL.runtime.ATTRIBUTE``, or
    ``CALL.requirements.ATTRIBUTE``; for a task that is run directly, without the call.
    """
    return _resolve(plan, {found.name for found in plan.inputs}, name)


def _resolve(plan: Plan, known: Collection[str], name: str) -> str | None:
    tries = [name]
    if name.startswith(f"{plan.name}."):
        tries.append(name.removeprefix(f"{plan.name}."))
    for each in tries:
        if each in known or _is_override(plan, each):
            return each
        parts = each.split(".")
        if len(parts) == 3 and f"{parts[0]}.{parts[2]}" in known:
            return f"{parts[0]}.{parts[2]}"
    return None


def _is_override(plan: Plan, name: str) -> bool:
    for word in _OVERRIDES:
        call, found, attribute = f".{name}".rpartition(f".{word}.")
        if found and attribute and "." not in attribute:
            return call[1:] in plan.call_by_id or (not call and _is_task(plan))
    return False


def _is_task(plan: Plan) -> bool:
    """Whether the plan is that of a task that is run directly: no input of its call has a path."""
    return len(plan.calls) == 1 and plan.calls[0].id == plan.name


def runtime_overrides(plan: Plan, inputs: Mapping[str, Any], call: str) -> dict[str, Any]:
    """The runtime attributes that a run sets for a call: attribute -> value.

    :param inputs: as `bind_inputs` gives them.
    """
    found: dict[str, Any] = {}
    for word in _OVERRIDES:
        for start in (f"{call}.{word}.", f"{word}.") if _is_task(plan) else (f"{call}.{word}.",):
            found.update(
                (name.removeprefix(start), value)
                for name, value in inputs.items()
                if name.startswith(start) and "." not in name.removeprefix(start)
            )
    return found


def bind_inputs(plan: Plan, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check a run's inputs and normalise them.

    :param values: input names (see `resolve_name`) -> values as JSON. A key that starts with ``#`` is a comment.
    :return: the inputs that are given, by `Input.name`, as the JSON of ``values.py``; runtime overrides as they are.
        An input whose type has no null, but which has a default, may be null: then it is left out.
    :raises InputsError: with everything that is missing, unknown, given twice or not of its type.
    """
    bound, problems = check_inputs(plan, values)
    if problems:
        raise InputsError(problems)
    return bound


def check_inputs(plan: Plan, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """What `bind_inputs` gives of the inputs that are right, and what it would raise of the others.

    It is for who has more to say of the inputs, such as whether their files are there.
    """
    inputs = {found.name: found for found in plan.inputs}
    problems: list[Problem] = []
    given: dict[str, str] = {}
    bound: dict[str, Any] = {}
    for key, value in values.items():
        if key.startswith("#"):
            continue
        name = _resolve(plan, inputs, key)
        if name is None:
            problems.append(Problem(f"unknown input {shown_name(key)}{_did_you_mean(plan, key)}"))
        elif name in given:
            problems.append(Problem(f"input {name} is given twice, as {given[name]} and as {key}"))
        else:
            given[name] = key
            try:
                bound.update(_bind(plan, inputs.get(name), name, value))
            except ValueMismatch as error:
                wanted = f"expected {inputs[name].type}: " if name in inputs else ""
                said = str(error)
                said = said if len(said) <= _LONGEST_REASON else f"{said[:_LONGEST_REASON]}..."
                problems.append(Problem(f"input {shown_name(key)}: {wanted}{said}"))
    for name, found in inputs.items():
        if found.required and name not in given:
            problems.append(Problem(f"missing input {name} ({found.type})"))
    return bound, problems


def _bind(plan: Plan, found: Input | None, name: str, value: Any) -> dict[str, Any]:
    if found is None:
        _check_override(value)
        return {name: value}
    wdl_type = _type_of(plan, found)
    if value is None and not wdl_type.optional and found.default_text:
        return {}
    return {name: to_json(from_json(wdl_type, _of_members(wdl_type, value)))}


def shown_name(name: str) -> str:
    """A name that a caller gave, in one line of a message."""
    shown = name if name.isprintable() and name else json.dumps(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 3]}..."


def _check_override(value: Any) -> None:
    """Refuse what is no value of a runtime attribute.

    :raises ValueMismatch: for what JSON cannot say, text that is none, and lists within many others.
    """
    pending, parts = [(value, 0)], 0
    while pending:
        at, depth = pending.pop()
        parts += 1
        if parts > MOST_PARTS_OF_OVERRIDE:
            raise ValueMismatch(f"a value of more than {MOST_PARTS_OF_OVERRIDE} parts")
        if depth > DEEPEST_OVERRIDE:
            raise ValueMismatch(f"more than {DEEPEST_OVERRIDE} lists or objects within one another")
        if isinstance(at, str):
            check_text(at)
        elif isinstance(at, float) and not math.isfinite(at):
            raise ValueMismatch(f"{at} is not a number of JSON")
        elif isinstance(at, int) and not in_range(at):
            raise ValueMismatch("a number of more than 64 bits")
        children = [*at, *at.values()] if isinstance(at, dict) else at if isinstance(at, list) else []
        pending.extend((child, depth + 1) for child in children)


def _of_members(wdl_type: Type.Base, value: Any) -> Any:
    """The value without what its structs have no members for; a struct that is read from JSON leaves it out, too."""
    if isinstance(wdl_type, Type.Array) and isinstance(value, list):
        return [_of_members(wdl_type.item_type, item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(wdl_type, Type.Map):
        return {key: _of_members(wdl_type.item_type[1], item) for key, item in value.items()}
    if isinstance(wdl_type, Type.Pair):
        sides = {"left": wdl_type.left_type, "right": wdl_type.right_type}
        return {key: _of_members(sides.get(key.lower(), wdl_type), item) for key, item in value.items()}
    if isinstance(wdl_type, Type.StructInstance):
        members = wdl_type.members or {}
        return {key: _of_members(members[key], item) for key, item in value.items() if key in members}
    return value


def _type_of(plan: Plan, found: Input) -> Type.Base:
    return parse_type(found.type, plan.documents[found.document])


def _did_you_mean(plan: Plan, key: str) -> str:
    if len(key) > _LONGEST_NAME:
        return ""
    names = [found.name for found in plan.inputs]
    close = difflib.get_close_matches(key.removeprefix(f"{plan.name}."), names, n=1)
    if not close:  # the right name on the wrong call
        last = key.rpartition(".")[2]
        close = [name for name in names if name.rpartition(".")[2] == last][:1]
    return f"; did you mean {close[0]}?" if close else ""


def parse_assignments(plan: Plan, assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` words of a command line.

    A value is read as its input's type: text for String, File and Directory (``~/`` is expanded), numbers,
    ``true`` or ``false``, and JSON for the rest. An array is a JSON array, or one item per repetition of the name.
    For an optional type, nothing or ``null`` is null. A runtime override is a number if it reads as one.

    :return: values as JSON by the names that `bind_inputs` answers with.
    :raises InputsError: with everything that cannot be read.
    """
    inputs = {found.name: found for found in plan.inputs}
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        name = _resolve(plan, inputs, key)
        if not sign or not key:
            problems.append(Problem(f"{assignment!r} is not name=value"))
        elif name is None:
            problems.append(Problem(f"unknown input {key}{_did_you_mean(plan, key)}"))
        else:
            wdl_type = _type_of(plan, inputs[name]) if name in inputs else Type.Any()
            try:
                value = _read(wdl_type, text)
            except ValueError as error:
                problems.append(Problem(f"input {key}: expected {wdl_type}: {error}"))
                continue
            if name not in values:
                values[name] = value
            elif isinstance(values[name], list) and isinstance(value, list):
                values[name] = values[name] + value
            else:
                problems.append(Problem(f"input {key} is given twice, and is not an array"))
    if problems:
        raise InputsError(problems)
    return values


def _read(wdl_type: Type.Base, text: str) -> Any:
    """One value of a command line; raises ValueError if it is none of the type."""
    if wdl_type.optional and text in ("", "null"):
        return None
    if isinstance(wdl_type, Type.String):
        return text
    if isinstance(wdl_type, (Type.File, Type.Directory)):
        return str(Path(text).expanduser()) if text.startswith("~/") else text
    if isinstance(wdl_type, Type.Array):
        return _read_array(wdl_type, text)
    return _read_any(text) if isinstance(wdl_type, Type.Any) else _read_simple(wdl_type, text)


def _read_simple(wdl_type: Type.Base, text: str) -> Any:
    if isinstance(wdl_type, Type.Boolean):
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    if isinstance(wdl_type, (Type.Int, Type.Float)):
        try:
            return int(text) if isinstance(wdl_type, Type.Int) else float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number of this type") from None
    return _read_json(text)


def _read_array(wdl_type: Type.Array, text: str) -> list[Any]:
    """A JSON array, whole or (of arrays) one item; anything else is one item."""
    item_type = wdl_type.item_type
    if not text.startswith("["):
        return [_read(item_type, text)]
    try:
        value = _read_json(text)
    except ValueError:
        if isinstance(item_type, (Type.String, Type.File, Type.Directory)):
            return [_read(item_type, text)]
        raise
    if isinstance(item_type, Type.Array) and not any(isinstance(item, list) for item in value) and value:
        value = [value]
    from_json(wdl_type, value)
    return list(value)


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not JSON ({error}); mind the shell's quoting") from None


def _read_any(text: str) -> Any:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return _read_json(text) if text in ("true", "false") or text.startswith("[") else text


def file_values(plan: Plan, inputs: Mapping[str, Any]) -> Iterator[str]:
    """Every File and Directory in inputs that `bind_inputs` gave, in order, however deep."""
    found: list[str] = []

    def note(path: str) -> str:
        found.append(path)
        return path

    map_files(plan, inputs, note)
    yield from found


def map_files(plan: Plan, inputs: Mapping[str, Any], fn: Callable[[str], str]) -> dict[str, Any]:
    """The inputs with every File and Directory replaced by what ``fn`` gives for it."""
    return map_paths(plan, inputs, lambda found: fn(found.value))


@dataclass(frozen=True)
class PathAt:
    """A File or Directory in a value.

    :param steps: where in the value, as words fit for a path: indices of one length, keys, ``left``, members.
    """

    value: str
    steps: tuple[str, ...]
    directory: bool


def map_paths(plan: Plan, inputs: Mapping[str, Any], fn: Callable[[PathAt], str]) -> dict[str, Any]:
    """The inputs with every File and Directory replaced by what ``fn`` gives for it."""
    types = {found.name: _type_of(plan, found) for found in plan.inputs if found.name in inputs}
    return {name: map_value(types[name], value, fn, ()) if name in types else value for name, value in inputs.items()}


def map_value(wdl_type: Type.Base, value: Any, fn: Callable[[PathAt], str], steps: tuple[str, ...] = ()) -> Any:
    """A value of a type, as JSON, with every File and Directory replaced by what ``fn`` gives for it.

    :param steps: where the value is in a greater one.
    """
    if value is None:
        return None
    if isinstance(wdl_type, (Type.File, Type.Directory)):
        return fn(PathAt(value, steps, isinstance(wdl_type, Type.Directory)))
    if isinstance(wdl_type, Type.Array):
        places = zip(_numbered(len(value)), value, strict=True)
        return [map_value(wdl_type.item_type, item, fn, (*steps, place)) for place, item in places]
    if isinstance(wdl_type, Type.Map):
        key_type, item_type = wdl_type.item_type
        plain = all(_PLAIN_NAME.fullmatch(key) for key in value)
        return {
            map_value(key_type, key, fn, (*steps, "keys", place)): map_value(
                item_type, item, fn, (*steps, key if plain else place)
            )
            for place, (key, item) in zip(_numbered(len(value)), value.items(), strict=True)
        }
    members = _members(wdl_type)
    if not members:
        return value
    return {name: map_value(members[name], item, fn, (*steps, name)) for name, item in value.items()}


def _numbered(count: int) -> list[str]:
    return [str(index).zfill(len(str(count - 1))) for index in range(count)]


def _members(wdl_type: Type.Base) -> dict[str, Type.Base]:
    """What a value's JSON object holds, if its type is a Pair or a struct."""
    if isinstance(wdl_type, Type.Pair):
        return {"left": wdl_type.left_type, "right": wdl_type.right_type}
    return (wdl_type.members or {}) if isinstance(wdl_type, Type.StructInstance) else {}
