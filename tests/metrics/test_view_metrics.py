"""Metrics of views of texts against answers worked out another way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats
from numpy.typing import NDArray

from actstore.metrics.blocks import ViewsBlock
from actstore.metrics.views.lidar import (
    discriminant_variances,
    lidar,
    lidar_entropy,
    merge_view_moments,
    view_moments,
)
from actstore.metrics.views.two_views import (
    alignment,
    dime,
    infonce,
    knn_stability,
    mutual_information_bound,
)
from tests.metrics.metric_blocks import views_blocks

one_sided = functools.partial(infonce, variant="one-sided")
TWO_VIEWS = (infonce, one_sided, dime, alignment, knn_stability)


def two_views(rng: np.random.Generator, n: int = 30) -> tuple[NDArray[Any], NDArray[Any]]:
    texts = rng.normal(size=(n, 8)) * np.geomspace(3, 0.1, 8) + 1
    return texts + 0.3 * rng.normal(size=(n, 8)), texts + 0.3 * rng.normal(size=(n, 8))


def many_views(rng: np.random.Generator, n: int = 25, d: int = 10) -> NDArray[np.float64]:
    texts = rng.normal(size=(n, 1, d)) * np.geomspace(100, 0.01, d)
    noise = rng.normal(size=(n, 6, d)) * np.geomspace(0.01, 1, d)
    return np.asarray(texts + noise)


def unit(rows: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize("normalise", [False, True])
def test_one_sided_infonce_is_the_cross_entropy_of_the_right_view(
    normalise: bool, rng: np.random.Generator
) -> None:
    a, b = two_views(rng)
    x, y = (unit(a), unit(b)) if normalise else (a, b)
    expected = -np.mean(np.diag(scipy.special.log_softmax(x @ y.T / 0.1, axis=1)))
    assert one_sided(a, b, normalise=normalise) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "temperature"), [(2, 0.1), (30, 0.1), (30, 1.0), (600, 2.0)])
def test_two_sided_infonce_is_nt_xent_written_out(
    n: int, temperature: float, rng: np.random.Generator
) -> None:
    a, b = two_views(rng, n)
    views = np.concatenate([a, b])
    losses = []
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k != i]
        logits = views[others] @ views[i] / temperature
        losses.append(-scipy.special.log_softmax(logits)[others.index((i + n) % (2 * n))])
    assert infonce(a, b, temperature=temperature) == pytest.approx(np.mean(losses), rel=1e-11)


def test_views_that_say_nothing_cost_the_logarithm_of_the_choice() -> None:
    a, b = np.zeros((20, 3)), np.zeros((20, 3))
    a[:, 0], b[:, 1] = 1, 1
    assert one_sided(a, b) == pytest.approx(np.log(20))
    assert mutual_information_bound(a, b) == pytest.approx(0.0, abs=1e-12)


def test_the_information_bound_of_perfect_views_is_the_logarithm_of_their_number() -> None:
    texts = 100 * np.eye(16)
    assert mutual_information_bound(texts, texts) == pytest.approx(np.log(16), rel=1e-12)
    assert infonce(texts, texts) == pytest.approx(0.0, abs=1e-12)


def test_logits_of_any_size_leave_the_loss_finite(rng: np.random.Generator) -> None:
    a, b = two_views(rng)
    assert np.isfinite(infonce(1e6 * a, 1e6 * b))
    assert one_sided(a * 1e6, b) >= 0


def entropy(gram: NDArray[Any]) -> float:
    return float(scipy.stats.entropy(np.linalg.eigvalsh(gram / np.trace(gram)).clip(0)))


@pytest.mark.parametrize("n", [5, 30])
def test_dime_is_the_mean_over_shuffled_texts_less_the_true_entropy(
    n: int, rng: np.random.Generator
) -> None:
    """Texts are shuffled whether there are more (30) or fewer (5) of them than dimensions (8)."""
    a, b = two_views(rng, n)
    generator = np.random.default_rng(3)
    shuffled = []
    for _ in range(4):
        p = np.eye(n)[generator.permutation(n)]
        shuffled.append(entropy((a @ a.T) * (p @ (b @ b.T) @ p.T)))
    expected = np.mean(shuffled) - entropy((a @ a.T) * (b @ b.T))
    assert dime(a, b, seed=3, n_permutations=4) == pytest.approx(expected, rel=1e-10)


def test_dime_of_orthogonal_texts_shares_nothing_to_lose() -> None:
    """Every product of Gram matrices is the identity, in whichever order texts come."""
    assert dime(np.eye(12), np.eye(12)) == pytest.approx(0.0, abs=1e-12)


def test_dime_of_texts_in_two_groups_is_the_entropy_that_shuffling_adds() -> None:
    """K o K keeps two blocks (ln 2); a shuffled product has more of them."""
    texts = np.repeat(np.eye(2), 6, axis=0)
    expected = []
    generator = np.random.default_rng(0)
    for _ in range(10):
        order = generator.permutation(12)
        cells = np.bincount(2 * (np.arange(12) // 6) + order // 6, minlength=4)
        expected.append(scipy.stats.entropy(cells))
    assert dime(texts, texts) == pytest.approx(np.mean(expected) - np.log(2), rel=1e-10)
    assert dime(texts, texts) > 0.4


def test_dime_depends_on_its_seed_alone(rng: np.random.Generator) -> None:
    a, b = two_views(rng)
    assert dime(a, b) == dime(a, b)
    assert dime(a, b) != dime(a, b, seed=1)


def test_alignment_is_the_mean_squared_distance_of_directions(rng: np.random.Generator) -> None:
    a, b = two_views(rng)
    expected = (np.linalg.norm(unit(a) - unit(b), axis=1) ** 2).mean()
    assert alignment(a, b) == pytest.approx(expected, rel=1e-12)
    assert alignment(a, 3 * a) == pytest.approx(0.0, abs=1e-30)
    assert alignment(a, -a) == pytest.approx(4.0)
    assert alignment(np.eye(3), np.roll(np.eye(3), 1, axis=0)) == pytest.approx(2.0)


def test_alignment_leaves_out_texts_with_a_view_of_zeros_or_not_finite(
    rng: np.random.Generator,
) -> None:
    a, b = two_views(rng)
    expected = alignment(a[3:], b[3:])
    a[0], b[1], b[2, 4] = 0, 0, np.nan
    assert alignment(a, b) == pytest.approx(expected, rel=1e-14)


def lidar_variances(views: NDArray[Any], epsilon: float) -> NDArray[np.float64]:
    """By a matrix square root, from sums over every text and view."""
    n, q, d = views.shape
    means = views.mean(axis=1)
    grand = means.mean(axis=0)
    between = sum(np.outer(m - grand, m - grand) for m in means) / n
    within = epsilon * np.eye(d)
    for text, mean in zip(views, means, strict=True):
        for view in text:
            within += np.outer(view - mean, view - mean) / (n * q)
    root = np.linalg.inv(scipy.linalg.sqrtm(within).real)
    return np.asarray(np.linalg.eigvalsh(root @ between @ root)[::-1])


@pytest.mark.parametrize("shape", [(25, 10), (6, 10)])
@pytest.mark.parametrize("epsilon", [1e-4, 1.0])
def test_lidar_is_of_the_whitened_scatter_between_texts(
    shape: tuple[int, int], epsilon: float, rng: np.random.Generator
) -> None:
    views = rng.normal(size=(shape[0], 1, shape[1])) + 0.5 * rng.normal(size=(shape[0], 4, 10))
    variances = lidar_variances(views, epsilon)[: shape[0] - 1]
    found = discriminant_variances(view_moments(ViewsBlock.of(views)), epsilon)
    assert found is not None
    np.testing.assert_allclose(found, variances, rtol=1e-8)
    expected = scipy.stats.entropy(variances)
    assert lidar_entropy(views, epsilon=epsilon) == pytest.approx(expected, rel=1e-9)
    assert lidar(views, epsilon=epsilon) == pytest.approx(np.exp(expected), rel=1e-9)


def test_lidar_counts_directions_that_tell_texts_apart_equally() -> None:
    """Means ±e_i in 5 of 9 dimensions, views that differ alike in every direction."""
    means = np.concatenate([np.eye(9)[:5], -np.eye(9)[:5]])
    steps = 0.3 * np.concatenate([np.eye(9), -np.eye(9)])
    views = means[:, None] + steps[None]
    assert lidar(views) == pytest.approx(5.0, rel=1e-12)


def test_lidar_keeps_small_directions_beside_massive_ones(rng: np.random.Generator) -> None:
    """Whitening takes out each dimension's scale, if epsilon is small beside all of them."""
    means, steps = rng.normal(size=(400, 1, 6)), rng.normal(size=(400, 8, 6))
    scales = np.array([1e6, 1, 1, 1, 1, 1])
    expected = lidar(means + steps, epsilon=1e-9)
    assert lidar((means + steps) * scales, epsilon=1e-9) == pytest.approx(expected, rel=1e-6)


def test_view_moments_of_parts_are_those_of_the_whole(rng: np.random.Generator) -> None:
    views = many_views(rng).astype(np.float32)
    expected = lidar(views)
    for cuts in ([1], [3, 4, 20], list(range(1, 25))):
        parts = [view_moments(block) for block in views_blocks(views, cuts)]
        stats = functools.reduce(merge_view_moments, parts[::-1])
        found = discriminant_variances(stats, 1e-4)
        assert found is not None
        assert np.exp(scipy.stats.entropy(found)) == pytest.approx(expected, rel=1e-10)


def test_lidar_does_without_what_it_cannot_have(rng: np.random.Generator) -> None:
    views = many_views(rng)
    cases = {
        "there is only one text": views[:1],
        "there is only one view of each text": views[:, :1],
        "the rows do not vary": np.tile(views[:1], (4, 1, 1)),
        "some states are not finite": np.where(np.arange(6)[:, None] == 2, np.inf, views),
        "views of one text differ so much that epsilon = 0.0001 vanishes": 1e14 * views[:2, :3],
    }
    for reason, given in cases.items():
        assert view_moments(ViewsBlock.of(given)).degenerate == reason
        assert np.isnan(lidar(given))
        assert np.isnan(lidar_entropy(given))


def test_lidar_needs_an_epsilon(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"epsilon is 0\.0"):
        lidar(many_views(rng), epsilon=0.0)


@pytest.mark.parametrize("metric", TWO_VIEWS)
def test_rotating_both_views_changes_nothing(
    metric: Callable[..., float], rng: np.random.Generator
) -> None:
    a, b = two_views(rng)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    assert metric(a @ turn, b @ turn) == pytest.approx(metric(a, b), rel=1e-9)


@pytest.mark.parametrize("metric", TWO_VIEWS)
def test_views_that_are_missing_or_not_finite_have_no_value(
    metric: Callable[..., float], rng: np.random.Generator
) -> None:
    a, b = two_views(rng)
    nothing = np.zeros_like(b)
    assert np.isnan(metric(a, nothing))
    assert np.isnan(metric(a, nothing + np.nan))
    if metric is not alignment:
        assert np.isnan(metric(a[:1], b[:1]))
        b[4, 4] = np.inf
        assert np.isnan(metric(a, b))


@pytest.mark.parametrize("metric", [*TWO_VIEWS, mutual_information_bound])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_dtype_views_are_stored_in_changes_nothing(
    metric: Callable[..., float], dtype: type, rng: np.random.Generator
) -> None:
    a, b = (10 * rows.astype(dtype) for rows in two_views(rng))
    assert metric(a, b) == metric(a.astype(np.float64), b.astype(np.float64))


def test_neighbours_in_both_views_are_those_of_two_layers(rng: np.random.Generator) -> None:
    from actstore.metrics.pairs.neighbours import knn_overlap

    a, b = two_views(rng)
    assert knn_stability(a, b, 5) == knn_overlap(a, b, 5)
    assert knn_stability(a, 2 * a) == 1.0
