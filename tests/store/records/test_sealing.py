"""Seals: whatever is done to a sealed file, its reader says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actstore.errors import CorruptShardError
from actstore.store.records.sealing import (
    read_sealed_arrays,
    read_sealed_json,
    read_sealed_table,
    seal_damage,
    sealed_arrays,
    sealed_json,
    sealed_table,
)
from actstore.store.storage import LocalStorage

WORD = "xxh3-128:" + "0" * 32
"""What a seal looks like before it is made: a value may be that too."""
TABLE = pa.table(
    {"row": pa.array([1, 2], pa.int64()), "text": [WORD, "b"], "new": [True, False]},
    metadata={b"actstore": WORD.encode()},
)
ARRAYS = {"row": np.arange(3), "0/value": np.array([0.5, np.nan, 1.5])}
MADE: dict[str, Callable[[str], bytes]] = {
    "a.json": lambda key: sealed_json(key, {"seal": 1, "name": WORD, "n": [0.1, None]}),
    "a.parquet": lambda key: sealed_table(key, TABLE),
    "a.npz": lambda key: sealed_arrays(key, ARRAYS),
}
READ: dict[str, Callable[[LocalStorage, str], object]] = {
    ".json": read_sealed_json,
    ".parquet": read_sealed_table,
    ".npz": read_sealed_arrays,
}


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def read(storage: LocalStorage, key: str) -> object:
    return READ[Path(key).suffix](storage, key)


def test_what_was_written_comes_back(storage: LocalStorage) -> None:
    for key, make in MADE.items():
        storage.create(key, make(key))
        assert [*seal_damage(storage, key, quick=False, remade=True)] == []
        assert [*seal_damage(storage, key, quick=True, remade=True)] == []
    assert read_sealed_json(storage, "a.json") == {"name": WORD, "n": [0.1, None]}
    table = read_sealed_table(storage, "a.parquet")
    assert table.to_pydict() == TABLE.to_pydict()
    assert table.schema.metadata[b"actstore"] == WORD.encode()
    for name, values in read_sealed_arrays(storage, "a.npz").items():
        np.testing.assert_array_equal(values, ARRAYS[name])


def test_others_read_sealed_files_as_any(storage: LocalStorage) -> None:
    for key, make in MADE.items():
        storage.create(key, make(key))
    assert pq.read_table(storage.root / "a.parquet").to_pydict() == TABLE.to_pydict()
    with np.load(storage.root / "a.npz") as arrays:
        assert set(arrays) == set(ARRAYS)


@pytest.mark.parametrize("key", MADE)
@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_that_flips_anywhere_is_found(
    tmp_path_factory: pytest.TempPathFactory, key: str, at: float, bit: int
) -> None:
    storage = LocalStorage(tmp_path_factory.mktemp("seal"))
    data = bytearray(MADE[key](key))
    data[int(at * len(data))] ^= 1 << bit
    storage.create(key, data)
    with pytest.raises(CorruptShardError, match=f"^{key} of .* is damaged"):
        read(storage, key)
    (found,) = seal_damage(storage, key, quick=False, remade=True)
    assert found.key == key


@pytest.mark.parametrize("key", MADE)
@pytest.mark.parametrize("kept", [0, 1, -1, -60])
@pytest.mark.parametrize("quick", [True, False])
def test_a_file_that_was_cut_is_found_at_a_glance(
    storage: LocalStorage, key: str, kept: int, quick: bool
) -> None:
    storage.create(key, MADE[key](key)[:kept])
    with pytest.raises(CorruptShardError):
        read(storage, key)
    assert len([*seal_damage(storage, key, quick=quick, remade=False)]) == 1


@pytest.mark.parametrize("key", MADE)
def test_a_file_in_the_place_of_another_is_found(storage: LocalStorage, key: str) -> None:
    storage.create(f"other/{key}", MADE[key](key))
    with pytest.raises(CorruptShardError, match="in this place"):
        read(storage, f"other/{key}")


def test_a_missing_file_is_named(storage: LocalStorage) -> None:
    (found,) = seal_damage(storage, "a.npz", quick=True, remade=True)
    assert (found.key, found.what) == ("a.npz", "it is missing")
