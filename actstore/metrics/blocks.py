"""What a metric's chunk is given: some rows, texts or tokens of one (checkpoint, layer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
"""Any float dtype: metrics widen to float64 themselves."""
RowNumbers: TypeAlias = NDArray[np.int64]
ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""A number below this share of those it is a difference of is rounding, not structure."""


@dataclass(frozen=True)
class PooledBlock:
    """Some rows of one pooled array."""

    states: Floats
    """(row, hidden)."""
    rows: RowNumbers
    """(row,): which texts they are of."""
    mean: NDArray[np.float64] | None = None
    """(hidden,): the mean of all rows, not only of these; given to metrics that ask for it."""

    @classmethod
    def of(cls, states: Floats, mean: NDArray[np.float64] | None = None) -> PooledBlock:
        """All rows there are, numbered from 0."""
        return cls(states, np.arange(len(states)), mean)

    def take(self, keep: NDArray[np.bool_]) -> PooledBlock:
        """Some of the rows."""
        return PooledBlock(self.states[keep], self.rows[keep], self.mean)


@dataclass(frozen=True)
class PairBlock:
    """The same rows of two arrays: of a layer, and of another layer or checkpoint."""

    states: Floats
    """(row, hidden)."""
    against: Floats
    """(row, hidden of the other)."""
    rows: RowNumbers
    """(row,): which texts they are of."""

    @classmethod
    def of(cls, states: Floats, against: Floats) -> PairBlock:
        """All rows there are, numbered from 0."""
        return cls(states, against, np.arange(len(states)))

    def take(self, keep: NDArray[np.bool_]) -> PairBlock:
        """Some of the rows."""
        return PairBlock(self.states[keep], self.against[keep], self.rows[keep])


@dataclass(frozen=True)
class ViewsBlock:
    """Several views of some texts, each pooled to a row."""

    states: Floats
    """(text, view, hidden)."""
    rows: RowNumbers
    """(text,): the texts that they are views of."""

    @classmethod
    def of(cls, states: Floats) -> ViewsBlock:
        """All texts there are, numbered from 0."""
        return cls(states, np.arange(len(states)))

    def take(self, keep: NDArray[np.bool_]) -> ViewsBlock:
        """Some of the texts."""
        return ViewsBlock(self.states[keep], self.rows[keep])


@dataclass(frozen=True)
class TokenBlock:
    """The token states of some whole texts."""

    states: Floats
    """(token, hidden), in reading order within each text."""
    spans: NDArray[np.int64]
    """(text, 2): each text's first token and the one after its last."""
    rows: RowNumbers
    """(text,): which texts they are."""

    @classmethod
    def of(cls, texts: Sequence[Floats]) -> TokenBlock:
        """All texts there are, each (token, hidden), numbered from 0."""
        return cls(np.concatenate(texts), spans_of(map(len, texts)), np.arange(len(texts)))

    def texts(self) -> list[Floats]:
        """Each text's states (token, hidden)."""
        return [self.states[start:stop] for start, stop in self.spans]


@dataclass(frozen=True)
class LensBlock:
    """What the lens says of the tokens of some whole texts at one layer."""

    values: Mapping[str, Floats]
    """By quantity, (token,); not finite for a token of which it is not defined."""
    spans: NDArray[np.int64]
    """(text, 2): each text's first token and the one after its last."""
    rows: RowNumbers
    """(text,): which texts they are."""


def spans_of(lengths: Any) -> NDArray[np.int64]:
    """(text, 2): where texts of these lengths begin and end, one behind the other."""
    sizes = np.fromiter(lengths, np.int64)
    stops = np.cumsum(sizes)
    return np.stack([stops - sizes, stops], axis=1)
