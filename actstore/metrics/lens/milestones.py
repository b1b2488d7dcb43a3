"""Milestones: the first layer at which something holds of a token's prediction.

The names are those of logos-in-layers, and so are the comparisons: `first_kl_below_1.0` is the
first KL of at most 1 bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.collapse import Flags, entropy_collapse, semantic_collapse

KL_BITS = (0.5, 1.0)
RANKS = (1, 5, 10)


def first_layer(
    flags: Flags, layers: Sequence[int], known: Flags | None = None
) -> NDArray[np.float64]:
    """The first layer whose flag is set: (token,); NaN if none is.

    flags: (layer, token). layers: the numbers of the layer axis, ascending. known: (layer, token),
    False where the flag cannot be told; NaN too where that is so before the first set flag.
    """
    steps = reached(flags, known)
    first = np.argmax(steps == 1, axis=0)
    found = (steps == 1).any(axis=0)
    below = np.isnan(steps) & (np.arange(len(steps))[:, None] < first)
    return np.where(found & ~below.any(axis=0), np.asarray(layers, np.float64)[first], np.nan)


def reached(flags: Flags, known: Flags | None = None) -> NDArray[np.float64]:
    """Whether the flag is set at this layer or one before it: (layer, token), 1 or 0.

    NaN where it is set at none of them and cannot be told at some. The mean over tokens is the
    share whose milestone is at this layer or an earlier one.
    """
    known = np.ones_like(flags) if known is None else known
    so_far = np.logical_or.accumulate(flags & known, axis=0)
    told = np.logical_and.accumulate(known, axis=0)
    return np.where(so_far, 1.0, np.where(told, 0.0, np.nan))


def first_kl_below(
    kl_bits: Floats, layers: Sequence[int], bits: float = 1.0
) -> NDArray[np.float64]:
    """The first layer whose divergence from the final prediction is at most `bits`: (token,).

    kl_bits: (layer, token), KL(layer || final) in the source. NaN if there is none.
    Source: logos-in-layers, `first_kl_below_{bits}`: at most, although named below.
    """
    return first_layer(np.asarray(kl_bits <= bits), layers, np.isfinite(kl_bits))


def first_rank_le(gold_rank: Floats, layers: Sequence[int], k: int = 1) -> NDArray[np.float64]:
    """The first layer that ranks the gold token k-th or better: (token,); NaN if none does.

    gold_rank: (layer, token), from 1, NaN without a gold token.
    Source: logos-in-layers, `first_rank_le_{k}`.
    """
    return first_layer(np.asarray(gold_rank <= k), layers, np.isfinite(gold_rank))


@dataclass(frozen=True)
class Milestones:
    """The milestones of one position, layers or None where never reached.

    Source: logos-in-layers, `diagnostics` of its output.
    """

    n_blocks: int
    """The model's last layer, for fractions of depth."""
    l_copy: int | None
    """First copy collapse."""
    l_copy_soft: Mapping[int, int | None]
    """By window over depth: first soft copy collapse."""
    l_copy_entropy: int | None
    """First entropy collapse, `L_copy_H`."""
    l_semantic: int | None
    """First layer that ranks the gold token first."""
    first_kl_below: Mapping[float, int | None]
    """By bits, of KL(layer || final)."""
    first_rank_le: Mapping[int, int | None]
    """By rank of the gold token."""

    @property
    def delta_layers(self) -> int | None:
        """Layers from copying to meaning: L_semantic - L_copy."""
        return _minus(self.l_semantic, self.l_copy)

    @property
    def delta_hat(self) -> float | None:
        """The same over the model's depth, from the first soft copy where none is strict."""
        soft = [layer for layer in self.l_copy_soft.values() if layer is not None]
        start = self.l_copy if self.l_copy is not None else min(soft, default=None)
        return self.fraction(_minus(self.l_semantic, start))

    def fraction(self, layer: int | None) -> float | None:
        """A layer as a share of the model's depth; None for none."""
        return None if layer is None else layer / self.n_blocks

    def named(self) -> dict[str, float | None]:
        """All under their names in logos-in-layers: `L_copy`, `first_kl_below_1.0`, …"""
        soft = {f"L_copy_soft_k{k}": layer for k, layer in self.l_copy_soft.items()}
        below = {f"first_kl_below_{bits}": layer for bits, layer in self.first_kl_below.items()}
        ranked = {f"first_rank_le_{k}": layer for k, layer in self.first_rank_le.items()}
        return {
            "L_copy": self.l_copy,
            **soft,
            "L_copy_H": self.l_copy_entropy,
            "L_semantic": self.l_semantic,
            "delta_layers": self.delta_layers,
            "delta_hat": self.delta_hat,
            "L_copy_frac": self.fraction(self.l_copy),
            "L_semantic_frac": self.fraction(self.l_semantic),
            **below,
            **ranked,
        }


def milestones(
    layers: Sequence[int],
    *,
    copied: Flags,
    soft_copied: Mapping[int, Flags],
    entropy_bits: Floats,
    kl_layer_to_final_bits: Floats,
    gold_rank: Floats,
) -> Milestones:
    """The milestones of one position, of what each layer predicts there, all (layer,).

    layers: of the layer axis, ascending; the last is the model's last. copied, soft_copied (by
    window): as `copy_collapse` and `soft_copy_collapse` say. gold_rank: NaN without a gold token.
    """
    entropy, kl, rank = entropy_bits[:, None], kl_layer_to_final_bits[:, None], gold_rank[:, None]
    told = np.isfinite(entropy)

    def first(flags: Flags, known: Flags) -> int | None:
        return _only(first_layer(flags, layers, known))

    return Milestones(
        n_blocks=layers[-1],
        l_copy=first(copied[:, None], told),
        l_copy_soft={k: first(flags[:, None], told) for k, flags in soft_copied.items()},
        l_copy_entropy=first(entropy_collapse(entropy), told),
        l_semantic=first(semantic_collapse(rank), np.isfinite(rank)),
        first_kl_below={bits: _only(first_kl_below(kl, layers, bits)) for bits in KL_BITS},
        first_rank_le={k: _only(first_rank_le(rank, layers, k)) for k in RANKS},
    )


def _only(found: NDArray[np.float64]) -> int | None:
    return None if np.isnan(found[0]) else int(found[0])


def _minus(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a - b
