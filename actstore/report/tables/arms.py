"""Arms (a checkpoint and a layer) side by side: summaries, ranks, the best layer and its margin."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.report.tables.state_scores import Gaps, StateScores, by_state, tabulate

_PLACE = ["checkpoint", "step", "layer"]


def arm_summary(scores: pd.DataFrame, gaps: Gaps = Gaps.NAN) -> pd.DataFrame:
    """How the scores of every arm spread over tasks: over all, and over those of each type.

    scores: as for `by_state`. Columns: model, pooling, transform, checkpoint, step, layer, over,
    target (`all`, `all tasks`; `type`, its name), n_tasks, n_scored (int), mean, median, sd (of a
    sample: divided by n - 1), min, max. Numbers are NaN unless all tasks are scored.
    """
    told = ["over", "target", "n_tasks", "n_scored", "mean", "median", "sd", "min", "max"]
    return tabulate(((one, _summaries(one)) for one in by_state(scores, gaps)), [*_PLACE, *told])


def layer_profile(scores: pd.DataFrame, gaps: Gaps = Gaps.NAN) -> pd.DataFrame:
    """Every target at every layer, with the layer's rank in its checkpoint.

    Columns: model, pooling, transform, checkpoint, step, layer, depth (0 to 1: the layer as a share
    of the last one), over, target, score, rank (1 is the highest; equal ones share the mean rank),
    n_ranked (layers with a score: ranks among other numbers do not compare), below_best (the best
    layer's score less this one's), mean_rank (the mean over the target's tasks of the layer's rank
    on each).
    """
    told = ["depth", "over", "target", "score", "rank", "n_ranked", "below_best", "mean_rank"]
    return tabulate(((one, _profiles(one)) for one in by_state(scores, gaps)), [*_PLACE, *told])


def best_layers(scores: pd.DataFrame, gaps: Gaps = Gaps.NAN) -> pd.DataFrame:
    """The layer with the highest score of every checkpoint and target, and its margin.

    Columns: model, pooling, transform, checkpoint, step, over, target, best_layer (the lowest of
    equal ones), score, next_layer (the best of the others), margin (how much lower that one's score
    is), margin_low, margin_high (95 % t interval of the margin over the target's tasks, as a sample
    of tasks; it takes the two layers as given, so after choosing the best of many it is too
    narrow), tasks_won (share of the tasks on which the best layer is above the next; equal ones
    count half), last_layer, gain (over the last layer of the model), n_compared (layers with a
    score), n_layers. Layers are nullable integers: none where no layer has a score.
    """
    columns = ["checkpoint", "step", "over", "target", "best_layer", "score", "next_layer"]
    columns += ["margin", "margin_low", "margin_high", "tasks_won", "last_layer", "gain"]
    columns += ["n_compared", "n_layers"]
    parts = ((one, pd.DataFrame(_bests(one))) for one in by_state(scores, gaps))
    whole = dict.fromkeys(["best_layer", "next_layer", "last_layer"], "Int64")
    return tabulate(parts, columns).astype(whole)


def _summaries(one: StateScores) -> pd.DataFrame:
    parts = []
    for (over, target), tasks in one.targets(tasks=False).items():
        part = one.scores[tasks]
        whole = part.dropna().reindex(part.index)
        numbers = whole.agg(["mean", "median", "std", "min", "max"], axis=1)
        numbers = numbers.assign(over=over, target=target, n_tasks=len(tasks))
        parts.append(numbers.assign(n_scored=part.notna().sum(axis=1)).reset_index())
    return pd.concat(parts).rename(columns={"std": "sd"})


def _profiles(one: StateScores) -> pd.DataFrame:
    """By target, checkpoint and layer."""
    parts = []
    means = one.means()
    for (over, target), tasks in one.targets().items():
        score = means[over, target]
        by_checkpoint = score.groupby("checkpoint", sort=False)
        of_tasks = one.scores.loc[score.notna(), tasks]
        ranks = of_tasks.groupby("checkpoint", sort=False).rank(ascending=False).mean(axis=1)
        part = pd.DataFrame(
            {
                "score": score,
                "rank": by_checkpoint.rank(ascending=False),
                "n_ranked": by_checkpoint.transform("count").astype(int),
                "below_best": by_checkpoint.transform("max") - score,
                "mean_rank": ranks.reindex(score.index),
            }
        )
        parts.append(part.assign(over=over, target=target).reset_index())
    table = pd.concat(parts)
    last = max(one.layers, default=0)
    return table.assign(depth=table["layer"] / last if last else 0.0)


def _bests(one: StateScores) -> Iterator[dict[str, object]]:
    cells, layers = one.cells(), np.array(one.layers)
    places = {task: i for i, task in enumerate(one.scores.columns)}
    for checkpoint, scores in zip(one.checkpoints, cells, strict=True):
        for (over, target), tasks in one.targets().items():
            found = _best(scores[:, [places[task] for task in tasks]], layers)
            yield {"checkpoint": checkpoint, "over": over, "target": target, **found}


def _best(scores: NDArray[np.float64], layers: NDArray[np.int64]) -> dict[str, object]:
    """Of one checkpoint. scores: (layer, task)."""
    means = scores.mean(axis=1)
    order = np.argsort(-means, kind="stable")[: np.isfinite(means).sum()]  # NaN sorts last
    counts = {"n_compared": len(order), "n_layers": len(layers), "last_layer": layers[-1]}
    if not len(order):
        return {"best_layer": pd.NA, "next_layer": pd.NA, **counts} | dict.fromkeys(
            ["score", "margin", "margin_low", "margin_high", "tasks_won", "gain"], np.nan
        )
    best = order[0]
    found = {"best_layer": layers[best], "score": means[best], "gain": means[best] - means[-1]}
    if len(order) == 1:
        return {**counts, **found, "next_layer": pd.NA}
    differences = scores[best] - scores[order[1]]
    low, high = _t_interval(differences)
    won = ((differences > 0) + 0.5 * (differences == 0)).mean()
    margin = {"margin": differences.mean(), "margin_low": low, "margin_high": high}
    return {**counts, **found, "next_layer": layers[order[1]], **margin, "tasks_won": won}


def _t_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of a mean; NaN of fewer than two values."""
    if len(values) < 2:
        return np.nan, np.nan
    reach = _quantile(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - reach, values.mean() + reach


@cache
def _quantile(freedom: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.975, freedom))
