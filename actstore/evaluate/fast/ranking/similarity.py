"""Similarities of queries to their candidates, in the very bits that mteb gets.

A BLAS sums a dot product in an order that depends on the shape of the whole product, so one large
product would give other last bits. These are mteb's: each query in a product of its own, with
operands of the same shape and alignment. What is saved is everything around them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

_ALIGNED = 16
"""Floats in the 64 bytes to which torch aligns what it allocates."""


class Similarity:
    """Cosine similarity as mteb's `cos_sim(query, candidates)` has it."""

    def __init__(self, texts: NDArray[np.float32], documents: NDArray[np.float32]) -> None:
        """texts: (text, hidden). documents: (document, hidden)."""
        self._documents = torch.from_numpy(np.require(documents, requirements=["C", "W"]))
        self._texts = _aligned(texts)

    def of(self, texts: Iterable[int], documents: NDArray[np.int32]) -> torch.Tensor:
        """(text, document), for some of each."""
        rows = torch.from_numpy(documents).long()
        candidates = _normalized(self._documents.index_select(0, rows)).transpose(0, 1)
        product, known = torch.mm, self._texts
        return torch.cat([product(known[text], candidates) for text in texts])


def _aligned(vectors: NDArray[np.float32]) -> list[torch.Tensor]:
    """Each row normalised, as a (1, hidden) tensor that begins where a new one would."""
    n, width = vectors.shape
    room = torch.empty((n, 1, -(-width // _ALIGNED) * _ALIGNED))
    rows = list(room[:, :, :width].unbind(0))
    for row, vector in zip(rows, vectors, strict=True):
        row.copy_(_normalized(torch.tensor(vector[None])))
    return rows


def _normalized(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, p=2, dim=1)
