"""Small blocks of every kind of data that a metric can be over."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import LensBlock, PooledBlock, TokenBlock
from actstore.metrics.lens import final_tile
from actstore.metrics.moments import mean_sums, merge_mean_sums


@dataclass(frozen=True)
class LinearHead:
    """A head that is one matrix, in float64."""

    unembedding: NDArray[np.float64]
    """(hidden, vocab)."""

    def logits(self, states: Any) -> NDArray[np.float64]:
        return np.asarray(states, np.float64) @ self.unembedding


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
    states: NDArray[Any], final: NDArray[Any], head: LinearHead, cuts: Sequence[int]
) -> list[LensBlock]:
    pairs = zip(np.split(states, cuts), np.split(final, cuts), strict=True)
    return [LensBlock(s, final_tile(f, head), head) for s, f in pairs if len(s)]
