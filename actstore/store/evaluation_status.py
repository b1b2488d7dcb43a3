"""How far the evaluation of a store is, and what could not be scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actstore.store.results import EvaluationFailure

if TYPE_CHECKING:
    from actstore.store.store import Store


@dataclass(frozen=True)
class ScoredCheckpoint:
    """What is scored of one checkpoint, by pooling and transform."""

    model: str
    checkpoint: str
    pooling: str
    transform: str
    n_layers: int
    """Layers that have any score."""
    n_tasks: int
    """Tasks that are scored at any layer."""


@dataclass(frozen=True, kw_only=True)
class FailedUnit(EvaluationFailure):
    """A task that could not be scored at one checkpoint and layer, and was not since."""

    at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class EvaluationStatus:
    """How far evaluation is."""

    scored: tuple[ScoredCheckpoint, ...]
    failures: tuple[FailedUnit, ...]


def evaluation_status(store: Store) -> EvaluationStatus:
    """What is scored and what failed, as the score journals say."""
    key = ["model", "checkpoint", "pooling", "transform"]
    groups = store.scores().groupby(key, sort=False)
    counts = groups.agg(layers=("layer", "nunique"), tasks=("task", "nunique")).reset_index()
    columns = [*FailedUnit.__dataclass_fields__]
    failures = store.evaluation_failures()[columns].to_dict("records")
    return EvaluationStatus(
        tuple(ScoredCheckpoint(*row) for row in counts.itertuples(index=False, name=None)),
        tuple(FailedUnit(**{str(k): v for k, v in row.items()}) for row in failures),
    )
