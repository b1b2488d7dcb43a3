"""Rules that name a checkpoint and layer by metrics alone, before anything is scored.

They are those of temporal-depth-representations, which took the place of the published LinUCB:
PASS, dispersion, uniformity among the well aligned, an entropy as tie-break, and a shortlist that
is ranked by several metrics at once.
Source: https://github.com/MahdiarKhodabakhshi/temporal-depth-representations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from actstore.refs import by_training_step, look_up

Floats = NDArray[np.float64]
INDEX = ["checkpoint", "layer"]


@dataclass(frozen=True)
class Rule:
    """A rule: which metrics it needs and how it rates arms."""

    name: str
    needs: tuple[str, ...]
    """Names of registered metrics: docs/metrics.md."""
    about: str
    rates: Callable[[pd.DataFrame], pd.Series[float]]
    """Of arms that have all these metrics; higher is better, NaN for what it does not consider."""


def metric_grid(table: pd.DataFrame, model: str, source: str) -> pd.DataFrame:
    """A model's metrics, a row an arm: index checkpoint (in training order) and layer.

    table: of `Store.metric_table()`. source: of what metrics were computed, `mean_pool`; what is of
    something else that begins so, as views of it are, is taken too where there is only one.
    Raises UnknownNameError for a source there is not.
    """
    of_model = table[table["model"] == model]
    look_up("source of metrics", source, sorted(of_model["source"].unique()), "")
    rows = of_model[of_model["source"].str.startswith(source)]
    nearest = rows.assign(other=rows["source"] != source).sort_values(["other", "source"])
    first = nearest.drop_duplicates([*INDEX, "metric"])
    return in_order(first.pivot(index=INDEX, columns="metric", values="value"))


def in_order(grid: pd.DataFrame) -> pd.DataFrame:
    """Checkpoints in training order, layers ascending within each."""
    order = {name: place for place, name in enumerate(by_training_step(grid.index.unique(0)))}
    key = [(order[checkpoint], layer) for checkpoint, layer in grid.index]
    return grid.iloc[sorted(range(len(key)), key=key.__getitem__)]


def rate(rule: str, grid: pd.DataFrame) -> pd.Series[float]:
    """How a rule rates every arm, higher is better; NaN for arms it cannot or does not consider.

    grid: of `metric_grid`. Ties go to the earlier checkpoint, then the lower layer, as the first
    of equals. Raises UnknownNameError for a rule there is not and a metric that it needs.
    """
    found = RULES[look_up("rule", rule, list(RULES), "")]
    for name in found.needs:
        look_up("metric of these arms", name, list(grid.columns), f"The rule {rule} needs it.")
    known = grid.dropna(subset=list(found.needs))
    return found.rates(known).reindex(grid.index).rename(rule)


def choose(rule: str, grid: pd.DataFrame) -> tuple[str, int]:
    """The checkpoint and layer a rule names. Raises as `rate`; ValueError where it has none."""
    rated = rate(rule, grid).dropna()
    if rated.empty:
        raise ValueError(f"No arm has all metrics that the rule {rule} needs.")
    checkpoint, layer = rated.index[int(np.argmax(rated.to_numpy()))]
    return str(checkpoint), int(layer)


def pass_score(
    grid: pd.DataFrame, weights: Sequence[float] = (1.0, 0.75, 0.75, 1.0, 0.5)
) -> pd.Series[float]:
    """PASS of each arm: w0 z(D) + w1 z(U) - w2 z(A) + w3 z(P) - w4 z(V).

    D dispersion, U minus the uniformity loss, A alignment; with changes since the checkpoint before
    at the same layer, 0 at the first: P = sigmoid(d slope / 0.1) sigmoid(-d RankMe / 0.01), the
    phase, and V = |d D| + |d RankMe| + |d slope|, the volatility. z is (x - median) / MAD over all
    arms, 0 where the MAD is 0.
    """
    change = grid.groupby(level="layer").diff().fillna(0.0)
    phase = _sigmoid(change["spectral_slope"] / 0.1) * _sigmoid(-change["rankme"] / 0.01)
    volatility = change[["dispersion", "rankme", "spectral_slope"]].abs().sum(axis=1)
    terms = [grid["dispersion"], -grid["uniformity"], -grid["alignment"], phase, -volatility]
    total = sum(w * _robust(term) for w, term in zip(weights, terms, strict=True))
    return pd.Series(total, index=grid.index)


def _aligned_uniformity(grid: pd.DataFrame, quantile: float = 0.3) -> pd.Series[float]:
    aligned = grid["alignment"] <= grid["alignment"].quantile(quantile)
    return (-grid["uniformity"]).where(aligned)


def _entropy_tie_break(grid: pd.DataFrame, share: float = 0.1) -> pd.Series[float]:
    """Of the tenth that is most dispersed: min-max sum of entropy, InfoNCE loss (as minus the bound
    of mutual information, up to a constant) and DiME."""
    near = grid["dispersion"] >= grid["dispersion"].quantile(1 - share)
    some = grid[near]
    total = sum(_min_max(some[name]) for name in ("dataset_entropy", "infonce", "dime"))
    return pd.Series(total, index=some.index).reindex(grid.index)


def _two_stages(grid: pd.DataFrame, n: int = 20, k: int = 60) -> pd.Series[float]:
    """Source of the second: Cormack et al. 2009, Reciprocal rank fusion, SIGIR, section 2; k=60."""
    some = grid.loc[grid["dispersion"].nlargest(n).index.sort_values()]
    some = grid.loc[[one for one in grid.index if one in some.index]]
    better = [
        some["dispersion"],
        -some["uniformity"],
        -some["alignment"],
        some["rankme"],
        some["dataset_entropy"],
    ]
    fused = sum(1 / (k + values.rank(ascending=False)) for values in better)
    return pd.Series(fused, index=some.index).reindex(grid.index)


def _robust(values: pd.Series[float]) -> pd.Series[float]:
    centred = values - values.median()
    spread = float(centred.abs().median())
    return centred / spread if spread > 0 else centred * 0.0


def _min_max(values: pd.Series[float]) -> pd.Series[float]:
    spread = float(values.max() - values.min())
    return (values - values.min()) / spread if spread > 0 else values * 0.0


def _sigmoid(values: pd.Series[float]) -> pd.Series[float]:
    return pd.Series(expit(values.to_numpy(np.float64)), index=values.index)


RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            "pass",
            ("dispersion", "uniformity", "alignment", "rankme", "spectral_slope"),
            "spread and aligned, in a phase of flattening spectra and stable since the checkpoint "
            "before",
            pass_score,
        ),
        Rule("dispersion", ("dispersion",), "the most dispersed", lambda grid: grid["dispersion"]),
        Rule(
            "aligned_uniformity",
            ("alignment", "uniformity"),
            "the most uniform of the 30 % that are best aligned",
            _aligned_uniformity,
        ),
        Rule(
            "entropy_tie_break",
            ("dispersion", "dataset_entropy", "infonce", "dime"),
            "of those about as dispersed as the most dispersed, by entropy, InfoNCE and DiME",
            _entropy_tie_break,
        ),
        Rule(
            "two_stages",
            ("dispersion", "uniformity", "alignment", "rankme", "dataset_entropy"),
            "of the 20 most dispersed, the best by reciprocal ranks of five metrics",
            _two_stages,
        ),
    )
}
"""By name."""
