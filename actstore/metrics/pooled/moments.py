"""Statistics of pooled rows that add up: means and scatter matrices.

All sums are float64 whatever the rows are: states of one layer span six orders of magnitude (a
few massive dimensions), and float32 sums lose the small directions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from actstore.metrics.blocks import ROUNDING, Floats, PooledBlock
from actstore.metrics.spectra import Spectrum, eigenvalues, eigenvalues_plus

ROWS_AT_ONCE = 384
"""Rows widened to float64 at a time: what BLAS takes in one panel, and a cache holds."""


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
    with np.errstate(invalid="ignore"):
        return MeanSums(len(block.states), block.states.sum(axis=0, dtype=np.float64))


def merge_mean_sums(a: MeanSums, b: MeanSums) -> MeanSums:
    """The statistic of both parts."""
    with np.errstate(invalid="ignore"):
        return MeanSums(a.n + b.n, a.total + b.total)


@dataclass(frozen=True)
class Moments:
    """Number, mean and scatter of rows: everything that spectra of the rows need.

    Its spectra are worked out once, whichever metrics ask for them.
    """

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
        return "the rows do not vary" if trace <= ROUNDING**2 * level else ""

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues of the scatter matrix above rounding; none if `degenerate`.

        Squares of the centred rows' singular values, n - 1 at most.
        """
        return np.empty(0) if self.degenerate else eigenvalues(self.scatter)[: self.n - 1]

    @cached_property
    def uncentred_spectrum(self) -> Spectrum:
        """Eigenvalues of sum x x^T above rounding; none if `degenerate`.

        Squares of the rows' own singular values, n at most.
        """
        if self.degenerate:
            return np.empty(0)
        return eigenvalues_plus(self.scatter, self.mean * math.sqrt(self.n))[: self.n]

    @property
    def covariance_spectrum(self) -> NDArray[np.float64]:
        """(hidden,): eigenvalues of the covariance matrix (n - 1), descending, 0 for rounding.

        Empty if `degenerate`.
        """
        if self.degenerate:
            return np.empty(0)
        return np.pad(self.spectrum / (self.n - 1), (0, len(self.mean) - len(self.spectrum)))


def moments(block: PooledBlock) -> Moments:
    """Moments of some rows, each few of them centred on their own mean before the product.

    Sums of raw squares would lose the variance of a dimension whose mean is large; so, in part,
    would means of it, which are kept as distances from the first few rows' mean. How far apart
    the means are is one row more in each product (as in `merge_moments`).
    """
    states, hidden = block.states, block.states.shape[1]
    origin, mean, scatter = None, np.zeros(hidden), no_products(hidden)
    buffer = np.empty((ROWS_AT_ONCE, hidden))
    with np.errstate(invalid="ignore", over="ignore"):
        for before in range(0, len(states), ROWS_AT_ONCE - 1):
            some = states[before : before + ROWS_AT_ONCE - 1]
            n = len(some)
            rows = buffer[:n]
            rows[...] = some
            if origin is None:
                origin = rows.mean(axis=0)
            rows -= origin
            own = rows.mean(axis=0)
            rows -= own
            buffer[n] = (own - mean) * math.sqrt(before * n / (before + n))
            mean += (own - mean) * (n / (before + n))
            scatter = add_products(scatter, buffer[: n + 1])
        return Moments(len(states), mean if origin is None else origin + mean, symmetric(scatter))


def merge_moments(a: Moments, b: Moments) -> Moments:
    """The moments of both parts.

    Source: Chan, Golub & LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115 (the
    pairwise update, here for the whole scatter matrix).
    """
    n = a.n + b.n
    with np.errstate(invalid="ignore", over="ignore"):
        shift = b.mean - a.mean
        apart = shift * math.sqrt(a.n * b.n / n)
        scatter = np.outer(apart, apart)
        scatter += a.scatter
        scatter += b.scatter
        return Moments(n, a.mean + shift * (b.n / n), scatter)


def wide_blocks(states: Floats) -> Iterator[NDArray[np.float64]]:
    """The rows in float64, ROWS_AT_ONCE of them at a time, as copies."""
    for start in range(0, len(states), ROWS_AT_ONCE):
        yield states[start : start + ROWS_AT_ONCE].astype(np.float64)


def no_products(hidden: int) -> NDArray[np.float64]:
    """(hidden, hidden) of zeros, for `add_products`."""
    return np.zeros((hidden, hidden), order="F")


def add_products(total: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """`total` with rows^T rows added to its lower triangle, in place; `symmetric` fills the rest.

    rows: (row, hidden) float64, contiguous.
    """
    if not len(rows):
        return total
    return np.asarray(dsyrk(1.0, rows.T, beta=1.0, c=total, lower=1, overwrite_c=1), np.float64)


def symmetric(lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """The whole matrix, of its lower triangle."""
    return np.add(lower.T, np.tril(lower, -1), order="C")


def unit_rows(rows: Floats, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows minus `centre`, each divided by its length: (row, hidden) float64.

    Rows that equal the centre have no direction and are left out.
    """
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.maximum(np.sqrt(np.vecdot(wide, wide)), np.linalg.norm(centre))
        wide -= centre
        lengths = np.sqrt(np.vecdot(wide, wide))
        # `not <=` and not `>`: a row that is not finite stays in, and the result is NaN
        kept = ~(lengths <= ROUNDING * scale)
        if not kept.all():
            wide, lengths = wide[kept], lengths[kept]
        wide /= lengths[:, None]
    return wide
