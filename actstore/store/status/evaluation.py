"""How far the evaluation of a store is, and what could not be scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from actstore.store.records.journal import read_fields
from actstore.store.results.records import EvaluationFailure, in_training_order
from actstore.store.storage import Storage
from actstore.store.texts.distinct import distinct

if TYPE_CHECKING:
    from actstore.store.store import Store

_FIELDS = pa.schema(
    {
        "at": pa.float64(),
        "model": pa.string(),
        "checkpoint": pa.string(),
        "layer": pa.int64(),
        "pooling": pa.string(),
        "transform": pa.string(),
        "task": pa.string(),
    }
)


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


def scored_units(storage: Storage) -> pa.Table:
    """What is scored: at, model, checkpoint, layer, pooling, transform, task, each unit once."""
    table = read_fields(storage, "scores/journal", _FIELDS)
    place = table.schema.get_field_index("transform")  # early journals lack it
    table = table.set_column(place, "transform", pc.fill_null(table["transform"], ""))
    return distinct(table.drop_null(), _FIELDS.names[1:])


def evaluation_status(store: Store, units: pa.Table | None = None) -> EvaluationStatus:
    """What is scored and what failed, as the score journals say.

    units: of `scored_units`, where they were read already.
    """
    units = scored_units(store.storage) if units is None else units
    key = ["model", "checkpoint", "pooling", "transform"]
    groups = units.to_pandas().groupby(key, sort=False)
    counts = groups.agg(layers=("layer", "nunique"), tasks=("task", "nunique")).reset_index()
    counts = in_training_order(counts, key).drop(columns="step")
    columns = [*FailedUnit.__dataclass_fields__]
    failures = store.evaluation_failures()[columns].to_dict("records")
    return EvaluationStatus(
        tuple(ScoredCheckpoint(*row) for row in counts.itertuples(index=False, name=None)),
        tuple(FailedUnit(**{str(k): v for k, v in row.items()}) for row in failures),
    )
