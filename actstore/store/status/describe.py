"""What a store holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actstore.store.storage import each

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
    text_values: tuple[str, ...]
    """Token metrics of every text: `prompt_entropy`, `curvature`."""
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


def describe_store(store: Store) -> StoreInfo:
    """What a store holds. Reads metadata and ledgers, no states."""
    return StoreInfo(
        url=store.url,
        n_texts=sum(stop - start for start, stop in store.text_spans()),
        text_bytes=store.text_bytes(),
        tasks=tuple(store.tasks()),
        suites=tuple(store.suites()),
        models=tuple(_model(store, name) for name in store.models()),
        n_scores=len(store.scores()),
        n_metrics=len(store.metric_table()),
    )


def _model(store: Store, name: str) -> ModelInfo:
    groups = store.checkpoint_groups(name, store.checkpoints(name))
    return ModelInfo(
        model=name,
        max_tokens=max((group.spec.max_tokens for group in groups), default=0),
        n_truncated=int(store.text_lengths(name)["truncated"].sum()),
        checkpoints=tuple(each(store.storage, _checkpoint, groups)),
    )


def _checkpoint(group: CheckpointGroup) -> CheckpointInfo:
    return CheckpointInfo(
        checkpoint=group.checkpoint,
        layers=group.layers,
        hidden_size=group.spec.hidden_size,
        dtype=group.spec.dtype,
        poolings=tuple(group.poolings()),
        text_values=tuple(group.text_values()),
        token_samples=tuple(group.token_samples()),
        has_head=group.has_head(),
        n_bytes=group.ledger.n_bytes(),
    )
