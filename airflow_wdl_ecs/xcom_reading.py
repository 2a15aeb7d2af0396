"""`read_outputs`: the values that an XCom only refers to, for other tasks of a DAG and for operators of this package.

A DAG file imports this module, so what reads S3 is imported only when there is a reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import AuthorError, AwsError
from .layout import shard_of
from .task_context import settings_overrides
from .xcom_values import Reference

if TYPE_CHECKING:
    from .ecs.settings import EcsSettings
    from .storage import RunStore

DEEPEST = 2
"""How deep references stand in an XCom: that of ``inputs`` has them by name, under ``inputs``."""


def read_outputs(xcom: Any, settings: EcsSettings | Mapping[str, Any] | None = None) -> Any:
    """The XCom of a task of this package, with its values where it only refers to them; it blocks.

    A value that is larger than the setting ``xcom_max_bytes`` is not in the XCom, which says where in S3 it is. So a
    task that takes outputs of any size reads them by this::

        @task
        def count(outputs: dict) -> int:
            return len(read_outputs(outputs)["lines"])

    Anything else is given back as it is. Of a call whose instance ran so many shards that the XCom refers to all of
    them at once, those that were skipped are left out.

    :param xcom: the outputs of a call, of an operator or of a workflow, or one of them.
    :param settings: overrides of the deployment's settings, if the DAG that has left the XCom has some.
    :raises AuthorError: for a reference to what is in no run's folder.
    :raises AwsError: if the value cannot be read, or is there no more.
    """
    return _Reader(settings).resolved(xcom, DEEPEST)


class _Reader:
    """Reads each document once.

    :param settings: overrides of the deployment's.
    """

    def __init__(self, settings: EcsSettings | Mapping[str, Any] | None) -> None:
        self._overrides = settings_overrides(settings)
        self._opened: tuple[str, RunStore] | None = None
        self._documents: dict[str, Any] = {}

    def resolved(self, value: Any, depth: int) -> Any:
        reference = Reference.from_json(value)
        if reference is not None:
            return self._value_of(reference)
        if isinstance(value, Mapping) and depth:
            return {key: self.resolved(item, depth - 1) for key, item in value.items()}
        return value

    def _value_of(self, reference: Reference) -> Any:
        from .aws import side_by_side

        runs, store = self._store()
        parts = reference.uri.split("/")
        if not reference.uri.startswith(runs) or {".", ".."} & set(parts):
            raise AuthorError(
                f"an XCom refers to {reference.uri}, which is not in the folder of a run below {runs}",
                hint='if its DAG has a workspace of its own: read_outputs(xcom, settings={"workspace": "s3://..."})',
            )
        if reference.shards is None:
            return _at(self._document(reference.uri), reference)
        first, last = map(shard_of, reference.shards)
        keys = [key for key in store.folders(reference.uri) if key == "_" or _SHARD.fullmatch(key)]
        among = sorted((key for key in keys if first <= shard_of(key) <= last), key=shard_of)
        found = side_by_side(store.get_json, [f"{reference.uri}{key}/outputs.json" for key in among])
        return {key: _at(one, reference) for key, one in zip(among, found, strict=True) if one is not None}

    def _document(self, uri: str) -> Any:
        if uri not in self._documents:
            _, store = self._store()
            self._documents[uri] = store.get_json(uri)
        return self._documents[uri]

    def _store(self) -> tuple[str, RunStore]:
        """Where runs are, and what reads there."""
        if self._opened is None:
            from .host import airflow_clients, resolve_settings
            from .layout import Layout
            from .storage import RunStore

            settings = resolve_settings(self._overrides)
            layout = Layout(settings.workspace, "", "")
            self._opened = f"{settings.workspace.rstrip('/')}/runs/", RunStore(airflow_clients(settings)("s3"), layout)
        return self._opened


_SHARD = re.compile(r"\d+(\.\d+)*")


def _at(value: Any, reference: Reference) -> Any:
    """What is in a document; None is a document that is not there."""
    for step in reference.path:
        if not isinstance(value, Mapping) or step not in value:
            what = ".".join(reference.path)
            raise AwsError(f"{what} is not in {reference.uri}", code="NoSuchKey", operation="GetObject")
        value = value[step]
    return value
