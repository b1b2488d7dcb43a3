from __future__ import annotations

from pathlib import Path

from actstore.store import describe_store, extraction_status
from tests.support.states import MODEL, commit_known, fill, known_store, spec


def test_a_store_is_described_by_what_was_committed(tmp_path: Path) -> None:
    store, group = known_store(tmp_path / "s.zarr")
    info = describe_store(store)
    assert (info.n_texts, info.text_bytes) == (300, sum(len(f"text {i}") for i in range(300)))
    (model,) = info.models
    (checkpoint,) = model.checkpoints
    assert model.n_truncated == sum(i % 7 + 1 > 5 for i in range(300))
    assert checkpoint.layers == (0, 1, 2, 3)
    assert checkpoint.poolings == ("mean",)
    assert checkpoint.n_bytes == 5 * group.layout.shard_bytes


def test_status_counts_the_shards_of_every_array(tmp_path: Path) -> None:
    store, _ = known_store(tmp_path / "s.zarr")
    second = store.begin_checkpoint(spec(checkpoint="step2"))
    second.begin_poolings(["mean"])
    shards = second.todo(store.text_rows(), ["mean"])
    commit_known(second, shards[0], ("mean",))
    counts = {(s.checkpoint, s.array): (s.done, s.total) for s in extraction_status(store)}
    assert counts == {("step1", "mean_pool"): (5, 5), ("step2", "mean_pool"): (1, 5)}
    store.add_texts(["one more"])
    fill(store.begin_checkpoint(spec()))
    done = {(s.model, s.checkpoint): (s.done, s.total) for s in extraction_status(store)}
    assert done == {(MODEL, "step1"): (6, 6), (MODEL, "step2"): (1, 6)}
