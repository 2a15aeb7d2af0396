"""Callbacks of the embedded Airflow, which nobody runs where there is no DAG processor."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.callbacks.database_callback_sink import DatabaseCallbackSink

from airflow_wdl_ecs.local import components


def test_no_callback_is_written_down_where_nobody_would_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatabaseCallbackSink, "send", DatabaseCallbackSink.send)  # put back at the end
    components.forgo_callbacks()

    class Session:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"it was asked to {name}")

    session: Any = Session()
    callback: Any = object()
    DatabaseCallbackSink().send(callback=callback, session=session)
    DatabaseCallbackSink().send(callback)
