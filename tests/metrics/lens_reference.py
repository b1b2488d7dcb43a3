"""The lens' quantities straight from their definitions, over whole arrays of logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp, rel_entr, softmax

from actstore.store import LensHead
from actstore.store.heads.head_ops import LayerNorm, Linear, RmsNorm, Scale, Softcap

Array = NDArray[Any]


def capped_head(rng: np.random.Generator, vocabulary: int, hidden: int = 16) -> LensHead:
    """A norm with a bias, an unembedding with a bias, a scale and a soft cap, in float64."""
    arrays = {
        "gain": rng.normal(1, 0.3, hidden),
        "shift": rng.normal(0, 0.3, hidden),
        "unembedding": rng.normal(size=(vocabulary, hidden)),
        "bias": rng.normal(size=vocabulary),
    }
    norm = LayerNorm("gain", "shift", 1e-5)
    return LensHead(
        (norm, Linear("unembedding", "bias"), Scale(1.5), Softcap(8.0)), arrays, max_abs_error=0.0
    )


def rms_head(rng: np.random.Generator, vocabulary: int, hidden: int = 16) -> LensHead:
    """A norm, an unembedding and a soft cap, in float32."""
    arrays = {
        "gain": rng.normal(1, 0.1, hidden).astype(np.float32),
        "shift": np.zeros(hidden, np.float32),
        "unembedding": rng.normal(size=(vocabulary, hidden)).astype(np.float32),
    }
    ops = (RmsNorm("gain", "shift", 1e-6), Linear("unembedding", None), Softcap(30.0))
    return LensHead(ops, arrays, max_abs_error=0.0)


def expected(logits: Array, final: Array, gold: Array) -> dict[str, Array]:
    """All that needs logits and nothing else.

    logits: (layer, token, vocabulary), float64. final: (token, vocabulary). gold: (token,) ids.
    """
    p, q = softmax(logits, axis=-1), softmax(final, axis=-1)
    middle = (p + q) / 2
    log_p = log_softmax(logits, axis=-1)
    order = np.argsort(-logits, axis=-1, kind="stable")
    sizes = -np.sort(-p, axis=-1)
    of_gold = np.take_along_axis(logits, gold[None, :, None], axis=-1)[..., 0]
    log_p_gold = np.take_along_axis(log_p, gold[None, :, None], axis=-1)[..., 0]
    return {
        "entropy_bits": -(p * log_p).sum(axis=-1) / np.log(2),
        "kl_layer_to_final_bits": rel_entr(p, q).sum(axis=-1) / np.log(2),
        "kl_final_to_layer_bits": rel_entr(q, p).sum(axis=-1) / np.log(2),
        "js_bits": (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / 2 / np.log(2),
        "log_normaliser": logsumexp(logits, axis=-1),
        "gold_logit": of_gold,
        "gold_rank": 1.0 + (logits > of_gold[..., None]).sum(axis=-1),
        "p_gold": np.exp(log_p_gold),
        "cross_entropy_bits": -log_p_gold / np.log(2),
        "top_ids": order[..., :5],
        "top_logits": np.take_along_axis(logits, order[..., :5], axis=-1),
        "top1_id": logits.argmax(axis=-1),
        "top1_is_final": (logits.argmax(axis=-1) == final.argmax(axis=-1)).astype(float),
        "p_top1": sizes[..., 0],
        "p_top5": sizes[..., :5].sum(axis=-1),
        "p_top1_margin": sizes[..., 0] - sizes[..., 1],
    }
