"""Moments of paired rows: all that a linear map from one layer's states to another's needs.

They add up over parts, so that lenses are fitted from one reading of the states in any pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats, PooledBlock
from actstore.metrics.pooled.moments import Moments, merge_moments, moments


@dataclass(frozen=True)
class RegressionMoments:
    """Number, means and scatters of rows x and of the rows y that stand for the same tokens."""

    x: Moments
    mean_y: NDArray[np.float64]
    """(hidden of y,)."""
    cross: NDArray[np.float64]
    """(hidden of y, hidden of x): sum of (y - mean)(x - mean)^T."""
    total: float
    """Sum of |y - mean|²."""

    @property
    def n(self) -> int:
        return self.x.n

    @property
    def finite(self) -> bool:
        """Whether all rows were: one NaN or infinity among them makes every map NaN."""
        parts = (self.x.scatter, self.cross, self.mean_y, self.total)
        return all(bool(np.isfinite(part).all()) for part in parts)


def regression_moments(x: Floats, y: Floats) -> RegressionMoments:
    """Moments of rows (n, hidden of x) and (n, hidden of y), any float dtype, n at least 1.

    Each side is centred on its own mean before the products, all in float64.
    """
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    of_x, mean_y = moments(PooledBlock.of(wide_x)), wide_y.mean(axis=0)
    wide_x -= of_x.mean
    wide_y -= mean_y
    return RegressionMoments(of_x, mean_y, wide_y.T @ wide_x, float(np.vdot(wide_y, wide_y)))


def merge_regression_moments(a: RegressionMoments, b: RegressionMoments) -> RegressionMoments:
    """The moments of both parts.

    Source: Chan, Golub & LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115 (the
    pairwise update, here for the cross scatter too).
    """
    n = a.n + b.n
    shift_x, shift_y = b.x.mean - a.x.mean, b.mean_y - a.mean_y
    share = a.n * b.n / n
    return RegressionMoments(
        x=merge_moments(a.x, b.x),
        mean_y=a.mean_y + shift_y * (b.n / n),
        cross=a.cross + b.cross + np.outer(shift_y, shift_x) * share,
        total=a.total + b.total + float(shift_y @ shift_y) * share,
    )
