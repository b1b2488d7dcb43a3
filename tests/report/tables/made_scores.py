"""Scores of one model as `Store.task_scores` returns them, from an array."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

CHECKPOINTS = ["step0", "step10", "step100", "step1000"]
TYPES = {"Modules": "Classification", "Groups": "Clustering", "Names": "Classification"}


def made_scores(values: ArrayLike, *, pooling: str = "mean") -> pd.DataFrame:
    """values: (checkpoint, layer, task); NaN for what has no row."""
    cells = np.asarray(values, float)
    rows = [
        {
            "model": "someone/small",
            "checkpoint": CHECKPOINTS[place[0]],
            "layer": place[1],
            "pooling": pooling,
            "transform": "",
            "task": list(TYPES)[place[2]],
            "task_type": list(TYPES.values())[place[2]],
            "score": value,
        }
        for place, value in np.ndenumerate(cells)
        if np.isfinite(value)
    ]
    return pd.DataFrame(rows)


def cell(table: pd.DataFrame, **where: object) -> pd.Series:
    """The only row that has these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1, table
    return table.iloc[0]


def random_scores(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(4, 5, 3))
