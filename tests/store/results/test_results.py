from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actstore.errors import CorruptShardError, UnknownNameError
from actstore.store import MetricRecord, create_store

METRIC = MetricRecord(
    model="m",
    checkpoint="step10",
    layer=0,
    metric="effective_rank",
    source="mean_pool",
    value=3.5,
    n=100,
    unit="dimensions",
    definition="Roy & Vetterli 2007",
    inputs="d",
)


def test_a_store_without_metrics_has_an_empty_array_with_the_same_dimensions(
    tmp_path: Path,
) -> None:
    store = create_store(tmp_path / "s.zarr")
    assert store.metrics().sizes == dict.fromkeys(
        ["model", "checkpoint", "layer", "metric", "source"], 0
    )
    assert store.metric_table().empty


def test_metrics_are_labelled_and_nan_where_there_is_none(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.record_metrics(
        [
            METRIC,
            replace(METRIC, checkpoint="main", layer=1, value=7.0),
            replace(METRIC, checkpoint="step2", metric="curvature", source="tokens/x", value=1.25),
        ]
    )
    metrics = store.metrics()["value"]
    assert metrics["checkpoint"].values.tolist() == ["step2", "step10", "main"]
    at = {"model": "m", "metric": "effective_rank", "source": "mean_pool"}
    assert float(metrics.sel(at, drop=True).sel(checkpoint="main", layer=1)) == 7.0
    assert math.isnan(float(metrics.sel(at).sel(checkpoint="step2", layer=0)))
    np.testing.assert_array_equal(metrics["step"].values, [2, 10, np.nan])


def test_a_metric_that_is_undefined_is_stored_as_nan(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.record_metrics([replace(METRIC, value=math.nan)])
    (record,) = store.metric_table().to_dict("records")
    assert math.isnan(record["value"])
    assert record["n"] == 100


def test_values_come_with_their_interval_counts_and_definition(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.record_metrics([replace(METRIC, low=3.0, high=4.0, n_undefined=2)])
    metrics = store.metrics().squeeze()
    assert (float(metrics["low"]), float(metrics["high"])) == (3.0, 4.0)
    assert (int(metrics["n"]), int(metrics["n_undefined"])) == (100, 2)
    assert str(metrics["unit"].values) == "dimensions"
    assert str(metrics["definition"].values) == "Roy & Vetterli 2007"


def test_numbers_of_single_texts_are_one_array_over_checkpoints_and_layers(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    mean = replace(METRIC, metric="curvature", source="tokens/x")
    for checkpoint, rows in (("step10", [1, 4]), ("step2", [1, 7])):
        for layer in (0, 1):
            record = replace(
                mean, checkpoint=checkpoint, layer=layer, values=f"{checkpoint}{layer}"
            )
            values = {f"{layer}/curvature": np.array([layer + 0.5, np.nan])}
            store.keep_metric_values(record.values, np.array(rows), values)
            store.record_metrics([record])
    found = store.metric_values("m", "curvature")
    assert found.dims == ("checkpoint", "layer", "text")
    assert found["checkpoint"].values.tolist() == ["step2", "step10"]
    assert found["step"].values.tolist() == [2, 10]
    assert found["text"].values.tolist() == [1, 4, 7]
    np.testing.assert_array_equal(found.sel(layer=1, text=1), [1.5, 1.5])
    assert np.isnan(found.sel(checkpoint="step2", text=4)).all()


def test_metrics_without_numbers_of_single_texts_are_named(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.record_metrics([METRIC, replace(METRIC, metric="curvature", values="gone")])
    with pytest.raises(UnknownNameError, match="'effective_rank'.*There are: curvature"):
        store.metric_values("m", "effective_rank")
    with pytest.raises(UnknownNameError, match="source"):
        store.metric_values("m", "curvature", "tokens/other")
    with pytest.raises(CorruptShardError, match="--overwrite"):
        store.metric_values("m", "curvature")
