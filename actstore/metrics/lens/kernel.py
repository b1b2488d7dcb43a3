"""The logit lens over all layers at once: what each would predict if the model stopped there.

One matrix product per vocabulary tile serves all layers of a tile of tokens, and nothing of the
size (token, vocabulary) is ever held. Tiles are float32 (float64 for float64 states), shifted by
the running maximum before any exponential; sums over the vocabulary are carried in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.decoders import FINAL, Decoder
from actstore.metrics.lens.sums import (
    Carried,
    GoldRank,
    JensenShannon,
    LogitCosine,
    SoftmaxSums,
    Tile,
    TopTokens,
    Values,
)
from actstore.refs import look_up
from actstore.store import LensHead

BASE: tuple[str, ...] = (
    *SoftmaxSums.gives,
    *GoldRank.gives,
    *TopTokens.gives,
    *LogitCosine.gives,
    *JensenShannon.gives,
    "resid_norm",
    "normed_norm",
)
"""What `lens_values` can be asked for."""
DEFAULT = ("entropy_bits", "kl_layer_to_final_bits", "kl_final_to_layer_bits")
_AGAINST_FINAL = {*DEFAULT[1:], "js_bits", "cos_to_final", "top1_is_final"}
_TILE_BYTES = 26 * 2**20
"""Bound on the two (layer, token, vocabulary tile) buffers together."""
_ROWS_BYTES = 8 * 2**20
"""Bound on what a tile is the product of: its tokens' rows, and its rows of the unembedding."""
_MOST_IDS, _LEAST_IDS = 2048, 256
"""Of a vocabulary tile."""


def lens_values(
    states: Floats,
    head: LensHead,
    *,
    quantities: Sequence[str] = DEFAULT,
    gold: NDArray[np.integer[Any]] | None = None,
    decoder: Decoder = FINAL,
    layers: Sequence[int] | None = None,
    top_k: int = 5,
) -> dict[str, NDArray[Any]]:
    """Quantities of every layer's prediction, from one walk over the vocabulary.

    states: (layer, token, hidden), raw residuals; the last layer given is the model's last. Its
    prediction through the final norm is the final one, whatever the decoder: with `FINAL` the
    divergences from it are exactly 0 there.
    quantities: of BASE, which `QUANTITIES` describes; `js_bits` takes a second walk.
    gold: (token,) ids that should be predicted, negative for none; none at all if not given.
    layers: the numbers of the states' layers, ascending; 0, 1, … if not given.
    top_k: how many `top_ids` and `top_logits`; of a smaller vocabulary, all.

    Returns by name (layer, token) in float64, ids in int64; `top_ids` and `top_logits` are (layer,
    token, top_k), largest first. Where a token's logits are not all finite at a layer it has NaN
    and ids of -1 there; where the final ones are not, all that is compared with them is NaN.
    Source of the lens: nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru.
    Raises UnknownNameError for a quantity that is not in BASE.
    """
    asked = [look_up("lens quantity", name, BASE, "See docs/metrics.md.") for name in quantities]
    n_layers, n_tokens, _ = states.shape
    numbers = tuple(range(n_layers)) if layers is None else tuple(layers)
    golds = np.full(n_tokens, -1) if gold is None else np.asarray(gold)
    dtype = np.result_type(states.dtype, np.float32)
    width = max(states.shape[2], head.unembedding.shape[1])
    step, ids = tile_shape(n_layers + 1, width, dtype.itemsize)
    buffers = np.empty((2, (n_layers + 1) * min(step, n_tokens) * ids), dtype)
    walk = _Walk(head, frozenset(asked), top_k, ids, buffers)
    out: dict[str, NDArray[Any]] = {}
    for low in range(0, max(n_tokens, 1), step):  # once even without tokens, for the shapes
        tile = slice(low, low + step)
        found = _values_of(states[:, tile], golds[tile], numbers, decoder, walk)
        for name in asked:
            if name not in out:  # once: small results between large buffers fragment the heap
                whole = (n_layers, n_tokens, *found[name].shape[2:])
                out[name] = np.empty(whole, found[name].dtype)
            out[name][:, tile] = found[name]
    return out


def tile_shape(n_layers: int, width: int, itemsize: int) -> tuple[int, int]:
    """How many tokens, of all layers, and how many ids of the vocabulary are taken at once."""
    ids = min(max(_ROWS_BYTES // (width * itemsize), _LEAST_IDS), _MOST_IDS)
    tokens = min(_TILE_BYTES // (2 * ids), _ROWS_BYTES // width) // (n_layers * itemsize)
    return max(1, tokens), ids


def token_probabilities(
    states: Floats,
    head: LensHead,
    ids: NDArray[np.integer[Any]],
    log_normaliser: NDArray[np.float64],
    *,
    decoder: Decoder = FINAL,
    layers: Sequence[int] | None = None,
) -> NDArray[np.float64]:
    """The probability of some ids at every layer and token: (layer, token, id), 0 .. 1.

    states, decoder, layers: as for `lens_values`. ids: (id,), the same for all tokens.
    log_normaliser: (layer, token), as `lens_values` gives it for them. Takes only the ids' rows of
    the unembedding. NaN where log_normaliser is.
    """
    numbers = tuple(range(len(states))) if layers is None else tuple(layers)
    with np.errstate(all="ignore"):
        normed = decoder.normed(states, numbers, head)
        logits = _logits_of(normed, head, ids).astype(np.float64)
        return np.asarray(np.exp(logits - log_normaliser[..., None]))


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


@dataclass(frozen=True)
class _Walk:
    """The walk over the vocabulary: which of its sums are wanted, and where the logits are put."""

    head: LensHead
    asked: frozenset[str]
    top_k: int
    ids: int
    """How many ids are taken at once."""
    buffers: Floats
    """(2, flat), each as long as a tile."""

    def values(self, normed: Floats, gold: NDArray[np.integer[Any]]) -> Values:
        """What the asked quantities' sums give: (layer, token, …).

        normed: (layer, token, width), the last one final. gold: (token,).
        """
        shape = normed.shape[:2]
        cosine = LogitCosine(shape) if self._asks(LogitCosine.gives) else None
        sums = SoftmaxSums(shape, self.buffers[1])
        carried: list[Carried] = [*self._tokens_carried(normed, gold), sums]
        finite = np.ones(shape, np.bool_)
        for raw, ids in self._raw_tiles(normed):
            if cosine is not None:
                cosine.add(raw)
            tile = self._finished(raw, ids)
            finite &= np.isfinite(tile.top) & np.isfinite(tile.logits.min(axis=-1))
            for one in carried:
                one.add(tile)
        log_normaliser = sums.top + sums.log_norm()
        found = [one.values(log_normaliser) for one in carried]
        found += [] if cosine is None else [cosine.values()]
        found += (
            [self._divergence_from_mean(normed, sums)] if self._asks(JensenShannon.gives) else []
        )
        return {
            name: _where_finite(name, values, finite)
            for part in found
            for name, values in part.items()
        }

    def _tokens_carried(
        self, normed: Floats, gold: NDArray[np.integer[Any]]
    ) -> Iterator[GoldRank | TopTokens]:
        if self._asks(GoldRank.gives):
            yield GoldRank(gold, _gold_logits(normed, gold, self.head))
        if self._asks(TopTokens.gives):
            yield TopTokens(normed.shape[:2], self.top_k, self.head.vocabulary_size, normed.dtype)

    def _divergence_from_mean(self, normed: Floats, sums: SoftmaxSums) -> Values:
        divergence = JensenShannon(sums)
        for raw, ids in self._raw_tiles(normed):
            divergence.add(self._finished(raw, ids))
        return divergence.values()

    def _raw_tiles(self, normed: Floats) -> Iterator[tuple[Floats, slice]]:
        """(layer, token, id) for one slice of ids after another, all in the same buffer."""
        rows = normed.reshape(-1, normed.shape[-1])
        for low in range(0, self.head.vocabulary_size, self.ids):
            ids = slice(low, min(low + self.ids, self.head.vocabulary_size))
            n = ids.stop - ids.start
            out = self.buffers[0, : len(rows) * n].reshape(len(rows), n)
            yield self.head.raw_logits(rows, ids, out).reshape(*normed.shape[:2], n), ids

    def _finished(self, raw: Floats, ids: slice) -> Tile:
        logits = self.head.finish(raw.reshape(-1, raw.shape[-1]), ids).reshape(raw.shape)
        return Tile(logits, ids.start, logits.max(axis=-1))

    def _asks(self, gives: tuple[str, ...]) -> bool:
        return not self.asked.isdisjoint(gives)


def _values_of(
    states: Floats,
    gold: NDArray[np.integer[Any]],
    layers: tuple[int, ...],
    decoder: Decoder,
    walk: _Walk,
) -> Values:
    """All that the walk gives of a tile of tokens (layer, token, hidden), and their norms."""
    with np.errstate(all="ignore"):  # what is not finite comes out as NaN
        dtype = walk.buffers.dtype
        decoded = decoder.normed(states, layers, walk.head).astype(dtype, copy=False)
        final = FINAL.normed(states[-1:], layers[-1:], walk.head)
        apart = not np.array_equal(decoded[-1:], final, equal_nan=True)
        found = {"resid_norm": _lengths(states), "normed_norm": _lengths(decoded)}
        if not walk.asked <= found.keys():
            found |= walk.values(np.concatenate([decoded, final]) if apart else decoded, gold)
    return {name: values[: len(states)] for name, values in found.items()}


def _lengths(states: Floats) -> NDArray[np.float64]:
    """(layer, token): Euclidean norms; NaN where they are not finite."""
    wide = states.astype(np.float64)
    lengths = np.sqrt(np.vecdot(wide, wide))
    return np.where(np.isfinite(lengths), lengths, np.nan)


def _gold_logits(normed: Floats, gold: NDArray[np.integer[Any]], head: LensHead) -> Floats:
    """(layer, token): of each token's gold id; NaN where it has none."""
    known = gold >= 0
    ids, column = np.unique(gold[known], return_inverse=True)
    logits = np.full(normed.shape[:2], np.nan, normed.dtype)
    logits[:, known] = _logits_of(normed, head, ids)[:, known, column]
    return logits


def _logits_of(normed: Floats, head: LensHead, ids: NDArray[np.integer[Any]]) -> Floats:
    """(layer, token, id).

    A product with one column rounds otherwise than one with many: there are always two at least.
    """
    rows = normed.reshape(-1, normed.shape[-1])
    logits = head.unembed(rows, np.append(ids, ids[:1]))[:, : len(ids)]
    return logits.reshape(*normed.shape[:2], len(ids))


def _where_finite(name: str, values: NDArray[Any], finite: NDArray[np.bool_]) -> NDArray[Any]:
    """Values (layer, token, …), but NaN, or -1 for ids, where the logits are not finite."""
    kept = finite & finite[-1] if name in _AGAINST_FINAL else finite
    nothing = -1 if values.dtype.kind == "i" else np.nan
    return np.where(kept.reshape(kept.shape + (1,) * (values.ndim - 2)), values, nothing)
