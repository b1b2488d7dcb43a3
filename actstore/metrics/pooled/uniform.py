"""Uniformity: how evenly the rows' directions cover the sphere, over all pairs of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from actstore.metrics.blocks import Floats, PooledBlock
from actstore.metrics.pooled.moments import ROWS_AT_ONCE, unit_rows
from actstore.metrics.registry import Metric, register
from actstore.metrics.statistics import Rows, merge_rows, rows_as_they_are


@dataclass(frozen=True)
class RowsWithDirection(Rows):
    """Some texts' states but for those that are zero, which are counted."""

    zero: int

    @property
    def n_undefined(self) -> int:
        return self.zero

    @property
    def degenerate(self) -> str:
        return "fewer than two rows have a direction" if self.n < 2 else super().degenerate


def rows_with_direction(block: PooledBlock) -> RowsWithDirection:
    """The rows as they are stored, by row, without those that are zero."""
    kept = (block.states != 0).any(axis=1)
    rows = rows_as_they_are(block.rows[kept], block.states[kept])
    return RowsWithDirection(rows.rows, rows.states, int((~kept).sum()))


def merge_rows_with_direction(a: RowsWithDirection, b: RowsWithDirection) -> RowsWithDirection:
    """The rows of both parts."""
    rows = merge_rows(a, b)
    return RowsWithDirection(rows.rows, rows.states, a.zero + b.zero)


def uniformity(states: Floats, *, t: float = 2.0) -> float:
    """ln of the mean of exp(-t |u - v|^2) over all pairs of different rows' directions u, v.

    states: (row, hidden), any float dtype. -4t .. 0: 0 if all rows have one direction, lower the
    more evenly they cover the sphere; it is a loss. Rows are not centred; zero rows are left out.
    NaN for fewer than two. Compares every row with every other: rows^2 hidden.
    Source: Wang & Isola 2020, https://arxiv.org/abs/2005.10242, section 4.1 (uniformity, t = 2).
    """
    return _uniformity(rows_with_direction(PooledBlock.of(states)), t)


def _uniformity(stats: RowsWithDirection, t: float = 2.0) -> float:
    if stats.degenerate:
        return float("nan")
    units = unit_rows(stats.states, np.zeros(stats.states.shape[1]))
    total = 0.0
    for start in range(0, len(units), ROWS_AT_ONCE):
        some = units[start : start + ROWS_AT_ONCE]
        cosines = some @ units[start:].T
        kernel = np.exp(2 * t * (np.minimum(cosines, 1.0) - 1.0))
        total += float(np.triu(kernel, 1).sum())
    return min(0.0, math.log(total / math.comb(len(units), 2)))


register(
    Metric(
        name="uniformity",
        formula="\\ln \\frac{2}{n(n-1)} \\sum_{i<j} e^{-2 |u_i - u_j|^2},\\ u_i = x_i / |x_i|",
        range="-8 .. 0",
        cost="n^2 d",
        invariant_to=frozenset({"rotation", "scaling", "row scaling"}),
        over="pooled",
        chunk=rows_with_direction,
        combine=merge_rows_with_direction,
        finalize=_uniformity,
        reference="Wang & Isola 2020, https://arxiv.org/abs/2005.10242, section 4.1; t = 2, "
        "over pairs of different texts",
        unit="nats",
        description="how evenly directions cover the sphere, as a loss: 0 is one direction",
        all_pairs=True,
    )
)
