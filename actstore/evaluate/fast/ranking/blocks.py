"""Ranking the candidates of many queries at once.

A block has queries with equally many candidates and equally many relevant documents.
"""

from __future__ import annotations

import functools
import heapq

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.int32]
Confidence = dict[str, NDArray[np.float64]]
NEVER = np.iinfo(np.int32).max
"""The rank of what was not retrieved."""


def ranks(scores: Floats, places: Codes, id_ranks: Codes) -> Codes:
    """(query, relevant document), from 1: by score, equal ones by identifier, both descending.

    scores: (query, candidate). places: (query, relevant document), -1 for none. id_ranks: as
    scores.
    """
    found = np.empty(places.shape, np.int32)
    for column, place in enumerate(places.T[:, :, None]):
        own = np.take_along_axis(scores, place, axis=1)
        found[:, column] = 1 + np.count_nonzero(scores > own, axis=1)
        equal = scores == own
        tied = np.flatnonzero(np.count_nonzero(equal, axis=1) > 1)
        own_id = np.take_along_axis(id_ranks[tied], place[tied], axis=1)
        found[tied, column] += np.count_nonzero(equal[tied] & (id_ranks[tied] > own_id), axis=1)
    return np.where(places < 0, NEVER, found)


def confidence(scores: Floats) -> Confidence:
    """mteb's measures of how sure a model is of each query. scores: (query, candidate)."""
    ordered = np.sort(scores, axis=1)
    n = ordered.shape[1]
    layout = np.take(ordered, n - 1 - heap_order(n), axis=1)
    return _confidence(ordered, layout)


def merged_confidence(scores: Floats, order: NDArray[np.int64]) -> Confidence:
    """The same of scores that mteb keeps in another order. order: (query, candidate)."""
    return _confidence(np.sort(scores, axis=1), np.take_along_axis(scores, order, axis=1))


def _confidence(ordered: Floats, layout: Floats) -> Confidence:
    """layout: the scores in the order that mteb keeps them in, which their sum depends on."""
    highest, next_one = ordered[:, -1].astype(np.float64), ordered[:, -2:][:, 0].astype(np.float64)
    std = np.std(layout.astype(np.float64), axis=1)
    return {"max": highest, "std": std, "diff1": highest - next_one}


def kept_order(scores: Floats, id_ranks: Codes) -> NDArray[np.int64]:
    """The places of the candidates in the order in which mteb keeps them, (query, candidate)."""
    order = np.argsort(-scores, axis=1)
    ordered = np.take_along_axis(scores, order, axis=1)
    order = np.take(order, heap_order(order.shape[1]), axis=1)
    for row in np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1)):
        order[row] = [place for _, _, place in kept(scores[row], id_ranks[row], len(order[row]))]
    return order


def kept(scores: Floats, id_ranks: Codes, top_k: int) -> list[tuple[float, int, int]]:
    """What mteb keeps of one query's candidates, in its order: score, rank of identifier, place.

    With equal scores the order depends on how torch and the heap treat them: they are asked.
    """
    row = torch.tensor(scores[None])
    values, places = torch.topk(row, min(top_k, len(scores)), dim=1, largest=True)
    heap: list[tuple[float, int, int]] = []
    for score, place in zip(values[0].tolist(), places[0].tolist(), strict=True):
        heapq.heappush(heap, (score, int(id_ranks[place]), place))
    return heap


@functools.cache
def heap_order(n: int) -> NDArray[np.int64]:
    """The ranks, from 0, of n results in the order in which mteb's heap has them.

    Results are pushed best first. Where scores are equal the identifiers may come in another
    order, the scores do not.
    """
    heap: list[int] = []
    for rank in range(n):
        heapq.heappush(heap, -rank)
    return -np.array(heap, np.int64)
