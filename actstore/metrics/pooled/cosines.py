"""Metrics of pooled rows that are means over all pairs of directions, in one pass over the rows."""

from __future__ import annotations

import numpy as np

from actstore.metrics.blocks import Floats, PooledBlock
from actstore.metrics.pooled.directions import DirectionSum, direction_sum, merge_direction_sums
from actstore.metrics.registry import Metric, register


def mean_cosine(states: Floats) -> float:
    """Mean cosine between two different rows, over all pairs: -1/(rows - 1) .. 1.

    states: (row, hidden), any float dtype. Rows are not centred; zero rows are left out. NaN for
    fewer than two. Called anisotropy in Ethayarajh 2019, https://arxiv.org/abs/1909.00512, 4.1;
    `anisotropy` is another quantity.
    """
    return _mean_cosine(direction_sum(PooledBlock.of(states)))


def dispersion(states: Floats) -> float:
    """Mean cosine distance between two different rows, over all pairs: 0 .. rows/(rows - 1).

    states: (row, hidden), any float dtype. 1 - `mean_cosine`: rows are not centred; zero rows are
    left out. NaN for fewer than two.
    Source: the dispersion of https://github.com/MahdiarKhodabakhshi/temporal-depth-representations
    (mean of 1 - cos), here over all pairs, not a sample of them.
    """
    return _dispersion(direction_sum(PooledBlock.of(states)))


def _mean_cosine(stats: DirectionSum) -> float:
    if stats.degenerate:
        return float("nan")
    return float((stats.total @ stats.total - stats.n) / (np.float64(stats.n) * (stats.n - 1)))


def _dispersion(stats: DirectionSum) -> float:
    return 1.0 - _mean_cosine(stats)


register(
    Metric(
        name="mean_cosine",
        formula="\\frac{1}{n(n-1)} \\sum_{i \\ne j} \\cos(x_i, x_j)",
        range="-1/(n - 1) .. 1",
        cost="n d",
        invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
        over="pooled",
        chunk=direction_sum,
        combine=merge_direction_sums,
        finalize=_mean_cosine,
        reference="Ethayarajh 2019, https://arxiv.org/abs/1909.00512, section 4.1 (anisotropy)",
        unit="cosine",
        description="mean cosine between two different texts, not centred: -1 to 1",
    )
)
register(
    Metric(
        name="dispersion",
        formula="\\frac{1}{n(n-1)} \\sum_{i \\ne j} (1 - \\cos(x_i, x_j))",
        range="0 .. n/(n - 1)",
        cost="n d",
        invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
        over="pooled",
        chunk=direction_sum,
        combine=merge_direction_sums,
        finalize=_dispersion,
        reference="https://github.com/MahdiarKhodabakhshi/temporal-depth-representations "
        "(dispersion); over all pairs, not a sample of them",
        unit="cosine distance",
        description="mean cosine distance between two different texts: 0 (one direction) to 1",
    )
)
