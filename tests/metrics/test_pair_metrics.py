"""Metrics of two arrays against answers worked out another way."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actstore.metrics.blocks import PairBlock
from actstore.metrics.paired import merge_pair_rows, pair_rows
from actstore.metrics.pairs.moments import (
    cross_moments,
    fourth_moments,
    merge_fourth_moments,
    unbiased_hsic,
)
from actstore.metrics.pairs.neighbours import knn_overlap
from actstore.metrics.pairs.similarity import linear_cka, procrustes_distance
from tests.metrics.metric_blocks import pair_blocks

debiased_cka = functools.partial(linear_cka, debiased=True)
mutual_knn = functools.partial(knn_overlap, measure="mutual")
ALIKE = (linear_cka, debiased_cka, knn_overlap, mutual_knn)
EVERY = (*ALIKE, procrustes_distance)
CENTRED = (linear_cka, debiased_cka, procrustes_distance)


def two_layers(rng: np.random.Generator, n: int = 40) -> tuple[NDArray[Any], NDArray[Any]]:
    """Arrays of different widths that are related, with a large dimension and an offset."""
    x = rng.normal(size=(n, 12)) * np.geomspace(100, 0.1, 12) + 3
    return x, np.tanh(x @ rng.normal(size=(12, 7))) + 0.2 * rng.normal(size=(n, 7))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (700, 5)])
def test_an_array_against_itself_is_exactly_alike(
    shape: tuple[int, int], dtype: type, rng: np.random.Generator
) -> None:
    x = (rng.normal(size=shape) * np.geomspace(50, 0.1, shape[1]) + 2).astype(dtype)
    assert [metric(x, x.copy()) for metric in ALIKE] == [1.0] * 4
    assert procrustes_distance(x, x.copy()) == 0.0


def test_cka_is_the_alignment_of_centred_gram_matrices(rng: np.random.Generator) -> None:
    x, y = two_layers(rng)
    centring = np.eye(40) - 1 / 40
    k, l = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring  # noqa: E741
    expected = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-12)


def song_hsic(k: NDArray[Any], l: NDArray[Any]) -> float:  # noqa: E741
    """Unbiased HSIC, n (n - 3) times, as its sums over all pairs are written in the paper."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    first = np.trace(k @ l)
    second = k.sum() * l.sum() / ((n - 1) * (n - 2))
    return float(first + second - 2 / (n - 2) * (k @ l).sum())


@pytest.mark.parametrize("n", [4, 5, 9, 40])
def test_debiased_cka_is_of_songs_estimator_over_gram_matrices(
    n: int, rng: np.random.Generator
) -> None:
    x, y = two_layers(rng, n)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    stats = fourth_moments(PairBlock.of(x, y))
    assert unbiased_hsic(stats, 0, 1) == pytest.approx(song_hsic(k, l), rel=1e-8)
    expected = song_hsic(k, l) / np.sqrt(song_hsic(k, k) * song_hsic(l, l))
    assert debiased_cka(x, y) == pytest.approx(expected, rel=1e-8)


def test_unbiased_hsic_is_the_mean_over_sets_of_four_rows(rng: np.random.Generator) -> None:
    """A U-statistic: the mean of the estimator over all subsets is the estimator of the whole."""
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    whole = unbiased_hsic(fourth_moments(PairBlock.of(x, y)), 0, 1) / (7 * 4)
    fours = [list(rows) for rows in itertools.combinations(range(7), 4)]
    parts = [unbiased_hsic(fourth_moments(PairBlock.of(x[r], y[r])), 0, 1) / 4 for r in fours]
    assert whole == pytest.approx(np.mean(parts), rel=1e-10)


def test_debiasing_takes_away_what_few_rows_of_many_dimensions_seem_to_share(
    rng: np.random.Generator,
) -> None:
    unrelated = [(rng.normal(size=(20, 100)), rng.normal(size=(20, 100))) for _ in range(40)]
    assert np.mean([linear_cka(x, y) for x, y in unrelated]) > 0.8
    assert np.mean([debiased_cka(x, y) for x, y in unrelated]) == pytest.approx(0.0, abs=0.02)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 24), max_size=5))
@settings(max_examples=40, deadline=None)
def test_fourth_moments_of_parts_are_those_of_the_whole(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    x, y = two_layers(rng, 25)
    x[:10] += 50  # parts with other means
    parts = [fourth_moments(block) for block in pair_blocks(x, y, sorted(set(cuts)))]
    found = functools.reduce(merge_fourth_moments, parts)
    whole = fourth_moments(PairBlock.of(x, y))
    for name in ("squares", "x_weighted", "y_weighted"):
        expected = getattr(whole, name)
        np.testing.assert_allclose(
            getattr(found, name), expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max()
        )


def test_procrustes_is_what_the_best_rotation_leaves(rng: np.random.Generator) -> None:
    x, y = two_layers(rng)
    x, y = x - x.mean(axis=0), np.pad(y - y.mean(axis=0), ((0, 0), (0, 5)))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    turn, _ = scipy.linalg.orthogonal_procrustes(x, y)
    expected = np.linalg.norm(x @ turn - y) ** 2
    assert procrustes_distance(*two_layers(np.random.default_rng(20251))) == pytest.approx(expected)
    assert procrustes_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_procrustes_of_a_known_pair_of_shapes() -> None:
    """A square against a line: their products' singular values are 1/sqrt(2) and 0."""
    square = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    line = np.array([[1.0], [-1], [0], [0]])
    assert procrustes_distance(square, line) == pytest.approx(2 - 2**0.5)
    assert linear_cka(square, line) == pytest.approx(0.5**0.5)


def test_arrays_that_vary_apart_from_each_other_share_nothing() -> None:
    x = np.array([[1.0], [-1], [0], [0]])
    y = np.array([[0.0], [0], [1], [-1]])
    assert linear_cka(x, y) == 0.0
    assert procrustes_distance(x, y) == 2.0


@pytest.mark.parametrize("metric", EVERY)
def test_rotating_and_scaling_one_array_changes_nothing(
    metric: Callable[..., float], rng: np.random.Generator
) -> None:
    x, y = two_layers(rng)
    turn, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    assert metric(17 * x @ turn, y) == pytest.approx(metric(x, y), rel=1e-9)
    assert metric(y, 0.01 * x @ turn) == pytest.approx(metric(y, x), rel=1e-9)


@pytest.mark.parametrize("metric", CENTRED)
def test_moving_one_array_changes_nothing(
    metric: Callable[..., float], rng: np.random.Generator
) -> None:
    x, y = two_layers(rng)
    assert metric(x + 40, y) == pytest.approx(metric(x, y), rel=1e-9)


@pytest.mark.parametrize("metric", EVERY)
def test_both_ways_round_and_in_any_order_it_is_the_same(
    metric: Callable[..., float], rng: np.random.Generator
) -> None:
    x, y = two_layers(rng)
    order = rng.permutation(len(x))
    assert metric(y, x) == pytest.approx(metric(x, y), rel=1e-12)
    assert metric(x[order], y[order]) == pytest.approx(metric(x, y), rel=1e-10)


def brute_force_overlap(x: NDArray[Any], y: NDArray[Any], k: int) -> tuple[float, float]:
    jaccard, mutual = [], []
    for i in range(len(x)):
        near = []
        for rows in (x, y):
            distances = scipy.spatial.distance.cdist(rows[i : i + 1], rows, "cosine")[0]
            near.append({int(j) for j in [j for j in np.argsort(distances) if j != i][:k]})
        jaccard.append(len(near[0] & near[1]) / len(near[0] | near[1]))
        mutual.append(len(near[0] & near[1]) / k)
    return float(np.mean(jaccard)), float(np.mean(mutual))


@pytest.mark.parametrize(("n", "k"), [(40, 10), (40, 1), (12, 10), (600, 5)])
def test_neighbours_are_those_found_one_by_one(n: int, k: int, rng: np.random.Generator) -> None:
    x, y = two_layers(rng, n)
    jaccard, mutual = brute_force_overlap(x, y, k)
    assert knn_overlap(x, y, k) == pytest.approx(jaccard, rel=1e-12)
    assert mutual_knn(x, y, k) == pytest.approx(mutual, rel=1e-12)


def test_fewer_rows_than_neighbours_leave_one_out(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    assert mutual_knn(x, y, 10) == pytest.approx(brute_force_overlap(x, y, 4)[1])
    assert mutual_knn(x[:2], y[:2]) == 1.0


def test_equal_rows_are_all_as_near_and_the_first_are_taken() -> None:
    same = np.ones((8, 3))
    apart = np.eye(8)
    assert knn_overlap(same, same, 3) == 1.0
    assert knn_overlap(same, apart, 3) == 1.0  # all orthogonal: equally near as well


def test_rows_without_a_direction_are_left_out_and_counted(rng: np.random.Generator) -> None:
    x, y = two_layers(rng)
    kept = np.r_[1:17, 18:40]
    expected = knn_overlap(x[kept], y[kept])
    x[0], y[17] = 0, 0
    stats = pair_rows(np.arange(40), x, y)
    assert (stats.n, stats.n_undefined, stats.degenerate) == (38, 2, "")
    assert knn_overlap(x, y) == expected


def test_pair_rows_keep_both_arrays_in_step_however_they_come(rng: np.random.Generator) -> None:
    x, y = two_layers(rng)
    order = rng.permutation(40)
    parts = [pair_rows(part, x[part], y[part]) for part in np.split(order, [3, 20, 21])]
    found = functools.reduce(merge_pair_rows, parts[::-1])
    np.testing.assert_array_equal(found.rows, np.arange(40))
    np.testing.assert_array_equal(found.states, x)
    np.testing.assert_array_equal(found.against, y)


@pytest.mark.parametrize("metric", EVERY)
def test_one_row_and_rows_that_are_not_finite_have_no_value(
    metric: Callable[..., float], rng: np.random.Generator
) -> None:
    x, y = two_layers(rng)
    assert np.isnan(metric(x[:1], y[:1]))
    for broken in (np.nan, np.inf, -np.inf):
        z = y.copy()
        z[3, 2] = broken
        assert np.isnan(metric(x, z))
        assert np.isnan(metric(z, x))


@pytest.mark.parametrize("metric", CENTRED)
def test_rows_that_do_not_vary_are_like_nothing(
    metric: Callable[..., float], rng: np.random.Generator
) -> None:
    x, _ = two_layers(rng)
    constant = np.tile(rng.normal(size=5), (40, 1))
    assert np.isnan(metric(x, constant))
    assert np.isnan(metric(constant, x))


def test_two_rows_are_always_alike_and_too_few_to_debias(rng: np.random.Generator) -> None:
    x, y = two_layers(rng)
    assert linear_cka(x[:2], y[:2]) == pytest.approx(1.0)
    assert procrustes_distance(x[:2], y[:2]) == pytest.approx(0.0, abs=1e-12)
    stats = fourth_moments(PairBlock.of(x[:3], y[:3]))
    assert np.isnan(debiased_cka(x[:3], y[:3]))
    assert stats.degenerate == "there are fewer than four rows"


def test_rows_equally_far_from_each_other_cannot_be_debiased() -> None:
    lengths = np.diag([1.0, 2, 3, 4, 5, 6])
    assert np.isnan(debiased_cka(lengths, np.arange(18.0).reshape(6, 3) ** 2))
    assert "equally far" in fourth_moments(PairBlock.of(lengths, lengths)).degenerate


def test_statistics_of_both_arrays_name_the_one_that_is_broken(rng: np.random.Generator) -> None:
    x, y = two_layers(rng)
    y[:] = 4.0
    assert cross_moments(PairBlock.of(x, y)).degenerate == "the rows do not vary"


def test_a_massive_dimension_keeps_the_others_in_sight(rng: np.random.Generator) -> None:
    """In float32 sums the small dimensions would be lost: they alone tell these arrays apart."""
    x = rng.normal(size=(300, 6)).astype(np.float32)
    x[:, 0] = 3e4
    y = x[:, 1:]
    assert linear_cka(x, y) == pytest.approx(1.0, rel=1e-12)
    assert procrustes_distance(x, y) == pytest.approx(0.0, abs=1e-12)


def test_no_neighbours_can_not_be_asked_for(rng: np.random.Generator) -> None:
    x, y = two_layers(rng)
    with pytest.raises(ValueError, match="k is 0"):
        knn_overlap(x, y, 0)
