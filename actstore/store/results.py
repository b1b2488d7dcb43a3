"""Results in a store: MTEB scores and metric values, keyed by everything they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from actstore.refs import by_training_step, training_step
from actstore.store.journal import Json, append_records, read_records
from actstore.store.storage import Storage

_METRICS = "metrics/journal"
MTEB_RESULTS = "scores/mteb"
"""Root of an mteb ResultCache."""
_METRIC_KEY = ["model", "checkpoint", "layer", "metric", "source"]
_METRIC_COLUMNS = [*_METRIC_KEY, "step", "value", "n", "definition", "parameters"]


@dataclass(frozen=True, kw_only=True)
class ScoreRecord:
    """The score of one (model, checkpoint, layer, pooling, transform, task, split, subset)."""

    model: str
    checkpoint: str
    layer: int
    pooling: str
    transform: str = ""
    """What was done to the states before scoring: `center+l2`; empty for states as stored."""
    task: str
    task_type: str
    split: str
    subset: str
    main_score: float
    scores: Mapping[str, float]
    """All scalar scores mteb gave: the leaves."""
    in_average: bool
    """Whether the suite's mapping counts this split and subset in the task's score."""
    evaluation_seconds: float
    mteb_version: str
    inputs_digest: str
    """Of all that the score depends on: task bundle, splits and subsets, states, versions."""
    environment: Mapping[str, Json] = field(default_factory=dict)
    """What else decides the last bits: threads, versions, platform. Stored once for all scores
    that have the same."""


@dataclass(frozen=True)
class EvaluationFailure:
    """Why a (model, checkpoint, layer, pooling, transform, task) has no score."""

    model: str
    checkpoint: str
    layer: int
    pooling: str
    transform: str
    task: str
    error: str
    """Kind and message."""
    traceback: str


@dataclass(frozen=True)
class MetricRecord:
    """The value of one (model, checkpoint, layer, metric, source)."""

    model: str
    checkpoint: str
    layer: int
    metric: str
    source: str
    """What it was computed from: `mean_pool`, `tokens/sample`."""
    value: float
    """NaN where the metric is undefined for the data."""
    n: int
    """Texts, rows or tokens that it is over."""
    definition: str
    parameters: Mapping[str, Json] = field(default_factory=dict)


def record_metrics(storage: Storage, records: Sequence[MetricRecord]) -> None:
    append_records(storage, _METRICS, [asdict(record) for record in records])


def metric_table(storage: Storage) -> pd.DataFrame:
    """One row a (model, checkpoint, layer, metric, source), the latest value."""
    records: list[dict[str, Any]] = read_records(storage, _METRICS)
    if not records:
        return pd.DataFrame(columns=_METRIC_COLUMNS)
    table = pd.DataFrame(records).drop_duplicates(_METRIC_KEY, keep="last")
    return in_training_order(table, _METRIC_KEY)[_METRIC_COLUMNS]


def metric_array(storage: Storage) -> xr.DataArray:
    """Metric values as (model, checkpoint, layer, metric, source); NaN where there is none."""
    table = metric_table(storage)
    if table.empty:
        shape, dims = (0,) * len(_METRIC_KEY), _METRIC_KEY
        return xr.DataArray(np.empty(shape), dims=dims, name="metrics")
    array: xr.DataArray = table.set_index(_METRIC_KEY)["value"].to_xarray()
    ordered = array.sel(checkpoint=by_training_step(array["checkpoint"].values))
    return ordered.assign_coords(step=("checkpoint", steps(ordered["checkpoint"].values)))


def in_training_order(table: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """A table with a column `step`, sorted by model, step and the rest of its key."""
    names = table["checkpoint"].unique()
    table = table.assign(step=table["checkpoint"].map(dict(zip(names, steps(names), strict=True))))
    table["step"] = table["step"].astype(np.float64)
    return table.sort_values(["model", "step", *key[1:]], ignore_index=True)


def steps(checkpoints: Iterable[object]) -> list[float]:
    """Training steps as floats, NaN where the name states none (it sorts last)."""
    found = [training_step(str(name)) for name in checkpoints]
    return [np.nan if step is None else float(step) for step in found]
