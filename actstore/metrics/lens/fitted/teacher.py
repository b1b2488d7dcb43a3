"""KL(final || layer) of many tokens and its gradient, over the vocabulary in tiles.

Both directions of the pass through the unembedding happen tile by tile: nothing of the size
(token, vocabulary) is ever held, only (token, 2048) at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.fitted.gradients import inputs_of, pull_back_all
from actstore.store import LensHead
from actstore.store.heads.head_ops import HeadOp, Linear, Scale

_VOCAB_TILE = 2048
_AT_ONCE = 1024
"""Final states that pass through the head together."""
TokenPlaces: TypeAlias = NDArray[np.int64] | slice


class Teacher(Protocol):
    """What the model predicts of some tokens in the end.

    normed: (n, width), what the unembedding multiplies, of a layer. tokens: which of the teacher's
    tokens these are.
    """

    def kl(self, normed: Floats, tokens: TokenPlaces) -> NDArray[np.float64]:
        """KL(final || layer) in nats: (n,)."""

    def gradient(self, normed: Floats, tokens: TokenPlaces) -> Floats:
        """Its gradient with respect to `normed`: (n, width)."""


@dataclass(frozen=True)
class HeadParts:
    """A lens head in three parts."""

    head: LensHead
    before: tuple[HeadOp, ...]
    """The norm, and what else makes `normed` of a state."""
    unembedding: Linear
    after: tuple[HeadOp, ...]
    """Scales and soft caps of the logits."""

    @classmethod
    def of(cls, head: LensHead) -> HeadParts:
        last = max(i for i, op in enumerate(head.ops) if isinstance(op, Linear))
        unembedding = head.ops[last]
        assert isinstance(unembedding, Linear)
        return cls(head, head.ops[:last], unembedding, head.ops[last + 1 :])

    def tiles(self) -> Iterator[slice]:
        """The vocabulary in slices."""
        for low in range(0, self.head.vocabulary_size, _VOCAB_TILE):
            yield slice(low, low + _VOCAB_TILE)

    def rows(self, tile: slice, like: Floats) -> Floats:
        """The unembedding of a tile, in the dtype of `like`."""
        return self.head.unembedding[tile].astype(like.dtype, copy=False)


def teacher_of(final: Floats, parts: HeadParts) -> Teacher:
    """The teacher of some tokens' final states (n, hidden)."""
    linear = all(isinstance(op, Scale) for op in parts.after)
    normed = [
        parts.head.norm(final[low : low + _AT_ONCE]) for low in range(0, len(final), _AT_ONCE)
    ]
    softmaxes = [_Softmax.over(some, parts, with_row=linear) for some in normed]
    log_norm = np.concatenate([softmax.log_norm() for softmax in softmaxes])
    if not linear:
        return _CurvedTeacher(parts, np.concatenate(normed), log_norm)
    row = np.concatenate([softmax.mean_row() for softmax in softmaxes])
    factor = float(np.prod([op.factor for op in parts.after if isinstance(op, Scale)]))
    # KL of the final prediction from itself is 0: that is what the constant has to be
    own = np.concatenate(normed)
    constant = factor * np.vecdot(row, own, dtype=np.float64) - log_norm
    return _LinearTeacher(parts, factor, row, constant)


@dataclass
class _Softmax:
    """A softmax over the vocabulary, and the mean unembedding row under it, as tiles come in."""

    top: Floats
    norm: NDArray[np.float64]
    """(n,): sum of e^(z - top)."""
    row: Floats | None
    """(n, width): the rows' sum with those weights; None if nobody asked for it."""

    @classmethod
    def over(cls, normed: Floats, parts: HeadParts, *, with_row: bool = False) -> _Softmax:
        """Of all logits."""
        n = len(normed)
        row = np.zeros_like(normed) if with_row else None
        softmax = cls(np.full(n, -np.inf, normed.dtype), np.zeros(n), row)
        for tile in parts.tiles():
            softmax._add(parts.head.unembed(normed, tile), tile, parts)
        return softmax

    def _add(self, logits: Floats, tile: slice, parts: HeadParts) -> None:
        top = np.maximum(self.top, logits.max(axis=-1))
        shrink = np.exp(self.top - top)
        logits -= top[:, None]
        powers = np.exp(logits, out=logits)
        self.norm = self.norm * shrink + powers.sum(axis=-1, dtype=np.float64)
        self.top = top
        if self.row is not None:
            self.row *= shrink[:, None]
            self.row += powers @ parts.rows(tile, powers)

    def log_norm(self) -> NDArray[np.float64]:
        """(n,): ln of the sum of e^z."""
        return np.asarray(self.top + np.log(self.norm))

    def mean_row(self) -> Floats:
        """(n, width): the mean unembedding row under the softmax."""
        assert self.row is not None
        mean: Floats = self.row / self.norm[:, None].astype(self.row.dtype)
        return mean


@dataclass(frozen=True)
class _LinearTeacher:
    """Where logits are linear in `normed`: z = factor (W normed + bias).

    Then KL(final || layer) = c - factor F · normed + ln sum e^z, with F the mean unembedding row
    under the final prediction and c a number of each token. Its gradient is factor (E - F), E the
    same mean under the layer's prediction. So the final prediction need be computed only once.
    """

    parts: HeadParts
    factor: float
    row: Floats
    """(token, width): F."""
    constant: NDArray[np.float64]
    """(token,): c."""

    def kl(self, normed: Floats, tokens: TokenPlaces) -> NDArray[np.float64]:
        log_norm = _Softmax.over(normed, self.parts).log_norm()
        agreement = self.factor * np.vecdot(self.row[tokens], normed, dtype=np.float64)
        return np.asarray(self.constant[tokens] - agreement + log_norm)

    def gradient(self, normed: Floats, tokens: TokenPlaces) -> Floats:
        own = _Softmax.over(normed, self.parts, with_row=True).mean_row()
        return np.asarray(self.factor * (own - self.row[tokens]))


@dataclass(frozen=True)
class _CurvedTeacher:
    """Where logits are capped: the final ones are computed again beside the layer's."""

    parts: HeadParts
    normed: Floats
    """(token, width), of the final states."""
    log_norm: NDArray[np.float64]
    """(token,)."""

    def kl(self, normed: Floats, tokens: TokenPlaces) -> NDArray[np.float64]:
        own_norm = _Softmax.over(normed, self.parts).log_norm()
        kl = np.zeros(len(normed))
        for tile in self.parts.tiles():
            mine = _log_shares(self.parts.head.unembed(normed, tile), own_norm)
            theirs = self._log_shares(tokens, tile)
            kl += np.vecdot(np.exp(theirs), theirs - mine, dtype=np.float64)
        return kl

    def gradient(self, normed: Floats, tokens: TokenPlaces) -> Floats:
        parts, arrays = self.parts, self.parts.head.arrays
        own_norm = _Softmax.over(normed, parts).log_norm()
        gradient = np.zeros_like(normed)
        for tile in parts.tiles():
            raw = parts.head.raw_logits(normed, tile)
            raw = parts.unembedding.add_bias(raw, arrays, tile)
            inputs, logits = inputs_of(parts.after, raw, arrays)
            excess = np.exp(_log_shares(logits, own_norm)) - np.exp(self._log_shares(tokens, tile))
            gradient += pull_back_all(parts.after, inputs, excess, arrays) @ parts.rows(tile, raw)
        return gradient

    def _log_shares(self, tokens: TokenPlaces, tile: slice) -> Floats:
        """(n, tile): ln of what the final prediction gives each id."""
        return _log_shares(
            self.parts.head.unembed(self.normed[tokens], tile), self.log_norm[tokens]
        )


def _log_shares(logits: Floats, log_norm: NDArray[np.float64]) -> Floats:
    shares: Floats = logits - log_norm[:, None].astype(logits.dtype)
    return shares
