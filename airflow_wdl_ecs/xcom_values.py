"""WDL values as Airflow's XComs take them (pure).

Airflow keeps XComs in its metadata database, where large values do harm: of those an XCom has a *reference*, a small
object that says where in S3 the value is. Airflow writes objects of Python classes into XComs as JSON objects with keys
of its own; it refuses a value that has such a key, and reads one with an older kind of them as something else; a WDL
``Map`` may have any key. This module knows neither a run nor a task instance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

RESERVED = frozenset({"__classname__", "__id__", "__type"})
"""Keys by which Airflow's ``sdk.serde`` knows an object of a class, or a schema."""

NOTE = "too large for XCom; airflow_wdl_ecs.read_outputs() reads it"
"""What a reference says to people, and that by which it is known."""


def xcom_value(value: Any) -> Any:
    """The value; an object in it that Airflow would take for one of its own is its JSON text instead."""
    if isinstance(value, Mapping):
        if not RESERVED.isdisjoint(value):
            return json.dumps(value, ensure_ascii=False)
        return {key: xcom_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [xcom_value(item) for item in value]
    return value


@dataclass(frozen=True)
class Reference:
    """Where a value is that is too large for an XCom.

    :param uri: of a JSON document in S3; or, of several shards of a call, of the call's folder.
    :param path: the keys that lead to the value in the document, or in the one of each shard.
    :param bytes: of the value as JSON.
    :param shards: the first and the last of those shards, as `layout.shard_key` writes them.
    """

    uri: str
    path: tuple[str, ...]
    bytes: int
    shards: tuple[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """The reference as an XCom has it."""
        shards = {} if self.shards is None else {"shards": list(self.shards)}
        return {"uri": self.uri, "path": list(self.path), **shards, "bytes": self.bytes, "note": NOTE}

    @classmethod
    def from_json(cls, value: Any) -> Reference | None:
        """The reference that a value of an XCom is; None if it is a value."""
        if not isinstance(value, Mapping) or value.get("note") != NOTE:
            return None
        try:
            shards = value.get("shards")
            ends = None if shards is None else (str(shards[0]), str(shards[1]))
            return cls(str(value["uri"]), tuple(map(str, value["path"])), int(value["bytes"]), ends)
        except (KeyError, IndexError, TypeError, ValueError):
            return None


Place = tuple[str, tuple[str, ...]]
"""The ``uri`` and the ``path`` of a `Reference`."""


def limited(values: Mapping[str, Any], most: int, where: Callable[[str], Place]) -> dict[str, Any]:
    """The values, with references in place of the largest until all of them together have few enough bytes.

    :param values: by name. :param most: bytes of JSON; 0 for no limit.
    :param where: a name -> where its value is.
    """
    if most <= 0 or (left := bytes_of(values)) <= most:
        return dict(values)
    found = dict(values)
    sizes = {name: bytes_of(value) for name, value in values.items()}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        reference = Reference(*where(name), sizes[name]).to_json()
        saved = sizes[name] - bytes_of(reference)
        if left <= most or saved <= 0:
            break
        found[name], left = reference, left - saved
    return found


def bytes_of(value: Any) -> int:
    """Bytes of a value as JSON, as Airflow's database has it: in ASCII."""
    return len(json.dumps(value))
