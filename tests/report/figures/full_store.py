"""Stores to draw: one that has what every figure needs, and scores and metrics of any shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from actstore.metrics import MetricsRequest, compute_metrics
from actstore.store import Store, create_store
from tests.metrics.small_store import MODEL, N_BLOCKS, small_store
from tests.report.scored_store import TASKS, metric, score

CHECKPOINTS = ("step0", "step1000")
LAYERS = range(N_BLOCKS + 1)


def full_store(folder: Path) -> Store:
    """States, tokens and a head of two checkpoints; scores, metrics of texts, tasks, the lens."""
    store = small_store(folder).store
    compute_metrics(store, MetricsRequest(model=MODEL, against=()))
    lens = ("lens_entropy", "lens_kl_layer_to_final", "lens_gold_rank", "lens_gold_top1")
    compute_metrics(store, MetricsRequest(model=MODEL, metrics=lens))
    rng = np.random.default_rng(0)
    places = [(name, layer) for name in CHECKPOINTS for layer in LAYERS]
    store.record_scores(
        [
            score(name, layer, task, float(rng.uniform()), model=MODEL)
            for name, layer in places
            for task in TASKS
        ]
    )
    store.record_metrics(
        [
            replace(
                metric(name, layer, "dataset_entropy", float(rng.uniform()), model=MODEL),
                source=f"mean_pool/{task}",
            )
            for name, layer in places
            for task in TASKS
        ]
    )
    return store


def results_store(
    folder: Path,
    scores: np.ndarray,
    *,
    tasks: tuple[str, ...] = tuple(TASKS),
    model: str = MODEL,
    pooling: str = "mean",
) -> Store:
    """Scores alone. scores: (checkpoint, layer, task); NaN is a score that was not made."""
    store = create_store(folder / "results.zarr")
    store.record_scores(
        [
            score(f"step{10**i}", layer, tasks[k], float(value), model=model, pooling=pooling)
            for (i, layer, k), value in np.ndenumerate(scores)
            if not np.isnan(value)
        ]
    )
    return store
