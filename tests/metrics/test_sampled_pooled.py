"""Uniformity: a mean over all pairs of rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from actstore.metrics import METRICS
from actstore.metrics.blocks import PooledBlock
from actstore.metrics.pooled.uniform import uniformity


@pytest.mark.parametrize("n", [2, 3, 60, 1300])
@pytest.mark.parametrize("t", [2.0, 0.5])
def test_uniformity_is_the_mean_over_pairs_of_different_rows(
    n: int, t: float, rng: np.random.Generator
) -> None:
    rows = rng.normal(size=(n, 9)) + 0.4
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.log(np.exp(-t * pdist(units, "sqeuclidean")).mean())
    assert uniformity(rows, t=t) == pytest.approx(expected, rel=1e-12)


def test_uniformity_knows_equal_opposite_and_orthogonal_rows() -> None:
    assert uniformity(np.tile([[0.3, 4.0]], (5, 1))) == pytest.approx(0.0, abs=1e-14)
    assert uniformity(np.array([[1.0, 2.0], [-2.0, -4.0]])) == pytest.approx(-8.0)
    assert uniformity(np.eye(6)) == pytest.approx(-4.0)


def test_uniformity_of_points_spread_on_a_circle_is_a_bessel_function() -> None:
    """The mean over all pairs, each with itself too, tends to exp(-2t) I0(2t)."""
    n = 400
    angles = 2 * np.pi * np.arange(n) / n
    found = uniformity(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    with_itself = (np.exp(found) * (n - 1) + 1) / n
    assert with_itself == pytest.approx(np.exp(-4) * np.i0(4), rel=1e-12)


def test_directions_in_many_dimensions_are_nearly_orthogonal(rng: np.random.Generator) -> None:
    assert uniformity(rng.normal(size=(300, 2000))) == pytest.approx(-4.0, abs=0.01)


def test_uniformity_leaves_out_zero_rows_and_counts_them(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(20, 5)).astype(np.float16)
    with_zeros = np.insert(rows, [0, 7, 7], 0.0, axis=0)
    metric = METRICS["uniformity"]
    stats = metric.chunk(PooledBlock.of(with_zeros))
    assert (stats.n, stats.n_undefined) == (20, 3)
    assert metric.finalize(stats) == uniformity(rows)
    assert np.isnan(uniformity(with_zeros[:2]))


def test_uniformity_of_texts_is_the_same_in_any_order(rng: np.random.Generator) -> None:
    rows, metric = rng.normal(size=(40, 7)), METRICS["uniformity"]
    shuffled = rng.permutation(40)
    block = PooledBlock(rows[shuffled], shuffled)
    assert metric.finalize(metric.chunk(block)) == uniformity(rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_that_is_not_finite_leaves_no_number(bad: float, rng: np.random.Generator) -> None:
    rows = rng.normal(size=(10, 4))
    rows[2, 1] = bad
    assert np.isnan(uniformity(rows))
