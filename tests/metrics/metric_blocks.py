"""Small blocks of every kind of data that a metric can be over."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import LensBlock, PooledBlock, TokenBlock, spans_of
from actstore.metrics.lens.kernel import lens_values
from actstore.metrics.pooled.moments import mean_sums, merge_mean_sums
from actstore.store import LensHead
from actstore.store.head_ops import Linear


def linear_head(unembedding: NDArray[Any]) -> LensHead:
    """A head that is one matrix (hidden, vocabulary), in the dtype of the states it gets."""
    return LensHead((Linear("unembedding", None),), {"unembedding": unembedding.T.copy()}, 0.0)


def pooled_blocks(rows: NDArray[Any], cuts: Sequence[int]) -> list[PooledBlock]:
    parts = _parts(len(rows), cuts)
    sums = mean_sums(PooledBlock(rows[parts[0]], parts[0]))
    for part in parts[1:]:
        sums = merge_mean_sums(sums, mean_sums(PooledBlock(rows[part], part)))
    return [PooledBlock(rows[part], part, sums.mean) for part in parts]


def token_blocks(texts: Sequence[NDArray[Any]], cuts: Sequence[int]) -> list[TokenBlock]:
    return [_token_block([texts[i] for i in part], part) for part in _parts(len(texts), cuts)]


def _token_block(texts: Sequence[NDArray[Any]], rows: NDArray[np.int64]) -> TokenBlock:
    return TokenBlock(np.concatenate(texts), spans_of(map(len, texts)), rows)


def lens_blocks(
    states: NDArray[Any], final: NDArray[Any], head: LensHead, cuts: Sequence[int]
) -> list[LensBlock]:
    """Texts of one token each."""
    blocks = []
    for part in _parts(len(states), cuts):
        values = lens_values(np.stack([states[part], final[part]]), head)
        first = {name: value[0] for name, value in values.items()}
        blocks.append(LensBlock(first, spans_of([1] * len(part)), part))
    return blocks


def _parts(n: int, cuts: Sequence[int]) -> list[NDArray[np.int64]]:
    edges = [0, *(cut for cut in cuts if cut < n), n]
    return [np.arange(a, b) for a, b in itertools.pairwise(edges) if b > a]
