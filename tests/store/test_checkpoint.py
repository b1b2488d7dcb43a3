from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from actstore.errors import (
    CorruptShardError,
    MissingShardsError,
    PlanMismatchError,
    UnknownNameError,
)
from actstore.store import create_store, open_store
from actstore.store.heads.head import LensHead
from actstore.store.heads.head_ops import LayerNorm, Linear, Softcap
from actstore.store.storage import LocalStorage
from tests.support.states import MODEL, STATS, commit_known, fill, known_states, known_store, spec


def test_states_are_read_back_in_any_order_and_with_repeats(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    rows = [299, 0, 65, 65, 64]
    states = store.embeddings(MODEL, checkpoint="step1", layer=2, pooling="mean", rows=rows)
    assert states.dtype == np.float32
    np.testing.assert_array_equal(states, known_states(np.array(rows), group.spec)[2])


def test_states_are_found_by_text(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    texts = ["text 7", "text 3"]
    states = store.embeddings(MODEL, checkpoint="step1", layer=0, texts=texts)
    np.testing.assert_array_equal(states, known_states(np.array([7, 3]), group.spec)[0])


def test_plain_xarray_opens_a_checkpoint_without_our_code(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    expected = known_states(np.arange(300), group.spec)
    for dataset in (
        xr.open_zarr(f"{store.url}/{group.prefix}", chunks=None),
        xr.open_zarr(store.url, group=group.prefix, chunks=None, consolidated=False),
    ):
        assert dataset["mean_pool"].dims == ("layer", "text", "hidden")
        assert dataset["layer"].values.tolist() == [0, 1, 2, 3]
        assert dataset.attrs["checkpoint"] == "step1"
        np.testing.assert_array_equal(dataset["mean_pool"].values, expected)


def test_only_shards_that_are_not_done_are_to_do(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    rows = store.add_texts([f"text {i}" for i in range(300)])
    group = store.begin_checkpoint(spec())
    group.begin_poolings(["mean"])
    shards = group.todo(rows, ["mean"])
    assert [(s.index, len(s.rows)) for s in shards] == [(0, 64), (1, 64), (2, 64), (3, 64), (4, 44)]
    commit_known(group, shards[1], ("mean",))
    again = open_store(store.url).checkpoint(MODEL, "step1")
    assert [s.index for s in again.todo(rows, ["mean"])] == [0, 2, 3, 4]
    assert [s.index for s in again.todo(rows[:10], ["mean"])] == [0]


def test_a_pooling_added_later_leaves_the_others_alone(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    before = {p: p.stat().st_mtime_ns for p in store.path.rglob("mean_pool/c.*")}
    group.begin_poolings(["mean", "last"])
    shards = group.todo(store.text_rows(), ["mean", "last"])
    assert len(shards) == 5
    for shard in shards:
        commit_known(group, shard, ("last",))
    assert group.todo(store.text_rows(), ["mean", "last"]) == []
    assert {p: p.stat().st_mtime_ns for p in store.path.rglob("mean_pool/c.*")} == before


def test_an_object_without_a_record_is_not_done_and_is_replaced(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    rows = store.add_texts([f"text {i}" for i in range(64)])
    group = store.begin_checkpoint(spec())
    group.begin_poolings(["mean"])
    LocalStorage(store.path).create(f"{group.prefix}/mean_pool/c.0.0.0", b"from a killed writer")
    (shard,) = group.todo(rows, ["mean"])
    with pytest.raises(MissingShardsError):
        group.read("mean", 0, rows)
    commit_known(group, shard, ("mean",))
    np.testing.assert_array_equal(group.read("mean", 1, rows), known_states(rows, group.spec)[1])


def test_a_record_without_an_object_is_not_done(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    (store.path / group.prefix / "mean_pool" / "c.0.2.0").unlink()
    again = open_store(store.url).checkpoint(MODEL, "step1")
    assert [s.index for s in again.todo(store.text_rows(), ["mean"])] == [2]
    with pytest.raises(MissingShardsError, match="128:192"):
        again.read("mean", 0, np.arange(100, 200))


def test_committing_what_another_worker_committed_keeps_the_first(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr", n_texts=64)
    rival = open_store(store.url).checkpoint(MODEL, "step1")
    (shard,) = [s for s in _all_shards(rival) if s.index == 0]
    builder = rival.new_builder()
    builder.put(shard.positions, np.zeros((4, 64, 8), "float16"))
    n_tokens = (shard.rows % 7 + 1).astype(np.int32)
    rival.commit(shard, {"mean": builder}, n_tokens, n_tokens > 5, STATS)
    np.testing.assert_array_equal(
        group.read("mean", 3, shard.rows), known_states(shard.rows, group.spec)[3]
    )
    assert len(rival.ledger.records()) == 1


def _all_shards(group: object) -> list:
    from actstore.store.arrays.sharded import shards_of

    rows = group.texts.rows()
    return shards_of(rows, rows, group.layout.rows_per_shard)


def test_missing_rows_name_the_command_that_fills_them(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    rows = store.add_texts([f"text {i}" for i in range(100)])
    group = store.begin_checkpoint(spec())
    group.begin_poolings(["mean"])
    commit_known(group, group.todo(rows, ["mean"])[0], ("mean",))
    command = r"actstore extract .*s\.zarr --model org/model --checkpoints step1 --pooling mean"
    with pytest.raises(MissingShardsError, match=rf"rows 64:128 .*{command}"):
        store.embeddings(MODEL, checkpoint="step1", layer=0, pooling="mean")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"model": "org/modle"}, "Did you mean 'org/model'"),
        ({"checkpoint": "step2"}, "Did you mean 'step1'"),
        ({"layer": 9}, "no stored layer '9'"),
        ({"pooling": "maen"}, "Did you mean 'mean'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(
    tmp_path: Path, wrong: dict[str, object], says: str
) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    asked = {"model": MODEL, "checkpoint": "step1", "layer": 0, "pooling": "mean", **wrong}
    with pytest.raises(UnknownNameError, match=says):
        store.embeddings(asked.pop("model"), **asked)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"max_tokens": 8}, "max_tokens: the store has 16, asked is 8"),
        ({"dtype": "float32"}, "dtype: the store has 'float16', asked is 'float32'"),
        ({"layers": (0, 1)}, r"layers: the store has \[0, 1, 2, 3\], asked is \[0, 1\]"),
        ({"weights_digest": "other"}, "weights_digest: the store has 'w', asked is 'other'"),
        ({"tokenizer_digest": "other"}, "tokenizer_digest"),
    ],
)
def test_another_plan_for_the_same_arrays_is_an_error_naming_both_values(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    with pytest.raises(PlanMismatchError, match=says):
        store.begin_checkpoint(spec(**change))


def test_provenance_may_differ_between_runs(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    assert store.begin_checkpoint(spec(provenance={"device": "cuda"})).checkpoint == "step1"


def test_without_a_final_norm_the_normed_pooling_is_the_raw_one_stored_once(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr", has_final_norm=False)
    group.begin_poolings(["mean", "mean_normed"])
    assert group.poolings() == ["mean"]
    assert group.todo(store.text_rows(), ["mean_normed"]) == []
    rows = np.arange(5)
    np.testing.assert_array_equal(
        group.read("mean_normed", 1, rows), known_states(rows, group.spec)[1]
    )


def test_token_counts_that_change_between_checkpoints_are_an_error(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr", n_texts=64)
    group = store.begin_checkpoint(spec(checkpoint="step2"))
    group.begin_poolings(["mean"])
    (shard,) = group.todo(store.text_rows(), ["mean"])
    builder = group.new_builder()
    builder.put(shard.positions, known_states(shard.rows, group.spec))
    wrong = np.full(64, 3, np.int32)
    with pytest.raises(CorruptShardError, match="n_tokens"):
        group.commit(shard, {"mean": builder}, wrong, wrong > 5, STATS)
    assert group.committed("mean") == set()


def test_texts_added_later_go_into_new_shards(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    before = {p: p.read_bytes() for p in store.path.rglob("mean_pool/c.*")}
    new = store.add_texts(["one more", "another"])
    fill(store.begin_checkpoint(spec()))
    np.testing.assert_array_equal(
        store.embeddings(MODEL, checkpoint="step1", layer=3, texts=["another"]),
        known_states(new[1:], group.spec)[3],
    )
    assert {p: p.read_bytes() for p in before} == before


def test_a_lens_head_comes_back_and_gives_the_same_logits(tmp_path: Path) -> None:
    _, group = known_store(tmp_path / "s.zarr")
    assert not group.has_head()
    with pytest.raises(MissingShardsError, match="--lens-head"):
        group.head()
    rng = np.random.default_rng(0)
    arrays = {
        "norm.gain": rng.standard_normal(8, np.float32),
        "norm.bias": np.zeros(8, np.float32),
        "lm_head.weight": rng.standard_normal((9000, 8), np.float32).astype(np.float16),
    }
    ops = (LayerNorm("norm.gain", "norm.bias", 1e-5), Linear("lm_head.weight", None), Softcap(30.0))
    head = LensHead(ops, arrays, max_abs_error=1e-6)
    group.write_head(head)
    stored = open_store(group.storage.url).checkpoint(MODEL, "step1").head()
    assert stored.ops == head.ops
    assert stored.arrays["lm_head.weight"].dtype == np.float16
    states = rng.standard_normal((5, 8))
    np.testing.assert_array_equal(stored.logits(states), head.logits(states))
