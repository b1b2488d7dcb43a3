"""Small blocks of the same rows of two arrays, and of views of texts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actstore.metrics.blocks import PairBlock, ViewsBlock


def pair_blocks(
    states: NDArray[Any], against: NDArray[Any], cuts: Sequence[int]
) -> list[PairBlock]:
    return [PairBlock(states[part], against[part], part) for part in _parts(len(states), cuts)]


def views_blocks(states: NDArray[Any], cuts: Sequence[int]) -> list[ViewsBlock]:
    """states: (text, view, hidden)."""
    return [ViewsBlock(states[part], part) for part in _parts(len(states), cuts)]


def _parts(n: int, cuts: Sequence[int]) -> list[NDArray[np.int64]]:
    edges = [0, *(cut for cut in cuts if cut < n), n]
    return [np.arange(a, b) for a, b in itertools.pairwise(edges) if b > a]
