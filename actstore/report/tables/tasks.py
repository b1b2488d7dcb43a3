"""What single tasks tell: how much layers and checkpoints matter to each, and all their leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from actstore.report.tables.state_scores import Gaps, StateScores, by_state, tabulate

_PLACE = ["model", "checkpoint", "step", "layer", "pooling", "transform"]
_LEAF_KEY = [*_PLACE, "task", "task_type", "split", "subset"]


def task_sensitivity(scores: pd.DataFrame, gaps: Gaps = Gaps.NAN) -> pd.DataFrame:
    """How much the score of each task depends on layer and checkpoint.

    scores: as for `by_state`. Over the arms at which every task is scored, so that tasks compare.
    Columns: model, pooling, transform, task, task_type, n_arms (over which), n_scored (at which
    this task is scored), mean, sd (over arms, n - 1), min, max, range, sd_layers (over the layers
    of a checkpoint: root of the mean variance), sd_checkpoints (over the checkpoints of a layer),
    best_checkpoint, best_layer (of equal ones the first in training, then the lowest).
    """
    columns = ["task", "task_type", "n_arms", "n_scored", "mean", "sd", "min", "max", "range"]
    columns += ["sd_layers", "sd_checkpoints", "best_checkpoint", "best_layer"]
    parts = ((one, pd.DataFrame(_sensitivities(one))) for one in by_state(scores, gaps))
    return tabulate(parts, columns).astype({"best_layer": "Int64"})


def sub_metrics(leaves: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All numbers that mteb gave, one row each.

    leaves: what `Store.score_leaves(task)` returns, of any tasks. Columns: model, checkpoint, step,
    layer, pooling, transform, task, task_type, split, subset, leaf, value. A leaf that mteb gave as
    no number is NaN; one that it did not give is no row.
    """
    parts = [_long(table) for table in leaves]
    columns = [*_LEAF_KEY, "leaf", "value"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]


def _long(table: pd.DataFrame) -> pd.DataFrame:
    key = [name for name in _LEAF_KEY if name in table]
    names = [name for name in table if name not in key]
    long = table.melt(key, names, var_name="leaf", value_name="value")
    long = long.assign(**{name: "" for name in _LEAF_KEY if name not in key})
    return long[long["value"].notna()]


def _sensitivities(one: StateScores) -> Iterator[dict[str, object]]:
    whole = one.scores.dropna()
    for task in one.scores.columns:
        values = whole[task]
        best = values.index[int(values.argmax())] if len(values) else ("", pd.NA)
        yield {
            "task": task,
            "task_type": one.types[str(task)],
            "n_arms": len(values),
            "n_scored": int(one.scores[task].notna().sum()),
            "mean": values.mean(),
            "sd": values.std(),
            "min": values.min(),
            "max": values.max(),
            "range": values.max() - values.min(),
            "sd_layers": _sd_within(values, "checkpoint"),
            "sd_checkpoints": _sd_within(values, "layer"),
            "best_checkpoint": best[0],
            "best_layer": best[1],
        }


def _sd_within(values: pd.Series[float], level: str) -> float:
    """Root of the mean variance inside groups; those of one value have none."""
    return float(np.sqrt(values.groupby(level=level).var().mean()))
