"""What a store holds, and how far its extraction is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from actstore.store.checkpoint import CheckpointGroup
    from actstore.store.store import Store


@dataclass(frozen=True)
class CheckpointInfo:
    """One checkpoint."""

    checkpoint: str
    layers: tuple[int, ...]
    hidden_size: int
    dtype: str
    poolings: tuple[str, ...]
    token_samples: tuple[str, ...]
    has_head: bool
    n_bytes: int
    """Of its committed shards."""


@dataclass(frozen=True)
class ModelInfo:
    """One model and its checkpoints in training order."""

    model: str
    max_tokens: int
    n_truncated: int
    """Texts longer than max_tokens, among those extracted so far."""
    checkpoints: tuple[CheckpointInfo, ...]


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds."""

    url: str
    n_texts: int
    text_bytes: int
    tasks: tuple[str, ...]
    suites: tuple[str, ...]
    models: tuple[ModelInfo, ...]
    n_scores: int
    n_metrics: int


@dataclass(frozen=True)
class PoolingStatus:
    """How far one array is."""

    model: str
    checkpoint: str
    array: str
    done: int
    total: int
    """Shards that hold any of the store's texts."""
    last_commit: float | None
    """Seconds since 1970."""
    tokens_per_second: float | None
    """Over the shards committed so far."""


def describe_store(store: Store) -> StoreInfo:
    """What a store holds. Reads metadata and ledgers, no states."""
    texts = store.texts()
    return StoreInfo(
        url=store.url,
        n_texts=len(texts),
        text_bytes=int(texts["n_bytes"].sum()),
        tasks=tuple(store.tasks()),
        suites=tuple(store.suites()),
        models=tuple(_model(store, name) for name in store.models()),
        n_scores=len(store.scores()),
        n_metrics=len(store.metric_table()),
    )


def extraction_status(store: Store) -> list[PoolingStatus]:
    """How many shards of every array are done, of those that hold any of the store's texts."""
    return [
        status
        for model in store.models()
        for checkpoint in store.checkpoints(model)
        for status in _statuses(store, store.checkpoint(model, checkpoint))
    ]


def _model(store: Store, name: str) -> ModelInfo:
    groups = [store.checkpoint(name, checkpoint) for checkpoint in store.checkpoints(name)]
    return ModelInfo(
        model=name,
        max_tokens=max((group.spec.max_tokens for group in groups), default=0),
        n_truncated=int(store.text_lengths(name)["truncated"].sum()),
        checkpoints=tuple(_checkpoint(group) for group in groups),
    )


def _checkpoint(group: CheckpointGroup) -> CheckpointInfo:
    return CheckpointInfo(
        checkpoint=group.checkpoint,
        layers=group.layers,
        hidden_size=group.spec.hidden_size,
        dtype=group.spec.dtype,
        poolings=tuple(group.poolings()),
        token_samples=tuple(group.token_samples()),
        has_head=group.has_head(),
        n_bytes=sum(record["bytes"] for record in group.ledger.records()),
    )


def _statuses(store: Store, group: CheckpointGroup) -> list[PoolingStatus]:
    records = group.ledger.records()
    shards = set(np.unique(store.text_rows() // group.layout.rows_per_shard).tolist())
    statuses = []
    for pooling in group.poolings():
        array = f"{pooling}_pool"
        mine = [record for record in records if record["array"] == array]
        seconds = sum(record["seconds"] for record in mine)
        statuses.append(
            PoolingStatus(
                model=group.model,
                checkpoint=group.checkpoint,
                array=array,
                done=len(group.committed(pooling) & shards),
                total=len(shards),
                last_commit=max((record["at"] for record in mine), default=None),
                tokens_per_second=sum(r["n_tokens"] for r in mine) / seconds if seconds else None,
            )
        )
    return statuses
