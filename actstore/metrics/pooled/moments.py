"""Statistics of pooled rows that add up: means, scatter matrices, directions.

All sums are float64 whatever the rows are: states of one layer span six orders of magnitude (a
few massive dimensions), and float32 sums lose the small directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats, PooledBlock

_ROUNDING = 16 * np.finfo(np.float64).eps
"""A deviation below this share of what it deviates from is rounding, not structure."""


@dataclass(frozen=True)
class MeanSums:
    """The sum of rows: the first pass of metrics that need the mean of all rows."""

    n: int
    total: NDArray[np.float64]
    """(hidden,)."""

    @property
    def mean(self) -> NDArray[np.float64]:
        """(hidden,)."""
        return self.total / self.n


def mean_sums(block: PooledBlock) -> MeanSums:
    """The rows' number and sum."""
    return MeanSums(len(block.states), block.states.sum(axis=0, dtype=np.float64))


def merge_mean_sums(a: MeanSums, b: MeanSums) -> MeanSums:
    """The statistic of both parts."""
    return MeanSums(a.n + b.n, a.total + b.total)


@dataclass(frozen=True)
class Moments:
    """Number, mean and scatter of rows: everything the spectrum of centred rows needs."""

    n: int
    mean: NDArray[np.float64]
    """(hidden,)."""
    scatter: NDArray[np.float64]
    """(hidden, hidden): sum of (x - mean)(x - mean)^T."""

    @property
    def n_undefined(self) -> int:
        return 0

    @property
    def degenerate(self) -> str:
        if self.n < 2:
            return "there is only one row"
        trace = float(np.trace(self.scatter))
        if not np.isfinite(trace):
            return "some states are not finite"
        level = self.n * float(self.mean @ self.mean)
        return "the rows do not vary" if trace <= _ROUNDING**2 * level else ""


def moments(block: PooledBlock) -> Moments:
    """Moments of some rows, centred on their own mean before the product.

    Sums of raw squares would lose the variance of a dimension whose mean is large.
    """
    rows = block.states.astype(np.float64)
    mean = rows.mean(axis=0)
    rows -= mean
    return Moments(len(rows), mean, rows.T @ rows)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """The moments of both parts.

    Source: Chan, Golub & LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115 (the
    pairwise update, here for the whole scatter matrix).
    """
    n = a.n + b.n
    shift = b.mean - a.mean
    scatter = a.scatter + b.scatter + np.outer(shift, shift) * (a.n * b.n / n)
    return Moments(n, a.mean + shift * (b.n / n), scatter)


def variances(m: Moments) -> NDArray[np.float64] | None:
    """Eigenvalues of the scatter matrix, descending, those that are rounding noise left out.

    n centred rows span at most n - 1 directions, and float64 cannot tell an eigenvalue below
    max(n, hidden) * eps * largest from zero. None if the rows do not vary or are not finite.
    """
    if m.degenerate:
        return None
    found = np.linalg.eigvalsh(m.scatter)[::-1][: m.n - 1]
    noise = max(m.n, len(m.mean)) * np.finfo(np.float64).eps * found[0]
    return np.asarray(found[found > noise], dtype=np.float64)


@dataclass(frozen=True)
class UnitGram:
    """Scatter of unit-length rows; rows without a direction are counted, not summed."""

    n: int
    gram: NDArray[np.float64]
    """(hidden, hidden): sum of u u^T. Its trace is n."""
    n_undefined: int

    @property
    def degenerate(self) -> str:
        return _too_few_directions(self.n, self.gram)


def unit_rows(rows: Floats, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows minus `centre`, each divided by its length: (row, hidden) float64.

    Rows that equal the centre have no direction and are left out.
    """
    wide = rows.astype(np.float64)
    scale = np.maximum(np.linalg.norm(wide, axis=1), np.linalg.norm(centre))
    centred = wide - centre
    lengths = np.linalg.norm(centred, axis=1)
    # `not <=` and not `>`: a row that is not finite stays in, and the result is NaN
    kept = ~(lengths <= _ROUNDING * scale)
    return np.asarray(centred[kept] / lengths[kept, None], dtype=np.float64)


def unit_gram(block: PooledBlock) -> UnitGram:
    """Scatter of the rows' directions as seen from the mean of all rows (`block.mean`)."""
    assert block.mean is not None, "the metric must be registered with needs_mean=True"
    units = unit_rows(block.states, block.mean)
    return UnitGram(len(units), units.T @ units, len(block.states) - len(units))


def merge_unit_grams(a: UnitGram, b: UnitGram) -> UnitGram:
    """The statistic of both parts."""
    return UnitGram(a.n + b.n, a.gram + b.gram, a.n_undefined + b.n_undefined)


@dataclass(frozen=True)
class DirectionSum:
    """The sum of the rows' directions as seen from the origin."""

    n: int
    total: NDArray[np.float64]
    """(hidden,)."""
    n_undefined: int

    @property
    def degenerate(self) -> str:
        return _too_few_directions(self.n, self.total)


def direction_sum(block: PooledBlock) -> DirectionSum:
    """Sum of unit-length rows; zero rows are counted, not summed."""
    units = unit_rows(block.states, np.zeros(block.states.shape[1]))
    return DirectionSum(len(units), units.sum(axis=0), len(block.states) - len(units))


def merge_direction_sums(a: DirectionSum, b: DirectionSum) -> DirectionSum:
    """The statistic of both parts."""
    return DirectionSum(a.n + b.n, a.total + b.total, a.n_undefined + b.n_undefined)


def _too_few_directions(n: int, sums: NDArray[np.float64]) -> str:
    if n < 2:
        return "fewer than two rows have a direction"
    return "" if np.isfinite(sums).all() else "some states are not finite"
