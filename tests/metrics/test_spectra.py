"""Numbers read off spectra, against high precision and closed forms."""

from __future__ import annotations

from typing import get_args

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.metrics.spectra import (
    Normalisation,
    anisotropy_of,
    eigenvalues,
    eigenvalues_plus,
    isoscore_of,
    normalised_entropy,
    participation_ratio_of,
    renyi_entropy,
    renyi_entropy_of,
    slope_of,
    smoothed_rank_of,
    von_neumann_entropy,
)

Matrix = NDArray[np.float64]
weights = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=12).map(np.array)


def exact_eigenvalues(matrix: Matrix, v: Matrix | None = None) -> NDArray[np.float64]:
    """Of matrix + v v^T, descending, worked out with 60 digits."""
    with mpmath.workdps(60):
        exact = mpmath.matrix(matrix.tolist())
        if v is not None:
            column = mpmath.matrix(v.tolist())
            exact += column * column.T
        found = mpmath.eigsy(exact, eigvals_only=True)
        return np.array(sorted(map(float, found), reverse=True))


def exact_renyi(p: NDArray[np.float64], alpha: float) -> float:
    with mpmath.workdps(60):
        exact = [mpmath.mpf(float(x)) for x in p]
        shares = [x / mpmath.fsum(exact) for x in exact]
        return float(mpmath.log(mpmath.fsum(x**alpha for x in shares)) / (1 - mpmath.mpf(alpha)))


def graded(rng: np.random.Generator, d: int, scales: NDArray[np.float64]) -> Matrix:
    rows = rng.normal(size=(3 * d, d)) * scales
    return rows.T @ rows


@pytest.mark.parametrize("seed", range(3))
def test_small_eigenvalues_keep_their_digits_beside_massive_dimensions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = graded(rng, 16, rng.permutation(np.geomspace(1e3, 1e-2, 16)))
    exact = exact_eigenvalues(matrix)
    np.testing.assert_allclose(eigenvalues(matrix), exact, rtol=1e-12)
    in_another_order = np.linalg.eigvalsh(matrix)[::-1]
    assert np.abs(in_another_order / exact - 1).max() > 1e-10


def test_a_massive_direction_added_does_not_drown_the_others(rng: np.random.Generator) -> None:
    matrix, v = graded(rng, 12, np.geomspace(0.01, 1, 12)), rng.normal(size=12)
    v[3] = 1e5
    np.testing.assert_allclose(eigenvalues_plus(matrix, v), exact_eigenvalues(matrix, v), rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_a_direction_can_be_added_to_nothing_and_nothing_to_a_matrix(
    d: int, rng: np.random.Generator
) -> None:
    v = rng.normal(size=d)
    np.testing.assert_allclose(eigenvalues_plus(np.zeros((d, d)), v), [v @ v])
    matrix = graded(rng, d, np.ones(d))
    np.testing.assert_array_equal(eigenvalues_plus(matrix, np.zeros(d)), eigenvalues(matrix))


@pytest.mark.parametrize(("d", "rank"), [(2, 1), (30, 1), (30, 11), (30, 29)])
def test_eigenvalues_that_are_rounding_are_none(
    d: int, rank: int, rng: np.random.Generator
) -> None:
    rows = rng.normal(size=(2000, rank)) @ rng.normal(size=(rank, d))
    assert len(eigenvalues(rows.T @ rows)) == rank


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_matrix_that_is_zero_or_not_finite_has_no_spectrum(bad: float) -> None:
    assert eigenvalues(np.full((3, 3), bad)).size == 0
    assert np.isnan(renyi_entropy(np.full((3, 3), bad), 2.0))


@pytest.mark.parametrize("alpha", [0.01, 0.5, 0.9, 0.999999, 1.000001, 1.3, 1.5, 2, 3.7, 40])
def test_renyi_entropy_has_all_digits_at_every_order(
    alpha: float, rng: np.random.Generator
) -> None:
    p = np.geomspace(1, 1e-6, 20) * rng.uniform(0.5, 1, 20)
    assert renyi_entropy_of(p, alpha) == pytest.approx(exact_renyi(p, alpha), rel=1e-12)


def test_renyi_entropy_of_orders_0_1_2_and_infinity(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(40, 6))
    gram = rows.T @ rows
    unit = gram / np.trace(gram)
    assert renyi_entropy(gram, 0) == pytest.approx(np.log(6))
    assert renyi_entropy(gram, 1) == von_neumann_entropy(gram)
    assert renyi_entropy(gram, 2) == pytest.approx(-np.log(np.trace(unit @ unit)))
    assert renyi_entropy(gram, np.inf) == pytest.approx(-np.log(np.linalg.norm(unit, 2)))


@pytest.mark.parametrize("alpha", [0, 0.5, 1, 2, np.inf])
def test_renyi_entropy_of_a_projector_is_the_log_of_its_rank(
    alpha: float, rng: np.random.Generator
) -> None:
    basis, _ = np.linalg.qr(rng.normal(size=(20, 5)))
    assert renyi_entropy(4.2 * basis @ basis.T, alpha) == pytest.approx(np.log(5))


@given(weights, st.floats(0, 30), st.floats(0, 30))
@settings(max_examples=60, deadline=None)
def test_renyi_entropy_falls_with_its_order(p: Matrix, alpha: float, beta: float) -> None:
    low, high = sorted([alpha, beta])
    assert renyi_entropy_of(p, high) <= renyi_entropy_of(p, low) + 1e-12
    assert 0 <= renyi_entropy_of(p, high) <= np.log(len(p)) + 1e-12


def test_gram_matrices_of_rows_and_of_dimensions_have_the_same_entropy(
    rng: np.random.Generator,
) -> None:
    rows = rng.normal(size=(9, 30))
    for alpha in (0.0, 0.7, 1.0, 2.0):
        assert renyi_entropy(rows @ rows.T, alpha) == pytest.approx(
            renyi_entropy(rows.T @ rows, alpha), rel=1e-10
        )


@pytest.mark.parametrize("alpha", [-0.1, np.nan])
def test_an_order_below_zero_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInputError, match="alpha must be 0 or more"):
        renyi_entropy(np.eye(3), alpha)


def test_normalised_entropies_are_those_that_are_published() -> None:
    n, d, s = 20, 50, 1.7
    assert normalised_entropy(s, n, d, "raw") == s
    assert normalised_entropy(s, n, d, "maxEntropy") == pytest.approx(s / np.log(20))
    assert normalised_entropy(s, d, n, "maxEntropy") == pytest.approx(s / np.log(20))
    assert normalised_entropy(s, n, d, "logN") == pytest.approx(s / np.log(20))
    assert normalised_entropy(s, n, d, "logD") == pytest.approx(s / np.log(50))
    assert normalised_entropy(s, n, d, "logNlogD") == pytest.approx(s / np.log(20) / np.log(50))


@pytest.mark.parametrize("scale", get_args(Normalisation))
@pytest.mark.parametrize(("n", "d"), [(1, 8), (8, 1), (1, 1), (0, 8)])
def test_a_scale_that_divides_by_zero_gives_no_number(scale: Normalisation, n: int, d: int) -> None:
    divides = {"raw": 1, "logN": n > 1, "logD": d > 1}.get(scale, n > 1 and d > 1)
    assert np.isfinite(normalised_entropy(0.3, n, d, scale)) == bool(divides)


def test_an_unknown_scale_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'logN'"):
        normalised_entropy(1.0, 5, 5, "logM")  # type: ignore[arg-type]


@pytest.mark.parametrize("a", [0.0, 0.5, 1.0, 2.5])
def test_the_slope_of_a_power_law_is_its_exponent(a: float) -> None:
    spectrum = 7.0 * np.arange(1, 60.0) ** -a
    assert slope_of(spectrum) == pytest.approx(-a, abs=1e-12)
    assert slope_of(spectrum, 11, 50) == pytest.approx(-a, abs=1e-12)


def test_the_slope_is_that_of_least_squares_over_the_ranks_asked_for(
    rng: np.random.Generator,
) -> None:
    spectrum = np.sort(rng.exponential(size=30))[::-1]
    for first, last in ((1, 30), (1, 2), (5, 20), (29, 30)):
        ranks = np.arange(first, last + 1)
        expected = np.polyfit(np.log(ranks), np.log(spectrum[first - 1 : last]), 1)[0]
        assert slope_of(spectrum, first, last) == pytest.approx(expected)
    assert np.isnan(slope_of(spectrum, 30))
    assert np.isnan(slope_of(spectrum[:1]))


@given(weights)
@settings(max_examples=40, deadline=None)
def test_isoscore_and_anisotropy_are_functions_of_the_participation_ratio(p: Matrix) -> None:
    spectrum, d = np.sort(p)[::-1], 20
    ratio = participation_ratio_of(spectrum)
    assert isoscore_of(spectrum, d) == pytest.approx((ratio - 1) / (d - 1))
    assert anisotropy_of(spectrum, d) == pytest.approx(np.sqrt(d / ratio - 1))


def test_epsilon_counts_for_singular_values_that_are_zero_too() -> None:
    sigma, eps = np.array([3.0, 1.0, 0.0, 0.0]), 1e-3
    p = sigma / sigma.sum() + eps
    expected = np.exp(-(p * np.log(p)).sum())
    assert smoothed_rank_of(sigma[:2] ** 2, 4, eps) == pytest.approx(expected)
    assert np.isnan(smoothed_rank_of(np.empty(0), 4, eps))
