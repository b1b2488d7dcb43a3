"""Small stores with states that are known: what tests of readers build on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actstore.store import CheckpointGroup, CheckpointSpec, ShardStats, Store, create_store

MODEL = "org/model"
STATS = ShardStats(
    seconds=0.5, n_tokens=10, n_truncated=0, max_abs=1.0, device="cpu", versions={"torch": "0"}
)


def spec(**changes: object) -> CheckpointSpec:
    """A plan of three blocks, hidden size 8; `changes` override fields."""
    fields: dict[str, object] = {
        "model": MODEL,
        "checkpoint": "step1",
        "n_blocks": 3,
        "layers": (0, 1, 2, 3),
        "hidden_size": 8,
        "dtype": "float16",
        "max_tokens": 16,
        "tokenizer_digest": "t",
        "weights_digest": "w",
        "has_final_norm": True,
    }
    return CheckpointSpec(**{**fields, **changes})  # type: ignore[arg-type]


def known_states(rows: NDArray[np.integer], plan: CheckpointSpec) -> NDArray[np.floating]:
    """(layer, n, hidden): a different value for every layer, row and unit, exact in float16."""
    layers = np.array(plan.layers)[:, None, None]
    units = np.arange(plan.hidden_size)[None, None, :]
    values = layers * 512 + (np.asarray(rows)[None, :, None] % 60) * 8 + units
    return values.astype(plan.dtype)


def fill(group: CheckpointGroup, poolings: tuple[str, ...] = ("mean",)) -> None:
    """Commit known states for every text of the store."""
    group.begin_poolings(poolings)
    for shard in group.todo(group.texts.rows(), poolings):
        commit_known(group, shard, poolings)


def commit_known(group: CheckpointGroup, shard: object, poolings: tuple[str, ...]) -> None:
    """Commit known states for one shard; each pooling's are its place among them higher."""
    builders = {}
    for offset, pooling in enumerate(poolings):
        builders[pooling] = group.new_builder()
        states = known_states(shard.rows, group.spec) + np.float16(offset)
        builders[pooling].put(shard.positions, states.astype(group.spec.dtype))
    n_tokens = (shard.rows % 7 + 1).astype(np.int32)
    group.commit(shard, builders, n_tokens, n_tokens > 5, STATS)


def known_store(path: Path, n_texts: int = 300, **changes: object) -> tuple[Store, CheckpointGroup]:
    """A store of `text 0`, `text 1`, … with one checkpoint filled."""
    store = create_store(path)
    store.add_texts([f"text {i}" for i in range(n_texts)])
    group = store.begin_checkpoint(spec(**changes))
    fill(group)
    return store, group
