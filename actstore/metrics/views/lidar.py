"""LiDAR: how many directions tell texts apart better than views of one text differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats, PooledBlock, ViewsBlock
from actstore.metrics.pooled.moments import Moments, merge_moments, moments
from actstore.metrics.registry import Metric, register
from actstore.metrics.spectra import shannon_entropy

_EPSILON = 1e-4


@dataclass(frozen=True)
class ViewMoments:
    """Scatter of texts' means, and of views about their text's mean."""

    between: Moments
    """Of the mean of each text's views."""
    within: NDArray[np.float64]
    """(hidden, hidden): sum of (x - mean of its text)(x - mean of its text)^T."""
    n_views: int
    """Of each text."""

    @property
    def n(self) -> int:
        return self.between.n

    @property
    def n_undefined(self) -> int:
        return 0

    @property
    def degenerate(self) -> str:
        if self.n < 2:
            return "there is only one text"
        if self.n_views < 2:
            return "there is only one view of each text"
        if self.between.degenerate:
            return self.between.degenerate
        if self.variances is None:
            return f"views of one text differ so much that epsilon = {_EPSILON} vanishes"
        return ""

    @cached_property
    def variances(self) -> NDArray[np.float64] | None:
        """As `discriminant_variances` says, for the epsilon of the registered metrics."""
        return discriminant_variances(self, _EPSILON)


def view_moments(block: ViewsBlock) -> ViewMoments:
    """View moments of some texts, which all have the same number of views."""
    with np.errstate(invalid="ignore", over="ignore"):
        views = block.states.astype(np.float64)
        means = views.mean(axis=1)
        views -= means[:, None]
        rows = views.reshape(-1, views.shape[2])
        return ViewMoments(moments(PooledBlock.of(means)), rows.T @ rows, views.shape[1])


def merge_view_moments(a: ViewMoments, b: ViewMoments) -> ViewMoments:
    """The statistic of both parts."""
    assert a.n_views == b.n_views, "all texts of a view set have the same number of views"
    return ViewMoments(merge_moments(a.between, b.between), a.within + b.within, a.n_views)


def discriminant_variances(stats: ViewMoments, epsilon: float) -> NDArray[np.float64] | None:
    """Variances of texts' means, descending, where views of a text have variance 1: up to n - 1.

    None if the scatter of views, with epsilon added, is singular in float64. Raises ValueError for
    an epsilon that is not positive: directions in which no view differs could not be whitened.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}: it must be positive")
    between = stats.between.scatter / stats.n
    within = stats.within / (stats.n * stats.n_views)
    within[np.diag_indices_from(within)] += epsilon
    # first to a diagonal of ones, which keeps the digits of small directions beside massive ones
    scale = 1 / np.sqrt(np.diag(within))
    outer = np.outer(scale, scale)
    root = _root(within * outer)
    if root is None:
        return None
    half = scipy.linalg.solve_triangular(root, between * outer, lower=True)
    found = np.linalg.eigvalsh(scipy.linalg.solve_triangular(root, half.T, lower=True))
    return np.asarray(np.clip(found[::-1][: stats.n - 1], 0.0, None), dtype=np.float64)


def _root(correlations: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The lower Cholesky factor; None if a pivot is no more than rounding leaves of it."""
    try:
        root = np.linalg.cholesky(correlations)
    except np.linalg.LinAlgError:
        return None
    noise = 16 * len(root) * np.finfo(np.float64).eps
    return np.asarray(root) if np.diag(root).min() ** 2 > noise else None


def lidar(views: Floats, *, epsilon: float = _EPSILON) -> float:
    """exp of the entropy of the variances of texts' means, whitened by the scatter of their views.

    views: (text, view, hidden), any float dtype. 1 .. min(texts - 1, hidden). epsilon is added to
    the variance of views in every direction before whitening, in squared model units: with it the
    number depends on the states' scale. NaN for one text, one view, and texts whose means do not
    vary. Source: Thilak et al. 2023, https://arxiv.org/abs/2312.04000, which also adds a tiny
    constant to each share, not done here.
    """
    return float(np.exp(lidar_entropy(views, epsilon=epsilon)))


def lidar_entropy(views: Floats, *, epsilon: float = _EPSILON) -> float:
    """The entropy in nats that `lidar` is the exp of, as the Layer by Layer code reports it.

    views: (text, view, hidden). 0 .. ln(min(texts - 1, hidden)). NaN where `lidar` is.
    Source: Skean et al. 2025, https://arxiv.org/abs/2502.02013, after Thilak et al. 2023.
    """
    stats = view_moments(ViewsBlock.of(views))
    if stats.n_views < 2 or stats.between.degenerate:
        return float("nan")
    variances = discriminant_variances(stats, epsilon)
    return float("nan") if variances is None else shannon_entropy(variances)


def _lidar(stats: ViewMoments) -> float:
    return float(np.exp(_lidar_entropy(stats)))


def _lidar_entropy(stats: ViewMoments) -> float:
    if stats.degenerate or stats.variances is None:
        return float("nan")
    return shannon_entropy(stats.variances)


register(
    Metric(
        name="lidar",
        formula="\\exp(-\\sum_k p_k \\ln p_k),\\ p \\propto \\mathrm{eig}(S_w^{-1/2} S_b "
        "S_w^{-1/2}),\\ S_w = \\mathrm{cov}_w + 10^{-4} I",
        range="1 .. min(n - 1, d)",
        cost="n q d^2 + d^3",
        invariant_to=frozenset({"rotation", "translation"}),
        over="views",
        chunk=view_moments,
        combine=merge_view_moments,
        finalize=_lidar,
        reference="Thilak et al. 2023, https://arxiv.org/abs/2312.04000; epsilon 1e-4 on the "
        "scatter of views, none on the shares",
        unit="dimensions",
        description="how many directions tell texts apart beyond how views of a text differ",
    )
)
register(
    Metric(
        name="lidar_entropy",
        formula="-\\sum_k p_k \\ln p_k,\\ p \\propto \\mathrm{eig}(S_w^{-1/2} S_b S_w^{-1/2}),"
        "\\ S_w = \\mathrm{cov}_w + 10^{-4} I",
        range="0 .. ln(min(n - 1, d))",
        cost="n q d^2 + d^3",
        invariant_to=frozenset({"rotation", "translation"}),
        over="views",
        chunk=view_moments,
        combine=merge_view_moments,
        finalize=_lidar_entropy,
        reference="Skean et al. 2025, https://arxiv.org/abs/2502.02013, after Thilak et al. 2023, "
        "https://arxiv.org/abs/2312.04000; raw, epsilon 1e-4",
        unit="nats",
        description="the entropy that lidar is the exp of: 0 to ln(dimensions)",
    )
)
