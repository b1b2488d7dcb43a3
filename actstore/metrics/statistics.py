"""The statistics that many metrics share: a number of each text, and the rows themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats, RowNumbers


@dataclass(frozen=True)
class PerText:
    """A number of each text, for metrics that are means over texts, or over their tokens.

    Kept by text, ascending, so that however texts come in parts, the mean is the same to the bit.
    """

    rows: RowNumbers
    """(text,), ascending, each once."""
    total: NDArray[np.float64]
    """(text,): the number, or the sum over the text's tokens where it is defined."""
    count: NDArray[np.int64]
    """(text,): how many numbers are in `total`: 1, or tokens; 0 where none is defined."""
    undefined: NDArray[np.int64]
    """(text,): how many more there were."""

    @property
    def n(self) -> int:
        return int(self.count.sum())

    @property
    def n_undefined(self) -> int:
        return int(self.undefined.sum())

    @property
    def degenerate(self) -> str:
        return "" if self.n else "it is not defined for any of them"

    def values(self) -> NDArray[np.float64]:
        """(text,): each text's number or mean over its tokens; NaN where it has none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.total / self.count)


def per_text(rows: RowNumbers, values: NDArray[np.float64]) -> PerText:
    """values: (text,), not finite where the number is not defined."""
    order = np.argsort(rows, kind="stable")
    defined = np.isfinite(values)[order]
    count = defined.astype(np.int64)
    return PerText(rows[order], np.where(defined, values[order], 0.0), count, 1 - count)


def per_token(rows: RowNumbers, spans: NDArray[np.int64], values: Floats) -> PerText:
    """values: (token,), not finite where not defined. spans: (text, 2), each text's tokens."""
    order = np.argsort(rows, kind="stable")
    spans = spans[order]
    defined = np.isfinite(values)
    numbers = np.where(defined, values, 0.0).astype(np.float64)
    total = np.array([numbers[start:stop].sum() for start, stop in spans], np.float64)
    count = _sums_over(spans, defined)
    return PerText(rows[order], total, count, spans[:, 1] - spans[:, 0] - count)


def merge_per_text(a: PerText, b: PerText) -> PerText:
    """The statistic of both parts, which share no text."""
    rows = np.concatenate([a.rows, b.rows])
    order = np.argsort(rows, kind="stable")
    joined = (
        np.concatenate([getattr(a, name), getattr(b, name)])[order]
        for name in ("total", "count", "undefined")
    )
    return PerText(rows[order], *joined)


def itself(stats: PerText) -> PerText:
    """The numbers of single texts, where the statistic is nothing else."""
    return stats


def mean_of(stats: PerText) -> float:
    """The mean over all texts or tokens where the number is defined; NaN if there is none."""
    return float(stats.total.sum() / stats.n) if stats.n else float("nan")


@dataclass(frozen=True)
class Rows:
    """Some texts' states as they are, for metrics that compare every text with every other."""

    rows: RowNumbers
    """(text,), ascending."""
    states: Floats
    """(text, …), in the dtype they have in the store."""

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def n_undefined(self) -> int:
        return 0

    @property
    def degenerate(self) -> str:
        if len(self.rows) < 2:
            return "there is only one text"
        broken = ~np.isfinite(self.states).reshape(self.n, -1).all(axis=1)
        return f"{broken.sum()} texts have states that are not finite" if broken.any() else ""


def rows_as_they_are(rows: RowNumbers, states: Floats) -> Rows:
    """states: (text, …)."""
    order = np.argsort(rows, kind="stable")
    return Rows(rows[order], states[order])


def merge_rows(a: Rows, b: Rows) -> Rows:
    """The rows of both parts."""
    return rows_as_they_are(np.concatenate([a.rows, b.rows]), np.concatenate([a.states, b.states]))


def _sums_over(spans: NDArray[np.int64], flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(text,): how many of each text's tokens have the flag."""
    before = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(before[spans[:, 1]] - before[spans[:, 0]], np.int64)
