"""When and where Python looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from airflow_wdl_ecs import garbage


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    enabled, thresholds = gc.isenabled(), gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    (gc.enable if enabled else gc.disable)()


def test_nothing_is_collected_while_something_large_is_read():
    with garbage.no_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    with garbage.no_collection():
        pass
    assert not gc.isenabled(), "it was not before"


def test_what_is_there_is_spared_once_and_what_comes_after_is_not(monkeypatch):
    monkeypatch.setattr(garbage, "_spared", False)
    garbage.spare_what_is_there()
    spared = gc.get_freeze_count()
    assert spared > 1000
    assert gc.get_threshold()[0] == garbage.YOUNG
    later = [[] for _ in range(1000)]
    garbage.spare_what_is_there()
    assert gc.get_freeze_count() <= spared
    assert any(found is later for found in gc.get_objects())
