"""Metrics of pooled rows against answers worked out another way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import svdvals
from sklearn.decomposition import PCA

from actstore.metrics import METRICS, Metric, all_metrics, shannon_entropy, von_neumann_entropy
from actstore.metrics.blocks import PooledBlock
from actstore.metrics.pooled.cosines import dispersion, mean_cosine
from actstore.metrics.pooled.covariance import logdet_covariance, spectral_norm
from actstore.metrics.pooled.entropies import dataset_entropy
from actstore.metrics.pooled.moments import moments
from actstore.metrics.pooled.spectral import (
    anisotropy,
    covariance_entropy,
    effective_rank,
    isoscore,
    participation_ratio,
    rankme,
    spectral_slope,
    top_pc_share,
)
from tests.metrics.metric_blocks import pooled_blocks

SPREAD = (
    anisotropy,
    covariance_entropy,
    dataset_entropy,
    effective_rank,
    isoscore,
    participation_ratio,
    spectral_slope,
    top_pc_share,
)


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
    assert covariance_entropy(rows) == pytest.approx(np.log(d))
    assert isoscore(rows) == pytest.approx(1.0)
    assert anisotropy(rows) == pytest.approx(0.0, abs=1e-7)
    assert spectral_slope(rows) == pytest.approx(0.0, abs=1e-12)
    assert rankme(rows - 11.0) == pytest.approx(d)


def test_rows_on_a_line_use_one_dimension(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(50, 1)) * rng.normal(size=20) + rng.normal(size=20)
    assert dataset_entropy(rows) == pytest.approx(0.0, abs=1e-9)
    assert effective_rank(rows) == pytest.approx(1.0, rel=1e-6)
    assert participation_ratio(rows) == pytest.approx(1.0)
    assert top_pc_share(rows) == pytest.approx(1.0)
    assert covariance_entropy(rows) == pytest.approx(0.0, abs=1e-9)
    assert isoscore(rows) == pytest.approx(0.0, abs=1e-12)
    assert anisotropy(rows) == pytest.approx(np.sqrt(20 - 1))
    assert np.isnan(spectral_slope(rows))  # no line through one point
    assert 1 < rankme(rows) <= 2


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


@pytest.mark.parametrize("shape", [(400, 30), (30, 400), (3, 8)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rankme_is_that_of_the_singular_values_of_rows_that_are_not_centred(
    shape: tuple[int, int], dtype: type, rng: np.random.Generator
) -> None:
    rows = (rng.normal(size=shape) * np.geomspace(100, 0.01, shape[1]) + 7).astype(dtype)
    p = svdvals(rows.astype(np.float64))
    p /= p.sum()
    assert rankme(rows) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)
    p += 1e-7
    expected = np.exp(-(p * np.log(p)).sum())
    assert rankme(rows, epsilon=1e-7) == pytest.approx(expected, rel=1e-9)


def test_a_large_mean_leaves_rankme_its_small_directions(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(300, 20)) + 1e5 * rng.normal(size=20)
    sigma = svdvals(rows)
    expected = np.exp(scipy.stats.entropy(sigma))
    assert rankme(rows) == pytest.approx(expected, rel=1e-12)
    assert rankme(rows) > 1.0001


@pytest.mark.parametrize("shape", [(400, 30), (30, 400), (31, 30)])
def test_covariance_metrics_are_those_of_numpys_covariance(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    rows = rng.normal(size=shape) * np.geomspace(10, 0.1, shape[1]) + 3
    covariance = np.cov(rows, rowvar=False)
    spectrum = np.linalg.eigvalsh(covariance).clip(0)
    assert covariance_entropy(rows) == pytest.approx(scipy.stats.entropy(spectrum))
    assert spectral_norm(rows) == pytest.approx(np.linalg.norm(covariance, 2))
    assert anisotropy(rows) == pytest.approx(spectrum.std() / spectrum.mean())
    ridge = covariance + 1e-3 * np.eye(shape[1])
    expected = np.linalg.slogdet(ridge)[1]
    assert logdet_covariance(rows, epsilon=1e-3) == pytest.approx(expected)


def test_directions_without_variance_count_ln_epsilon(rng: np.random.Generator) -> None:
    rows = np.zeros((5, 12))
    rows[:, :4] = rng.normal(size=(5, 4))
    within = np.linalg.slogdet(np.cov(rows[:, :4], rowvar=False))[1]
    assert logdet_covariance(rows) == pytest.approx(within + 8 * np.log(1e-10), rel=1e-7)
    assert logdet_covariance(rows, epsilon=0.0) == -np.inf
    assert logdet_covariance(rows[:, :4], epsilon=0.0) == pytest.approx(within)


def test_covariance_in_units_of_the_states_scales_with_them(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(50, 6))
    assert spectral_norm(7 * rows) == pytest.approx(49 * spectral_norm(rows))
    grown = logdet_covariance(rows, epsilon=0.0) + 12 * np.log(7)
    assert logdet_covariance(7 * rows, epsilon=0.0) == pytest.approx(grown)


@pytest.mark.parametrize("a", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [200, 16])
def test_spectral_slope_of_a_power_law_is_its_exponent(
    a: float, n: int, rng: np.random.Generator
) -> None:
    """Also for fewer rows than dimensions, where a fit to all ranks would take in zeros."""
    left = rng.normal(size=(n, 15))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    axes_, _ = np.linalg.qr(rng.normal(size=(40, 15)))
    rows = (left * np.arange(1, 16.0) ** (-a / 2)) @ axes_.T + 5
    assert spectral_slope(rows) == pytest.approx(-a, rel=1e-6)
    assert spectral_slope(rows, first=3, last=9) == pytest.approx(-a, rel=1e-6)


@pytest.mark.parametrize("shape", [(400, 12), (40, 30)])
def test_isoscore_is_what_the_published_steps_give(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    d = shape[1]
    rows = rng.normal(size=shape) * np.geomspace(3, 0.3, d) @ rng.normal(size=(d, d)) + 1
    diagonal = PCA(n_components=d).fit_transform(rows).var(axis=0, ddof=1)
    scaled = np.sqrt(d) * diagonal / np.linalg.norm(diagonal)
    defect = np.linalg.norm(scaled - np.ones(d)) / np.sqrt(2 * (d - np.sqrt(d)))
    share = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
    assert isoscore(rows) == pytest.approx((d * share - 1) / (d - 1))


def test_isoscore_counts_the_dimensions_that_are_used() -> None:
    rows = np.zeros((20, 9))
    rows[:10, :5], rows[10:, :5] = axes(5), axes(5)
    assert isoscore(rows) == pytest.approx((5 - 1) / (9 - 1))


def test_dataset_entropy_has_every_published_scale_and_order(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(60, 12)) + 2
    raw = dataset_entropy(rows)
    assert dataset_entropy(rows, normalisation="maxEntropy") == pytest.approx(raw / np.log(12))
    assert dataset_entropy(rows, normalisation="logN") == pytest.approx(raw / np.log(60))
    assert dataset_entropy(rows, normalisation="logD") == pytest.approx(raw / np.log(12))
    both = raw / np.log(12) / np.log(60)
    assert dataset_entropy(rows, normalisation="logNlogD") == pytest.approx(both)
    centred = rows - rows.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    gram = units @ units.T / 60
    assert dataset_entropy(rows, alpha=2) == pytest.approx(-np.log((gram**2).sum()))


@pytest.mark.parametrize("scale", ["maxentropy", "logn", "logd", "lognlogd"])
def test_registered_scales_of_dataset_entropy_are_those_of_the_function(
    scale: str, rng: np.random.Generator
) -> None:
    published = {"maxentropy": "maxEntropy", "logn": "logN", "logd": "logD"}
    rows = rng.normal(size=(30, 50))
    metric = METRICS[f"dataset_entropy_{scale}"]
    found = metric.finalize(metric.chunk(PooledBlock.of(rows, rows.mean(axis=0))))
    expected = dataset_entropy(rows, normalisation=published.get(scale, "logNlogD"))  # type: ignore[arg-type]
    assert found == pytest.approx(expected)


def test_moments_of_many_rows_are_those_of_two_passes(rng: np.random.Generator) -> None:
    """More rows than are taken at once, whose mean moves and is large beside their spread."""
    rows = rng.normal(size=(1700, 7)) * 1e-3 + np.linspace(0, 1, 1700)[:, None] + 1e4
    found = moments(PooledBlock.of(rows))
    centred = rows - rows.mean(axis=0)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.scatter, centred.T @ centred, rtol=1e-12)
    np.testing.assert_array_equal(found.scatter, found.scatter.T)


def test_all_spectral_metrics_share_one_statistic() -> None:
    names = ["rankme", "logdet_covariance", "spectral_norm", "covariance_entropy"]
    names += [metric.__name__ for metric in SPREAD if metric is not dataset_entropy]
    assert {METRICS[name].chunk for name in names} == {moments}


def test_dispersion_is_the_mean_cosine_distance(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(700, 9)) + 0.7
    distances = scipy.spatial.distance.pdist(rows, "cosine")
    assert dispersion(rows) == pytest.approx(distances.mean())
    assert dispersion(np.array([[1.0, 2.0], [-2.0, -4.0]])) == pytest.approx(2.0)
    assert np.isnan(dispersion(np.zeros((4, 3))))


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


ONE = np.random.default_rng(7).normal(size=(1, 8))
MANY = np.random.default_rng(8).normal(size=(12, 8))
DEGENERATE = {
    "one row": ONE,
    "two rows": MANY[:2],
    "three rows": MANY[:3],
    "constant": np.tile(ONE, (10, 1)),
    "constant and large": np.tile((1e4 * ONE).astype(np.float32), (600, 1)),
    "zero": np.zeros((5, 8)),
    "one that is not zero": np.vstack([np.zeros((4, 8)), ONE]),
    "duplicates": np.repeat(MANY[:3], 6, axis=0),
    "one direction": ONE * np.arange(1, 11)[:, None],
    "orthonormal": np.eye(8),
    "fewer rows than dimensions": np.random.default_rng(9).normal(size=(4, 50)),
    "float16": (1000 * MANY).astype(np.float16),
    "NaN": np.where(MANY[3, 2] == MANY, np.nan, MANY),
    "infinite": np.where(MANY[3, 2] == MANY, np.inf, MANY),
    "both infinities": np.where(abs(MANY) > 1.5, np.inf * MANY, MANY),
}


@pytest.mark.parametrize("metric", [m for m in all_metrics() if m.over == "pooled"])
@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("cuts", [[], [1, 2]])
def test_degenerate_rows_have_a_number_or_a_reason(
    metric: Metric[Any, Any], kind: str, cuts: list[int]
) -> None:
    rows = DEGENERATE[kind]
    stats = functools.reduce(metric.combine, map(metric.chunk, pooled_blocks(rows, cuts)))
    value = metric.finalize(stats)
    assert stats.n + stats.n_undefined == len(rows)
    assert not np.isinf(value)
    no_line = metric.name == "spectral_slope" and getattr(stats, "spectrum", MANY).size == 1
    assert np.isnan(value) == (bool(stats.degenerate) or no_line)


@pytest.mark.parametrize("kind", ["one row", "constant", "constant and large", "NaN", "infinite"])
@pytest.mark.parametrize("metric", [*SPREAD, rankme, logdet_covariance, spectral_norm])
def test_rows_without_a_spread_have_no_number(metric: Callable[[Any], float], kind: str) -> None:
    assert np.isnan(metric(DEGENERATE[kind]))
