from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import xarray as xr
import zarr
from numpy.typing import NDArray

from actstore.errors import CorruptShardError, MissingShardsError, UnknownNameError
from actstore.store import CheckpointGroup, Shard, Store, create_store, open_store, verify_store
from actstore.store.arrays.sharded import shards_of
from tests.support.states import MODEL, STATS, fill, known_states, spec

NAMES = ("curvature", "prompt_entropy")


def known_values(rows: NDArray[np.integer], name: str) -> NDArray[np.float32]:
    """(layer, n): a different value for every name, layer and row; every 7th row is undefined."""
    layers = np.arange(4, dtype=np.float32)[:, None]
    values = NAMES.index(name) * 10 + layers + np.asarray(rows, np.float32) / 1e4
    return np.where(np.asarray(rows) % 7 == 0, np.nan, values).astype(np.float32)


def commit_values(group: CheckpointGroup, shard: Shard, names: Sequence[str] = NAMES) -> None:
    n_tokens = (shard.rows % 7 + 1).astype(np.int32)
    values = {name: known_values(shard.rows, name) for name in names}
    group.commit(shard, {}, n_tokens, n_tokens > 5, STATS, values)


def all_shards(group: CheckpointGroup) -> list[Shard]:
    rows = group.texts.rows()
    return shards_of(rows, rows, group.layout.rows_per_shard)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """300 texts: shards of 64 rows."""
    store = create_store(tmp_path / "s.zarr")
    store.add_texts([f"text {i}" for i in range(300)])
    return store


@pytest.fixture
def group(store: Store) -> CheckpointGroup:
    """A checkpoint whose pooled states and text values are all there."""
    group = store.begin_checkpoint(spec())
    fill(group)
    group.begin_text_values(NAMES)
    for shard in all_shards(group):
        commit_values(group, shard)
    return group


def test_values_are_read_back_in_any_order_and_with_repeats(group: CheckpointGroup) -> None:
    again = open_store(group.storage.url).checkpoint(MODEL, "step1")
    assert again.text_values() == list(NAMES)
    rows = np.array([299, 1, 65, 65, 64, 0])
    for name in NAMES:
        for layer in group.layers:
            values = again.read_values(name, layer, rows)
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, known_values(rows, name)[layer])


def test_undefined_is_nan_and_not_extracted_is_an_error_with_the_command(store: Store) -> None:
    group = store.begin_checkpoint(spec())
    group.begin_poolings(["mean", "last"])
    group.begin_text_values(NAMES)
    commit_values(group, all_shards(group)[1])
    assert np.isnan(group.read_values("curvature", 0, np.array([70])))
    command = (
        r"actstore extract .*s\.zarr --model org/model --checkpoints step1 "
        "--pooling last,mean --token-metrics"
    )
    with pytest.raises(MissingShardsError, match=rf"rows 0:64 .*curvature.*{command}"):
        group.read_values("curvature", 0, np.array([70, 63]))


def test_names_that_are_not_stored_or_do_not_exist_are_told_apart(store: Store) -> None:
    group = store.begin_checkpoint(spec())
    with pytest.raises(UnknownNameError, match=r"no stored text value.*--token-metrics"):
        group.read_values("curvature", 0, np.array([1]))
    with pytest.raises(UnknownNameError, match="Did you mean 'curvature'"):
        group.begin_text_values(["curvatur"])
    assert group.text_values() == []


def test_shards_are_committed_array_by_array(store: Store) -> None:
    group = store.begin_checkpoint(spec())
    group.begin_text_values(NAMES)
    first, second, *_ = all_shards(group)
    commit_values(group, first)
    commit_values(group, second, ("curvature",))
    rival = open_store(store.url).checkpoint(MODEL, "step1")
    assert rival.committed_values("curvature") == {0, 1}
    assert rival.committed_values("prompt_entropy") == {0}


def test_an_object_without_a_record_is_replaced_and_a_committed_one_is_kept(store: Store) -> None:
    group = store.begin_checkpoint(spec())
    group.begin_text_values(NAMES)
    (shard, *_) = all_shards(group)
    store.storage.create(f"{group.prefix}/curvature/c.0.0", b"from a killed writer")
    assert group.committed_values("curvature") == set()
    commit_values(group, shard)
    rival = open_store(store.url).checkpoint(MODEL, "step1")
    other = {"curvature": np.zeros((4, 64), np.float32)}
    n_tokens = (shard.rows % 7 + 1).astype(np.int32)
    rival.commit(shard, {}, n_tokens, n_tokens > 5, STATS, other)
    expected = known_values(shard.rows, "curvature")[2]
    np.testing.assert_array_equal(group.read_values("curvature", 2, shard.rows), expected)
    assert len(group.ledger.records()) == 2


@pytest.mark.parametrize("wrong", [np.zeros((4, 63), np.float32), np.zeros((4, 64), np.float64)])
def test_values_of_another_shape_or_dtype_are_refused(store: Store, wrong: np.ndarray) -> None:
    group = store.begin_checkpoint(spec())
    group.begin_text_values(["curvature"])
    (shard, *_) = all_shards(group)
    n_tokens = np.ones(64, np.int32)
    with pytest.raises(TypeError, match=r"the shard takes float32 \(4, 64\)"):
        group.commit(shard, {}, n_tokens, n_tokens > 5, STATS, {"curvature": wrong})
    assert group.committed_values("curvature") == set()


def test_plain_zarr_and_xarray_read_the_same_values(group: CheckpointGroup) -> None:
    path = f"{group.storage.url}/{group.prefix}"
    expected = known_values(np.arange(300), "prompt_entropy")
    array = zarr.open_array(f"{path}/prompt_entropy", mode="r")
    assert (array.dtype, array.chunks, array.shape) == (np.dtype("<f4"), (4, 64), (4, 300))
    np.testing.assert_array_equal(array[...], expected)
    dataset = xr.open_zarr(path, chunks=None)
    assert dataset["prompt_entropy"].dims == ("layer", "text")
    assert dataset["prompt_entropy"].attrs["unit"] == "nats"
    np.testing.assert_array_equal(dataset["prompt_entropy"].values, expected)
    np.testing.assert_array_equal(
        dataset["mean_pool"].values, known_states(np.arange(300), group.spec)
    )


def test_a_chunk_is_all_layers_of_a_shard_little_endian_and_its_crc32c(
    group: CheckpointGroup,
) -> None:
    data = group.storage.read(f"{group.prefix}/curvature/c.0.4")
    values = np.frombuffer(data[:-4], "<f4").reshape(4, 64)
    np.testing.assert_array_equal(values[:, :44], known_values(np.arange(256, 300), "curvature"))
    assert np.isnan(values[:, 44:]).all()
    assert int.from_bytes(data[-4:], "little") == google_crc32c.value(data[:-4])


def test_texts_added_later_lengthen_every_array_and_go_into_new_shards(
    store: Store, group: CheckpointGroup
) -> None:
    (row,) = store.add_texts(["one more"])
    fill(group)  # the pooled states alone
    dataset = xr.open_zarr(f"{store.url}/{group.prefix}", chunks=None)
    assert dataset.sizes["text"] == row + 1
    with pytest.raises(MissingShardsError):
        group.read_values("curvature", 0, np.array([row]))
    commit_values(group, all_shards(group)[-1])
    assert np.isfinite(group.read_values("curvature", 0, np.array([row])))
    assert np.isfinite(group.read_values("curvature", 0, np.array([1])))


def test_one_lazy_dataset_spans_the_values_of_all_checkpoints(
    store: Store, group: CheckpointGroup
) -> None:
    later = store.begin_checkpoint(spec(checkpoint="step2", layers=(1, 2)))
    fill(later)
    later.begin_text_values(["curvature"])
    for shard in all_shards(later):
        n_tokens = (shard.rows % 7 + 1).astype(np.int32)
        values = {"curvature": known_values(shard.rows, "curvature")[1:3]}
        later.commit(shard, {}, n_tokens, n_tokens > 5, STATS, values)
    dataset = store.dataset(MODEL)
    array = dataset["curvature"]
    assert array.dims == ("checkpoint", "layer", "text")
    assert (array.attrs["unit"], array.dtype) == ("radians", np.float32)
    expected = known_values(np.arange(300), "curvature")
    np.testing.assert_array_equal(array.sel(checkpoint="step1").values, expected)
    np.testing.assert_array_equal(array.sel(layer=[1, 2]).values, [expected[1:3]] * 2)
    picked = array.isel(checkpoint=0, layer=[3, 0], text=[250, 3, 3])
    np.testing.assert_array_equal(picked.values, expected[[3, 0]][:, [250, 3, 3]])
    assert array.isel(checkpoint=0, layer=1, text=5).values == expected[1, 5]
    with pytest.raises(MissingShardsError, match="At step2.*no stored layer '3'"):
        array.sel(checkpoint="step2", layer=3).compute()
    with pytest.raises(MissingShardsError, match="At step2.*--token-metrics"):
        dataset["prompt_entropy"].sel(checkpoint="step2", layer=1).compute()


def test_a_missing_shard_raises_where_plain_zarr_reads_nan(
    store: Store, group: CheckpointGroup
) -> None:
    (store.path / group.prefix / "curvature/c.0.2").unlink()
    array = open_store(store.url).dataset(MODEL)["curvature"]
    assert np.isfinite(array.isel(text=1)).all()
    with pytest.raises(MissingShardsError, match="128:192"):
        array.mean().compute()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (Path.unlink, "missing"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (_flip, "crc32c"),
        (lambda path: path.write_bytes(path.with_name("c.0.3").read_bytes()), "another shard's"),
    ],
    ids=["missing", "empty", "one bit", "another shard in its place"],
)
def test_verify_finds_each_kind_of_damage_and_names_the_command(
    store: Store, group: CheckpointGroup, damage: object, says: str
) -> None:
    assert verify_store(store).problems == ()
    damage(store.path / group.prefix / "curvature/c.0.1")
    (problem,) = verify_store(store, repair=True).problems
    assert says in problem.what
    assert (problem.array, problem.rows) == ("curvature", (64, 128))
    assert " --token-metrics" in problem.command
    assert group.committed_values("curvature") == {0, 2, 3, 4}


def test_a_damaged_chunk_is_an_error_when_it_is_read(store: Store, group: CheckpointGroup) -> None:
    _flip(store.path / group.prefix / "curvature/c.0.1")
    with pytest.raises(CorruptShardError, match=r"curvature/c\.0\.1 is damaged.*actstore verify"):
        group.read_values("curvature", 0, np.array([70]))


def test_the_ledger_holds_a_record_of_each_array_and_shard(group: CheckpointGroup) -> None:
    records = [r for r in group.ledger.records() if r["array"] in NAMES]
    assert {(r["array"], r["shard"]) for r in records} == {(n, i) for n in NAMES for i in range(5)}
    assert {tuple(r["rows"]) for r in records} == {(i * 64, i * 64 + 64) for i in range(5)}
