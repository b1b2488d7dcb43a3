"""A store with scores and metrics of a model that was never extracted: results alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actstore.store import MetricRecord, ScoreRecord, Store, create_store

TASKS = {
    "Modules": "Classification",
    "Groups": "Clustering",
    "Similar": "STS",
    "Find": "Retrieval",
}
MODEL = "someone/small"


def score(
    checkpoint: str,
    layer: int,
    task: str,
    value: float,
    *,
    model: str = MODEL,
    pooling: str = "mean",
    subset: str = "default",
    in_average: bool = True,
) -> ScoreRecord:
    return ScoreRecord(
        model=model,
        checkpoint=checkpoint,
        layer=layer,
        pooling=pooling,
        task=task,
        task_type=TASKS.get(task, "STS"),
        split="test",
        subset=subset,
        main_score=value,
        scores={"main": value},
        in_average=in_average,
        evaluation_seconds=1.0,
        mteb_version="2",
        inputs_digest="d",
    )


def metric(
    checkpoint: str, layer: int, name: str, value: float, *, model: str = MODEL, unit: str = "nats"
) -> MetricRecord:
    return MetricRecord(
        model=model,
        checkpoint=checkpoint,
        layer=layer,
        metric=name,
        source="mean_pool",
        value=value,
        n=500,
        unit=unit,
        definition="Somebody 2020",
        inputs="d",
    )


def scored_store(folder: Path, n_checkpoints: int = 6, n_layers: int = 7) -> Store:
    """Scores that rise with training and peak two thirds up; one cell was not evaluated."""
    store = create_store(folder / "scored.zarr")
    rng = np.random.default_rng(3)
    names = [f"step{int(2**i) * 10 if i else 0}" for i in range(n_checkpoints)]
    depth = np.linspace(0, 1, n_layers)
    scores, metrics = [], []
    for i, name in enumerate(names):
        for layer, x in enumerate(depth):
            shape = 0.3 + 0.3 * (i / n_checkpoints) * (1 - (x - 0.67) ** 2)
            noise = rng.normal(0, 0.01, len(TASKS))
            cells = zip(TASKS, shape + noise + [0.1, -0.1, 0.15, -0.15], strict=True)
            if (i, layer) != (2, 3):
                scores += [score(name, layer, task, float(value)) for task, value in cells]
            metrics.append(metric(name, layer, "effective_rank", 40 * (1 - x * i / 8), unit="dims"))
            metrics.append(metric(name, layer, "curvature", float(2 - x + 0.1 * i), unit="radians"))
    store.record_scores(scores)
    store.record_metrics(metrics)
    return store
