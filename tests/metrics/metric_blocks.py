"""Small blocks of every kind of data that a metric can be over."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import LensValues, PooledBlock, TokenBlock
from actstore.metrics.lens import lens_values
from actstore.metrics.moments import mean_sums, merge_mean_sums
from actstore.store import LensHead
from actstore.store.head_ops import Linear


def linear_head(unembedding: NDArray[Any]) -> LensHead:
    """A head that is one matrix (hidden, vocabulary), in the dtype of the states it gets."""
    return LensHead((Linear("unembedding", None),), {"unembedding": unembedding.T.copy()}, 0.0)


def pooled_blocks(rows: NDArray[Any], cuts: Sequence[int]) -> list[PooledBlock]:
    parts = [part for part in np.split(rows, cuts) if len(part)]
    sums = mean_sums(PooledBlock(parts[0]))
    for part in parts[1:]:
        sums = merge_mean_sums(sums, mean_sums(PooledBlock(part)))
    return [PooledBlock(part, sums.mean) for part in parts]


def token_blocks(texts: Sequence[NDArray[Any]], cuts: Sequence[int]) -> list[TokenBlock]:
    edges = [0, *cuts, len(texts)]
    groups = [texts[a:b] for a, b in itertools.pairwise(edges) if b > a]
    return [_token_block(group) for group in groups]


def _token_block(texts: Sequence[NDArray[Any]]) -> TokenBlock:
    stops = np.cumsum([len(text) for text in texts])
    spans = np.stack([stops - [len(text) for text in texts], stops], axis=1)
    return TokenBlock(np.concatenate(texts), spans)


def lens_blocks(
    states: NDArray[Any], final: NDArray[Any], head: LensHead, cuts: Sequence[int]
) -> list[LensValues]:
    parts = np.split(np.stack([states, final]), cuts, axis=1)
    return [lens_values(part, head).by_layer()[0] for part in parts if part.shape[1]]
