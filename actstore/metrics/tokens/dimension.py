"""Intrinsic dimension: how many numbers it takes to say where among its neighbours a point is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from actstore.metrics.blocks import ROUNDING, Floats, PooledBlock, TokenBlock
from actstore.metrics.registry import Metric, register
from actstore.metrics.statistics import (
    PerText,
    Rows,
    itself,
    mean_of,
    merge_per_text,
    merge_rows,
    per_text,
    rows_as_they_are,
)

Fit = Literal["linear", "mle"]


@np.errstate(over="ignore", invalid="ignore")
def intrinsic_dimension_2nn(states: Floats, *, discard: float = 0.1, fit: Fit = "linear") -> float:
    """Intrinsic dimension of points by the distances to their two nearest neighbours, above 0.

    states: (point, hidden), any float dtype. Points that occur more than once count once. With
    mu_i the ratio of the second distance to the first, ascending, N their number and n the N (1 -
    discard) smallest of them, rounded down:
    - "linear": the slope of -ln(1 - i / N) on ln mu_i through the origin, i = 1 .. n. At least one
      is always discarded: -ln(1 - N / N) is not finite.
    - "mle": n / (sum of ln mu_i + (N - n) ln mu_n), the maximum likelihood of a sample of which the
      largest are only known to be larger; with discard=0, N / sum of ln mu_i.
    NaN for fewer than three distinct points, if every counted point has its two neighbours equally
    far, or if a state is not finite. Takes N^2 memory. From few points it is noisy: texts of a
    dozen tokens say little one by one.
    Source: Facco, d'Errico, Rodriguez & Laio 2017, https://doi.org/10.1038/s41598-017-11873-y (the
    TWO-NN algorithm, discard=0.1); Epstein & Sobel 1953, Life testing, J. Am. Stat. Assoc. 48
    (the likelihood of a censored exponential, which ln mu is).
    """
    logs = _log_ratios(np.asarray(states, dtype=np.float64))
    last = len(logs) - 1 if fit == "linear" else len(logs)
    n = min(int(len(logs) * (1 - discard)), last)
    if n < 1 or not logs[n - 1] > ROUNDING:
        return float("nan")
    return _slope(logs, n) if fit == "linear" else _likeliest(logs, n)


def _log_ratios(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln mu of each distinct point, ascending; empty where there are none or not finite."""
    distances = squareform(pdist(points)) if len(points) > 1 else np.zeros((0, 0))
    distinct = ~np.triu(distances == 0, 1).any(axis=0)
    distances = distances[np.ix_(distinct, distinct)]
    if len(distances) < 3 or not np.isfinite(distances).all():
        return np.empty(0)
    first, second = np.partition(distances, [1, 2], axis=1)[:, 1:3].T  # 0 is the point itself
    return np.sort(np.log(second / first))


def _slope(logs: NDArray[np.float64], n: int) -> float:
    rises = -np.log1p(-np.arange(1, n + 1) / len(logs))
    return float(rises @ logs[:n] / (logs[:n] @ logs[:n]))


def _likeliest(logs: NDArray[np.float64], n: int) -> float:
    return float(n / (logs[:n].sum() + (len(logs) - n) * logs[n - 1]))


@dataclass(frozen=True)
class Points(Rows):
    """Rows that are too few, or too alike, where they have no intrinsic dimension."""

    @cached_property
    def dimension(self) -> float:
        return intrinsic_dimension_2nn(self.states)

    @property
    def degenerate(self) -> str:
        if np.isfinite(self.dimension):
            return ""
        return super().degenerate or (
            "fewer than three rows differ, or each has its two nearest neighbours equally far"
        )


def _points(block: PooledBlock) -> Points:
    rows = rows_as_they_are(block.rows, block.states)
    return Points(rows.rows, rows.states)


def _merge_points(a: Points, b: Points) -> Points:
    merged = merge_rows(a, b)
    return Points(merged.rows, merged.states)


def _dimension(points: Points) -> float:
    return points.dimension


def _dimensions(block: TokenBlock) -> PerText:
    return per_text(block.rows, np.array([intrinsic_dimension_2nn(x) for x in block.texts()]))


_SOURCE = (
    "Facco, d'Errico, Rodriguez & Laio 2017, https://doi.org/10.1038/s41598-017-11873-y: TWO-NN, "
    "linear fit, a tenth discarded"
)
_FORMULA = (
    "\\frac{\\sum_i -\\ln(1 - i / N) \\ln \\mu_i}{\\sum_i \\ln^2 \\mu_i},\\ "
    "\\mu = r_2 / r_1 \\text{ ascending},\\ i \\le 0.9 N"
)
register(
    Metric(
        name="intrinsic_dimension_2nn",
        formula=_FORMULA,
        range="above 0",
        cost="T^2 d a text",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="tokens",
        chunk=_dimensions,
        combine=merge_per_text,
        finalize=mean_of,
        per_text=itself,
        reference=f"{_SOURCE}; points are a text's tokens; mean over texts",
        unit="dimensions",
        description="intrinsic dimension of a text's tokens; noisy for texts of few tokens",
    )
)
register(
    Metric(
        name="intrinsic_dimension_2nn_pooled",
        formula=_FORMULA,
        range="above 0",
        cost="n^2 d",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        all_pairs=True,
        over="pooled",
        chunk=_points,
        combine=_merge_points,
        finalize=_dimension,
        reference=f"{_SOURCE}; points are pooled rows",
        unit="dimensions",
        description="intrinsic dimension of the pooled rows, from each one's two nearest",
    )
)
