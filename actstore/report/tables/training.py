"""How scores change from checkpoint to checkpoint, at each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from actstore.report.tables.state_scores import Gaps, StateScores, by_state, tabulate
from actstore.store.results.records import steps

_AT = ["layer", "over", "target"]


def checkpoint_trend(scores: pd.DataFrame, gaps: Gaps = Gaps.NAN) -> pd.DataFrame:
    """Every target at every layer, checkpoint after checkpoint.

    scores: as for `by_state`. Columns: model, pooling, transform, layer, over, target, checkpoint,
    step, score, change (since the checkpoint before; NaN if either has no score), since_first
    (since the first checkpoint of all), rank (of the checkpoint at this layer, 1 is the highest;
    equal ones share the mean rank).
    """
    told = ["checkpoint", "step", "score", "change", "since_first", "rank"]
    return tabulate(((one, _changes(one)) for one in by_state(scores, gaps)), [*_AT, *told])


def checkpoint_trend_wide(scores: pd.DataFrame, gaps: Gaps = Gaps.NAN) -> pd.DataFrame:
    """The scores of `checkpoint_trend`, a column a checkpoint in training order.

    Columns: model, pooling, transform, layer, over, target, and the checkpoints by name.
    """
    states = list(by_state(scores, gaps))
    names = list(dict.fromkeys(name for one in states for name in one.checkpoints))
    return tabulate(((one, _wide(one)) for one in states), [*_AT, *names])


def trend_slopes(
    scores: pd.DataFrame, gaps: Gaps = Gaps.NAN, steps_of: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """How much a target changes at each layer while the training steps grow tenfold.

    The slope over log10(1 + step) is the median of those between all pairs of checkpoints (Theil
    and Sen), as training curves are no lines and some checkpoints stand apart. Its 95 % interval
    (Sen 1968, https://doi.org/10.1080/01621459.1968.10480934) takes checkpoints as independent:
    where they are close it is too narrow.
    steps_of: training steps of checkpoints whose names state none (`main`); without they are left
    out, and `n_checkpoints` says how many count.
    Columns: model, pooling, transform, layer, over, target, n_checkpoints (int), slope, low, high
    (of scores). NaN unless all of at least three checkpoints with a step
    have a score.
    """
    told = ["n_checkpoints", "slope", "low", "high"]
    given = dict(steps_of or {})
    parts = ((one, pd.DataFrame(_slopes(one, given))) for one in by_state(scores, gaps))
    return tabulate(parts, [*_AT, *told])


def _wide(one: StateScores) -> pd.DataFrame:
    parts = [
        score.unstack("checkpoint")[one.checkpoints].assign(over=over, target=target)
        for over, target, score in one.mean_columns()
    ]
    return pd.concat(parts).reset_index().rename_axis(columns=None)


def _changes(one: StateScores) -> pd.DataFrame:
    parts = []
    for over, target, score in one.mean_columns():
        by_layer = score.groupby("layer")
        part = pd.DataFrame(
            {
                "score": score,
                "change": by_layer.diff(),
                "since_first": score - by_layer.transform(lambda values: values.iloc[0]),
                "rank": by_layer.rank(ascending=False),
            }
        )
        part = part.swaplevel().sort_index(level="layer", sort_remaining=False)
        parts.append(part.assign(over=over, target=target).reset_index())
    return pd.concat(parts)


def _slopes(one: StateScores, given: Mapping[str, float]) -> Iterator[dict[str, object]]:
    named = steps(one.checkpoints)
    at = np.array([given.get(c, step) for c, step in zip(one.checkpoints, named, strict=True)])
    known = np.isfinite(at)
    x = np.log10(1 + at[known])
    for over, target, score in one.mean_columns():
        table = score.unstack("layer").reindex(one.checkpoints).to_numpy()[known]
        for layer, values in zip(one.layers, table.T, strict=True):
            found = _slope(x, values)
            yield {"layer": layer, "over": over, "target": target, "n_checkpoints": len(x)} | found


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> dict[str, float]:
    from scipy import stats

    if len(x) < 3 or not np.isfinite(y).all():
        return dict.fromkeys(["slope", "low", "high"], np.nan)
    found = stats.theilslopes(y, x, alpha=0.95)
    return {"slope": found.slope, "low": found.low_slope, "high": found.high_slope}
