"""Collapse: where a layer's prediction is a copy of the prompt, nearly certain, or the answer.

The names are those of logos-in-layers. Copying is decided on token ids, never on strings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from actstore.metrics.blocks import Floats

Ids = NDArray[np.integer[Any]]
Flags = NDArray[np.bool_]


def copy_collapse(
    top1_id: Ids,
    p_top1: Floats,
    p_top1_margin: Floats,
    token_id: Ids,
    spans: NDArray[np.int64] | None = None,
    *,
    ignored: Flags | None = None,
    threshold: float = 0.95,
    margin: float = 0.10,
) -> Flags:
    """Whether the likeliest token is surely one of the prompt: (layer, token).

    True where the top-1 id occurs in the prompt, its probability is above `threshold` and above the
    second one's by more than `margin`, both strictly, and it is not ignored. The prompt of a
    position is its text up to and including that position. False where a probability is NaN.

    top1_id, p_top1, p_top1_margin: (layer, token). token_id: (token,). spans: (text, 2), each
    text's first token and the one after its last; one text if left out. ignored: (vocabulary,),
    ids that count as no copy: special ones, and those of only whitespace and punctuation.
    Source: logos-in-layers, `copy_collapse` (`copy_strict@0.95`).
    """
    sure = (p_top1 > threshold) & (p_top1_margin > margin)
    copied = sure & copied_over_depth(top1_id, token_id, spans)
    return copied if ignored is None else copied & ~ignored[top1_id]


def soft_copy_collapse(
    top1_id: Ids,
    p_top1: Floats,
    token_id: Ids,
    spans: NDArray[np.int64] | None = None,
    *,
    window: int = 1,
    threshold: float = 0.50,
    ignored: Flags | None = None,
) -> Flags:
    """Whether the top-1 ids of the last layers, in order, stand in the prompt: (layer, token).

    The window is over depth: the ids of the `window` layers up to this one must be neighbours in
    the prompt in this order, and this layer's probability must be strictly above `threshold`. There
    is no margin. False at layers with fewer than `window - 1` below them, and where p_top1 is NaN.

    Shapes, the prompt and `ignored` as in `copy_collapse`; ignored ids (only special ones, to do as
    the source does) are no part of a copy.
    Source: logos-in-layers, `copy_soft_k{window}@threshold`, whose command line defaults to 0.50.
    """
    copied = (p_top1 > threshold) & copied_over_depth(top1_id, token_id, spans, window)
    return copied if ignored is None else copied & ~_lately(ignored[top1_id], window)


def entropy_collapse(entropy_bits: Floats, bits: float = 1.0) -> Flags:
    """Whether the prediction's entropy is at most `bits`; False where it is NaN.

    Source: logos-in-layers, `entropy_collapse`.
    """
    return np.asarray(entropy_bits <= bits)


def semantic_collapse(gold_rank: Floats) -> Flags:
    """Whether the gold token is ranked first; ties favour it. False where there is none (NaN).

    Source: logos-in-layers, `is_answer`.
    """
    return np.asarray(gold_rank == 1)


def copied_over_depth(
    top1_id: Ids, token_id: Ids, spans: NDArray[np.int64] | None = None, window: int = 1
) -> Flags:
    """Whether the top-1 ids of the last `window` layers are a slice of the prompt: (layer, token).

    Shapes and the prompt as in `copy_collapse`.
    """
    copied = np.zeros(top1_id.shape, dtype=bool)
    for start, stop in _whole(token_id) if spans is None else spans:
        if len(top1_id) >= window and stop - start >= window:
            text = slice(start, stop)
            copied[window - 1 :, text] = _copied(top1_id[:, text], token_id[text], window)
    return copied


def _whole(token_id: Ids) -> NDArray[np.int64]:
    return np.array([[0, len(token_id)]], np.int64)


def _copied(top1_id: Ids, token_id: Ids, window: int) -> Flags:
    """Of one text: (layer - window + 1, token), for the windows that end at each layer."""
    n_tokens = len(token_id)
    prompt = sliding_window_view(token_id, window)
    depth = sliding_window_view(top1_id, window, axis=0)
    both = np.concatenate([prompt, depth.reshape(-1, window)])
    _, code = np.unique(both, axis=0, return_inverse=True)
    code = code.reshape(-1)
    first_end = np.full(len(both), n_tokens)
    np.minimum.at(first_end, code[: len(prompt)], np.arange(window - 1, n_tokens))
    ends: Flags = first_end[code[len(prompt) :]].reshape(depth.shape[:2]) <= np.arange(n_tokens)
    return ends


def _lately(flags: Flags, window: int) -> Flags:
    """Whether any of the last `window` layers has the flag: (layer, token)."""
    seen = flags.copy()
    for back in range(1, window):
        seen[back:] |= flags[:-back]
    return seen
