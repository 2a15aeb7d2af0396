"""What a workflow's values need that are read by many: an object of one's own to annotate, and a short name.

It knows values only, neither plans nor runs.
"""

from __future__ import annotations

import json
from typing import Any

import WDL

from .values import to_json

LONGEST_LABEL = 60
"""Characters of a label."""


class SharedValues(dict[Any, Any]):
    """The values of a run that the shards of a call in one process read: each is evaluated once, not once per shard.

    Any thread may read and write; what two compute at the same time is the same.
    """

    __slots__ = ("__weakref__",)


class _SharedArray(WDL.Value.Array):
    """An array that many expressions read.

    miniwdl notes on a value which expression gave it, and walks all its parts to note it there too: 1,000 shards
    that read one element of a large array would walk it 1,000 times. Here the note stays with the array.
    """

    @property
    def expr(self) -> WDL.Expr.Base | None:
        """The expression that gave the array."""
        return self._expr

    @expr.setter
    def expr(self, rhs: WDL.Expr.Base) -> None:
        self._expr = rhs


def shell(value: WDL.Value.Base) -> WDL.Value.Base:
    """The same value in an object of its own, which an expression may annotate."""
    return _SharedArray(value.type.item_type, value.value) if isinstance(value, WDL.Value.Array) else value


def label(value: WDL.Value.Base) -> str:
    """A value in one short line: of a file its name, of a compound value what comes first."""
    while not isinstance(value, WDL.Value.Map) and (first := next(iter(value.children), None)) is not None:
        texts = (child for child in value.children if isinstance(child, WDL.Value.String))
        value = next(texts, first) if isinstance(value, WDL.Value.Struct) else first
    if isinstance(value, (WDL.Value.File, WDL.Value.Directory)):
        text = value.value.rstrip("/").rpartition("/")[2]
    elif isinstance(value, WDL.Value.String):
        text = value.value
    else:
        text = json.dumps(to_json(value), ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"
