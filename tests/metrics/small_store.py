"""A small real store whose states are known: two checkpoints, four layers, a sample and a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.store import (
    CheckpointGroup,
    CheckpointSpec,
    LensHead,
    ShardStats,
    Store,
    TokenisedText,
    create_store,
)
from actstore.store.heads.head_ops import LayerNorm, Linear
from actstore.store.heads.vocabulary import write_vocabulary

MODEL = "someone/small"
HIDDEN, N_BLOCKS, VOCABULARY = 12, 3, 90
N_TEXTS = 230
N_VIEWS = 3
STATS = ShardStats(1.0, 0, 0, 1.0, "cpu", {})


@dataclass(frozen=True)
class SmallStore:
    store: Store
    pooled: Mapping[str, NDArray[np.float32]]
    """By checkpoint: (layer, row, hidden); views, if any, have rows of their own."""
    tokens: Mapping[str, list[NDArray[np.float32]]]
    """By checkpoint, a text of the sample each: (layer, token, hidden)."""
    head: LensHead


def small_store(
    folder: Path,
    *,
    sample: bool = True,
    head: bool = True,
    views: bool = False,
    longest: int = 39,
    broken_row: int | None = None,
) -> SmallStore:
    rng = np.random.default_rng(7)
    store = create_store(folder / "small.zarr")
    store.add_texts([f"text number {i}" for i in range(N_TEXTS)])
    if views:
        _add_views(store)
    lens = small_head(rng)
    pooled, tokens = {}, {}
    for step in (0, 1000):
        name = f"step{step}"
        group = store.begin_checkpoint(small_spec(name))
        pooled[name] = _write_pooled(group, store, rng, broken_row)
        tokens[name] = _write_sample(group, rng, longest) if sample else []
        if head:
            group.write_head(lens)
            words = [f"word {i}" for i in range(VOCABULARY)]
            write_vocabulary(store.storage, MODEL, words, special=(0,), digest="t")
    return SmallStore(store, pooled, tokens, lens)


def _add_views(store: Store) -> None:
    sources = np.arange(0, N_TEXTS, 5)
    texts = [[f"view {view} of {row}" for view in range(N_VIEWS)] for row in sources]
    store.add_views("small", sources, texts, {"seed": 0})


def small_spec(checkpoint: str) -> CheckpointSpec:
    return CheckpointSpec(
        model=MODEL,
        checkpoint=checkpoint,
        n_blocks=N_BLOCKS,
        layers=tuple(range(N_BLOCKS + 1)),
        hidden_size=HIDDEN,
        dtype="float32",
        max_tokens=64,
        tokenizer_digest="t",
        weights_digest=checkpoint,
        has_final_norm=True,
    )


def small_head(rng: np.random.Generator) -> LensHead:
    arrays = {
        "gain": rng.normal(1, 0.2, HIDDEN).astype(np.float32),
        "shift": rng.normal(0, 0.2, HIDDEN).astype(np.float32),
        "unembedding": rng.normal(size=(VOCABULARY, HIDDEN)).astype(np.float32),
    }
    ops = (LayerNorm("gain", "shift", 1e-5), Linear("unembedding", None))
    return LensHead(ops, arrays, 0.0)


def _write_pooled(
    group: CheckpointGroup, store: Store, rng: Any, broken_row: int | None
) -> NDArray[np.float32]:
    n_rows = int(store.text_rows().max()) + 1
    states = rng.normal(size=(N_BLOCKS + 1, n_rows, HIDDEN)).astype(np.float32)
    states *= np.geomspace(5, 0.1, HIDDEN, dtype=np.float32)
    if broken_row is not None:
        states[:, broken_row, 3] = np.nan
    group.begin_poolings(["mean"])
    for shard in group.todo(store.text_rows(), ["mean"]):
        builder = group.new_builder()
        builder.put(shard.positions, states[:, shard.rows])
        n = len(shard.rows)
        group.commit(
            shard, {"mean": builder}, np.full(n, 3, np.int32), np.zeros(n, dtype=bool), STATS
        )
    return states


def _write_sample(group: CheckpointGroup, rng: Any, longest: int) -> list[NDArray[np.float32]]:
    lengths = (
        np.random.default_rng(1).integers(1, longest + 1, 20).tolist()
    )  # the same for checkpoints
    states = [rng.normal(size=(N_BLOCKS + 1, n, HIDDEN)).astype(np.float32) for n in lengths]
    texts = [
        TokenisedText(
            row, np.arange(n, dtype=np.int32), np.zeros(n, dtype=bool), np.ones(n, np.int32)
        )
        for row, n in enumerate(lengths)
    ]
    sample = group.begin_token_sample("sample", texts)
    starts = sample.spans["start"].to_numpy()
    for shard in sample.todo():
        builder = sample.new_builder()
        for start, text in zip(starts, states, strict=True):
            if shard.start <= start < shard.stop:
                places = np.arange(start, start + text.shape[1]) - shard.start
                builder.put(places, text)
        sample.commit(shard, builder, STATS)
    return states
