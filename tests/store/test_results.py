from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from actstore.store import MetricRecord, ScoreRecord, create_store, open_store

SCORE = ScoreRecord(
    model="m",
    checkpoint="step10",
    layer=1,
    pooling="mean",
    task="STS12",
    task_type="STS",
    split="test",
    subset="default",
    main_score=0.5,
    scores={"cosine_spearman": 0.5},
    in_average=True,
    evaluation_seconds=1.0,
    mteb_version="2",
    inputs_digest="d",
)
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


def test_scores_are_one_row_a_unit_and_the_latest_counts(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    store.record_scores([SCORE, replace(SCORE, checkpoint="step2"), replace(SCORE, layer=0)])
    store.record_scores([replace(SCORE, main_score=0.75)])
    table = open_store(store.url).scores()
    assert table[["checkpoint", "step", "layer", "main_score"]].values.tolist() == [
        ["step2", 2.0, 1, 0.5],
        ["step10", 10.0, 0, 0.5],
        ["step10", 10.0, 1, 0.75],
    ]
    assert table["scores"][0] == {"cosine_spearman": 0.5}


def test_a_store_without_results_has_empty_tables_with_the_same_columns(tmp_path: Path) -> None:
    store = create_store(tmp_path / "s.zarr")
    assert len(store.scores()) == 0
    assert {"model", "checkpoint", "step", "layer", "main_score"} <= set(store.scores().columns)
    assert store.metrics().sizes == dict.fromkeys(
        ["model", "checkpoint", "layer", "metric", "source"], 0
    )


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
