"""Metrics of pooled rows: how many directions a layer uses, and how evenly."""

from __future__ import annotations

import numpy as np

from actstore.metrics.blocks import Floats, PooledBlock
from actstore.metrics.pooled.moments import (
    DirectionSum,
    Moments,
    UnitGram,
    direction_sum,
    mean_sums,
    merge_direction_sums,
    merge_moments,
    merge_unit_grams,
    moments,
    unit_gram,
    variances,
)
from actstore.metrics.registry import Metric, register
from actstore.metrics.spectra import (
    effective_rank_of,
    participation_ratio_of,
    top_share_of,
    von_neumann_entropy,
)


def dataset_entropy(states: Floats) -> float:
    """Von Neumann entropy in nats of the trace-1 Gram matrix of centred, unit-length rows.

    states: (row, hidden), any float dtype. 0 .. ln(min(rows - 1, hidden)). Rows equal to the mean
    have no direction and are left out. NaN for one row or constant rows.
    The clean definition: raw normalisation, alpha = 1, the mean over all rows. The paper's later
    code centres within batches of two rows and clamps the Gram matrix's elements at 0.
    Source: Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2 (dataset entropy).
    """
    mean = mean_sums(PooledBlock.of(states)).mean
    return _dataset_entropy(unit_gram(PooledBlock.of(states, mean)))


def effective_rank(states: Floats) -> float:
    """exp of the entropy of the normalised singular values of the centred rows.

    states: (row, hidden), any float dtype. 1 .. min(rows - 1, hidden). NaN for one row or
    constant rows. Source: Roy & Vetterli 2007, https://ieeexplore.ieee.org/document/7098875.
    """
    return _effective_rank(moments(PooledBlock.of(states)))


def participation_ratio(states: Floats) -> float:
    """(sum v)^2 / sum v^2 of the variances v along the principal axes of the rows.

    states: (row, hidden), any float dtype. 1 .. min(rows - 1, hidden). NaN for one row or
    constant rows. Source: Gao et al. 2017, https://doi.org/10.1101/214262.
    """
    return _participation_ratio(moments(PooledBlock.of(states)))


def top_pc_share(states: Floats) -> float:
    """Share of the rows' variance along their first principal axis: above 0, up to 1.

    states: (row, hidden), any float dtype. NaN for one row or constant rows.
    Source: Mu & Viswanath 2018, https://arxiv.org/abs/1702.01417, section 2.
    """
    return _top_pc_share(moments(PooledBlock.of(states)))


def mean_cosine(states: Floats) -> float:
    """Mean cosine between two different rows, over all pairs: -1/(rows - 1) .. 1.

    states: (row, hidden), any float dtype. Rows are not centred; zero rows are left out. NaN for
    fewer than two. Called anisotropy in Ethayarajh 2019, https://arxiv.org/abs/1909.00512, 4.1.
    """
    return _mean_cosine(direction_sum(PooledBlock.of(states)))


def _dataset_entropy(stats: UnitGram) -> float:
    return float("nan") if stats.degenerate else von_neumann_entropy(stats.gram)


def _effective_rank(stats: Moments) -> float:
    return effective_rank_of(variances(stats))


def _participation_ratio(stats: Moments) -> float:
    return participation_ratio_of(variances(stats))


def _top_pc_share(stats: Moments) -> float:
    return top_share_of(variances(stats))


def _mean_cosine(stats: DirectionSum) -> float:
    if stats.degenerate:
        return float("nan")
    return float((stats.total @ stats.total - stats.n) / (np.float64(stats.n) * (stats.n - 1)))


register(
    Metric(
        name="dataset_entropy",
        formula="-\\sum_k \\lambda_k \\ln \\lambda_k,\\ \\lambda = \\mathrm{eig}(U U^\\top / n)",
        range="0 .. ln(min(n - 1, d))",
        cost="n d^2 + d^3",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="pooled",
        chunk=unit_gram,
        combine=merge_unit_grams,
        finalize=_dataset_entropy,
        reference="Skean et al. 2025, https://arxiv.org/abs/2502.02013, section 3.2; alpha = 1, "
        "raw, centred on the mean of all rows, Gram matrix not clamped",
        unit="nats",
        description="entropy of the directions of the texts: 0 (one line) to ln(dimensions)",
        needs_mean=True,
    )
)
register(
    Metric(
        name="effective_rank",
        formula="\\exp(-\\sum_k p_k \\ln p_k),\\ p = \\sigma(X - \\bar X) / \\sum \\sigma",
        range="1 .. min(n - 1, d)",
        cost="n d^2 + d^3",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="pooled",
        chunk=moments,
        combine=merge_moments,
        finalize=_effective_rank,
        reference="Roy & Vetterli 2007, https://ieeexplore.ieee.org/document/7098875; centred rows",
        unit="dimensions",
        description="exp of the entropy of the singular values: 1 to min(texts - 1, dimensions)",
    )
)
register(
    Metric(
        name="participation_ratio",
        formula="(\\sum_k \\lambda_k)^2 / \\sum_k \\lambda_k^2",
        range="1 .. min(n - 1, d)",
        cost="n d^2 + d^3",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="pooled",
        chunk=moments,
        combine=merge_moments,
        finalize=_participation_ratio,
        reference="Gao et al. 2017, https://doi.org/10.1101/214262",
        unit="dimensions",
        description="how many principal axes share the variance: 1 to min(texts - 1, dimensions)",
    )
)
register(
    Metric(
        name="top_pc_share",
        formula="\\lambda_1 / \\sum_k \\lambda_k",
        range="0 .. 1",
        cost="n d^2 + d^3",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="pooled",
        chunk=moments,
        combine=merge_moments,
        finalize=_top_pc_share,
        reference="Mu & Viswanath 2018, https://arxiv.org/abs/1702.01417, section 2",
        unit="share",
        description="share of the variance on the first principal axis: 0 to 1",
    )
)
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
