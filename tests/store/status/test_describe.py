from __future__ import annotations

from pathlib import Path

from actstore.store import describe_store
from tests.support.states import known_store


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
