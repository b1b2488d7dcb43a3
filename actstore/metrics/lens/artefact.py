"""How much of what a lens says is the lens' own doing: the normed lens set against the raw one.

Distributions are compared whole, in float64, some rows of the vocabulary's length at a time: twice
the matrix products of a lens, and more besides. It is meant for some prompts, not for a corpus.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats
from actstore.metrics.lens.collapse import Flags
from actstore.store import LensHead

TOP_K = 50
_VOCAB_TILE = 4096
_BLOCK_BYTES = 64 * 2**20
"""Bound on the (row, vocabulary) arrays of a block, about eight of them in float64."""


@dataclass(frozen=True)
class LensDifference:
    """How two lenses' predictions p and q differ, each (layer, token) in float64.

    NaN where a logit of either is not finite. Source: logos-in-layers, its raw-against-norm rows,
    with p normed and q raw.
    """

    kl_bits: NDArray[np.float64]
    """KL(p || q), from 0."""
    kl_back_bits: NDArray[np.float64]
    """KL(q || p), from 0."""
    js_bits: NDArray[np.float64]
    """Jensen-Shannon divergence, 0 .. 1."""
    l1: NDArray[np.float64]
    """Σ |p - q|, 0 .. 2."""
    top_jaccard: NDArray[np.float64]
    """Tokens among the top k of both, over those of either, 0 .. 1; ties at place k are all in."""
    rank: NDArray[np.float64]
    """Of the gold token under p, from 1, ties favouring it; NaN too without one."""
    other_rank: NDArray[np.float64]
    """Of the gold token under q."""

    @property
    def only_first(self) -> Flags:
        """Where p alone ranks the gold token first: `norm_only_semantics`."""
        return np.asarray((self.rank == 1) & (self.other_rank > 1))


def raw_against_normed(
    states: Floats, head: LensHead, gold: NDArray[np.integer[Any]] | None = None, k: int = TOP_K
) -> LensDifference:
    """What the final norm changes in the lens' predictions: p with it, q without.

    states: (layer, token, hidden), raw residuals. gold: (token,) ids, -1 for none. The raw lens
    takes the residual straight to the unembedding, and from there on as the model does (bias,
    scale, soft cap). All NaN where the unembedding takes another width (OPT-350m).
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of states that are not finite
        normed = head.norm(states.reshape(-1, states.shape[-1]))
    normed = normed.reshape(*states.shape[:2], -1)
    if normed.shape != states.shape:
        return LensDifference(*np.full((len(fields(LensDifference)), *states.shape[:2]), np.nan))
    return lens_difference(normed, states, head, gold, k)


def lens_difference(
    normed: Floats,
    other: Floats,
    head: LensHead,
    gold: NDArray[np.integer[Any]] | None = None,
    k: int = TOP_K,
) -> LensDifference:
    """How the predictions of two decodings of the same states differ.

    normed, other: (layer, token, width), what `head.unembed` multiplies for p and for q. gold:
    (token,) ids, -1 for none. k: of `top_jaccard`, at most the vocabulary.
    """
    n_layers, n_tokens, width = normed.shape
    wanted = np.full(n_tokens, -1) if gold is None else gold
    first, second = normed.reshape(-1, width), other.reshape(-1, width)
    ids = np.tile(wanted, n_layers)
    out = np.empty((len(fields(LensDifference)), n_layers * n_tokens))
    step = max(1, _BLOCK_BYTES // (64 * head.vocabulary_size))
    for low in range(0, n_layers * n_tokens, step):
        rows = slice(low, low + step)
        p, q = _logits(first[rows], head), _logits(second[rows], head)
        out[:, rows] = _compared(p, q, ids[rows], k)
    return LensDifference(*out.reshape(-1, n_layers, n_tokens))


Tier = Literal["low", "medium", "high"]


@dataclass(frozen=True)
class ArtefactScore:
    """How far a lens' findings may be its norm's doing. Source: logos-in-layers, `raw_lens_full`.

    NaN, without a tier, where a divergence is not defined.
    """

    score: float
    """0.6 share of layers with KL ≥ 1 bit + 0.3 if any layer is semantic under the norm alone +
    0.1 min(1, largest KL / 5 bits): `lens_artifact_score`, 0 .. 1."""
    score_v2: float
    """score + 0.1 min(1, median JS / 0.1 bits) + 0.05 min(1, median L1 / 0.5), at most 1."""
    tier: Tier | None
    """Of `score`, as in the source: low below 0.2, medium up to 0.5."""
    risk: Tier | None
    """`lens_artifact_risk`: high if a layer is semantic under the norm alone or the largest KL is
    at least 1 bit, medium from 0.5."""


def artefact_score(
    kl_bits: Floats, js_bits: Floats, l1: Floats, only_first: Flags
) -> ArtefactScore:
    """The score of one position, of what `raw_against_normed` says of it, all (layer,).

    The source leaves the embedding (layer 0) out.
    """
    values = np.array([kl_bits, js_bits, l1], np.float64)
    if not values.size or not np.isfinite(values).all():
        return ArtefactScore(float("nan"), float("nan"), None, None)
    largest, norm_only = float(values[0].max()), bool(only_first.any())
    share = float((values[0] >= 1).mean())
    score = 0.6 * share + 0.3 * norm_only + 0.1 * min(1.0, largest / 5)
    js, l1_median = np.median(values[1:], axis=1).tolist()
    more = 0.1 * min(1.0, js / 0.1) + 0.05 * min(1.0, l1_median / 0.5)
    tier: Tier = "low" if score < 0.2 else "medium" if score <= 0.5 else "high"
    risk: Tier = "high" if norm_only or largest >= 1 else "medium" if largest >= 0.5 else "low"
    return ArtefactScore(score, min(1.0, score + more), tier, risk)


def _logits(normed: Floats, head: LensHead) -> NDArray[np.float64]:
    """(row, vocabulary); the unembedding is widened a tile at a time."""
    logits = np.empty((len(normed), head.vocabulary_size))
    for low in range(0, head.vocabulary_size, _VOCAB_TILE):
        tile = slice(low, low + _VOCAB_TILE)
        with np.errstate(over="ignore", invalid="ignore"):
            logits[:, tile] = head.unembed(normed, tile)
    return logits


def _compared(
    a: NDArray[np.float64], b: NDArray[np.float64], ids: NDArray[np.integer[Any]], k: int
) -> NDArray[np.float64]:
    """The fields of LensDifference, (field, row), of logits (row, vocabulary)."""
    defined: Flags = np.asarray(np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1))
    a, b = (np.where(defined[:, None], logits, 0.0) for logits in (a, b))
    log_p, log_q = _log_softmax(a), _log_softmax(b)
    p, q = np.exp(log_p), np.exp(log_q)
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    to_q, to_p = np.vecdot(p, log_p - log_q), np.vecdot(q, log_q - log_p)
    js = (np.vecdot(p, log_p - log_m) + np.vecdot(q, log_q - log_m)) / 2
    bits = np.array([to_q, to_p, js]) / np.log(2)
    shares = np.abs(p - q).sum(axis=1), _jaccard(_top(a, k), _top(b, k))
    found = np.array([*bits, *shares, _rank(a, ids), _rank(b, ids)])
    return np.where(defined, found, np.nan)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _top(logits: NDArray[np.float64], k: int) -> Flags:
    """(row, vocabulary): whether a logit is as large as the k-th largest."""
    place = max(logits.shape[1] - k, 0)
    least = np.partition(logits, place, axis=1)[:, place]
    return np.asarray(logits >= least[:, None])


def _jaccard(a: Flags, b: Flags) -> NDArray[np.float64]:
    return np.asarray((a & b).sum(axis=1) / (a | b).sum(axis=1))


def _rank(logits: NDArray[np.float64], ids: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    own = logits[np.arange(len(ids)), ids][:, None]
    return np.where(ids < 0, np.nan, 1.0 + (logits > own).sum(axis=1))
