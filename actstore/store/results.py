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

_SCORES = "scores/journal"
_METRICS = "metrics/journal"
MTEB_RESULTS = "scores/mteb"
"""Root of an mteb ResultCache."""


@dataclass(frozen=True)
class ScoreRecord:
    """The score of one (model, checkpoint, layer, pooling, task, split, subset)."""

    model: str
    checkpoint: str
    layer: int
    pooling: str
    task: str
    task_type: str
    split: str
    subset: str
    main_score: float
    scores: Mapping[str, float]
    """All scalar scores mteb gave."""
    in_average: bool
    """Whether the suite's mapping counts this split and subset in the task's score."""
    evaluation_seconds: float
    mteb_version: str
    inputs_digest: str
    """Of all that the score depends on: task bundle, splits and subsets, states, versions."""


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


_SCORE_KEY = ["model", "checkpoint", "layer", "pooling", "task", "split", "subset"]
_METRIC_KEY = ["model", "checkpoint", "layer", "metric", "source"]
_SCORE_COLUMNS = [
    *["model", "checkpoint", "step", "layer", "pooling", "task", "task_type", "split", "subset"],
    *["main_score", "in_average", "evaluation_seconds", "mteb_version", "inputs_digest", "scores"],
]
_METRIC_COLUMNS = [*_METRIC_KEY, "step", "value", "n", "definition", "parameters"]


def record_scores(storage: Storage, records: Sequence[ScoreRecord]) -> None:
    append_records(storage, _SCORES, [asdict(record) for record in records])


def record_metrics(storage: Storage, records: Sequence[MetricRecord]) -> None:
    append_records(storage, _METRICS, [asdict(record) for record in records])


def score_table(storage: Storage) -> pd.DataFrame:
    """One row a scored unit and subset, the latest where it was scored again."""
    return _latest(storage, _SCORES, _SCORE_KEY, _SCORE_COLUMNS)


def metric_table(storage: Storage) -> pd.DataFrame:
    """One row a (model, checkpoint, layer, metric, source), the latest value."""
    return _latest(storage, _METRICS, _METRIC_KEY, _METRIC_COLUMNS)


def metric_array(storage: Storage) -> xr.DataArray:
    """Metric values as (model, checkpoint, layer, metric, source); NaN where there is none."""
    table = metric_table(storage)
    if table.empty:
        shape, dims = (0,) * len(_METRIC_KEY), _METRIC_KEY
        return xr.DataArray(np.empty(shape), dims=dims, name="metrics")
    array: xr.DataArray = table.set_index(_METRIC_KEY)["value"].to_xarray()
    ordered = array.sel(checkpoint=by_training_step(array["checkpoint"].values))
    return ordered.assign_coords(step=("checkpoint", _steps(ordered["checkpoint"].values)))


def _latest(storage: Storage, folder: str, key: list[str], columns: list[str]) -> pd.DataFrame:
    records: list[dict[str, Any]] = read_records(storage, folder)
    if not records:
        return pd.DataFrame(columns=columns)
    table = pd.DataFrame(records).drop_duplicates(key, keep="last")
    table["step"] = _steps(table["checkpoint"])
    return table.sort_values(["model", "step", *key[1:]], ignore_index=True)[columns]


def _steps(checkpoints: Iterable[object]) -> list[float]:
    """Training steps as floats, NaN where the name states none (it sorts last)."""
    steps = [training_step(str(name)) for name in checkpoints]
    return [np.nan if step is None else float(step) for step in steps]
