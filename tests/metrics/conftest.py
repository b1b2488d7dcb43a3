"""Fixed random data for every kind of metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actstore.metrics.registry import Metric
from tests.metrics.metric_blocks import (
    lens_blocks,
    linear_head,
    pair_blocks,
    pooled_blocks,
    token_blocks,
    views_blocks,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20251)


def unchanged(states: NDArray[Any]) -> NDArray[Any]:
    return states


@pytest.fixture
def blocks_of(rng: np.random.Generator) -> Callable[..., Any]:
    """(metric, n, cuts, change) -> blocks of n rows (texts, tokens) of fixed random data, cut.

    change: what is done to states (…, hidden) before; of pairs to one of the two arrays.
    """
    scales = np.geomspace(1e3, 1e-2, 24)  # a massive dimension and small ones, as real states have
    rows = (rng.normal(size=(60, 24)) * scales + 5 * scales[::-1]).astype(np.float32)
    texts = [rng.normal(size=(n, 24)).astype(np.float32) for n in rng.integers(1, 40, size=60)]
    final = rng.normal(size=(60, 24))
    against = (np.tanh(rows / 100) + rng.normal(size=(60, 24)) / 3).astype(np.float32)
    views = rows[:, None] + (rng.normal(size=(60, 5, 24)) * scales / 3).astype(np.float32)
    head = linear_head(rng.normal(size=(24, 5000)))

    def make(
        metric: Metric[Any, Any],
        n: int,
        cuts: Sequence[int],
        change: Callable[[NDArray[Any]], NDArray[Any]] = unchanged,
    ) -> Any:
        match metric.over:
            case "pooled":
                return pooled_blocks(change(rows[:n]), cuts)
            case "pairs":
                return pair_blocks(change(rows[:n]), against[:n], cuts)
            case "views":
                return views_blocks(change(views[:n]), cuts)
            case "tokens":
                return token_blocks([change(text) for text in texts[:n]], cuts)
            case "lens":
                states = change(rows[:n] / 100)
                return lens_blocks(states, final[:n], head, cuts, metric.quantities)

    return make
