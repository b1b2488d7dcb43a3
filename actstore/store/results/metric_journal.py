"""Metric values in a store, keyed by everything they depend on; and the numbers of single texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.refs import by_training_step, look_up
from actstore.store.records.documents import (
    Fields,
    damaged,
    is_number,
    is_text,
    is_whole,
    wrong_field,
)
from actstore.store.records.journal import Json, append_records, read_records
from actstore.store.results.kept import METRIC_VALUES, keep, read_kept
from actstore.store.results.records import in_training_order, steps
from actstore.store.storage import Storage

_METRICS = "metrics/journal"
_KEY = ["model", "checkpoint", "layer", "metric", "source"]
_NUMBERS = ("value", "low", "high", "n", "n_undefined")


@dataclass(frozen=True, kw_only=True)
class MetricRecord:
    """The value of one (model, checkpoint, layer, metric, source)."""

    model: str
    checkpoint: str
    layer: int
    metric: str
    source: str
    """What it was computed from: `mean_pool`, `mean_pool/against=previous_layer`, `tokens/sample`.
    """
    value: float
    """NaN where the metric is undefined for the data."""
    n: int
    """Texts, rows or tokens that it is over."""
    n_undefined: int = 0
    """How many more there were for which it is not defined."""
    reason: str = ""
    """Why the value is NaN."""
    low: float = float("nan")
    """The interval's lower end; NaN where none was asked for or none can be given."""
    high: float = float("nan")
    interval: str = ""
    """How the interval was made, and its level."""
    unit: str
    definition: str
    inputs: str
    """Digest of everything else that the value depends on: states, rows, tokens, head."""
    values: str = ""
    """The key of the texts' own numbers, where the value is a mean of such."""
    parameters: Mapping[str, Json] = field(default_factory=dict)


_OPTIONAL = {one.name: one.default for one in fields(MetricRecord) if one.default is not MISSING}
_FIELDS: Fields = {
    **dict.fromkeys(("model", "checkpoint", "metric", "source", "unit", "definition"), is_text),
    **dict.fromkeys(("inputs", "values", "reason", "interval"), is_text),
    **dict.fromkeys(("layer", "n", "n_undefined"), is_whole),
    **dict.fromkeys(("value", "low", "high"), is_number),
}
_REQUIRED: Fields = {name: check for name, check in _FIELDS.items() if name not in _OPTIONAL}
_COLUMNS = [*_KEY, "step", *(f.name for f in fields(MetricRecord) if f.name not in _KEY)]


def record_metrics(storage: Storage, records: Sequence[MetricRecord]) -> None:
    append_records(storage, _METRICS, [asdict(record) for record in records])


def metric_table(storage: Storage) -> pd.DataFrame:
    """One row a (model, checkpoint, layer, metric, source), the latest value."""
    records = [{**_OPTIONAL, **one} for one in read_records(storage, _METRICS, _REQUIRED)]
    for one in records:
        if what := wrong_field(one, _FIELDS):
            raise damaged(storage, _METRICS, what)
    if not records:
        return pd.DataFrame(columns=_COLUMNS)
    table = pd.DataFrame(records).drop_duplicates(_KEY, keep="last")
    return in_training_order(table, _KEY)[_COLUMNS]


def metric_dataset(storage: Storage) -> xr.Dataset:
    """Values, intervals and counts as (model, checkpoint, layer, metric, source).

    NaN, and -1 for counts, where there is no value. `unit` and `definition` go with the metrics.
    """
    table = metric_table(storage)
    if table.empty:
        nothing = (_KEY, np.empty((0,) * len(_KEY)))
        return xr.Dataset(dict.fromkeys(_NUMBERS, nothing), {name: [] for name in _KEY})
    dataset: xr.Dataset = table.set_index(_KEY)[list(_NUMBERS)].to_xarray()
    for name in ("n", "n_undefined"):
        dataset[name] = dataset[name].fillna(-1).astype(np.int64)
    order = by_training_step(dataset["checkpoint"].values)
    dataset = dataset.sel(checkpoint=order)
    told = table.groupby("metric")[["unit", "definition"]].last().loc[dataset["metric"].values]
    return dataset.assign_coords(
        step=("checkpoint", steps(order)),
        unit=("metric", told["unit"].to_numpy(str)),
        definition=("metric", told["definition"].to_numpy(str)),
    )


def keep_metric_values(
    storage: Storage, key: str, rows: NDArray[np.int64], values: Mapping[str, NDArray[np.float64]]
) -> None:
    """Keep the numbers of single texts. values: (text,) by `{layer}/{metric}`."""
    keep(storage, METRIC_VALUES, key, {"row": rows, **values})


def metric_values(storage: Storage, model: str, metric: str, source: str | None) -> xr.DataArray:
    """A metric of every text by itself: (checkpoint, layer, text), with the texts' rows.

    source: None where the store has only one. Raises UnknownNameError for a metric or source
    without such numbers.
    """
    table = metric_table(storage)
    kept = table[(table["model"] == model) & (table["values"] != "")]
    hint = "Only means over texts or tokens have them: actstore metrics STORE --metric NAME"
    metric = look_up("metric with numbers of single texts", metric, _names(kept["metric"]), hint)
    kept = kept[kept["metric"] == metric]
    sources = _names(kept["source"])
    if source is None and len(sources) == 1:
        source = sources[0]
    look_up("source (say which)", str(source or ""), sources, "See: Store.metric_table()")
    arrays = [_values_of(storage, one) for one in kept[kept["source"] == source].itertuples()]
    array = cast(xr.DataArray, xr.combine_by_coords(arrays, join="outer"))
    ordered = array.sel(checkpoint=by_training_step(array["checkpoint"].values))
    named = ordered.rename(metric)
    return named.assign_coords(step=("checkpoint", steps(ordered["checkpoint"].values)))


def _values_of(storage: Storage, record: Any) -> xr.DataArray:
    kept = read_kept(storage, METRIC_VALUES, record.values)
    if kept is None:
        raise CorruptShardError(
            f"The values of single texts of {record.metric} at {record.checkpoint}, layer "
            f"{record.layer}, are missing. Run actstore metrics again with --overwrite."
        )
    values, rows = kept.get(f"{record.layer}/{record.metric}"), kept.get("row")
    if values is None or rows is None or values.ndim != 1 or values.shape != rows.shape:
        raise damaged(storage, METRIC_VALUES, f"{record.values!r} has no such values")
    return xr.DataArray(
        values[None, None],
        dims=("checkpoint", "layer", "text"),
        coords={"checkpoint": [record.checkpoint], "layer": [record.layer], "text": rows},
        attrs={"unit": record.unit, "definition": record.definition},
    )


def _names(column: pd.Series) -> list[str]:
    return sorted({str(name) for name in column})
