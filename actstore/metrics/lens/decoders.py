"""How a layer's residual is made ready for the unembedding: the choice that names a lens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from actstore.errors import InvalidInputError
from actstore.metrics.blocks import Floats
from actstore.store import LensHead
from actstore.store.heads.head_ops import HeadOp, LayerNorm, RmsNorm


class Decoder(Protocol):
    """From residuals to what the head's unembedding multiplies."""

    @property
    def name(self) -> str:
        """What the lens is called: `final`."""

    def normed(self, states: Floats, layers: Sequence[int], head: LensHead) -> Floats:
        """(layer, token, hidden) raw residuals of these layers -> (layer, token, width).

        In float64 if the states are, else float32. A token's row depends on its own states alone.
        """


@dataclass(frozen=True)
class FinalNorm:
    """Every layer through the model's final norm, its statistics taken of that layer.

    The lens of nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru; of
    tuned-lens, nnterp and TransformerLens. The last layer is decoded as the model does.
    """

    name: str = "final"

    def normed(self, states: Floats, layers: Sequence[int], head: LensHead) -> Floats:
        """Whatever the head does before its unembedding, to every layer alike."""
        return np.stack([head.norm(layer) for layer in states])


@dataclass(frozen=True)
class Raw:
    """No norm: residuals straight into the unembedding, as logos-in-layers' raw lens."""

    name: str = "raw"

    def normed(self, states: Floats, layers: Sequence[int], head: LensHead) -> Floats:
        """The states themselves. InvalidInputError if the unembedding has another width."""
        if states.shape[-1] != head.unembedding.shape[1]:
            raise InvalidInputError(
                f"The raw lens multiplies states of width {states.shape[-1]} by the unembedding, "
                f"but this head's has width {head.unembedding.shape[1]}: it projects before it. "
                "Use the lens 'final'."
            )
        return states.astype(np.result_type(states, np.float32), copy=False)


@dataclass(frozen=True, eq=False)  # arrays do not compare to a truth value
class NextBlockNorm:
    """A layer through the norm that the next block applies first; the last through the final norm.

    The lens of logos-in-layers. Only the norm differs: what else a head does before its unembedding
    (a scale, a projection) is kept.
    """

    block_norms: Mapping[int, HeadOp]
    """By layer l, the norm with which block l + 1 begins; as `LensHead.block_norms`."""
    arrays: Mapping[str, Floats]
    """By the names those norms use."""
    name: str = "next_block"

    def normed(self, states: Floats, layers: Sequence[int], head: LensHead) -> Floats:
        """layers: the last one is the model's last.

        InvalidInputError if a block's norm is not known.
        """
        heads = [*(self._head_of(layer, head) for layer in layers[:-1]), head]
        return np.stack([one.norm(layer) for one, layer in zip(heads, states, strict=True)])

    def _head_of(self, layer: int, head: LensHead) -> LensHead:
        if layer not in self.block_norms:
            raise InvalidInputError(
                f"The lens 'next_block' decodes layer {layer} with the norm of block {layer + 1}, "
                f"which is not stored: known are {sorted(self.block_norms) or 'none'}. Its blocks "
                "do not begin with a norm, or the head was stored before norms were kept: use the "
                "lens 'final', or extract this checkpoint's lens head again."
            )
        ops = tuple(
            self.block_norms[layer] if isinstance(op, LayerNorm | RmsNorm) else op
            for op in head.ops
        )
        return replace(head, ops=ops, arrays={**head.arrays, **self.arrays})


FINAL = FinalNorm()
RAW = Raw()
