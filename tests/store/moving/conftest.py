"""A store with everything in it, a copy of its own for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actstore.store import Store, open_store
from tests.store.moving.full_store import full_store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once for a file of tests: not to be changed."""
    return full_store(tmp_path_factory.mktemp("full")).path


@pytest.fixture
def full(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "full.zarr")
    return open_store(tmp_path / "full.zarr")
