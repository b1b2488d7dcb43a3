"""Metrics of pooled rows against answers worked out another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import svdvals

from actstore.metrics import (
    dataset_entropy,
    effective_rank,
    mean_cosine,
    participation_ratio,
    shannon_entropy,
    top_pc_share,
    von_neumann_entropy,
)

SPREAD = (dataset_entropy, effective_rank, participation_ratio, top_pc_share)


def axes(d: int) -> NDArray[np.float64]:
    """±e_i: 2d rows whose centred spectrum is flat over d dimensions."""
    return np.concatenate([np.eye(d), -np.eye(d)])


def centred_singular_values(rows: NDArray[Any]) -> NDArray[np.float64]:
    rows = rows.astype(np.float64)
    return svdvals(rows - rows.mean(axis=0))


@pytest.mark.parametrize("d", [2, 7, 64])
def test_a_flat_spectrum_uses_every_dimension(d: int) -> None:
    rows = 3.0 * axes(d) + 11.0
    assert dataset_entropy(rows) == pytest.approx(np.log(d))
    assert effective_rank(rows) == pytest.approx(d)
    assert participation_ratio(rows) == pytest.approx(d)
    assert top_pc_share(rows) == pytest.approx(1 / d)


def test_rows_on_a_line_use_one_dimension(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(50, 1)) * rng.normal(size=20) + rng.normal(size=20)
    assert dataset_entropy(rows) == pytest.approx(0.0, abs=1e-9)
    assert effective_rank(rows) == pytest.approx(1.0, rel=1e-6)
    assert participation_ratio(rows) == pytest.approx(1.0)
    assert top_pc_share(rows) == pytest.approx(1.0)


def test_two_rows_are_a_line(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(2, 30))
    assert dataset_entropy(rows) == pytest.approx(0.0, abs=1e-12)
    assert effective_rank(rows) == 1.0


@pytest.mark.parametrize("shape", [(400, 30), (30, 400), (31, 30), (30, 31)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_effective_rank_is_that_of_the_singular_values(
    shape: tuple[int, int], dtype: type, rng: np.random.Generator
) -> None:
    rows = (rng.normal(size=shape) * np.geomspace(100, 0.01, shape[1]) + 7).astype(dtype)
    sigma = centred_singular_values(rows)
    sigma = sigma[: min(shape[0] - 1, shape[1])]
    expected = np.exp(scipy.stats.entropy(sigma / sigma.sum()))
    assert effective_rank(rows) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [(400, 30), (30, 400)])
def test_participation_and_top_share_are_those_of_the_covariance(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    rows = rng.normal(size=shape) * np.geomspace(100, 0.01, shape[1])
    covariance = np.cov(rows, rowvar=False)
    trace = np.trace(covariance)
    assert participation_ratio(rows) == pytest.approx(trace**2 / (covariance**2).sum())
    assert top_pc_share(rows) == pytest.approx(np.linalg.norm(covariance, 2) / trace)


@pytest.mark.parametrize("shape", [(200, 12), (12, 200)])
def test_dataset_entropy_is_that_of_the_gram_matrix_of_the_texts(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    rows = rng.normal(size=shape) * np.geomspace(10, 0.1, shape[1]) + 2
    centred = rows - rows.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    spectrum = np.linalg.eigvalsh(units @ units.T / len(rows)).clip(0)
    assert dataset_entropy(rows) == pytest.approx(scipy.stats.entropy(spectrum))


def test_dataset_entropy_of_many_gaussian_rows_nears_its_limit(rng: np.random.Generator) -> None:
    assert dataset_entropy(rng.normal(size=(40_000, 16))) == pytest.approx(np.log(16), abs=1e-3)


def test_a_massive_dimension_does_not_drown_the_small_ones(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(300, 20)).astype(np.float32)
    rows[:, 0] = 3e4 + rng.normal(size=300)
    sigma = centred_singular_values(rows)
    expected = np.exp(scipy.stats.entropy(sigma / sigma.sum()))
    assert effective_rank(rows) == pytest.approx(expected, rel=1e-9)
    assert effective_rank(rows) > 19


@pytest.mark.parametrize("metric", SPREAD)
def test_spread_ignores_shift_rotation_and_scale(
    metric: Callable[[Any], float], rng: np.random.Generator
) -> None:
    rows = rng.normal(size=(80, 15)) * np.geomspace(1, 0.1, 15)
    turn, _ = np.linalg.qr(rng.normal(size=(15, 15)))
    moved = 40 * rows @ turn + rng.normal(size=15)
    assert metric(moved) == pytest.approx(metric(rows), rel=1e-9)


@pytest.mark.parametrize("metric", SPREAD)
def test_repeating_every_row_changes_no_shape(
    metric: Callable[[Any], float], rng: np.random.Generator
) -> None:
    rows = rng.normal(size=(12, 15))
    assert metric(np.tile(rows, (5, 1))) == pytest.approx(metric(rows), rel=1e-9)


def test_mean_cosine_is_the_mean_over_pairs_of_different_rows(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(40, 9)) + 0.7
    cosines = 1 - scipy.spatial.distance.pdist(rows, "cosine")
    assert mean_cosine(rows) == pytest.approx(cosines.mean())


def test_mean_cosine_knows_equal_orthogonal_and_opposite_rows() -> None:
    assert mean_cosine(np.ones((5, 4))) == pytest.approx(1.0)
    assert mean_cosine(np.eye(6)) == pytest.approx(0.0, abs=1e-15)
    assert mean_cosine(np.array([[1.0, 2.0], [-2.0, -4.0]])) == pytest.approx(-1.0)


def test_mean_cosine_leaves_out_zero_rows() -> None:
    assert mean_cosine(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])) == pytest.approx(0.5**0.5)
    assert np.isnan(mean_cosine(np.zeros((4, 3))))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_shannon_entropy_is_scipys(weights: list[float]) -> None:
    found = shannon_entropy(np.array(weights))
    if sum(weights) < 1e-290:
        assert np.isnan(found) or sum(weights) > 0
    else:
        assert found == pytest.approx(scipy.stats.entropy(weights), abs=1e-12)


def test_von_neumann_entropy_of_a_projector_is_the_log_of_its_rank(
    rng: np.random.Generator,
) -> None:
    basis, _ = np.linalg.qr(rng.normal(size=(20, 5)))
    assert von_neumann_entropy(4.2 * basis @ basis.T) == pytest.approx(np.log(5))


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_von_neumann_entropy_of_nothing_is_undefined(matrix: NDArray[np.float64]) -> None:
    assert np.isnan(von_neumann_entropy(matrix))


@pytest.mark.parametrize("metric", [*SPREAD, mean_cosine])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_dtype_rows_are_stored_in_changes_nothing(
    metric: Callable[[Any], float], dtype: type, rng: np.random.Generator
) -> None:
    """Squares of these values overflow float16, and float32 sums of them lose digits."""
    rows = (rng.normal(size=(30, 8)) * 5_000 + 9_000).astype(dtype)
    assert metric(rows) == metric(rows.astype(np.float64))
