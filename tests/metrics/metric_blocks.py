"""Small blocks of every kind of data that a metric can be over."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import (
    LensBlock,
    PairBlock,
    PooledBlock,
    TokenBlock,
    ViewsBlock,
    spans_of,
)
from actstore.metrics.lens.quantities import LensTokens, measure
from actstore.metrics.pooled.moments import mean_sums, merge_mean_sums
from actstore.metrics.registry import all_metrics
from actstore.store import LensHead
from actstore.store.heads.head_ops import Linear


def linear_head(unembedding: NDArray[Any]) -> LensHead:
    """A head that is one matrix (hidden, vocabulary), in the dtype of the states it gets."""
    return LensHead((Linear("unembedding", None),), {"unembedding": unembedding.T.copy()}, 0.0)


def pooled_blocks(rows: NDArray[Any], cuts: Sequence[int]) -> list[PooledBlock]:
    parts = _parts(len(rows), cuts)
    sums = mean_sums(PooledBlock(rows[parts[0]], parts[0]))
    for part in parts[1:]:
        sums = merge_mean_sums(sums, mean_sums(PooledBlock(rows[part], part)))
    return [PooledBlock(rows[part], part, sums.mean) for part in parts]


def pair_blocks(
    states: NDArray[Any], against: NDArray[Any], cuts: Sequence[int]
) -> list[PairBlock]:
    return [PairBlock(states[part], against[part], part) for part in _parts(len(states), cuts)]


def views_blocks(states: NDArray[Any], cuts: Sequence[int]) -> list[ViewsBlock]:
    """states: (text, view, hidden)."""
    return [ViewsBlock(states[part], part) for part in _parts(len(states), cuts)]


def token_blocks(texts: Sequence[NDArray[Any]], cuts: Sequence[int]) -> list[TokenBlock]:
    return [_token_block([texts[i] for i in part], part) for part in _parts(len(texts), cuts)]


def _token_block(texts: Sequence[NDArray[Any]], rows: NDArray[np.int64]) -> TokenBlock:
    return TokenBlock(np.concatenate(texts), spans_of(map(len, texts)), rows)


def lens_blocks(
    states: NDArray[Any],
    final: NDArray[Any],
    head: LensHead,
    cuts: Sequence[int],
    quantities: Sequence[str] = (),
) -> list[LensBlock]:
    """Texts of one token each. quantities: what is read; what any metric needs, if not given."""
    needed = quantities or {name for metric in all_metrics() for name in metric.quantities}
    blank = np.zeros(head.vocabulary_size, bool)
    blocks = []
    for part in _parts(len(states), cuts):
        spans, ids = spans_of([1] * len(part)), np.full(len(part), 7)
        tokens = LensTokens(ids, spans, gold=ids, layers=(0, 1), blank=blank)
        values = measure(np.stack([states[part], final[part]]), tokens, head, needed)
        blocks.append(LensBlock({name: v[0] for name, v in values.items()}, spans, part))
    return blocks


def _parts(n: int, cuts: Sequence[int]) -> list[NDArray[np.int64]]:
    edges = [0, *(cut for cut in cuts if cut < n), n]
    return [np.arange(a, b) for a, b in itertools.pairwise(edges) if b > a]
