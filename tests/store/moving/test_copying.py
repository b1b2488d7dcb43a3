from __future__ import annotations

from pathlib import Path

import pytest

from actstore.store import Store, open_store, verify_store
from actstore.store.moving.copying import copy_store, planned_copy
from actstore.store.moving.request import CopyRequest
from tests.store.moving.full_store import full_store, readings


@pytest.fixture
def full(tmp_path: Path) -> Store:
    return full_store(tmp_path)


def test_a_copy_says_all_that_its_source_says(full: Store, tmp_path: Path) -> None:
    copy_store(full, tmp_path / "copy.zarr", CopyRequest())
    copied = open_store(tmp_path / "copy.zarr")
    assert readings(copied) == readings(full)
    assert verify_store(copied).problems == ()
