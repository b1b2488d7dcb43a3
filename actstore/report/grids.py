"""Scores and metrics as grids: one number for every checkpoint and layer, or none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.refs import by_training_step


@dataclass(frozen=True)
class Grid:
    """One number per (checkpoint, layer) of one model."""

    title: str
    """What is shown: a task, the mean over tasks, or a metric."""
    source: str
    """Of which states: `mean pooling`, `tokens/sample`."""
    model: str
    """As headings name it."""
    label: str
    """What the number is, with its unit: the colour bar's label."""
    kind: str
    """`score` or `metric`."""
    checkpoints: tuple[str, ...]
    """In training order."""
    layers: tuple[int, ...]
    """Ascending."""
    values: NDArray[np.float64]
    """(checkpoint, layer); NaN where there is none."""
    about: str
    """One sentence below the figure."""

    @property
    def n_missing(self) -> int:
        """How many cells have no number."""
        return int(np.isnan(self.values).sum())

    @property
    def slug(self) -> str:
        """Title and source as a file name."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.title} {self.source}").strip("-").lower()


def shown_name(model: str) -> str:
    """A model as a heading names it: a hub name as it is, a folder by its last component."""
    is_folder = model.startswith((".", "/", "~"))
    return model.rstrip("/").rpartition("/")[2] if is_folder else model


def task_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """One score a (model, checkpoint, layer, pooling, task): the mean of what the suite counts.

    scores: rows of `Store.scores()`. Columns of the result: model, checkpoint, layer, pooling (with
    the transform, where there is one: `mean (l2)`), task, task_type, score. A unit with a NaN score
    has none.
    """
    counted = scores[scores["in_average"].astype(bool)]
    named = counted["pooling"] + " (" + counted["transform"] + ")"
    counted = counted.assign(pooling=counted["pooling"].where(counted["transform"] == "", named))
    keys = ["model", "checkpoint", "layer", "pooling", "task", "task_type"]
    found = counted.groupby(keys)["main_score"].agg(lambda part: part.mean(skipna=False))
    return found.rename("score").reset_index()


def mean_grid(scores: pd.DataFrame) -> Grid:
    """The unweighted mean over all tasks, only where every task was scored.

    A mean over fewer tasks would not compare: tasks differ more than layers do.
    scores: what `task_scores` returns, of one model and pooling.
    """
    tasks = scores["task"].nunique()
    whole = scores.groupby(["checkpoint", "layer"])["score"].agg(
        lambda cell: cell.mean() if cell.count() == tasks else np.nan
    )
    return _grid(
        whole,
        scores,
        title=f"Mean over {tasks} tasks",
        source=f"{scores['pooling'].iloc[0]} pooling",
        label="mean main score",
        kind="score",
        about="Unweighted mean of the tasks' main scores, where all of them were scored.",
    )


def task_grids(scores: pd.DataFrame) -> Iterator[Grid]:
    """One grid a task. scores: what `task_scores` returns, of one model and pooling."""
    for task, part in scores.groupby("task"):
        yield _grid(
            part.set_index(["checkpoint", "layer"])["score"],
            scores,
            title=str(task),
            source=f"{part['pooling'].iloc[0]} pooling",
            label="main score",
            kind="score",
            about=f"{task} ({part['task_type'].iloc[0]}): main score.",
        )


def metric_grids(metrics: pd.DataFrame) -> Iterator[Grid]:
    """For every metric and source one grid. metrics: rows of `Store.metric_table()`, one model."""
    for (metric, source), part in metrics.groupby(["metric", "source"]):
        unit = part["unit"].iloc[0]
        counted = f"From {source}, {_count(part['n'])} per value."
        yield _grid(
            part.set_index(["checkpoint", "layer"])["value"].astype(float),
            part,
            title=str(metric),
            source=str(source),
            label=f"{metric} ({unit})" if unit else str(metric),
            kind="metric",
            about=f"{metric}: {part['definition'].iloc[0]}. {counted}",
        )


def _count(n: pd.Series[int]) -> str:
    return f"{n.min():,}" if n.min() == n.max() else f"{n.min():,} to {n.max():,}"


def _grid(
    values: pd.Series[float],
    everything: pd.DataFrame,
    *,
    title: str,
    source: str,
    label: str,
    kind: str,
    about: str,
) -> Grid:
    """values: by (checkpoint, layer). everything: whose checkpoints and layers make the axes."""
    checkpoints = by_training_step(everything["checkpoint"].unique())
    layers = sorted(int(layer) for layer in everything["layer"].unique())
    table = values.unstack("layer").reindex(index=checkpoints, columns=layers)
    return Grid(
        title=title,
        source=source,
        model=shown_name(str(everything["model"].iloc[0])),
        label=label,
        kind=kind,
        checkpoints=tuple(checkpoints),
        layers=tuple(layers),
        values=table.to_numpy(np.float64),
        about=about,
    )


def best_layers(grid: Grid) -> pd.DataFrame:
    """Per checkpoint the layer with the highest number, next to the last layer's.

    Columns: checkpoint, best_layer, score, last_layer, last_layer_score, gain. Of equal layers the
    lowest counts. Checkpoints without any number are left out.
    """
    rows = []
    for checkpoint, values in zip(grid.checkpoints, grid.values, strict=True):
        if np.isnan(values).all():
            continue
        best, last = int(np.nanargmax(values)), len(grid.layers) - 1
        rows.append(
            {
                "checkpoint": checkpoint,
                "best_layer": grid.layers[best],
                "score": values[best],
                "last_layer": grid.layers[last],
                "last_layer_score": values[last],
                "gain": values[best] - values[last],
            }
        )
    return pd.DataFrame(rows)


def best_per_task(grids: list[Grid]) -> pd.DataFrame:
    """Per grid the checkpoint and layer with the highest number: task, checkpoint, layer, score."""
    rows = []
    for grid in grids:
        if grid.n_missing == grid.values.size:
            continue
        i, j = np.unravel_index(np.nanargmax(grid.values), grid.values.shape)
        where = {"checkpoint": grid.checkpoints[i], "layer": grid.layers[j]}
        rows.append({"task": grid.title, **where, "score": grid.values[i, j]})
    return pd.DataFrame(rows)
