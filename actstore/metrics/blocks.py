"""What a metric's chunk is given: some rows, texts or tokens of one (checkpoint, layer)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
"""Any float dtype: metrics widen to float64 themselves."""


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
class LensValues:
    """What the logit lens says of some tokens, in bits; a block holds (token,) of one layer.

    Not finite for a token whose logits are not.
    """

    entropy: NDArray[np.float64]
    """Of the layer's prediction."""
    kl_layer_to_final: NDArray[np.float64]
    """KL(layer || final)."""
    kl_final_to_layer: NDArray[np.float64]
    """KL(final || layer)."""

    def by_layer(self) -> list[LensValues]:
        """Values (layer, token) as one block a layer."""
        columns = (self.entropy, self.kl_layer_to_final, self.kl_final_to_layer)
        return [LensValues(*layer) for layer in zip(*columns, strict=True)]
