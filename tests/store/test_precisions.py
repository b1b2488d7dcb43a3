"""Stores of every precision, and of several at once, read by every reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from actstore.errors import CorruptShardError, PlanMismatchError, UnknownNameError
from actstore.store import CheckpointGroup, Store, TokenisedText, create_store, open_store
from actstore.store.shards import COMPACT, ENCODINGS, EXACT, SMALL, ShardReader, choose_layout
from tests.support.states import MODEL, STATS, spec

HIDDEN, N_TEXTS = 96, 300
ERRORS = {EXACT: 0.0, COMPACT: 0.003, SMALL: 0.01}
"""Of all states together, relative to how far they are from their mean."""
PRECISIONS = sorted(ENCODINGS)


def states_of(rows: np.ndarray, dtype: str = "float16") -> np.ndarray:
    """(layer, n, hidden): random, of other sizes in every layer and dimension."""
    rng = np.random.default_rng(0)
    states = rng.standard_normal((4, N_TEXTS, HIDDEN)) * np.geomspace(0.1, 10, HIDDEN)
    states *= np.arange(1, 5)[:, None, None]
    return states[:, rows].astype(dtype)


def small_spec(precision: str, checkpoint: str = "step1", dtype: str = "float16") -> object:
    return spec(hidden_size=HIDDEN, precision=precision, checkpoint=checkpoint, dtype=dtype)


def filled(store: Store, precision: str, checkpoint: str = "step1") -> CheckpointGroup:
    """A checkpoint with known states, curvature and a token sample of every text's first token."""
    group = store.begin_checkpoint(small_spec(precision, checkpoint))
    group.begin_poolings(["mean"])
    group.begin_text_values(["curvature"])
    for shard in group.todo(store.text_rows(), ["mean"]):
        builder = group.new_builder()
        builder.put(shard.positions, states_of(shard.rows))
        ones, values = np.ones(len(shard.rows), np.int32), states_of(shard.rows, "float32")[..., 0]
        group.commit(shard, {"mean": builder}, ones, ones > 1, STATS, {"curvature": values})
    return group


def store_of_texts(path: Path) -> Store:
    store = create_store(path)
    store.add_texts([f"text {i}" for i in range(N_TEXTS)])
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of_texts(tmp_path / "s.zarr")


def require_close(kept: np.ndarray, precision: str, rows: np.ndarray) -> None:
    """kept: (layer, n, hidden)."""
    for states, of_layer in zip(states_of(rows).astype(np.float32), kept, strict=True):
        off = np.linalg.norm(states - states.mean(0))
        error = np.linalg.norm(of_layer.astype(np.float32) - states) / off
        assert error <= ERRORS[precision]
        assert (error == 0) == (precision == EXACT)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_reader_gives_pooled_states_within_the_error(store: Store, precision: str) -> None:
    group, rows = filled(store, precision), np.arange(N_TEXTS)
    again = open_store(store.url)
    read = again.checkpoint(MODEL, "step1").read
    require_close(np.stack([read("mean", layer, rows) for layer in range(4)]), precision, rows)
    dataset = again.dataset(MODEL)["mean_pool"].sel(checkpoint="step1")
    require_close(dataset.values, precision, rows)
    some = np.array([299, 3, 3, 130, 64])
    np.testing.assert_array_equal(read("mean", 2, some), read("mean", 2, rows)[some])
    np.testing.assert_array_equal(dataset.isel(layer=2, text=some).values, read("mean", 2, some))
    assert again.checkpoint(MODEL, "step1").todo(rows, ["mean"]) == []
    assert group.spec.precision == precision


@pytest.mark.parametrize("precision", PRECISIONS)
def test_text_values_stay_exact(store: Store, precision: str) -> None:
    group, rows = filled(store, precision), np.arange(N_TEXTS)
    for layer in range(4):
        found = group.read_values("curvature", layer, rows)
        np.testing.assert_array_equal(found, states_of(rows, "float32")[layer, :, 0])


@pytest.mark.parametrize("order", [(EXACT, COMPACT, SMALL), (SMALL, EXACT, COMPACT)])
def test_checkpoints_of_several_precisions_are_one_dataset(
    store: Store, order: tuple[str, ...]
) -> None:
    for precision in order:
        filled(store, precision, precision)
    dataset = open_store(store.url).dataset(MODEL)["mean_pool"]
    assert dataset.dtype == np.float32  # small states are no float16
    for precision in order:
        kept = dataset.sel(checkpoint=precision).values
        require_close(kept, precision, np.arange(N_TEXTS))


def test_a_checkpoint_has_one_precision(store: Store) -> None:
    filled(store, SMALL)
    with pytest.raises(PlanMismatchError, match="precision: the store has 'small', asked is 'ex"):
        store.begin_checkpoint(small_spec(EXACT))


def tokenised() -> list[TokenisedText]:
    lengths = [3, 60, 1, 20, 45]
    ones = [np.ones(n, np.int32) for n in lengths]
    return [TokenisedText(row, one, one > 1, one) for row, one in enumerate(ones)]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_token_samples_are_read_within_the_error(store: Store, precision: str) -> None:
    group = store.begin_checkpoint(small_spec(precision))
    sample = group.begin_token_sample("few", tokenised())
    used = np.flatnonzero(sample.row >= 0)
    for shard in sample.todo():
        builder = sample.new_builder()
        builder.put(shard.positions, states_of(shard.rows))
        sample.commit(shard, builder, STATS)
    again = open_store(store.url).checkpoint(MODEL, "step1").token_sample("few")
    kept = np.stack([again.states(layer, 0, len(sample.row))[used] for layer in range(4)])
    require_close(kept, precision, used)
    dataset = again.dataset()["states"]
    assert dataset.dims == ("layer", "token", "hidden")
    np.testing.assert_array_equal(dataset.values[:, used], kept)
    assert np.isnan(np.delete(dataset.values, used, axis=1)).all()
    np.testing.assert_array_equal(dataset[2, used[::-1], 5:7].values, kept[2, ::-1, 5:7])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_flipped_bit_is_found_by_reading_and_by_checking(store: Store, precision: str) -> None:
    array = filled(store, precision).sharded_array("mean_pool")
    commit = array.ledger.committed("mean_pool")[1]
    array.check(commit)
    path = store.path / array.key(1)
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(CorruptShardError, match="crc32c"):
        array.check(commit)
    with pytest.raises(CorruptShardError, match="crc32c"):
        open_store(store.url).checkpoint(MODEL, "step1").read("mean", 0, np.arange(64, 128))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_zarr_python_and_xarray_read_compact_states_by_themselves(store: Store, dtype: str) -> None:
    group = store.begin_checkpoint(small_spec(COMPACT, dtype=dtype))
    group.begin_poolings(["mean"])
    for shard in group.todo(store.text_rows(), ["mean"]):
        builder = group.new_builder()
        builder.put(shard.positions, states_of(shard.rows, dtype))
        ones = np.ones(len(shard.rows), np.int32)
        group.commit(shard, {"mean": builder}, ones, ones > 1, STATS)
    array = zarr.open_array(store.path / group.prefix / "mean_pool", mode="r")
    dataset = xr.open_zarr(store.path / group.prefix, chunks=None)
    for layer in range(4):
        ours = group.read("mean", layer, np.arange(N_TEXTS), dtype=dtype)
        np.testing.assert_array_equal(array[layer], ours)
        np.testing.assert_array_equal(dataset["mean_pool"][layer].values, ours)


def test_what_zarr_python_compresses_is_read(store: Store) -> None:
    """Its blosc may choose other blocks; the codec says all that a reader needs."""
    group = store.begin_checkpoint(small_spec(COMPACT))
    group.begin_poolings(["mean"])
    states = states_of(np.arange(64))
    array = zarr.open_array(store.path / group.prefix / "mean_pool", mode="r+")
    array[:, :64] = states
    out = np.empty((64, HIDDEN), np.float16)
    with store.storage.open(group.sharded_array("mean_pool").key(0)) as reader:
        for layer in range(4):
            ShardReader(reader, group.layout, "a", None).read(layer, np.arange(64), out)
            np.testing.assert_array_equal(out, states[layer])


def test_xarray_opens_a_small_checkpoint_as_bytes_that_say_what_they_are(store: Store) -> None:
    group = filled(store, SMALL)
    array = xr.open_zarr(store.path / group.prefix, chunks=None)["mean_pool"]
    assert (array.dtype, array.dims) == (np.uint8, ("layer", "text", "byte"))
    assert (array.attrs["precision"], array.attrs["hidden_size"]) == (SMALL, HIDDEN)


def test_smaller_ones_take_fewer_bytes(tmp_path: Path) -> None:
    sizes = {}
    for precision in PRECISIONS:
        store = store_of_texts(tmp_path / f"{precision}.zarr")
        prefix = filled(store, precision).prefix
        sizes[precision] = sum(f.stat().st_size for f in store.path.glob(f"{prefix}/mean_pool/c*"))
    assert 0.6 < sizes[COMPACT] / sizes[EXACT] < 0.85
    assert 0.5 < sizes[SMALL] / sizes[EXACT] < 0.6


def test_small_shards_hold_the_same_rows_in_chunks_of_more() -> None:
    exact, small = (choose_layout(25, 1024, "float16", 10**6, p) for p in (EXACT, SMALL))
    assert exact.rows_per_shard == small.rows_per_shard == 4096
    assert (exact.rows_per_chunk, small.rows_per_chunk) == (256, 512)
    assert small.shard_bytes / exact.shard_bytes < 0.51


def test_an_unknown_precision_is_refused(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="precision 'tiny'"):
        store.begin_checkpoint(small_spec("tiny"))
