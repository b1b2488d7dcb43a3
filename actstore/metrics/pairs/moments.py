"""Statistics of two arrays over the same rows that add up: their scatter, alone and together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats, PairBlock
from actstore.metrics.pooled.moments import Moments, merge_moments


@dataclass(frozen=True)
class CrossMoments:
    """Means and scatter of the rows of two arrays x and y, and of one with the other."""

    x: Moments
    y: Moments
    cross: NDArray[np.float64]
    """(hidden of x, hidden of y): sum of (x - mean)(y - mean)^T."""

    @property
    def n(self) -> int:
        return self.x.n

    @property
    def n_undefined(self) -> int:
        return 0

    @property
    def degenerate(self) -> str:
        return self.x.degenerate or self.y.degenerate


def cross_moments(block: PairBlock) -> CrossMoments:
    """Cross moments of some rows, centred on their own means before the products."""
    return _cross_moments(*_centred(block.states), *_centred(block.against))


def merge_cross_moments(a: CrossMoments, b: CrossMoments) -> CrossMoments:
    """The statistic of both parts, by the same update as `merge_moments`."""
    shift = np.outer(b.x.mean - a.x.mean, b.y.mean - a.y.mean) * (a.n * b.n / (a.n + b.n))
    x, y = merge_moments(a.x, b.x), merge_moments(a.y, b.y)
    return CrossMoments(x, y, a.cross + b.cross + shift)


@dataclass(frozen=True)
class FourthMoments:
    """What the unbiased HSIC of two arrays with linear kernels needs besides their scatter.

    a_i and b_i are the squared lengths of the centred rows x_i and y_i.
    """

    moments: CrossMoments
    squares: NDArray[np.float64]
    """(2, 2): sums of a a, a b; b a, b b."""
    x_weighted: NDArray[np.float64]
    """(2, hidden of x): sums of a x, b x."""
    y_weighted: NDArray[np.float64]
    """(2, hidden of y): sums of a y, b y."""

    @property
    def n(self) -> int:
        return self.moments.n

    @property
    def n_undefined(self) -> int:
        return 0

    @property
    def degenerate(self) -> str:
        if self.moments.degenerate:
            return self.moments.degenerate
        if self.n < 4:
            return "there are fewer than four rows"
        if min(unbiased_hsic(self, 0, 0), unbiased_hsic(self, 1, 1)) <= 0:
            return "but for their lengths, all rows are equally far from each other"
        return ""


def fourth_moments(block: PairBlock) -> FourthMoments:
    """Fourth moments of some rows, centred on their own means before the products."""
    x, y = _centred(block.states), _centred(block.against)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = [np.einsum("ij,ij->i", rows, rows) for _, rows in (x, y)]
        squares = np.array([[u @ v for v in lengths] for u in lengths])
        x_weighted, y_weighted = (np.stack(lengths) @ rows for _, rows in (x, y))
    return FourthMoments(_cross_moments(*x, *y), squares, x_weighted, y_weighted)


def merge_fourth_moments(a: FourthMoments, b: FourthMoments) -> FourthMoments:
    """The statistic of both parts: each part's sums are taken about the joint means, then added."""
    moments = merge_cross_moments(a.moments, b.moments)
    with np.errstate(invalid="ignore", over="ignore"):
        (p, u, v), (q, w, z) = _about(a, moments), _about(b, moments)
        return FourthMoments(moments, p + q, u + w, v + z)


def unbiased_hsic(stats: FourthMoments, u: int, v: int) -> float:
    """n (n - 3) times the unbiased HSIC of two of the arrays (0: x, 1: y), with linear kernels.

    The estimator does not change when rows are centred, and for centred rows the three sums over
    Gram matrices without their diagonals become |C|^2 - s, tr tr and s, of the scatter C of u with
    v, the traces of their own scatters, and the sum s of products of squared lengths.
    0 or more for u = v; 0 where rounding alone is left.
    Source: Song et al. 2012, https://jmlr.org/papers/v13/song12a.html (the unbiased estimator).
    """
    n, s = float(stats.n), float(stats.squares[u, v])
    both = float(np.square(_scatter(stats.moments, u, v)).sum())
    traces = _trace(stats.moments, u) * _trace(stats.moments, v) / ((n - 1) * (n - 2))
    found = both - s * n / (n - 2) + traces
    noise = 16 * np.finfo(np.float64).eps * (both + s + traces)
    return found if abs(found) > noise else 0.0


def _about(
    part: FourthMoments, joint: CrossMoments
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A part's `squares`, `x_weighted` and `y_weighted` with rows taken about the joint means."""
    moments = part.moments
    shifts = (moments.x.mean - joint.x.mean, moments.y.mean - joint.y.mean)
    lengths = [float(shift @ shift) for shift in shifts]
    weighted = (part.x_weighted, part.y_weighted)

    def squares(u: int, v: int) -> float:
        p, q = shifts[u], shifts[v]
        return float(
            part.squares[u, v]
            + 2 * (weighted[v][u] @ q + weighted[u][v] @ p)
            + 4 * (p @ _scatter(moments, u, v) @ q)
            + lengths[v] * _trace(moments, u)
            + lengths[u] * _trace(moments, v)
            + part.n * lengths[u] * lengths[v]
        )

    def rows_of(v: int) -> NDArray[np.float64]:
        moved = [
            weighted[v][u]
            + 2 * (shifts[u] @ _scatter(moments, u, v))
            + (_trace(moments, u) + part.n * lengths[u]) * shifts[v]
            for u in (0, 1)
        ]
        return np.stack(moved)

    return np.array([[squares(u, v) for v in (0, 1)] for u in (0, 1)]), rows_of(0), rows_of(1)


def _scatter(moments: CrossMoments, u: int, v: int) -> NDArray[np.float64]:
    """(hidden of u, hidden of v)."""
    if u == v:
        return (moments.x, moments.y)[u].scatter
    return moments.cross if u == 0 else moments.cross.T


def _trace(moments: CrossMoments, u: int) -> float:
    return float(np.trace(_scatter(moments, u, u)))


def _centred(rows: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (hidden,) and the rows less it, in float64."""
    with np.errstate(invalid="ignore", over="ignore"):
        wide = rows.astype(np.float64)
        mean = wide.mean(axis=0)
        wide -= mean
    return mean, wide


def _cross_moments(
    x_mean: NDArray[np.float64],
    x: NDArray[np.float64],
    y_mean: NDArray[np.float64],
    y: NDArray[np.float64],
) -> CrossMoments:
    return CrossMoments(
        Moments(len(x), x_mean, _products(x, x)),
        Moments(len(y), y_mean, _products(y, y)),
        _products(x, y),
    )


def _products(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """x^T y. Copied, so that BLAS does not treat x^T x apart: x against x is then exactly alike."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(x.T @ y.copy())
