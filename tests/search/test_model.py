"""The model's posterior against one made of all (arm, task) pairs at once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import RBF, Matern

from actstore.search.confidence import probability_none_better
from actstore.search.kernels import OnColumns
from actstore.search.model import SharedModel, Told, levels_and_scales
from actstore.search.posterior import Posterior
from actstore.search.searching import expected_improvement
from actstore.search.surfaces import Surfaces, learnt_from
from tests.search.grids import arms_of, scores_on

Floats = NDArray[np.float64]
PULL = np.array([0.2, 0.5, 0.1])
SURFACES = Surfaces(1.3 * Matern([0.4, 0.6], nu=2.5), 0.4 * Matern([0.3, 0.3], nu=2.5), 0.05)
INPUTS = np.random.default_rng(0).uniform(size=(7, 2))
SEEN = (np.array([0, 0, 2, 4, 4, 4]), np.array([0, 2, 1, 0, 1, 2]))


def all_pairs() -> Floats:
    """Prior covariance of every (arm, task), arms outermost."""
    n_arms, n_tasks = len(INPUTS), len(PULL)
    shared = np.kron(SURFACES.shared(INPUTS), np.ones((n_tasks, n_tasks)))
    own = np.kron(SURFACES.own(INPUTS), np.eye(n_tasks))
    return np.asarray(shared + own + SURFACES.rest * np.eye(n_arms * n_tasks))


def brute_force(places: NDArray[np.int64], values: Floats) -> tuple[Floats, Floats]:
    """Mean and covariance of all pairs' scores given those at some places."""
    prior = all_pairs()
    among = prior[np.ix_(places, places)]
    to = prior[:, places] @ np.linalg.inv(among + 1e-8 * np.eye(len(places)))
    return to @ values, prior - to @ prior[places]


@pytest.fixture
def values() -> Floats:
    return np.random.default_rng(1).normal(size=6)


@pytest.fixture
def posterior(values: Floats) -> Posterior:
    return Posterior(SURFACES, INPUTS, (*SEEN, values), PULL, offset=0.7)


@pytest.fixture
def pairs(values: Floats) -> tuple[Floats, Floats]:
    return brute_force(SEEN[0] * 3 + SEEN[1], values)


def test_the_posterior_is_that_of_all_pairs(
    posterior: Posterior, pairs: tuple[Floats, Floats]
) -> None:
    sums = np.kron(np.eye(7), PULL)
    covariance = sums @ pairs[1] @ sums.T
    np.testing.assert_allclose(posterior.mean, 0.7 + sums @ pairs[0], atol=1e-6)
    np.testing.assert_allclose(posterior.sd**2, np.diag(covariance), atol=1e-6)
    some = np.array([4, 1, 6])
    np.testing.assert_allclose(
        posterior.covariance(some), covariance[np.ix_(some, some)], atol=1e-6
    )
    np.testing.assert_allclose(posterior.covariance_with(2), covariance[2], atol=1e-6)


def test_an_arm_with_every_task_scored_is_known(posterior: Posterior, values: Floats) -> None:
    assert posterior.sd[4] == pytest.approx(0, abs=1e-3)
    assert posterior.mean[4] == pytest.approx(0.7 + PULL @ values[3:], abs=1e-5)
    assert posterior.sd[2] > 0.01


@pytest.mark.parametrize("arm", [0, 2, 3])
def test_gains_are_what_a_score_takes_off_the_variance(
    posterior: Posterior, values: Floats, arm: int
) -> None:
    sums = np.kron(np.eye(7), PULL)[arm]
    before = sums @ brute_force(SEEN[0] * 3 + SEEN[1], values)[1] @ sums
    for task, gain in enumerate(posterior.gains(arm)):
        places = np.append(SEEN[0] * 3 + SEEN[1], arm * 3 + task)
        if arm * 3 + task in places[:-1]:
            assert gain == 0
            continue
        after = sums @ brute_force(places, np.append(values, 0.0))[1] @ sums
        assert gain == pytest.approx(before - after, rel=1e-4)


def test_believing_leaves_what_is_expected_and_makes_it_surer(posterior: Posterior) -> None:
    believing = posterior.believing(2, [0, 2])
    np.testing.assert_allclose(believing.mean, posterior.mean, atol=1e-6)
    assert believing.sd[2] == pytest.approx(0, abs=1e-3)
    assert (believing.sd <= posterior.sd + 1e-6).all()


def test_a_kernel_on_columns_is_scikit_learns_on_those_columns() -> None:
    inputs = np.random.default_rng(2).normal(size=(6, 4))
    kernel = Matern([0.5, 2.0], nu=2.5)
    on = OnColumns(kernel, [1, 3])
    expected, gradient = kernel(inputs[:, [1, 3]], eval_gradient=True)
    found, its_gradient = on(inputs, eval_gradient=True)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(its_gradient, gradient)
    np.testing.assert_array_equal(on(inputs, inputs[:2]), expected[:, :2])
    np.testing.assert_array_equal(on.diag(inputs), np.ones(6))
    moved = on.clone_with_theta(on.theta + 1)
    np.testing.assert_allclose(moved.theta, kernel.theta + 1)
    assert moved != on
    assert on == OnColumns(Matern([0.5, 2.0], nu=2.5), (1, 3))
    assert on != OnColumns(RBF(), (1, 3))


def test_expected_improvement_is_its_mean_over_draws(posterior: Posterior) -> None:
    best = int(np.argmax(posterior.mean))
    rng = np.random.default_rng(3)
    drawn = posterior.mean + posterior.sd * rng.standard_normal((400_000, 7))
    expected = np.maximum(drawn - posterior.mean[best], 0).mean(axis=0)
    np.testing.assert_allclose(expected_improvement(posterior, best), expected, atol=5e-3)


def test_the_confidence_is_the_share_of_draws_with_none_better(posterior: Posterior) -> None:
    best, tolerance = int(np.argmax(posterior.mean)), 0.3
    rng = np.random.default_rng(4)
    every = np.arange(7)
    drawn = rng.multivariate_normal(
        posterior.mean, posterior.covariance(every) + 1e-9 * np.eye(7), 200_000, method="cholesky"
    )
    share = float((drawn.max(axis=1) - drawn[:, best] <= tolerance).mean())
    assert 0.05 < share < 0.95
    assert probability_none_better(posterior, best, tolerance, 0) == pytest.approx(share, abs=0.04)


def test_arms_that_are_not_sampled_only_lower_the_confidence(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = int(np.argmax(posterior.mean))
    whole = probability_none_better(posterior, best, 0.3, 0)
    monkeypatch.setattr("actstore.search.confidence._CANDIDATES", 3)
    assert probability_none_better(posterior, best, 0.3, 0) <= whole + 0.03


def test_tasks_without_spread_or_scores_take_what_the_others_have() -> None:
    told = Told(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), np.array([0.2, 0.4, 0.7, 0.7]))
    level, scale = levels_and_scales(told, 3)
    np.testing.assert_allclose(level, [0.3, 0.7, 0.5])
    np.testing.assert_allclose(scale, [0.1, 0.1, 0.1])


def test_equal_scores_everywhere_are_believed_without_a_warning() -> None:
    arms = arms_of()
    told = Told(np.array([0, 5, 9]), np.zeros(3, np.int64), np.full(3, 0.4))
    posterior = SharedModel(arms.positions, arms.metrics).posterior(told, np.ones(1))
    np.testing.assert_allclose(posterior.mean, 0.4, atol=1e-4)


def test_hyperparameters_are_learnt_again_at_every_quarter_more() -> None:
    counts = [learnt_from(n) for n in range(1, 1000)]
    assert counts == sorted(counts)
    assert all(count <= n < 1.25 * count + 2 for n, count in enumerate(counts, start=1))
    assert len(set(counts)) < 35


def test_the_model_is_the_same_however_it_came_to_its_scores() -> None:
    arms = arms_of()
    scores = scores_on(arms)
    order = np.random.default_rng(5).permutation(scores.size)[:40]
    told = Told(order // 3, order % 3, scores.ravel()[order])
    weights = np.full(3, 1 / 3)
    stepwise = SharedModel(arms.positions, arms.metrics)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(10, 40, 7):
            stepwise.posterior(told.first(n), weights)
    at_once = SharedModel(arms.positions, arms.metrics).posterior(told, weights)
    np.testing.assert_array_equal(stepwise.posterior(told, weights).mean, at_once.mean)
