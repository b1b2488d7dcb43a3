"""Logit-lens metrics: what each layer would predict if the model stopped there, in bits.

Logits come in float32 (or as the head gives them); sums over the vocabulary run in float64, one
vocabulary tile at a time, over log-probabilities that were shifted before any exponential. The
final layer's prediction is made once for a tile of tokens and shared by all layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import FinalTile, Floats, Head, LensBlock

_LN2 = float(np.log(2.0))
_VOCAB_TILE = 4096
_TILE_BYTES = 64 * 2**20
"""Bound on the (token, vocab) arrays held at once."""


@dataclass(frozen=True)
class LensValues:
    """Per token, in bits, all (token,) float64."""

    entropy: NDArray[np.float64]
    """Of the layer's prediction."""
    kl_layer_to_final: NDArray[np.float64]
    """KL(layer || final)."""
    kl_final_to_layer: NDArray[np.float64]
    """KL(final || layer)."""


@dataclass(frozen=True)
class LensSums:
    """Sums over tokens, in bits."""

    n: int
    totals: NDArray[np.float64]
    """(3,): of entropy, KL(layer || final) and KL(final || layer)."""
    n_undefined: int


def tokens_per_tile(vocab: int, itemsize: int = 4) -> int:
    """How many tokens' predictions fit the bound: the final's two arrays and a layer's two."""
    return max(1, _TILE_BYTES // (4 * vocab * itemsize))


def final_tile(states: Floats, head: Head) -> FinalTile:
    """What the final layer predicts for these tokens. states: (token, hidden), raw residuals."""
    log_probs = _log_softmax(head.logits(states))
    return FinalTile(log_probs, np.exp(log_probs))


def lens_values(states: Floats, final: FinalTile, head: Head) -> LensValues:
    """Entropy of a layer's prediction and both divergences from the final one, per token.

    states: (token, hidden), raw residuals of the layer. The final layer's own states give
    divergences of exactly 0. Source of the lens: nostalgebraist 2020,
    https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru; KL(layer || final) as in logos-in-layers,
    KL(final || layer) as in Belrose et al. 2023, https://arxiv.org/abs/2303.08112, section 3.
    """
    log_probs = _log_softmax(head.logits(states))
    sums = np.zeros((3, len(states)))
    for part in _vocab_tiles(log_probs):
        lp, final_lp, final_p = log_probs[:, part], final.log_probs[:, part], final.probs[:, part]
        p, gap = np.exp(lp), lp - final_lp
        sums[0] -= np.vecdot(p, lp)
        sums[1] += np.vecdot(p, gap)
        sums[2] -= np.vecdot(final_p, gap)
    return LensValues(*(sums / _LN2))


def lens_sums(block: LensBlock) -> LensSums:
    """Sums over the block's tokens; those whose logits are not finite are counted apart."""
    values = lens_values(block.states, block.final, block.head)
    table = np.stack([values.entropy, values.kl_layer_to_final, values.kl_final_to_layer])
    finite = np.isfinite(table).all(axis=0)
    return LensSums(int(finite.sum()), table[:, finite].sum(axis=1), int((~finite).sum()))


def merge_lens_sums(a: LensSums, b: LensSums) -> LensSums:
    """The statistic of both parts."""
    return LensSums(a.n + b.n, a.totals + b.totals, a.n_undefined + b.n_undefined)


def lens_entropy(states: Floats, head: Head) -> NDArray[np.float64]:
    """Entropy in bits of what each token's state predicts: (token,), 0 .. log2(vocab).

    states: (token, hidden), raw residuals. head: see `Head`.
    """
    return _in_tiles(states, states, head).entropy


def lens_kl_layer_to_final(states: Floats, final: Floats, head: Head) -> NDArray[np.float64]:
    """KL(layer || final) in bits: (token,). states, final: (token, hidden) of the same tokens."""
    return _in_tiles(states, final, head).kl_layer_to_final


def lens_kl_final_to_layer(states: Floats, final: Floats, head: Head) -> NDArray[np.float64]:
    """KL(final || layer) in bits: (token,). states, final: (token, hidden) of the same tokens."""
    return _in_tiles(states, final, head).kl_final_to_layer


def _in_tiles(states: Floats, final: Floats, head: Head) -> LensValues:
    logits = head.logits(states[:1])
    step = tokens_per_tile(logits.shape[1], logits.itemsize)
    parts = [
        lens_values(states[i : i + step], final_tile(final[i : i + step], head), head)
        for i in range(0, len(states), step)
    ]
    return LensValues(
        np.concatenate([part.entropy for part in parts]),
        np.concatenate([part.kl_layer_to_final for part in parts]),
        np.concatenate([part.kl_final_to_layer for part in parts]),
    )


def _log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Log-probabilities, in the logits' dtype; the normaliser is summed in float64."""
    shifted: NDArray[Any] = logits - logits.max(axis=1, keepdims=True)
    total = np.zeros(len(shifted))
    for part in _vocab_tiles(shifted):
        total += np.exp(shifted[:, part]).sum(axis=1, dtype=np.float64)
    shifted -= np.log(total)[:, None].astype(shifted.dtype)
    return shifted


def _vocab_tiles(table: NDArray[Any]) -> Iterator[slice]:
    return (slice(i, i + _VOCAB_TILE) for i in range(0, table.shape[1], _VOCAB_TILE))
