"""What is carried from tile to tile while the lens walks over the vocabulary.

Each class is one thing carried, and says which quantities it `gives`. Arrays are (layer, token);
the last layer is the model's own prediction, `final`. Tiles are in the head's compute dtype, and
the sums over them in float64. A walk shows a tile to all of them, to `SoftmaxSums` last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats

LN2 = float(np.log(2.0))
Shape = tuple[int, ...]
Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Tile:
    """Logits of a slice of the vocabulary."""

    logits: Floats
    """(layer, token, id)."""
    first: int
    """The first one's id."""
    top: Floats
    """(layer, token): the largest."""


class Carried(Protocol):
    """Takes in every tile of the vocabulary, then gives quantities."""

    gives: ClassVar[tuple[str, ...]]

    def add(self, tile: Tile) -> None:
        """Take in a tile."""

    def values(self, log_normaliser: NDArray[np.float64]) -> Values:
        """By name, each (layer, token, …). log_normaliser: (layer, token), of the softmax."""


class SoftmaxSums:
    """Entropies, divergences from the final prediction, and the logarithm of the softmax's sum.

    With z a logit and m its row's largest one so far, over the vocabulary seen:
    norm = Σ e^(z-m), own = Σ e^(z-m) (z-m), final = Σ e^(z-m) (z_f-m_f), by_final =
    Σ e^(z_f-m_f) (z-m). m is a logit, in the logits' dtype, so that z-m is exact near it.
    """

    gives: ClassVar[tuple[str, ...]] = (
        "entropy_bits",
        "kl_layer_to_final_bits",
        "kl_final_to_layer_bits",
        "log_normaliser",
    )

    def __init__(self, shape: Shape, buffer: Floats) -> None:
        """buffer: flat, as long as a tile."""
        self._buffer = buffer
        self.top = np.full(shape, np.finfo(buffer.dtype).min, buffer.dtype)
        self._norm, self._own, self._final, self._by_final = np.zeros((4, *shape))

    def add(self, tile: Tile) -> None:
        """Take in a tile, whose logits are overwritten."""
        self._raise_top(np.maximum(self.top, tile.top))
        logits = tile.logits
        logits -= self.top[..., None]
        powers = self._buffer[: logits.size].reshape(logits.shape)
        np.exp(logits, out=powers)
        self._norm += powers.sum(axis=-1)
        self._own += np.vecdot(powers, logits)
        self._final += np.vecdot(powers, logits[-1])
        self._by_final += np.vecdot(powers[-1], logits)

    def _raise_top(self, top: Floats) -> None:
        """Express all sums by new largest logits, which are no smaller."""
        rise = (top - self.top).astype(np.float64)
        shrink = np.exp(-rise)
        self._own = shrink * (self._own - rise * self._norm)
        self._final = shrink * (self._final - rise[-1] * self._norm)
        self._by_final = shrink[-1] * (self._by_final - rise * self._norm[-1])
        self._norm = shrink * self._norm
        self.top = top

    def values(self, log_normaliser: NDArray[np.float64]) -> Values:
        """In bits, but for the logarithm itself."""
        log_norm = self.log_norm()
        ahead = log_norm - log_norm[-1]
        to_final = (self._own - self._final) / self._norm - ahead
        from_final = (self._own[-1] - self._by_final) / self._norm[-1] + ahead
        return {
            "entropy_bits": (log_norm - self._own / self._norm) / LN2,
            "kl_layer_to_final_bits": to_final / LN2,
            "kl_final_to_layer_bits": from_final / LN2,
            "log_normaliser": log_normaliser,
        }

    def log_norm(self) -> NDArray[np.float64]:
        """(layer, token): the logarithm of Σ e^(z-m) over the whole vocabulary."""
        logarithm: NDArray[np.float64] = np.log(self._norm)
        return logarithm


class GoldRank:
    """The gold id's logit and probability, and how many are larger."""

    gives: ClassVar[tuple[str, ...]] = ("gold_logit", "gold_rank", "p_gold", "cross_entropy_bits")

    def __init__(self, gold: NDArray[np.integer[Any]], logit: Floats) -> None:
        """gold: (token,) ids, negative for none. logit: (layer, token), theirs; NaN for none."""
        self._gold = gold
        self._logit = logit.copy()
        self._larger = np.zeros(logit.shape, np.int64)

    def add(self, tile: Tile) -> None:
        """A gold id met in the tile is never larger than itself; from here its logit there counts.

        The product of other columns may round it otherwise.
        """
        larger = tile.logits > self._logit[..., None]
        column = self._gold - tile.first
        token = np.flatnonzero((self._gold >= 0) & (column >= 0) & (column < larger.shape[-1]))
        larger[:, token, column[token]] = False
        self._logit[:, token] = tile.logits[:, token, column[token]]
        # twice as fast as count_nonzero along an axis
        self._larger += np.bitwise_count(np.packbits(larger, axis=-1)).sum(axis=-1, dtype=np.int64)

    def values(self, log_normaliser: NDArray[np.float64]) -> Values:
        """The rank is 1 + how many logits are strictly larger."""
        logit = self._logit.astype(np.float64)
        return {
            "gold_logit": logit,
            "gold_rank": np.where(np.isnan(logit), np.nan, 1.0 + self._larger),
            "p_gold": np.exp(logit - log_normaliser),
            "cross_entropy_bits": (log_normaliser - logit) / LN2,
        }


class TopTokens:
    """The ids with the largest logits, largest first; of equal ones the smaller id first."""

    gives: ClassVar[tuple[str, ...]] = (
        "top_ids",
        "top_logits",
        "top1_id",
        "top1_is_final",
        "p_top1",
        "p_top5",
        "p_top1_margin",
    )

    def __init__(self, shape: Shape, k: int, vocabulary: int, dtype: np.dtype[Any]) -> None:
        self._asked = k
        k = min(max(k, 5), vocabulary)
        self._ids = np.full((*shape, k), -1, np.int64)
        self._logits = np.full((*shape, k), -np.inf, dtype)

    def add(self, tile: Tile) -> None:
        """Take each row's largest, then its next, until no row has one for its list.

        A row's maximum is soon found, and few tiles have many that count: faster than to sort.
        """
        ids, logits = [self._ids], [self._logits]
        for _ in range(self._ids.shape[-1]):
            column = tile.logits.argmax(axis=-1)[..., None]
            logit = np.take_along_axis(tile.logits, column, axis=-1)
            if not (logit > self._logits[..., -1:]).any():
                break
            np.put_along_axis(tile.logits, column, -np.inf, axis=-1)
            ids.append(tile.first + column)
            logits.append(logit)
        for column, logit in zip(ids[1:], logits[1:], strict=True):
            np.put_along_axis(tile.logits, column - tile.first, logit, axis=-1)
        self._merge(np.concatenate(ids, axis=-1), np.concatenate(logits, axis=-1))

    def _merge(self, ids: NDArray[np.int64], logits: Floats) -> None:
        order = np.argsort(-logits, axis=-1, kind="stable")[..., : self._ids.shape[-1]]
        self._ids = np.take_along_axis(ids, order, axis=-1)
        self._logits = np.take_along_axis(logits, order, axis=-1)

    def values(self, log_normaliser: NDArray[np.float64]) -> Values:
        """p_top1_margin is the most likely id's probability minus the next one's."""
        first, logits = self._ids[..., 0], self._logits.astype(np.float64)
        p = np.exp(logits - log_normaliser[..., None])
        return {
            "top_ids": self._ids[..., : self._asked],
            "top_logits": logits[..., : self._asked],
            "top1_id": first,
            "top1_is_final": (first == first[-1]).astype(np.float64),
            "p_top1": p[..., 0],
            "p_top5": p[..., :5].sum(axis=-1),
            "p_top1_margin": p[..., 0] - p[..., 1:2].sum(axis=-1),
        }


class LogitCosine:
    """Cosine of a layer's raw logits with the final ones."""

    gives: ClassVar[tuple[str, ...]] = ("cos_to_final",)

    def __init__(self, shape: Shape) -> None:
        self._with_final, self._squares = np.zeros((2, *shape))

    def add(self, raw: Floats) -> None:
        """raw: (layer, token, id), before biases, scales and soft caps."""
        self._with_final += np.vecdot(raw, raw[-1])
        self._squares += np.vecdot(raw, raw)

    def values(self) -> Values:
        """-1 .. 1; NaN where all raw logits are 0."""
        # the root of a square is exact: the final layer's cosine with itself is 1
        cosine = self._with_final / np.sqrt(self._squares * self._squares[-1])
        return {"cos_to_final": np.clip(cosine, -1.0, 1.0)}


class JensenShannon:
    """Divergence of a layer and the final prediction from their mean: takes a walk of its own."""

    gives: ClassVar[tuple[str, ...]] = ("js_bits",)

    def __init__(self, sums: SoftmaxSums) -> None:
        """sums: of the whole vocabulary."""
        self._top, self._log_norm = sums.top, sums.log_norm().astype(sums.top.dtype)
        self._nats = np.zeros(sums.top.shape)

    def add(self, tile: Tile) -> None:
        """Take in a tile, whose logits are overwritten."""
        p = tile.logits
        p -= self._top[..., None]  # exact near the top, unlike z minus the whole logarithm
        p -= self._log_norm[..., None]
        np.exp(p, out=p)
        for layer, probabilities in enumerate(p):
            self._nats[layer] += _twice_js(probabilities, p[-1])

    def values(self) -> Values:
        """0 .. 1, but for rounding."""
        return {"js_bits": self._nats / 2 / LN2}


def _twice_js(p: Floats, q: Floats) -> NDArray[np.float64]:
    """Σ p ln(p/m) + q ln(q/m) with m their mean, along the last axis; exactly 0 where p is q."""
    least = np.finfo(p.dtype).tiny  # nothing beside any p that counts, and keeps 0 ln 0 at 0
    mean = (p + q) / 2 + least
    total: NDArray[np.float64] = np.vecdot(p, np.log((p + least) / mean)).astype(np.float64)
    total += np.vecdot(q, np.log((q + least) / mean))
    return total
