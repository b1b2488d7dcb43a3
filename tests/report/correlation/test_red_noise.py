"""Chance among smooth series: p values hold their level, intervals what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal, stats

from actstore.report.correlation.coefficients import Method
from actstore.report.correlation.red_noise import likeness, surrogates
from actstore.report.correlation.scopes import Chance, Coefficient, Scope, in_scope


def series(rng: np.random.Generator, phi: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """First-order series along the last axis, after a thousand places to forget where it began."""
    noise = rng.standard_normal((*shape[:-1], shape[-1] + 1000))
    return signal.lfilter([1], [1, -phi], noise, axis=-1)[..., 1000:]


def over_arms(metric: NDArray[np.float64], score: NDArray[np.float64], seed: int) -> Coefficient:
    [found] = in_scope(Scope.ARMS, Method.SPEARMAN, metric, score[None], Chance(99, (seed,)))
    return found


def test_surrogates_have_the_values_of_the_field_in_other_orders() -> None:
    field = np.random.default_rng(0).exponential(size=(4, 6))
    drawn = surrogates(field, 20, np.random.default_rng(1))
    assert drawn.shape == (20, 4, 6)
    assert (np.sort(drawn.reshape(20, -1), axis=1) == np.sort(field, axis=None)).all()
    assert len(np.unique(drawn[:, 0, 0])) > 5


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_neighbours_are_found_as_alike_as_they_were_made(phi: float) -> None:
    field = series(np.random.default_rng(3), phi, (40, 400))
    error = np.sqrt((1 - phi**2) / 400)
    assert likeness(field, 1) == pytest.approx(phi + error, abs=0.03)
    assert likeness(field, 0) < 0.25  # 40 checkpoints that have nothing to do with each other


def test_surrogates_are_as_smooth_as_the_field_along_each_axis() -> None:
    field = series(np.random.default_rng(4), 0.95, (30, 60))
    drawn = surrogates(field, 30, np.random.default_rng(5))
    along = [np.corrcoef(f[:, 1:].ravel(), f[:, :-1].ravel())[0, 1] for f in drawn]
    across = [np.corrcoef(f[1:].ravel(), f[:-1].ravel())[0, 1] for f in drawn]
    assert np.mean(along) == pytest.approx(0.95, abs=0.05)
    assert abs(np.mean(across)) < 0.3


def test_two_places_cannot_tell_how_alike_they_are() -> None:
    assert likeness(np.zeros((2, 9)), 0) == 1
    assert likeness(np.ones((9, 9)), 1) == 1  # nor can constants


@pytest.mark.parametrize("phi", [0.0, 0.9, 1.0])
def test_unrelated_smooth_series_are_rarely_found_related(phi: float) -> None:
    rng, n = np.random.default_rng(6), 240
    pairs = [(series(rng, phi, (1, 25)), series(rng, phi, (1, 25))) for _ in range(n)]
    found = [over_arms(x, y, i).p for i, (x, y) in enumerate(pairs)]
    usual = [stats.spearmanr(x[0], y[0]).pvalue for x, y in pairs]
    assert np.mean(np.array(found) <= 0.05) < 0.1  # 0.05 and three standard errors
    assert (np.mean(np.array(usual) <= 0.05) > 0.3) == (phi > 0)  # why it is needed


def test_unrelated_smooth_fields_are_rarely_found_related() -> None:
    rng, n = np.random.default_rng(7), 120

    def field() -> NDArray[np.float64]:
        return signal.lfilter([1], [1, -0.9], series(rng, 0.9, (60, 25)), axis=0)[-14:]

    found = [over_arms(field(), field(), i).p for i in range(n)]
    assert np.mean(np.array(found) <= 0.05) < 0.12


def test_related_series_are_found_and_their_intervals_hold_the_truth() -> None:
    rng, n, rho = np.random.default_rng(8), 150, 0.8
    holds, seen = 0, 0
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's of a normal pair
    for i in range(n):
        x = series(rng, 0.7, (1, 40))
        y = rho * x + np.sqrt(1 - rho**2) * series(rng, 0.7, (1, 40))
        one = over_arms(x, y, i)
        holds += one.low <= truth <= one.high
        seen += one.p <= 0.05
    assert 0.88 < holds / n <= 1
    assert seen / n > 0.7
