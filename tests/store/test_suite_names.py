"""Suites are kept under any name."""

from __future__ import annotations

from pathlib import Path

import pytest

from actstore.errors import UnknownNameError
from actstore.store import create_store, open_store

NAMES = [
    "layer-by-layer",
    "MTEB(eng, v2)",
    "MTEB(Retrieval w/Instructions)",
    "ViDoRe(v1&v2)",
    "STS17[en-en],STS12",
    "50%",
    "50%2F",
    "../outside",
    "..",
    "zarr",
    "größer.json",
]


def test_any_name_can_be_a_suites(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    for name in NAMES:
        store.write_suite(name, {"name": name, "tasks": []})
    again = open_store(tmp_path / "s.zarr")
    assert again.suites() == sorted(NAMES)
    for name in NAMES:
        assert again.suite(name)["name"] == name
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_a_name_that_is_only_alike_is_another_suite(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.write_suite("a/b", {"name": "a/b"})
    with pytest.raises(UnknownNameError, match="Did you mean 'a/b'"):
        store.suite("a%2Fb")
