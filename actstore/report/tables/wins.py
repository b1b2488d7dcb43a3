"""On how many tasks each arm is better than a baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from actstore.errors import UnknownNameError
from actstore.refs import look_up
from actstore.report.multiple_tests import Correction, adjusted
from actstore.report.tables.state_scores import STATE, Gaps, StateScores, by_state, tabulate


@dataclass(frozen=True)
class Baseline:
    """The arm that all others are held against: of the same model, pooling and transform."""

    checkpoint: str | None = None
    """None: the last one."""
    layer: int | None = None
    """None: the last one."""


def win_rate(
    scores: pd.DataFrame,
    baseline: Baseline | None = None,
    gaps: Gaps = Gaps.NAN,
    tie: float = 0.0,
    correction: Correction = Correction.HOLM,
) -> pd.DataFrame:
    """The share of tasks on which each arm is above the baseline, over all and of each type.

    scores: as for `by_state`. tie: differences up to this count half a win.
    Columns: model, pooling, transform, checkpoint, step, layer, over, target, baseline_checkpoint,
    baseline_layer, n_tasks, wins, ties, losses (nullable integers), win_rate ((wins + ties / 2) /
    n_tasks), low, high (its 95 % interval by Wilson 1927,
    https://doi.org/10.1080/01621459.1927.10502953), difference (mean, ours less the baseline's), p
    (two-sided sign test, without ties), p_adjusted (for all arms of the same target). NaN unless
    all tasks are scored at both. Tasks are taken as independent; many share data, so these
    intervals are narrow at best.
    Raises UnknownNameError for a baseline that is not among the arms.
    """
    columns = ["checkpoint", "step", "layer", "over", "target", "baseline_checkpoint"]
    columns += ["baseline_layer", "n_tasks", "wins", "ties", "losses", "win_rate", "low", "high"]
    columns += ["difference", "p"]
    chosen = baseline or Baseline()
    parts = (
        (one, pd.concat(_against(one, _arm(one, chosen), tie)))
        for one in by_state(scores, gaps)
        if not one.scores.empty
    )
    table = tabulate(parts, columns)
    families = table.groupby([*STATE, "over", "target"])["p"]
    return table.assign(p_adjusted=families.transform(lambda p: adjusted(p.to_numpy(), correction)))


def _arm(one: StateScores, baseline: Baseline) -> tuple[str, int]:
    checkpoint = baseline.checkpoint or one.checkpoints[-1]
    look_up("checkpoint among these scores", checkpoint, one.checkpoints, "")
    layer = one.layers[-1] if baseline.layer is None else baseline.layer
    if layer not in one.layers:
        raise UnknownNameError(
            f"There is no layer {layer} among these scores. There are: {one.layers}."
        )
    return checkpoint, layer


def _against(one: StateScores, arm: tuple[str, int], tie: float) -> Iterator[pd.DataFrame]:
    differences = one.scores - one.scores.loc[arm]
    for (over, target), tasks in one.targets(tasks=False).items():
        part = differences[tasks]
        whole = part.notna().all(axis=1)
        counts = {
            "wins": (part > tie).sum(axis=1),
            "ties": (part.abs() <= tie).sum(axis=1),
            "losses": (part < -tie).sum(axis=1),
        }
        table = pd.DataFrame(counts).where(whole).astype("Int64")
        tested = [
            _tested(*(int(count) for count in row)) if complete else (np.nan,) * 4
            for row, complete in zip(table.itertuples(index=False, name=None), whole, strict=True)
        ]
        table[["win_rate", "low", "high", "p"]] = tested
        yield table.assign(
            difference=part.mean(axis=1, skipna=False),
            over=over,
            target=target,
            n_tasks=len(tasks),
            baseline_checkpoint=arm[0],
            baseline_layer=arm[1],
        ).reset_index()


@cache
def _tested(wins: int, ties: int, losses: int) -> tuple[float, float, float, float]:
    """Win rate, its interval, and p of the sign test."""
    from scipy import stats

    n = wins + ties + losses
    rate = (wins + ties / 2) / n
    low, high = wilson(rate, n)
    decided = wins + losses
    p = float(stats.binomtest(wins, decided).pvalue) if decided else 1.0
    return rate, low, high, p


def wilson(share: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's interval of a share of n; the share may count halves. z: of 95 % if left out."""
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))
