"""Fixed random data for every kind of metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from actstore.metrics.registry import Metric
from tests.metrics.metric_blocks import lens_blocks, linear_head, pooled_blocks, token_blocks


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20251)


@pytest.fixture
def blocks_of(rng: np.random.Generator) -> Callable[[Metric[Any, Any], int, Sequence[int]], Any]:
    """Blocks of n rows (texts, tokens) of fixed random data for a metric, cut at some places."""
    scales = np.geomspace(1e3, 1e-2, 24)  # a massive dimension and small ones, as real states have
    rows = (rng.normal(size=(60, 24)) * scales + 5 * scales[::-1]).astype(np.float32)
    texts = [rng.normal(size=(n, 24)).astype(np.float32) for n in rng.integers(1, 40, size=60)]
    final = rng.normal(size=(60, 24))
    head = linear_head(rng.normal(size=(24, 5000)))

    def make(metric: Metric[Any, Any], n: int, cuts: Sequence[int]) -> Any:
        match metric.over:
            case "pooled":
                return pooled_blocks(rows[:n], cuts)
            case "tokens":
                return token_blocks(texts[:n], cuts)
            case "lens":
                return lens_blocks(rows[:n] / 100, final[:n], head, cuts)

    return make
