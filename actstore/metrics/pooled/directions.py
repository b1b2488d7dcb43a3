"""Statistics of the rows' directions that add up: each row divided by its length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import PooledBlock
from actstore.metrics.pooled.moments import (
    add_products,
    no_products,
    symmetric,
    unit_rows,
    wide_blocks,
)
from actstore.metrics.spectra import Spectrum, eigenvalues


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

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues of the Gram matrix above rounding; none if `degenerate`."""
        return np.empty(0) if self.degenerate else eigenvalues(self.gram)


def unit_gram(block: PooledBlock) -> UnitGram:
    """Scatter of the rows' directions as seen from the mean of all rows (`block.mean`)."""
    assert block.mean is not None, "the metric must be registered with needs_mean=True"
    kept, gram = 0, no_products(block.states.shape[1])
    for rows in wide_blocks(block.states):
        units = unit_rows(rows, block.mean)
        kept += len(units)
        gram = add_products(gram, units)
    return UnitGram(kept, symmetric(gram), len(block.states) - kept)


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
    kept, total = 0, np.zeros(block.states.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        for rows in wide_blocks(block.states):
            lengths = np.sqrt(np.vecdot(rows, rows))
            there = lengths != 0  # so is a row that is not finite, and the result is NaN
            total += np.divide(1.0, lengths, out=np.zeros_like(lengths), where=there) @ rows
            kept += int(there.sum())
    return DirectionSum(kept, total, len(block.states) - kept)


def merge_direction_sums(a: DirectionSum, b: DirectionSum) -> DirectionSum:
    """The statistic of both parts."""
    return DirectionSum(a.n + b.n, a.total + b.total, a.n_undefined + b.n_undefined)


def _too_few_directions(n: int, sums: NDArray[np.float64]) -> str:
    if n < 2:
        return "fewer than two rows have a direction"
    return "" if np.isfinite(sums).all() else "some states are not finite"
