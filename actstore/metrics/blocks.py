"""What a metric's chunk is given: some rows, texts or tokens of one (checkpoint, layer)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
"""Any float dtype: metrics widen to float64 themselves."""


class Head(Protocol):
    """The part of `actstore.store.LensHead` that the lens metrics use."""

    def logits(self, states: Any) -> Any:
        """Logits (n, vocab), float32 or float64, of raw residual states (n, hidden)."""


@dataclass(frozen=True)
class PooledBlock:
    """Some rows of one pooled array."""

    states: Floats
    """(row, hidden)."""
    mean: NDArray[np.float64] | None = None
    """(hidden,): the mean of all rows, not only of these; given to metrics that ask for it."""


@dataclass(frozen=True)
class TokenBlock:
    """The token states of some whole texts."""

    states: Floats
    """(token, hidden), in reading order within each text."""
    spans: NDArray[np.int64]
    """(text, 2): each text's first token and the one after its last."""

    def texts(self) -> list[Floats]:
        """Each text's states (token, hidden)."""
        return [self.states[start:stop] for start, stop in self.spans]


@dataclass(frozen=True)
class FinalTile:
    """What the final layer predicts for a block's tokens: computed once for all layers."""

    log_probs: Floats
    """(token, vocab), natural logarithms."""
    probs: Floats
    """(token, vocab)."""


@dataclass(frozen=True)
class LensBlock:
    """Token states of one layer, the head that decodes them, and the final prediction for them."""

    states: Floats
    """(token, hidden): raw residuals, before the final norm."""
    final: FinalTile
    head: Head
