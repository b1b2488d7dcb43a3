"""Scores, leaves, metrics and texts as tables; scores and metrics as labelled arrays too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from actstore.errors import InvalidInputError
from actstore.export.files import as_records
from actstore.export.request import ExportRequest
from actstore.refs import look_up, parse_layers
from actstore.selection import select_checkpoints
from actstore.store import Store
from actstore.store.results.records import in_training_order

_PLACE = ["model", "checkpoint", "step", "layer", "pooling", "transform"]
_MADE_BY = {
    "scores": "actstore eval {store} --suite …",
    "leaves": "actstore eval {store} --suite …",
    "metrics": "actstore metrics {store}",
    "texts": "actstore collect {store} --suite …",
}
_SCORED = [*_PLACE, "task", "split", "subset"]


def export_table(store: Store, request: ExportRequest) -> pd.DataFrame:
    """A kind of numbers as a tidy table.

    Raises UnknownNameError, and InvalidInputError where there is nothing of what is asked for.
    """
    table = TABLES[request.what](store, request)
    if table.empty:
        raise InvalidInputError(
            f"{store.url} has no {request.what} of that. See what it has: actstore info {store.url}"
            f". Make some: {_MADE_BY[request.what].format(store=store.url)}"
        )
    return table.reset_index(drop=True)


def export_arrays(store: Store, request: ExportRequest) -> xr.Dataset:
    """The same with its own dimensions where it has such, else along one: `record`."""
    table = export_table(store, request)
    if request.what == "scores":
        return _score_arrays(store, request, table)
    if request.what == "metrics":
        return _metric_arrays(store, table)
    return as_records(table)


def _score_arrays(store: Store, request: ExportRequest, table: pd.DataFrame) -> xr.Dataset:
    names = ["model", "checkpoint", "layer", "pooling", "transform"]
    array = store.score_array(request.suite)
    return array.sel(_labels(array, table, names)).rename("score").to_dataset()


def _metric_arrays(store: Store, table: pd.DataFrame) -> xr.Dataset:
    dataset = store.metrics()
    return dataset.sel(_labels(dataset, table, [*map(str, dataset.dims)]))


def _labels(
    arrays: xr.DataArray | xr.Dataset, table: pd.DataFrame, names: list[str]
) -> dict[str, list[object]]:
    """What of each dimension is in a table, in the arrays' order."""
    kept = {name: set(table[name]) for name in names}
    return {
        name: [v for v in arrays[name].to_numpy().tolist() if v in kept[name]] for name in names
    }


def _scores(store: Store, request: ExportRequest) -> pd.DataFrame:
    table = _chosen(store, store.task_scores(request.suite), request)
    return table if request.pooling is None else table[table["pooling"] == request.pooling]


def _leaves(store: Store, request: ExportRequest) -> pd.DataFrame:
    """One row a number: a task's leaves are other ones than the next one's."""
    tasks = store.task_scores(request.suite)["task"].unique()
    parts = [store.score_leaves(str(task)) for task in tasks]
    long = [part.melt(_SCORED, var_name="leaf", value_name="value") for part in parts]
    table = pd.concat(long or [pd.DataFrame(columns=[*_SCORED, "leaf", "value"])])
    table = _chosen(store, table.dropna(subset="value"), request)
    if request.pooling is not None:
        table = table[table["pooling"] == request.pooling]
    key = [name for name in (*_SCORED, "leaf") if name != "step"]
    return in_training_order(table, key)[[*_SCORED, "leaf", "value"]]


def _metrics(store: Store, request: ExportRequest) -> pd.DataFrame:
    table = _chosen(store, store.metric_table(), request).drop(columns=["values", "parameters"])
    if request.pooling is None:
        return table
    return table[table["source"].str.split("/").str[0] == f"{request.pooling}_pool"]


def _texts(store: Store, request: ExportRequest) -> pd.DataFrame:
    table = store.texts()
    models = store.models()
    model = request.model or (models[0] if len(models) == 1 else None)
    if model is not None:
        table = table.assign(**store.text_lengths(model))
    if request.suite is None:
        return table
    return table[np.isin(table["row"], store.rows_of_suite(request.suite))]


TABLES: dict[str, Callable[[Store, ExportRequest], pd.DataFrame]] = {
    "scores": _scores,
    "leaves": _leaves,
    "metrics": _metrics,
    "texts": _texts,
}
"""What is exported as one table."""


def _chosen(store: Store, table: pd.DataFrame, request: ExportRequest) -> pd.DataFrame:
    """The rows of a model, checkpoints and layers."""
    if request.model is not None and len(table):
        known = sorted(map(str, table["model"].unique()))
        listing = f"List: actstore info {store.url}"
        look_up(f"model with {request.what}", request.model, known, listing)
        table = table[table["model"] == request.model]
    if request.checkpoints and len(table):
        found = [str(name) for name in table["checkpoint"].unique()]
        chosen = select_checkpoints(request.checkpoints, lambda: found, stored=True)
        table = table[table["checkpoint"].isin(chosen)]
    if request.layers == "all" or table.empty:
        return table
    parts = [
        part[part["layer"].isin(parse_layers(request.layers, _n_blocks(store, str(model), part)))]
        for model, part in table.groupby("model", sort=False)
    ]
    return pd.concat(parts)


def _n_blocks(store: Store, model: str, table: pd.DataFrame) -> int:
    """A model's blocks, as extracted; of results without states, the last layer that has any."""
    if model in store.models() and (stored := store.checkpoints(model)):
        return store.checkpoint(model, stored[0]).spec.n_blocks
    return int(table["layer"].max())
