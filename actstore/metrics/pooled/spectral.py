"""Metrics of pooled rows that are shapes of a spectrum: how many directions, and how evenly."""

from __future__ import annotations

from functools import partial

from actstore.metrics.blocks import Floats, PooledBlock
from actstore.metrics.pooled.moments import Moments, merge_moments, moments
from actstore.metrics.registry import Invariance, Metric, register
from actstore.metrics.spectra import (
    anisotropy_of,
    effective_rank_of,
    isoscore_of,
    participation_ratio_of,
    shannon_entropy,
    slope_of,
    smoothed_rank_of,
    top_share_of,
)


def covariance_entropy(states: Floats) -> float:
    """Von Neumann entropy in nats of the rows' covariance matrix scaled to trace 1.

    states: (row, hidden), any float dtype. 0 .. ln(min(rows - 1, hidden)). Each principal axis
    weighs by its variance: long rows count for more, unlike in `dataset_entropy`, and squares are
    shared out, unlike in `effective_rank`. NaN for one row or constant rows.
    Source: Sanchez Giraldo, Rao & Principe 2015, https://arxiv.org/abs/1211.2459, alpha -> 1, of
    the Gram matrix of centred rows.
    """
    return _covariance_entropy(moments(PooledBlock.of(states)))


def effective_rank(states: Floats) -> float:
    """exp of the entropy of the normalised singular values of the centred rows.

    states: (row, hidden), any float dtype. 1 .. min(rows - 1, hidden). NaN for one row or
    constant rows. Source: Roy & Vetterli 2007, https://ieeexplore.ieee.org/document/7098875.
    """
    return _effective_rank(moments(PooledBlock.of(states)))


def rankme(states: Floats, *, epsilon: float = 0.0) -> float:
    """exp of the entropy of the normalised singular values of the rows as they are, not centred.

    states: (row, hidden), any float dtype. 1 .. min(rows, hidden). epsilon: added to each of the
    min(rows, hidden) shares, whose sum is then above 1; the paper's code for float32 has 1e-7.
    Without it a singular value that is 0 counts as nothing (0 ln 0 = 0), which epsilon stands for.
    A large common mean is one large singular value. NaN for one row or constant rows.
    Source: Garrido et al. 2023, https://arxiv.org/abs/2210.02885.
    """
    return _rankme(moments(PooledBlock.of(states)), epsilon)


def participation_ratio(states: Floats) -> float:
    """(sum v)^2 / sum v^2 of the variances v along the principal axes of the rows.

    states: (row, hidden), any float dtype. 1 .. min(rows - 1, hidden). NaN for one row or
    constant rows. Source: Gao et al. 2017, https://doi.org/10.1101/214262.
    """
    return _participation_ratio(moments(PooledBlock.of(states)))


def isoscore(states: Floats) -> float:
    """How evenly the rows' variance is spread over all dimensions: 0 (one axis) to 1 (all alike).

    states: (row, hidden), any float dtype. NaN for one row, constant rows or one dimension.
    The published steps (variances along principal axes, scaled to length sqrt(d); their distance
    from ones as a share of the largest possible; rescaled to the share of dimensions used) come to
    (participation ratio - 1) / (d - 1). Fewer rows than dimensions are no error here; the authors'
    code cannot take them. Source: Rudman et al. 2022, https://arxiv.org/abs/2108.07344.
    """
    return _isoscore(moments(PooledBlock.of(states)))


def anisotropy(states: Floats) -> float:
    """Standard deviation of the covariance matrix's eigenvalues, divided by their mean.

    states: (row, hidden), any float dtype. 0 (a sphere) to sqrt(hidden - 1) (a line); all `hidden`
    eigenvalues count, also those that are 0. NaN for one row or constant rows.
    It is sqrt(hidden / participation ratio - 1), and not the anisotropy of Ethayarajh 2019, which
    is `mean_cosine`.
    Source: `compute_representation_metrics` of
    https://github.com/MahdiarKhodabakhshi/layerwise-checkpoint-search, there of unit rows.
    """
    return _anisotropy(moments(PooledBlock.of(states)))


def top_pc_share(states: Floats) -> float:
    """Share of the rows' variance along their first principal axis: above 0, up to 1.

    states: (row, hidden), any float dtype. NaN for one row or constant rows.
    Source: Mu & Viswanath 2018, https://arxiv.org/abs/1702.01417, section 2.
    """
    return _top_pc_share(moments(PooledBlock.of(states)))


def spectral_slope(states: Floats, *, first: int = 1, last: int | None = None) -> float:
    """Slope of ln(eigenvalue) over ln(its rank), by least squares, of the rows' covariance.

    states: (row, hidden), any float dtype. 0 or less: 0 is a flat spectrum, and eigenvalues that
    fall as k^-a have -a (the alpha of alpha-ReQ is minus this). first, last: the ranks that the
    line is fitted to, from 1; by default all whose eigenvalue is above rounding, min(rows - 1,
    hidden) at most. The ranks of a rank-deficient covariance beyond that are no small eigenvalues
    but zeros, whose logarithm is noise. Rounding is that of float64: states that were stored in
    float16 have its rounding as small eigenvalues. NaN for fewer than two eigenvalues.
    Source: Agrawal et al. 2022, alpha-ReQ: Assessing Representation Quality in Self-Supervised
    Learning by measuring eigenspectrum decay (NeurIPS), which chooses a range of ranks.
    """
    return _spectral_slope(moments(PooledBlock.of(states)), first, last)


def _covariance_entropy(stats: Moments) -> float:
    return shannon_entropy(stats.spectrum)


def _effective_rank(stats: Moments) -> float:
    return effective_rank_of(stats.spectrum)


def _rankme(stats: Moments, epsilon: float = 0.0) -> float:
    most = min(stats.n, len(stats.mean))
    return smoothed_rank_of(stats.uncentred_spectrum, most, epsilon)


def _participation_ratio(stats: Moments) -> float:
    return participation_ratio_of(stats.spectrum)


def _isoscore(stats: Moments) -> float:
    return isoscore_of(stats.spectrum, len(stats.mean))


def _anisotropy(stats: Moments) -> float:
    return anisotropy_of(stats.spectrum, len(stats.mean))


def _top_pc_share(stats: Moments) -> float:
    return top_share_of(stats.spectrum)


def _spectral_slope(stats: Moments, first: int = 1, last: int | None = None) -> float:
    return slope_of(stats.spectrum, first, last)


_SHAPE: frozenset[Invariance] = frozenset({"rotation", "scaling", "translation"})
_of_moments = partial(
    Metric[PooledBlock, Moments],
    over="pooled",
    chunk=moments,
    combine=merge_moments,
    cost="n d^2 + d^3",
)

register(
    _of_moments(
        name="covariance_entropy",
        formula="-\\sum_k p_k \\ln p_k,\\ p = \\lambda / \\sum \\lambda",
        range="0 .. ln(min(n - 1, d))",
        invariant_to=_SHAPE,
        finalize=_covariance_entropy,
        reference="Sanchez Giraldo, Rao & Principe 2015, https://arxiv.org/abs/1211.2459; "
        "alpha = 1, of the covariance matrix",
        unit="nats",
        description="entropy of the variances along the principal axes: 0 to ln(dimensions)",
    )
)
register(
    _of_moments(
        name="effective_rank",
        formula="\\exp(-\\sum_k p_k \\ln p_k),\\ p = \\sigma(X - \\bar X) / \\sum \\sigma",
        range="1 .. min(n - 1, d)",
        invariant_to=_SHAPE,
        finalize=_effective_rank,
        reference="Roy & Vetterli 2007, https://ieeexplore.ieee.org/document/7098875; centred rows",
        unit="dimensions",
        description="exp of the entropy of the singular values: 1 to min(texts - 1, dimensions)",
    )
)
register(
    _of_moments(
        name="rankme",
        formula="\\exp(-\\sum_k p_k \\ln p_k),\\ p = \\sigma(X) / \\sum \\sigma",
        range="1 .. min(n, d)",
        cost="n d^2 + 2 d^3",
        invariant_to=frozenset({"rotation", "scaling"}),
        finalize=_rankme,
        reference="Garrido et al. 2023, https://arxiv.org/abs/2210.02885; "
        "rows not centred, epsilon = 0",
        unit="dimensions",
        description="exp of the entropy of the singular values of rows that are not centred",
    )
)
register(
    _of_moments(
        name="participation_ratio",
        formula="(\\sum_k \\lambda_k)^2 / \\sum_k \\lambda_k^2",
        range="1 .. min(n - 1, d)",
        invariant_to=_SHAPE,
        finalize=_participation_ratio,
        reference="Gao et al. 2017, https://doi.org/10.1101/214262",
        unit="dimensions",
        description="how many principal axes share the variance: 1 to min(texts - 1, dimensions)",
    )
)
register(
    _of_moments(
        name="isoscore",
        formula="\\left((\\sum_k \\lambda_k)^2 / \\sum_k \\lambda_k^2 - 1\\right) / (d - 1)",
        range="0 .. 1",
        invariant_to=_SHAPE,
        finalize=_isoscore,
        reference="Rudman et al. 2022, https://arxiv.org/abs/2108.07344; covariance of all rows",
        unit="share",
        description="share of all dimensions that the variance is spread over evenly: 0 to 1",
    )
)
register(
    _of_moments(
        name="anisotropy",
        formula="\\mathrm{std}(\\lambda) / \\mathrm{mean}(\\lambda)",
        range="0 .. sqrt(d - 1)",
        invariant_to=_SHAPE,
        finalize=_anisotropy,
        reference="https://github.com/MahdiarKhodabakhshi/layerwise-checkpoint-search (anisotropy);"
        " not that of Ethayarajh 2019, which is mean_cosine",
        unit="ratio",
        description="spread of the covariance's eigenvalues relative to their mean: 0 is a sphere",
    )
)
register(
    _of_moments(
        name="top_pc_share",
        formula="\\lambda_1 / \\sum_k \\lambda_k",
        range="0 .. 1",
        invariant_to=_SHAPE,
        finalize=_top_pc_share,
        reference="Mu & Viswanath 2018, https://arxiv.org/abs/1702.01417, section 2",
        unit="share",
        description="share of the variance on the first principal axis: 0 to 1",
    )
)
register(
    _of_moments(
        name="spectral_slope",
        formula="\\mathrm{slope}(\\ln \\lambda_k \\sim \\ln k),\\ \\lambda_k > 0",
        range="-inf .. 0",
        invariant_to=_SHAPE,
        finalize=_spectral_slope,
        reference="Agrawal et al. 2022, alpha-ReQ (NeurIPS); least squares over all eigenvalues "
        "above rounding, alpha = -slope",
        unit="ln per ln",
        description="slope of ln(eigenvalue) over ln(rank): 0 flat, -a for eigenvalues k^-a",
    )
)
