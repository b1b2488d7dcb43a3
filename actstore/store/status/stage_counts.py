"""How much of each stage's work a store holds, whoever did it and however often it was stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actstore.refs import parse_layers
from actstore.store.records.journal import read_fields
from actstore.store.status.asked import COMBINING, Asked, AskedModel
from actstore.store.status.extraction import CheckpointStatus, StoreStatus
from actstore.store.storage import Storage
from actstore.store.texts.distinct import distinct, rate

if TYPE_CHECKING:
    from actstore.store.store import Store

_VALUES = pa.schema(
    {
        "at": pa.float64(),
        "model": pa.string(),
        "checkpoint": pa.string(),
        "layer": pa.int64(),
        "metric": pa.string(),
        "source": pa.string(),
    }
)


@dataclass(frozen=True)
class Counted:
    """What a store holds of a stage's work."""

    done: int
    total: int | None
    """None where it is not known."""
    unit: str
    per_second: float | None = None
    last_at: float | None = None
    at_work: bool = False
    """Whether a worker holds a lease on any of it."""
    estimated: bool = False
    """Whether `total` takes for granted that checkpoints are all alike."""


def collected(store: Store, asked: Asked | None) -> Counted:
    """Tasks, or texts where there are no tasks."""
    tasks = set(store.tasks())
    if asked is not None and asked.tasks:
        return Counted(len(tasks & set(asked.tasks)), len(set(asked.tasks)), "tasks")
    if tasks and (asked is None or asked.tasks is None):
        return Counted(len(tasks), None, "tasks")
    return Counted(sum(end - first for first, end in store.text_spans()), None, "texts")


def extracted(status: StoreStatus, asked: Asked | None) -> Counted:
    """Shards of all arrays. Checkpoints that were not begun are taken to get as many as others."""
    done, total, known = 0, 0, bool(status.models)
    speeds, found = list[float](), list[CheckpointStatus]()
    for model in status.models:
        wanted = None if asked is None else asked.models.get(model.model)
        if asked is not None and wanted is None:
            continue
        names = None if wanted is None else wanted.checkpoints
        begun = [one for one in model.checkpoints if names is None or one.checkpoint in names]
        done += sum(one.progress.done for one in begun)
        total += sum(one.progress.total for one in begun)
        speeds.append(model.progress.shards_per_second or 0.0)
        found += begun
        if wanted is not None:
            each = max((one.progress.total for one in begun), default=0)
            known = known and each > 0 and wanted.n_checkpoints is not None
            total += each * max((wanted.n_checkpoints or 0) - len(begun), 0)
    if asked is not None:
        known = known and set(asked.models) <= {model.model for model in status.models}
    last = [one.last_commit for one in found if one.last_commit is not None]
    return Counted(
        done,
        total if known else None,
        "shards",
        per_second=sum(speeds) or None,
        last_at=max(last, default=None),
        at_work=any(one.workers for one in found),
    )


def scored(store: Store, units: pa.Table, asked: Asked | None) -> Counted:
    """Scores: of a task at a checkpoint, layer, pooling and transform.

    units: of `scored_units`.
    """
    if asked is None:
        return _counted(units, None, "scores")
    total, parts = _Total(), [units.schema.empty_table()]
    for name, model in asked.models.items():
        layers = _layers(store, name, model.scored_layers)
        parts.append(_asked_scores(units, name, model, layers, asked))
        each = None if layers is None else asked.n_scores(len(layers))
        total.add(each, model.n_checkpoints, None if asked.tasks is None else len(asked.tasks))
    return _counted(pa.concat_tables(parts), total.value, "scores")


def measured(storage: Storage, asked: Asked | None) -> Counted:
    """Metric values. Every checkpoint is taken to get as many as the one that has most."""
    table = read_fields(storage, "metrics/journal", _VALUES)
    table = distinct(table.drop_null(), _VALUES.names[1:])
    if asked is None:
        return _counted(table, None, "values")
    total, parts = _Total(), [table.schema.empty_table()]
    for name, model in asked.models.items():
        kept = table.filter(_is(table, "model", [name]))
        if model.checkpoints is not None:
            kept = kept.filter(_is(kept, "checkpoint", model.checkpoints))
        most = max(pc.value_counts(kept["checkpoint"]).field("counts").to_pylist(), default=None)
        total.add(most, model.n_checkpoints)
        parts.append(kept)
    return _counted(pa.concat_tables(parts), total.value, "values", estimated=True)


def _asked_scores(
    table: pa.Table, name: str, model: AskedModel, layers: Sequence[int] | None, asked: Asked
) -> pa.Table:
    kept = table.filter(pc.and_(_is(table, "model", [name]), _is(table, "pooling", asked.poolings)))
    if model.checkpoints is not None:
        kept = kept.filter(_is(kept, "checkpoint", model.checkpoints))
    if asked.tasks is not None:
        kept = kept.filter(_is(kept, "task", asked.tasks))
    of_layer = _is(kept, "transform", asked.transforms)
    if layers is not None:
        of_layer = pc.and_(of_layer, pc.is_in(kept["layer"], pa.array(layers, pa.int64())))
    for word in COMBINING:  # the score names the layers as well: `mean4-7+l2`
        if any(one.startswith(word) for one in asked.transforms):
            of_layer = pc.or_(of_layer, pc.starts_with(kept["transform"], word))
    return kept.filter(of_layer)


def _is(table: pa.Table, column: str, names: Sequence[str]) -> pa.ChunkedArray:
    return pc.is_in(table[column], pa.array(names, pa.string()))


def _layers(store: Store, model: str, selection: str) -> tuple[int, ...] | None:
    """The layers a selection names; None for a model of which nothing is stored."""
    if model not in store.models():
        return None
    begun = store.checkpoints(model)
    if not begun:
        return None
    group = store.checkpoint(model, begun[0])
    if selection == "all":
        return group.layers
    return parse_layers(selection, group.spec.n_blocks)


class _Total:
    """A sum of products, not known as soon as one factor is not."""

    def __init__(self) -> None:
        self.value: int | None = 0

    def add(self, *factors: int | None) -> None:
        product: int | None = 1
        for factor in factors:
            product = None if factor is None or product is None else product * factor
        self.value = None if product is None or self.value is None else self.value + product


def _counted(table: pa.Table, total: int | None, unit: str, *, estimated: bool = False) -> Counted:
    at = table["at"].to_numpy()
    last = float(np.max(at)) if len(at) else None
    return Counted(len(table), total, unit, rate(at, time.time()), last, estimated=estimated)
