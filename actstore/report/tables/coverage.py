"""What was scored and measured, what is missing, and what can be compared all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from itertools import combinations

import numpy as np
import pandas as pd

from actstore.refs import by_training_step, ranges
from actstore.report.tables.slices import largest_box
from actstore.report.tables.state_scores import StateScores, by_state, tabulate
from actstore.store.results.records import steps

_AXES = ("checkpoints", "layers", "tasks")


def coverage_by_task(scores: pd.DataFrame) -> pd.DataFrame:
    """How many layers of each checkpoint are scored on each task.

    scores: as for `by_state`. Columns: model, pooling, transform, checkpoint, step, task,
    task_type, n_scored, n_layers (int), share (0 to 1), missing_layers (`0-3, 6`).
    """
    columns = ["checkpoint", "step", "task", "task_type", "n_scored", "n_layers", "share"]
    return tabulate(
        ((one, _layers_of_tasks(one)) for one in by_state(scores)), [*columns, "missing_layers"]
    )


def coverage_by_layer(scores: pd.DataFrame) -> pd.DataFrame:
    """How many tasks are scored at each checkpoint and layer, and which are not.

    Columns: model, pooling, transform, checkpoint, step, layer, n_scored, n_tasks (int), share
    (0 to 1), missing_tasks (names with commas between).
    """
    columns = ["checkpoint", "step", "layer", "n_scored", "n_tasks", "share", "missing_tasks"]
    return tabulate(((one, _tasks_of_layers(one)) for one in by_state(scores)), columns)


def comparable_slices(scores: pd.DataFrame) -> pd.DataFrame:
    """The largest sets of checkpoints, layers and tasks without a gap.

    One row a rule: the largest of all, then those that keep every checkpoint, layer or task, or two
    of these. How they are found, and when that is exact: `largest_box`. `Gaps.SLICE` takes the
    first. Columns: model, pooling, transform, keeps (`any`, `tasks`, `checkpoints, layers` …),
    n_checkpoints, n_layers, n_tasks, n_scores (int), share (of all cells), checkpoints, layers,
    tasks (named, with commas between; empty where there is no such slice).
    """
    columns = ["keeps", *(f"n_{axis}" for axis in _AXES), "n_scores", "share", *_AXES]
    return tabulate(((one, _slices(one)) for one in by_state(scores)), columns)


def metric_availability(metrics: pd.DataFrame, arms: pd.DataFrame | None = None) -> pd.DataFrame:
    """Which metrics there are of which layers of each checkpoint, and why others are NaN.

    metrics: rows of `Store.metric_table()`: model, checkpoint, layer, metric, source, value, and
    reason. arms: model, checkpoint and layer of all there should be; None: all with any metric.
    Columns: model, metric, source, checkpoint, step, n_values, n_nan, n_missing (int),
    nan_layers, missing_layers (`0-3, 6`), reasons (each with its count).
    """
    if "reason" not in metrics:
        metrics = metrics.assign(reason="")
    places = [metrics[["model", "checkpoint", "layer"]]]
    known = pd.concat(places if arms is None else [*places, arms[["model", "checkpoint", "layer"]]])
    rows: list[tuple[Hashable, ...]] = []
    for model, there in known.drop_duplicates().groupby("model"):
        own = metrics[metrics["model"] == model]
        checkpoints = by_training_step(map(str, there["checkpoint"].unique()))
        layers = there.groupby("checkpoint")["layer"].agg(set)
        for (metric, source), part in own.groupby(["metric", "source"]):
            of = {str(name): group for name, group in part.groupby("checkpoint")}
            for checkpoint in checkpoints:
                found = of.get(checkpoint, part.iloc[:0])
                told = _availability(found, {int(layer) for layer in layers[checkpoint]})
                rows.append((model, metric, source, checkpoint, *told))
    return _available(rows)


def _availability(part: pd.DataFrame, layers: set[int]) -> tuple[int, int, int, str, str, str]:
    nan = part[part["value"].isna()]
    missing = layers - {int(layer) for layer in part["layer"]}
    reasons = Counter(str(reason) or "no reason recorded" for reason in nan["reason"].fillna(""))
    why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    counts = len(part) - len(nan), len(nan), len(missing)
    return (*counts, _listed(nan["layer"]), _listed(missing), why)


def _available(rows: list[tuple[Hashable, ...]]) -> pd.DataFrame:
    told = ["n_values", "n_nan", "n_missing", "nan_layers", "missing_layers", "reasons"]
    table = pd.DataFrame(rows, columns=["model", "metric", "source", "checkpoint", *told])
    names = table["checkpoint"].unique()
    found = dict(zip(names, steps(names), strict=True))
    table.insert(4, "step", table["checkpoint"].map(found).astype(np.float64))
    return table


def _layers_of_tasks(one: StateScores) -> pd.DataFrame:
    there = one.scores.notna()
    rows = []
    for checkpoint, part in there.groupby("checkpoint", sort=False):
        layers = part.index.get_level_values("layer")
        for task, scored in part.items():
            missing = _listed(layers[~scored.to_numpy()])
            n = int(scored.sum())
            row = (checkpoint, task, one.types[str(task)], n, len(part), n / len(part), missing)
            rows.append(row)
    columns = ["checkpoint", "task", "task_type", "n_scored", "n_layers", "share"]
    return pd.DataFrame(rows, columns=[*columns, "missing_layers"])


def _tasks_of_layers(one: StateScores) -> pd.DataFrame:
    there = one.scores.notna()
    n_tasks = len(there.columns)
    table = there.sum(axis=1).rename("n_scored").reset_index()
    names = np.array([str(task) for task in there.columns])
    missing = [", ".join(names[~scored]) for scored in there.to_numpy()]
    return table.assign(n_tasks=n_tasks, share=table["n_scored"] / n_tasks, missing_tasks=missing)


def _slices(one: StateScores) -> pd.DataFrame:
    present = np.isfinite(one.cells())
    tasks = [str(task) for task in one.scores.columns]
    rows = []
    for count in range(3):
        for keep in combinations(range(3), count):
            box = largest_box(present, keep)
            lengths = [len(places) for places in box]
            size = int(np.prod(lengths))
            keeps = ", ".join(_AXES[axis] for axis in keep) or "any"
            checkpoints = ", ".join(one.checkpoints[i] for i in box[0])
            layers = _listed(one.layers[i] for i in box[1])
            named = ", ".join(tasks[i] for i in box[2])
            share = size / present.size
            rows.append((keeps, *lengths, size, share, checkpoints, layers, named))
    columns = ["keeps", *(f"n_{axis}" for axis in _AXES), "n_scores", "share", *_AXES]
    return pd.DataFrame(rows, columns=columns)


def _listed(layers: Iterable[int]) -> str:
    return ranges(sorted(int(layer) for layer in layers))
