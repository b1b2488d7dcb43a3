"""The logit lens over all layers at once: what each would predict if the model stopped there.

One matrix product per vocabulary tile serves all layers of a tile of tokens, and nothing of the
size (token, vocabulary) is ever held. Tiles are float32 (or what the head computes in), shifted by
the running maximum before any exponential; sums over the vocabulary are carried in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.store import LensHead

QUANTITIES = ("entropy_bits", "kl_layer_to_final_bits", "kl_final_to_layer_bits")
_VOCAB_TILE = 2048
_TILE_BYTES = 32 * 2**20
"""Bound on the two (layer, token, vocabulary tile) buffers together."""


def lens_values(states: Floats, head: LensHead) -> dict[str, NDArray[np.float64]]:
    """Entropy of every layer's prediction and its divergences from the final one's, in bits.

    states: (layer, token, hidden), raw residuals; the last layer given is the final one, whose
    divergences are exactly 0. Returns values of shape (layer, token).
    Source of the lens: nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru.
    """
    n_layers, n_tokens, _ = states.shape
    step = tokens_per_tile(n_layers, states.dtype.itemsize)
    out = np.empty((3, n_layers, n_tokens))
    for low in range(0, n_tokens, step):
        out[:, :, low : low + step] = _tile_values(states[:, low : low + step], head)
    return dict(zip(QUANTITIES, out, strict=True))


def tokens_per_tile(n_layers: int, itemsize: int) -> int:
    """How many tokens' tiles, of all layers, fit the bound."""
    return max(1, _TILE_BYTES // (2 * n_layers * _VOCAB_TILE * max(itemsize, 4)))


def lens_entropy(states: Floats, head: LensHead) -> NDArray[np.float64]:
    """Entropy in bits of what each token's state predicts: (token,), 0 .. log2(vocabulary).

    states: (token, hidden), raw residuals.
    """
    values: NDArray[np.float64] = lens_values(states[None], head)["entropy_bits"][0]
    return values


def lens_kl_layer_to_final(states: Floats, final: Floats, head: LensHead) -> NDArray[np.float64]:
    """KL(layer || final) in bits: (token,). states, final: (token, hidden) of the same tokens.

    As `kl_to_final_bits` of logos-in-layers.
    """
    values: NDArray[np.float64] = lens_values(np.stack([states, final]), head)[
        "kl_layer_to_final_bits"
    ][0]
    return values


def lens_kl_final_to_layer(states: Floats, final: Floats, head: LensHead) -> NDArray[np.float64]:
    """KL(final || layer) in bits: (token,). states, final: (token, hidden) of the same tokens.

    Source: Belrose et al. 2023, https://arxiv.org/abs/2303.08112, section 3.
    """
    values: NDArray[np.float64] = lens_values(np.stack([states, final]), head)[
        "kl_final_to_layer_bits"
    ][0]
    return values


@dataclass
class _Sums:
    """Running sums over the vocabulary, each (layer, token); the last layer is the final one, f.

    With z a logit and m its row's largest one so far, over the vocabulary seen:
    norm = Σ e^(z-m), own = Σ e^(z-m) (z-m), final = Σ e^(z-m) (z_f-m_f), by_final =
    Σ e^(z_f-m_f) (z-m). All float64; m is a logit, in the logits' dtype, so that z-m is exact.
    """

    top: Floats
    norm: NDArray[np.float64]
    own: NDArray[np.float64]
    final: NDArray[np.float64]
    by_final: NDArray[np.float64]

    def raise_top(self, top: Floats) -> None:
        """Express all sums by new largest logits, which are no smaller."""
        rise = (top - self.top).astype(np.float64)
        shrink = np.exp(-rise)
        self.own = shrink * (self.own - rise * self.norm)
        self.final = shrink * (self.final - rise[-1] * self.norm)
        self.by_final = shrink[-1] * (self.by_final - rise * self.norm[-1])
        self.norm = shrink * self.norm
        self.top = top

    def add(self, logits: Floats, buffer: Floats) -> None:
        """Take in a vocabulary tile: (layer, token, tile), overwritten, as is the buffer."""
        logits -= self.top[..., None]
        powers = np.exp(logits, out=buffer)
        self.norm += powers.sum(axis=-1)
        self.own += np.vecdot(powers, logits)
        self.final += np.vecdot(powers, logits[-1])
        self.by_final += np.vecdot(powers[-1], logits)

    def values(self) -> NDArray[np.float64]:
        """(3, layer, token) in bits: entropy, KL(layer || final), KL(final || layer)."""
        log_norm = np.log(self.norm)
        ahead = log_norm - log_norm[-1]
        entropy = log_norm - self.own / self.norm
        to_final = (self.own - self.final) / self.norm - ahead
        from_final = (self.own[-1] - self.by_final) / self.norm[-1] + ahead
        bits: NDArray[np.float64] = np.stack([entropy, to_final, from_final]) / np.log(2.0)
        return bits


def _tile_values(states: Floats, head: LensHead) -> NDArray[np.float64]:
    """(3, layer, token) for a tile of tokens (layer, token, hidden)."""
    n_layers, n_tokens, hidden = states.shape
    normed = head.norm(states.reshape(-1, hidden))
    buffer = np.empty((n_layers, n_tokens, _VOCAB_TILE), normed.dtype)
    sums = None
    for low in range(0, head.vocabulary_size, _VOCAB_TILE):
        flat = head.unembed(normed, slice(low, low + _VOCAB_TILE))
        logits = flat.reshape(n_layers, n_tokens, -1)
        top = logits.max(axis=-1)
        if sums is None:
            sums = _Sums(top, *np.zeros((4, n_layers, n_tokens)))
        else:
            sums.raise_top(np.maximum(sums.top, top))
        sums.add(logits, buffer[..., : logits.shape[-1]])
    assert sums is not None, "a head has a vocabulary"
    return sums.values()
