"""A fitted lens as a decoder: translate each layer's states, then read them as the last layer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actstore.errors import UnknownNameError
from actstore.metrics.blocks import Floats
from actstore.metrics.lens.fitted.translator import Translator
from actstore.store import LensHead
from actstore.store.heads.lenses import StoredLens


@dataclass(frozen=True, eq=False)  # arrays do not compare to a truth value
class FittedLens:
    """Every layer through its own affine map, then all through the model's final norm.

    Source: Belrose et al. 2023, https://arxiv.org/abs/2303.08112, section 3.
    """

    name: str
    translators: Mapping[int, Translator]
    """By layer; none for the last one, which is read as it is."""
    last: int
    """The model's last layer."""

    @classmethod
    def of(cls, lens: StoredLens) -> FittedLens:
        """A lens of the store."""
        maps = zip(lens.weight, lens.bias, strict=True)
        translators = dict(zip(lens.layers, (Translator(*one) for one in maps), strict=True))
        return cls(lens.name, translators, lens.last_layer)

    def translated(self, states: Floats, layers: Sequence[int]) -> Floats:
        """(layer, token, hidden) -> estimates of the last layer's states, of the same shape.

        In float64 if the states are, else in float32. Raises UnknownNameError for a layer that
        the lens was not fitted to.
        """
        dtype = np.result_type(states, np.float32)
        pairs = zip(states, layers, strict=True)
        return np.stack([self._translate(some, layer).astype(dtype) for some, layer in pairs])

    def normed(self, states: Floats, layers: Sequence[int], head: LensHead) -> Floats:
        """(layer, token, hidden) -> (layer, token, width): what the unembedding multiplies."""
        return np.stack([head.norm(layer) for layer in self.translated(states, layers)])

    def _translate(self, states: Floats, layer: int) -> Floats:
        if layer == self.last:
            return states
        if layer not in self.translators:
            fitted = ", ".join(map(str, self.translators))
            raise UnknownNameError(
                f"The lens {self.name!r} was not fitted to layer {layer}; it has {fitted}."
            )
        return self.translators[layer](states)
