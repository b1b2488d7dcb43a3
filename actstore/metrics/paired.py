"""Two arrays row by row: the rows that have a direction in both, and who is near whom in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats, RowNumbers
from actstore.metrics.pooled.moments import unit_rows
from actstore.metrics.statistics import Rows

Overlap: TypeAlias = Literal["jaccard", "mutual"]
"""Of two sets of k neighbours: common ones by the size of the union, or by k."""

_BLOCK = 512
"""Rows that are compared with all others at once."""


@dataclass(frozen=True)
class PairRows(Rows):
    """The same rows of two arrays as they are; those that are zero in one of them are left out."""

    against: Floats
    """(row, hidden of the other)."""
    left_out: int

    @property
    def n_undefined(self) -> int:
        return self.left_out

    @property
    def degenerate(self) -> str:
        if self.n < 2:
            return "fewer than two rows have a direction"
        return super().degenerate or Rows(self.rows, self.against).degenerate


def pair_rows(rows: RowNumbers, states: Floats, against: Floats) -> PairRows:
    """rows: (row,), each once, in any order. states, against: (row, hidden of each)."""
    kept = np.flatnonzero(_has_direction(states) & _has_direction(against))
    order = kept[np.argsort(rows[kept], kind="stable")]
    return PairRows(rows[order], states[order], against[order], len(rows) - len(kept))


def merge_pair_rows(a: PairRows, b: PairRows) -> PairRows:
    """The rows of both parts."""
    rows = np.concatenate([a.rows, b.rows])
    order = np.argsort(rows, kind="stable")
    states = np.concatenate([a.states, b.states])[order]
    against = np.concatenate([a.against, b.against])[order]
    return PairRows(rows[order], states, against, a.left_out + b.left_out)


def directions(rows: Floats) -> NDArray[np.float64]:
    """Rows that are not zero, each divided by its length: (row, hidden) float64."""
    return unit_rows(rows, np.zeros(rows.shape[1]))


def neighbour_overlap(pair: PairRows, k: int, measure: Overlap) -> float:
    """How far rows have the same k nearest others by cosine in both arrays, as a mean over rows.

    0 .. 1, and exactly 1 for an array against itself. Of others that are equally near the first
    are taken. Where there are fewer than k + 2 rows, k is the number of rows less 2, since a row's
    neighbours would otherwise be all others, whatever the states; two rows give 1. NaN where
    `pair` is degenerate.
    """
    if k < 1:
        raise ValueError(f"k is {k}: there must be at least one neighbour")
    if pair.degenerate:
        return float("nan")
    k = min(k, max(1, pair.n - 2))
    here, there = directions(pair.states), directions(pair.against)
    common = np.concatenate(
        [
            (_nearest(here, start, k) & _nearest(there, start, k)).sum(axis=1)
            for start in range(0, pair.n, _BLOCK)
        ]
    )
    return float((common / (2 * k - common if measure == "jaccard" else k)).mean())


def _nearest(units: NDArray[np.float64], start: int, k: int) -> NDArray[np.bool_]:
    """(row of the block from `start`, row): whether it is among the row's k nearest others."""
    cosines = units[start : start + _BLOCK] @ units.T
    own = np.arange(len(cosines))
    cosines[own, start + own] = -np.inf
    kth = np.partition(cosines, -k, axis=1)[:, -k, None]
    nearer, as_near = cosines > kth, cosines == kth
    room = k - nearer.sum(axis=1, keepdims=True)
    return np.asarray(nearer | (as_near & (np.cumsum(as_near, axis=1) <= room)))


def _has_direction(rows: Floats) -> NDArray[np.bool_]:
    """(row,): whether it is not zero; so is one that is not finite, which the result shows."""
    return np.asarray(np.linalg.norm(rows.astype(np.float64), axis=1) != 0)
