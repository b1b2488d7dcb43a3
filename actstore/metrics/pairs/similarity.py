"""How alike two arrays are over the same rows: alignment of kernels, and distance of shapes."""

from __future__ import annotations

import numpy as np

from actstore.metrics.blocks import Floats, PairBlock
from actstore.metrics.pairs.moments import (
    CrossMoments,
    FourthMoments,
    cross_moments,
    fourth_moments,
    merge_cross_moments,
    merge_fourth_moments,
    unbiased_hsic,
)
from actstore.metrics.registry import Metric, register


def linear_cka(states: Floats, against: Floats, *, debiased: bool = False) -> float:
    """Linear centred kernel alignment of two arrays over the same rows.

    states: (row, hidden), against: (row, hidden of the other), any float dtypes; the widths may
    differ. 0 .. 1, exactly 1 for an array against itself. NaN for one row, and where the rows of
    one of them do not vary. With few rows it nears 1 whatever the arrays; `debiased` takes the
    unbiased HSIC instead, which is 0 on average for unrelated arrays, -1 .. 1, and needs four rows.
    Source: Kornblith et al. 2019, https://arxiv.org/abs/1905.00414, section 3; debiased: Song et
    al. 2012, https://jmlr.org/papers/v13/song12a.html, as Nguyen et al. 2021,
    https://arxiv.org/abs/2010.15327, use it, here over all rows at once.
    """
    block = PairBlock.of(states, against)
    if debiased:
        return _linear_cka_debiased(fourth_moments(block))
    return _linear_cka(cross_moments(block))


def procrustes_distance(states: Floats, against: Floats) -> float:
    """Squared orthogonal Procrustes distance of two arrays, centred and scaled to Frobenius norm 1.

    The least squared distance that rotating and mirroring one of them leaves: 2 - 2 |X^T Y|_*,
    with the sum of singular values. states: (row, hidden), against: (row, hidden of the other),
    any float dtypes; the narrower is padded with zeros. 0 .. 2, exactly 0 for an array against
    itself; less than what rounding leaves counts as 0. NaN for one row, and where the rows of one
    of them do not vary.
    Source: Ding et al. 2021, https://arxiv.org/abs/2108.01661. Its square root is a metric, one of
    the shape distances of Williams et al. 2021, https://arxiv.org/abs/2110.14739.
    """
    return _procrustes_distance(cross_moments(PairBlock.of(states, against)))


def _linear_cka(stats: CrossMoments) -> float:
    if stats.degenerate:
        return float("nan")
    both, x, y = (np.linalg.norm(m) for m in (stats.cross, stats.x.scatter, stats.y.scatter))
    return min(1.0, float(both / np.sqrt(x * y)) ** 2)


def _linear_cka_debiased(stats: FourthMoments) -> float:
    if stats.degenerate:
        return float("nan")
    both, x, y = (unbiased_hsic(stats, u, v) for u, v in ((0, 1), (0, 0), (1, 1)))
    return float(np.clip(both / np.sqrt(x * y), -1.0, 1.0))


def _procrustes_distance(stats: CrossMoments) -> float:
    if stats.degenerate:
        return float("nan")
    scale = np.sqrt(np.trace(stats.x.scatter)) * np.sqrt(np.trace(stats.y.scatter))
    common = np.linalg.svd(stats.cross / scale, compute_uv=False)
    distance = 2.0 - 2.0 * float(common.sum())
    noise = 4 * max(stats.cross.shape) * np.finfo(np.float64).eps
    return distance if distance > noise else 0.0


register(
    Metric(
        name="linear_cka",
        formula="\\|Y^\\top X\\|_F^2 / (\\|X^\\top X\\|_F \\|Y^\\top Y\\|_F),\\ X, Y\\ "
        "\\mathrm{centred}",
        range="0 .. 1",
        cost="3 n d^2",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="pairs",
        chunk=cross_moments,
        combine=merge_cross_moments,
        finalize=_linear_cka,
        reference="Kornblith et al. 2019, https://arxiv.org/abs/1905.00414, section 3; biased "
        "HSIC, linear kernels",
        unit="share",
        description="how alike two layers' similarities of texts are: 0 (unrelated) to 1 (the same "
        "up to rotation and scale)",
    )
)
register(
    Metric(
        name="linear_cka_debiased",
        formula="\\mathrm{HSIC}_1(X, Y) / \\sqrt{\\mathrm{HSIC}_1(X, X)\\,\\mathrm{HSIC}_1(Y, Y)}",
        range="-1 .. 1",
        cost="3 n d^2",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="pairs",
        chunk=fourth_moments,
        combine=merge_fourth_moments,
        finalize=_linear_cka_debiased,
        reference="Song et al. 2012, https://jmlr.org/papers/v13/song12a.html (unbiased HSIC); "
        "Nguyen et al. 2021, https://arxiv.org/abs/2010.15327; all rows at once, linear kernels",
        unit="share",
        description="linear_cka without its bias where texts are few: 0 on average if unrelated, "
        "1 if the same",
    )
)
register(
    Metric(
        name="procrustes_distance",
        formula="2 - 2 \\|X^\\top Y\\|_*,\\ X, Y\\ \\mathrm{centred},\\ \\|X\\|_F = \\|Y\\|_F = 1",
        range="0 .. 2",
        cost="3 n d^2 + d^3",
        invariant_to=frozenset({"rotation", "scaling", "translation"}),
        over="pairs",
        chunk=cross_moments,
        combine=merge_cross_moments,
        finalize=_procrustes_distance,
        reference="Ding et al. 2021, https://arxiv.org/abs/2108.01661; squared, centred, Frobenius "
        "norm 1, other widths padded with zeros",
        unit="squared distance",
        description="what rotation cannot take away of the distance of two layers: 0 (the same) "
        "to 2",
    )
)
