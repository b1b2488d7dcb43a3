"""The harness' own quantities, against its definitions worked out plainly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import svd, svdvals
from scipy.stats import entropy

from actstore.metrics import METRICS
from actstore.metrics.blocks import PooledBlock
from actstore.metrics.pooled.harness import (
    lcs_curvature,
    lcs_dataset_entropy,
    lcs_effective_rank,
    lcs_prompt_entropy,
)

SHAPES = [(400, 30), (30, 400), (3, 8), (12, 5)]
EVERY = (lcs_prompt_entropy, lcs_dataset_entropy, lcs_curvature, lcs_effective_rank)


def some_rows(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    return rng.normal(size=shape) * np.geomspace(5, 0.5, shape[1]) + 0.3


def normalised(rows: NDArray[Any]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def histogram_entropy(values: NDArray[np.float64]) -> float:
    edges = np.linspace(values.min(), values.max(), 51)
    inside = np.searchsorted(edges, values, side="right").clip(1, 50) - 1
    return float(entropy(np.bincount(inside, minlength=50) + 1e-10))


@pytest.mark.parametrize("shape", SHAPES)
def test_prompt_entropy_is_the_histogram_of_the_first_principal_scores(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    rows = some_rows(rng, shape)
    units = normalised(rows)
    left, sigma, _ = svd(units - units.mean(axis=0), full_matrices=False)
    scores = left[:, 0] * sigma[0]
    allowed = histogram_entropy(scores), histogram_entropy(-scores)  # the axis has no sign
    assert min(abs(lcs_prompt_entropy(rows) - one) for one in allowed) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_dataset_entropy_is_the_histogram_of_cosine_distances(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    rows = some_rows(rng, shape)
    units = normalised(rows)
    pairs = [1 - a @ b for i, a in enumerate(units) for b in units[:i]]
    assert lcs_dataset_entropy(rows) == pytest.approx(histogram_entropy(np.array(pairs)))


def test_dataset_entropy_draws_a_thousand_rows_by_seed(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(1100, 4))
    first, again, other = (lcs_dataset_entropy(rows, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert first == pytest.approx(other, abs=0.01)
    drawn = np.random.default_rng(0).choice(1100, 1000, replace=False)
    assert first == pytest.approx(lcs_dataset_entropy(rows[drawn]))


@pytest.mark.parametrize("shape", [(400, 30), (40, 200), (7, 20), (150, 3)])
def test_curvature_is_a_condition_number_of_neighbours(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    rows = some_rows(rng, shape)
    units = normalised(rows)
    expected = []
    for unit in units[:100]:
        order = np.argsort(np.linalg.norm(units - unit, axis=1))
        offsets = units[order[1:11]] - unit
        spectrum = np.linalg.eigvals(np.cov(offsets.T)).real
        spectrum = spectrum[spectrum > 1e-10]
        if len(spectrum) > 1:
            expected.append(spectrum.max() / (spectrum.min() + 1e-10))
    assert lcs_curvature(rows) == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_effective_rank_is_that_of_unit_rows(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    rows = some_rows(rng, shape)
    units = normalised(rows)
    sigma = svdvals(units - units.mean(axis=0))
    p = sigma / (sigma.sum() + 1e-10)
    p = p[p > 1e-10]
    expected = np.exp(-(p * np.log(p + 1e-10)).sum())
    assert lcs_effective_rank(rows) == pytest.approx(expected, rel=1e-9)


def test_histograms_of_values_spread_evenly_reach_their_bound() -> None:
    angles = np.linspace(0, 1e-4, 500)  # so short an arc is a straight line of even steps
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert lcs_prompt_entropy(rows) == pytest.approx(np.log(50), abs=1e-3)
    assert lcs_prompt_entropy(rows, bins=10) == pytest.approx(np.log(10), abs=1e-3)


def test_neighbours_that_are_duplicates_are_neighbours_like_others(
    rng: np.random.Generator,
) -> None:
    rows = np.repeat(rng.normal(size=(30, 6)), 2, axis=0)
    assert 1 < lcs_curvature(rows) < 1e6


def test_a_zero_row_stays_zero_as_in_the_harness(rng: np.random.Generator) -> None:
    rows = np.vstack([rng.normal(size=(20, 5)), np.zeros(5)])
    units = normalised(rows[:20])
    pairs = [1 - a @ b for i, a in enumerate(units) for b in units[:i]]
    assert lcs_dataset_entropy(rows) == pytest.approx(histogram_entropy(np.array(pairs + [1] * 20)))


@pytest.mark.parametrize("metric", EVERY)
def test_where_the_harness_has_zero_or_rounding_there_is_no_number(
    metric: Callable[[Any], float], rng: np.random.Generator
) -> None:
    row = rng.normal(size=(1, 6))
    assert np.isnan(metric(row))
    assert np.isnan(metric(np.tile(row, (12, 1))))
    assert np.isnan(metric(row * np.arange(1, 13)[:, None]))  # one direction
    assert np.isnan(metric(np.zeros((12, 6))))


def test_two_rows_have_one_distance_and_no_neighbours(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(2, 6))
    assert np.isnan(lcs_dataset_entropy(rows))
    assert np.isnan(lcs_curvature(rows))
    assert lcs_prompt_entropy(rows) == pytest.approx(np.log(2), abs=1e-6)
    assert lcs_effective_rank(rows) == pytest.approx(1.0)


def test_rows_that_are_equally_far_apart_have_a_reason() -> None:
    metric = METRICS["lcs_dataset_entropy"]
    stats = metric.chunk(PooledBlock.of(np.eye(8)))
    assert np.isnan(metric.finalize(stats))
    assert stats.degenerate == "all rows are equally far apart"


@pytest.mark.parametrize("metric", EVERY)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_dtype_rows_are_stored_in_changes_nothing(
    metric: Callable[[Any], float], dtype: type, rng: np.random.Generator
) -> None:
    rows = (rng.normal(size=(30, 8)) * 5_000 + 9_000).astype(dtype)
    assert metric(rows) == metric(rows.astype(np.float64))
