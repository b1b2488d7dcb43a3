from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from actstore.errors import CorruptShardError
from actstore.store.arrays.chunked import (
    shard_key,
)
from actstore.store.arrays.zarr_metadata import (
    sharded_array,
    write_document,
)
from actstore.store.shards import (
    ShardBuilder,
    ShardIdentity,
    ShardLayout,
    ShardReader,
    choose_layout,
)
from actstore.store.storage import LocalStorage

PLAN, CONTENT = "plan", "content"
LAYOUT = ShardLayout(
    n_layers=3, rows_per_shard=16, rows_per_chunk=4, hidden_size=5, dtype="float16"
)


def identity(shard: int = 0) -> ShardIdentity:
    return ShardIdentity(PLAN, "a", shard, CONTENT)


def written(storage: LocalStorage, layout: ShardLayout = LAYOUT) -> np.ndarray:
    """Two shards of random states under the key `a`: (layer, row, hidden)."""
    states = np.random.default_rng(0).standard_normal((3, 32, 5)).astype(layout.dtype)
    write_document(storage, "a", sharded_array(layout, 32, ("layer", "text", "hidden"), {}))
    for index in range(2):
        builder = ShardBuilder(layout)
        for positions in np.array_split(np.random.default_rng(index).permutation(16), 3):
            builder.put(positions, states[:, index * 16 + positions])
        sealed = builder.seal(np.arange(16), identity(index))
        storage.create(shard_key("a", index), sealed.image)
    return states


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_zarr_python_reads_what_we_write(tmp_path: Path, dtype: str) -> None:
    layout = ShardLayout(3, 16, 4, 5, dtype)
    states = written(LocalStorage(tmp_path), layout)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[...], states)


def test_we_read_what_zarr_python_writes_in_its_own_chunk_order(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    write_document(storage, "a", sharded_array(LAYOUT, 16, ("layer", "text", "hidden"), {}))
    states = np.random.default_rng(1).standard_normal((3, 16, 5)).astype("float16")
    zarr.open_array(tmp_path / "a", mode="r+")[...] = states
    out = np.empty((16, 5), np.float32)
    with storage.open(shard_key("a", 0)) as reader:
        for layer in range(3):
            ShardReader(reader, LAYOUT, "a", None).read(layer, np.arange(16), out)
            np.testing.assert_array_equal(out, states[layer])


@settings(max_examples=50, deadline=None)
@given(rows=st.sets(st.integers(0, 15), min_size=1), layer=st.integers(0, 2))
def test_any_rows_of_any_layer_are_read_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: set[int], layer: int
) -> None:
    storage = LocalStorage(tmp_path_factory.mktemp("shards"))
    states = written(storage)
    positions = np.array(sorted(rows))
    out = np.empty((len(rows), 5), np.float32)
    with storage.open(shard_key("a", 1)) as reader:
        ShardReader(reader, LAYOUT, "a", identity(1), LAYOUT.shard_bytes).read(
            layer, positions, out
        )
    np.testing.assert_array_equal(out, states[layer, 16 + positions].astype(np.float32))


def test_a_row_that_was_never_put_cannot_be_sealed() -> None:
    builder = ShardBuilder(LAYOUT)
    builder.put(np.arange(15), np.zeros((3, 15, 5), "float16"))
    with pytest.raises(AssertionError, match="1 rows"):
        builder.seal(np.arange(16), identity())


def test_rows_without_a_text_are_nan(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    builder = ShardBuilder(LAYOUT)
    builder.put(np.arange(6), np.ones((3, 6, 5), "float16"))
    write_document(storage, "a", sharded_array(LAYOUT, 16, ("layer", "text", "hidden"), {}))
    storage.create(shard_key("a", 0), builder.seal(np.arange(6), identity()).image)
    values = zarr.open_array(tmp_path / "a", mode="r")[...]
    assert np.isnan(values[:, 6:]).all()
    assert (values[:, :6] == 1).all()


def test_chunks_without_a_text_take_no_space_and_read_as_nan(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    states = np.random.default_rng(0).standard_normal((3, 16, 5)).astype("float16")
    used = np.array([1, 2, 13])  # the chunks 0 and 3 of four
    builder = ShardBuilder(LAYOUT)
    builder.put(used, states[:, used])
    write_document(storage, "a", sharded_array(LAYOUT, 16, ("layer", "text", "hidden"), {}))
    storage.create(shard_key("a", 0), builder.seal(used, identity()).image)
    size = (tmp_path / "a" / "c.0.0.0").stat().st_size
    assert size == 3 * 2 * LAYOUT.stride + LAYOUT.index_bytes
    values = zarr.open_array(tmp_path / "a", mode="r")[...]
    np.testing.assert_array_equal(values[:, used], states[:, used])
    assert np.isnan(np.delete(values, used, axis=1)).all()
    out = np.empty((3, 5), np.float32)
    with storage.open(shard_key("a", 0)) as reader:
        shard = ShardReader(reader, LAYOUT, "a", identity(), size)
        shard.check()
        shard.read(2, used, out)
        np.testing.assert_array_equal(out, states[2, used])
        with pytest.raises(CorruptShardError, match="no rows of chunk 1"):
            shard.read(0, np.array([5]), out[:1])


def test_states_of_another_dtype_are_never_cast_silently() -> None:
    with pytest.raises(TypeError, match="float32"):
        ShardBuilder(LAYOUT).put(np.arange(2), np.zeros((3, 2, 5), "float32"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-1], "bytes"),
        (lambda data: b"", "bytes"),
        (lambda data: data + b"x", "bytes"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "crc32c"),
        (lambda data: bytes(len(data)), "crc32c"),
    ],
    ids=["cut", "empty", "longer", "bit of a value", "zeros"],
)
def test_damage_is_an_error_when_read(tmp_path: Path, damage: object, says: str) -> None:
    storage = LocalStorage(tmp_path)
    written(storage)
    key = shard_key("a", 0)
    storage.replace(key, damage(storage.read(key)))  # type: ignore[operator]
    with storage.open(key) as reader:
        shard = ShardReader(reader, LAYOUT, key, identity(), LAYOUT.shard_bytes)
        with pytest.raises(CorruptShardError, match=says):
            shard.read(0, np.arange(16), np.empty((16, 5), np.float32))


def test_a_damaged_index_is_found_by_a_check_and_does_not_mislead_a_read(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    states, key = written(storage), shard_key("a", 0)
    data = storage.read(key)
    storage.replace(key, data[:-6] + bytes([data[-6] ^ 1]) + data[-5:])
    out = np.empty((16, 5), np.float32)
    with storage.open(key) as reader:
        shard = ShardReader(reader, LAYOUT, key, identity(), LAYOUT.shard_bytes)
        shard.read(1, np.arange(16), out)
        with pytest.raises(CorruptShardError, match="index"):
            shard.check()
    np.testing.assert_array_equal(out, states[1, :16].astype(np.float32))


@pytest.mark.parametrize(
    "other",
    [
        ShardIdentity("another plan", "a", 0, CONTENT),
        ShardIdentity(PLAN, "b", 0, CONTENT),
        ShardIdentity(PLAN, "a", 1, CONTENT),
        ShardIdentity(PLAN, "a", 0, "other texts"),
    ],
    ids=["plan", "array", "place", "texts"],
)
def test_a_whole_shard_in_another_ones_place_is_an_error_when_read(
    tmp_path: Path, other: ShardIdentity
) -> None:
    storage = LocalStorage(tmp_path)
    written(storage)
    key = shard_key("a", 0)
    with storage.open(key) as reader:
        shard = ShardReader(reader, LAYOUT, key, other, LAYOUT.shard_bytes)
        with pytest.raises(CorruptShardError, match="another shard's"):
            shard.read(0, np.arange(1), np.empty((1, 5), np.float32))


@pytest.mark.parametrize(
    ("n_layers", "hidden", "dtype", "n_texts", "rows_per_shard", "rows_per_chunk"),
    [
        (25, 1024, "float16", 1_400_000, 4096, 256),
        (81, 8192, "float16", 3_000_000, 128, 32),
        (7, 96, "float16", 3000, 256, 256),
        (4, 8, "float32", 10, 64, 64),
    ],
)
def test_layouts_keep_shards_and_chunks_in_their_limits(
    n_layers: int, hidden: int, dtype: str, n_texts: int, rows_per_shard: int, rows_per_chunk: int
) -> None:
    layout = choose_layout(n_layers, hidden, dtype, n_texts)
    assert (layout.rows_per_shard, layout.rows_per_chunk) == (rows_per_shard, rows_per_chunk)
    assert layout.chunk_bytes <= 512 << 10
    assert layout.shard_bytes <= (256 << 20) * 1.001
