"""WDL values as Airflow's XComs take them (pure).

Airflow writes objects of Python classes into XComs as JSON objects with keys of its own. It refuses a value that has
such a key, and reads one with an older kind of them as something else; a WDL ``Map`` may have any key. This module
knows neither a run nor a task instance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

RESERVED = frozenset({"__classname__", "__id__", "__type"})
"""Keys by which Airflow's ``sdk.serde`` knows an object of a class, or a schema."""


def xcom_value(value: Any) -> Any:
    """The value; an object in it that Airflow would take for one of its own is its JSON text instead."""
    if isinstance(value, Mapping):
        if not RESERVED.isdisjoint(value):
            return json.dumps(value, ensure_ascii=False)
        return {key: xcom_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [xcom_value(item) for item in value]
    return value
