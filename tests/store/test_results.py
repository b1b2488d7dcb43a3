from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from actstore.store import MetricRecord, create_store

METRIC = MetricRecord(
    model="m",
    checkpoint="step10",
    layer=0,
    metric="effective_rank",
    source="mean_pool",
    value=3.5,
    n=100,
    definition="Roy & Vetterli 2007",
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
    metrics = store.metrics()
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
