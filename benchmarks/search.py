"""The adaptive search against its competitors, on a finished table of scores or one made up.

python -m benchmarks.search [--table scores.parquet] [--metrics metrics.parquet] [--seeds 16]

Without --table it runs on a grid made by a seeded function, of the shape of the published one: 14
checkpoints x 25 layers x 16 tasks. Each seed has a random half of the tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from actstore.search.trials import read_metrics, read_scores, summary, trials
from benchmarks.timing import Row, target_table

CHECKPOINTS = ("step1", *(f"step{2**i}" for i in range(4, 10)), *(
    f"step{1000 * 2**i}" for i in range(1, 8)
))  # fmt: skip
REGRET, ARMS, COST = 0.003, 40, 0.05


def made_up_scores(
    checkpoints: Sequence[str] = CHECKPOINTS, n_layers: int = 25, n_tasks: int = 16, seed: int = 0
) -> pd.DataFrame:
    """Columns checkpoint, layer, task, score: surfaces that tasks share in part, and noise.

    The shared one rises late in training and has its ridge two thirds up, which moves down a little
    at the end; a task weighs it by its own factor and adds a wave of its own over both.
    """
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, len(checkpoints))[:, None]
    depth = np.linspace(0, 1, n_layers)
    learnt = 1 / (1 + np.exp(-12 * (time - 0.6))) - 0.25 * np.maximum(time - 0.85, 0)
    ridge = np.exp(-((depth - 0.75 + 0.1 * time) ** 2) / 0.18)
    rows = []
    for task in range(n_tasks):
        phase, pace, size = rng.uniform(0, 6, 2), rng.uniform(2, 5, 2), rng.uniform(0.005, 0.03)
        wave = size * np.sin(pace[0] * time + phase[0]) * np.sin(pace[1] * depth + phase[1])
        noise = rng.normal(0, 0.003, (len(checkpoints), n_layers))
        scores = rng.uniform(0.2, 0.6) + rng.uniform(0.05, 0.25) * learnt * ridge + wave + noise
        rows += [
            (checkpoint, layer, f"Task{task:02}", scores[i, layer])
            for i, checkpoint in enumerate(checkpoints)
            for layer in range(n_layers)
        ]
    return pd.DataFrame(rows, columns=["checkpoint", "layer", "task", "score"])


def made_up_metrics(scores: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Columns checkpoint, layer, metric, value: four, two of which know a little of the scores."""
    rng = np.random.default_rng(seed)
    means = (
        scores.groupby(["checkpoint", "layer"])["score"].mean().sample(frac=1, random_state=seed)
    )
    sizes = {"prompt_entropy": 3.0, "dataset_entropy": 5.0, "curvature": 80.0, "effective_rank": 20}
    told = {"prompt_entropy": 4.0, "curvature": 0.0, "dataset_entropy": -4.0, "effective_rank": 0.0}
    columns = {
        name: size * (1 + told[name] * (means - means.mean()) + rng.normal(0, 0.2, len(means)))
        for name, size in sizes.items()
    }
    wide = pd.DataFrame(columns).rename_axis(columns="metric")
    return wide.stack().rename("value").reset_index()


def target_rows(table: pd.DataFrame) -> list[Row]:
    """Of a summary of trials."""
    plain, racing, regrets = (
        table.loc["search"],
        table.loc["search, racing"],
        table["regret at 10 %"],
    )
    others = min(regrets.get(name, np.inf) for name in ("random", "LinUCB as published"))
    regret = plain["regret at 10 %"]
    return [
        Row("regret after 10 % of the arms", f"≤ {min(REGRET, others / 2):.5f}", f"{regret:.5f}"),
        Row("arms to the best, median", f"≤ {ARMS}", f"{plain['arms to best']:.1f}"),
        Row("scores to regret 0.003", f"≤ {COST:.0%}", f"{racing['cost to .003']:.1%}"),
        Row("stops that were right", "≥ 95 %", f"{racing['stops right']:.0%}"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=None)
    parser.add_argument("--metrics", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--layers", type=int, default=25)
    parser.add_argument("--tasks", type=int, default=16)
    asked = parser.parse_args()
    made_up = made_up_scores(n_layers=asked.layers, n_tasks=asked.tasks)
    scores = made_up if asked.table is None else read_scores(asked.table)
    made_up_too = made_up_metrics(scores) if asked.table is None else None
    metrics = made_up_too if asked.metrics is None else read_metrics(asked.metrics)
    found = summary(trials(scores, metrics, seeds=range(asked.seeds), halves=True))
    print(found.round(5).to_string())
    print(target_table(target_rows(found)))


if __name__ == "__main__":
    main()
