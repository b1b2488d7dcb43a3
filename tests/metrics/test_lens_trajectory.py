"""The residual's norm over depth, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from actstore.metrics.lens.trajectory import (
    delta_resid_cos,
    norm_spikes,
    norm_trajectory,
    resid_norm_ratio,
)

NAN = float("nan")


def test_the_line_is_scipys(rng: np.random.Generator) -> None:
    layers = (0, 1, 2, 5, 9, 12)
    norms = np.exp(rng.normal(size=6)).astype(np.float32)
    expected = stats.linregress(layers, np.log(norms.astype(np.float64)))
    found = norm_trajectory(norms, layers)
    assert found.slope == pytest.approx(expected.slope, rel=1e-12)
    assert found.intercept == pytest.approx(expected.intercept, rel=1e-12)
    assert found.r_squared == pytest.approx(expected.rvalue**2, rel=1e-12)


def test_growth_by_a_factor_a_layer_is_a_straight_line() -> None:
    found = norm_trajectory(7.0 * 1.5 ** np.arange(25), range(25))
    assert found.slope == pytest.approx(np.log(1.5))
    assert np.exp(found.intercept) == pytest.approx(7.0)
    assert found.r_squared == pytest.approx(1.0)


def test_a_norm_that_does_not_vary_has_a_slope_of_nothing_and_nothing_to_explain() -> None:
    found = norm_trajectory(np.full(9, 0.1), range(9))
    assert found.slope == pytest.approx(0.0, abs=1e-15)
    assert np.isnan(found.r_squared)


@pytest.mark.parametrize("norms", [[], [3.0], [1.0, 0.0], [1.0, NAN], [1.0, np.inf, 2.0]])
def test_norms_that_no_line_goes_through_have_none(norms: list[float]) -> None:
    found = norm_trajectory(np.array(norms), range(len(norms)))
    assert np.isnan([found.slope, found.intercept, found.r_squared]).all()


def test_lengths_and_angles_of_what_the_norm_does() -> None:
    states = np.array([[[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [NAN, 1.0]]], np.float32)
    normed = np.array([[[6.0, 8.0], [0.0, 2.0], [1.0, 1.0], [1.0, 1.0]]], np.float32)
    np.testing.assert_allclose(resid_norm_ratio(states, normed), [[2, 2, NAN, NAN]])
    np.testing.assert_allclose(delta_resid_cos(states, normed), [[1, 0, NAN, NAN]])


def test_float16_states_do_not_overflow() -> None:
    states = np.full((1, 4000), 60_000, np.float16)
    assert resid_norm_ratio(states, states) == pytest.approx([1.0])
    assert delta_resid_cos(states, -states) == pytest.approx([-1.0])


def test_vectors_of_different_spaces_have_no_angle() -> None:
    states, normed = np.ones((2, 5, 4)), np.ones((2, 5, 3))
    assert np.isnan(delta_resid_cos(states, normed)).all()
    assert resid_norm_ratio(states, normed) == pytest.approx(np.full((2, 5), np.sqrt(3 / 4)))


def test_spikes_are_strict_and_end_at_the_semantic_layer() -> None:
    ratio = np.array([18.0, 3.0, 1.0, 1.0, 9.0, NAN])
    cosine = np.array([0.9, 0.8, 0.79, 0.9, 0.9, NAN])
    layers = (0, 2, 4, 6, 8, 10)
    assert norm_spikes(ratio, cosine, layers) == (0, 4, 8)
    assert norm_spikes(ratio, cosine, layers, until=6) == (0, 4)
