"""Fitted lenses in closed form: exact maps are found, splits of the data change nothing."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import special_ortho_group
from sklearn.linear_model import Ridge

from actstore.errors import InvalidInputError, UnknownNameError
from actstore.metrics.lens.fitted.affine import RIDGES, affine, choose_ridge
from actstore.metrics.lens.fitted.decoder import FittedLens
from actstore.metrics.lens.fitted.fit import KINDS, closed_forms, resolve_kinds
from actstore.metrics.lens.fitted.moments import (
    RegressionMoments,
    merge_regression_moments,
    regression_moments,
)
from actstore.metrics.lens.fitted.procrustes import procrustes
from actstore.metrics.lens.fitted.split import split_of, split_texts
from actstore.metrics.lens.fitted.translator import Translator, mean_shift, squared_error
from actstore.store import LensHead
from actstore.store.heads.head_ops import LayerNorm, Linear
from actstore.store.texts.table import hash_texts

HIDDEN = 10
Rows = NDArray[np.float64]


def layer_of(n: int, rng: np.random.Generator) -> Rows:
    """States with a massive dimension, small ones, and a mean far from 0."""
    return rng.normal(size=(n, HIDDEN)) * np.geomspace(1e3, 1e-1, HIDDEN) + 50


def some_map(rng: np.random.Generator) -> Translator:
    return Translator(rng.normal(size=(HIDDEN, HIDDEN)), rng.normal(size=HIDDEN) * 10)


def test_an_affine_relation_is_found(rng: np.random.Generator) -> None:
    x, true = layer_of(300, rng), some_map(rng)
    found = affine(regression_moments(x, true(x)), ridge=1e-16)
    assert found.weight == pytest.approx(true.weight, rel=1e-6, abs=1e-6)
    new = layer_of(50, rng)
    assert found(new) == pytest.approx(true(new), rel=1e-6)


def test_a_rotation_scale_and_shift_is_found(rng: np.random.Generator) -> None:
    x, turn = layer_of(300, rng), special_ortho_group.rvs(HIDDEN, random_state=rng)
    true = Translator(0.3 * turn, rng.normal(size=HIDDEN))
    found = procrustes(regression_moments(x, true(x)))
    assert found.weight == pytest.approx(true.weight, abs=1e-6)
    assert found(x) == pytest.approx(true(x), abs=1e-6)


def test_a_mirror_image_is_found_too(rng: np.random.Generator) -> None:
    x = rng.normal(size=(100, HIDDEN))
    mirror = np.diag([-1.0, *[1.0] * (HIDDEN - 1)])
    assert procrustes(regression_moments(x, x @ mirror)).weight == pytest.approx(mirror)


def test_the_procrustes_map_is_a_rotation_times_the_best_scale(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 80, HIDDEN))
    m = regression_moments(x, y)
    found = procrustes(m)
    scale = np.sqrt(np.trace(found.weight @ found.weight.T) / HIDDEN)
    assert found.weight @ found.weight.T == pytest.approx(scale**2 * np.eye(HIDDEN), abs=1e-12)
    for other in (0.9, 1.1):
        moved = Translator(found.weight * other, m.mean_y - found.weight @ m.x.mean * other)
        assert squared_error(moved, m) > squared_error(found, m)


def test_the_ridge_regression_is_scikit_learns(rng: np.random.Generator) -> None:
    """About s I, which is where ours shrinks to: scikit-learn's, of y - s x, shrinks to 0."""
    x, y = rng.normal(size=(2, 40, HIDDEN))
    y += x
    m = regression_moments(x, y)
    scale = np.trace(m.cross) / np.trace(m.x.scatter)
    theirs = Ridge(0.7 * float(np.trace(m.x.scatter)) / HIDDEN).fit(x, y - scale * x)
    ours = affine(m, ridge=0.7)
    assert ours.weight == pytest.approx(theirs.coef_ + scale * np.eye(HIDDEN))
    assert ours(x) == pytest.approx(theirs.predict(x) + scale * x)


def test_the_squared_error_from_moments_is_the_one_from_rows(rng: np.random.Generator) -> None:
    x, y = layer_of(60, rng), rng.normal(size=(60, HIDDEN))
    found = Translator(rng.normal(size=(HIDDEN, HIDDEN)), rng.normal(size=HIDDEN))
    expected = np.square(found(x) - y).sum()
    assert squared_error(found, regression_moments(x, y)) == pytest.approx(expected)


def test_held_out_rows_choose_more_ridge_for_noise_than_for_an_exact_relation(
    rng: np.random.Generator,
) -> None:
    x, held_x = rng.normal(size=(2, 15, HIDDEN))
    true = some_map(rng)
    exact = choose_ridge(regression_moments(x, true(x)), regression_moments(held_x, true(held_x)))
    noise, held_noise = rng.normal(size=(2, 15, HIDDEN))
    noisy = choose_ridge(regression_moments(x, noise), regression_moments(held_x, held_noise))
    assert min(RIDGES) <= exact < 1e-8
    assert noisy > 1e-2


@given(st.lists(st.integers(1, 59), unique=True, max_size=6), st.randoms(use_true_random=False))
def test_any_split_and_order_of_the_rows_gives_the_same_lenses(cuts: list[int], order) -> None:
    rng = np.random.default_rng(3)
    x, y = layer_of(60, rng), layer_of(60, rng)
    pairs = list(zip(np.split(x, sorted(cuts)), np.split(y, sorted(cuts)), strict=True))
    order.shuffle(pairs)
    parts = reduce(merge_regression_moments, (regression_moments(*pair) for pair in pairs))
    whole = regression_moments(x, y)
    assert_same_moments(parts, whole)
    for fit in (affine, procrustes, mean_shift):
        assert fit(parts)(x) == pytest.approx(fit(whole)(x), rel=1e-9, abs=1e-7)


def assert_same_moments(a: RegressionMoments, b: RegressionMoments) -> None:
    assert a.n == b.n
    sizes = np.sqrt(np.diag(b.x.scatter))
    scale = np.sqrt(b.total) * sizes
    assert np.abs((a.x.scatter - b.x.scatter) / np.outer(sizes, sizes)).max() < 1e-10
    assert np.abs((a.cross - b.cross) / scale).max() < 1e-10
    assert a.mean_y == pytest.approx(b.mean_y, rel=1e-10)
    assert a.total == pytest.approx(b.total, rel=1e-10)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_fewer_rows_than_dimensions_give_finite_maps_that_fit_them(
    n: int, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(2, n, HIDDEN))
    m = regression_moments(x, y)
    for fit in (affine, procrustes, mean_shift):
        assert np.isfinite(fit(m).weight).all()
        assert fit(m)(x.mean(axis=0, keepdims=True))[0] == pytest.approx(y.mean(axis=0))
    assert affine(m, 1e-12)(x) == pytest.approx(y, abs=1e-6)


def test_what_the_rows_leave_free_passes_as_it_is(rng: np.random.Generator) -> None:
    """Both lenses keep directions without variance: x and y differ in the first two only."""
    x = np.zeros((50, HIDDEN))
    x[:, :2] = rng.normal(size=(50, 2))
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    y = x.copy()
    y[:, :2] = x[:, :2] @ turn.T
    expected = np.eye(HIDDEN)
    expected[:2, :2] = turn
    assert procrustes(regression_moments(x, y)).weight == pytest.approx(expected, abs=1e-12)
    same = affine(regression_moments(x, x + 3))
    assert same.weight == pytest.approx(np.eye(HIDDEN))


def test_states_that_do_not_vary_are_shifted() -> None:
    x, y = np.full((5, 3), 2.0), np.arange(15.0).reshape(5, 3)
    m = regression_moments(x, y)
    for fit in (affine, procrustes, mean_shift):
        assert fit(m).weight == pytest.approx(np.eye(3))
        assert fit(m).bias == pytest.approx(y.mean(axis=0) - 2)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_states_that_are_not_finite_make_maps_nan(broken: float, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 20, 3))
    x[3, 1] = broken
    with np.errstate(invalid="ignore"):  # inf - inf, in the moments
        m = regression_moments(x, y)
    for fit in (affine, procrustes, mean_shift):
        assert np.isnan(fit(m).weight).all()
        assert np.isnan(fit(m).bias).all()
    assert choose_ridge(m, m) > 0


def test_a_rounded_map_still_takes_the_mean_to_the_mean(rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, HIDDEN)) * 0.01 + 1e4  # a bias of 1e4 times what varies
    true = some_map(rng)
    m = regression_moments(x, true(x))
    rounded = affine(m, 1e-12).rounded(m)
    assert rounded.weight.dtype == rounded.bias.dtype == np.float32
    assert rounded(x).mean(axis=0) == pytest.approx(m.mean_y, rel=1e-7)


def test_low_precision_states_are_computed_in_float64(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 4)).astype(np.float16)
    y = rng.normal(size=(50, 4)).astype(np.float32)
    m, wide = regression_moments(x, y), regression_moments(x.astype(float), y.astype(float))
    assert (m.cross == wide.cross).all()
    assert affine(m)(x).dtype == np.float64


def test_the_kinds_are_those_that_are_listed(rng: np.random.Generator) -> None:
    m = regression_moments(*rng.normal(size=(2, 20, 3)))
    assert {*closed_forms(m, m).translators, "tuned"} == set(KINDS)
    assert resolve_kinds(["tuned", "mean_shift", "tuned"]) == ("mean_shift", "tuned")
    with pytest.raises(UnknownNameError, match="affin.*affine"):
        resolve_kinds(["affin"])


def test_a_decoder_translates_each_layer_and_leaves_the_last(rng: np.random.Generator) -> None:
    states = rng.normal(size=(3, 7, HIDDEN)).astype(np.float32)
    first, second = some_map(rng), some_map(rng)
    lens = FittedLens("affine", {0: first, 2: second}, last=3)
    arrays = {
        "gain": rng.normal(size=HIDDEN),
        "shift": rng.normal(size=HIDDEN),
        "unembedding": rng.normal(size=(30, HIDDEN)),
    }
    head = LensHead((LayerNorm("gain", "shift", 1e-5), Linear("unembedding", None)), arrays, 0.0)
    expected = [
        head.norm((states[0] @ first.weight.T + first.bias).astype(np.float32)),
        head.norm((states[1] @ second.weight.T + second.bias).astype(np.float32)),
        head.norm(states[2]),
    ]
    found = lens.normed(states, (0, 2, 3), head)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.stack(expected), rel=1e-5, abs=1e-5)
    with pytest.raises(UnknownNameError, match="'affine' was not fitted to layer 1; it has 0, 2"):
        lens.normed(states, (0, 1, 3), head)


def hashes(n: int, prefix: str = "text") -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    found = hash_texts([f"{prefix} {i}" for i in range(n)])
    return found["high"], found["low"]


def test_a_text_stays_on_its_side_when_texts_are_added() -> None:
    before, after = split_of(*hashes(50)), split_of(*hashes(400))
    assert (before == after[:50]).all()


def test_a_larger_share_for_evaluation_only_adds_texts() -> None:
    small, large = (split_of(*hashes(500), eval_share=share) for share in (0.1, 0.5))
    assert (small <= large).all()
    assert small.mean() == pytest.approx(0.1, abs=0.04)
    assert large.mean() == pytest.approx(0.5, abs=0.07)


def test_seeds_split_differently_and_one_seed_always_the_same() -> None:
    first, again, other = (split_of(*hashes(200), seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_the_parts_are_of_all_texts_once_whatever_their_order(rng: np.random.Generator) -> None:
    rows, (high, low) = np.arange(100, 200), hashes(100)
    split = split_texts(rows, high, low)
    parts = [part.tolist() for part in split.parts().values()]
    assert sorted(row for part in parts for row in part) == rows.tolist()
    assert all(part == sorted(part) for part in parts)
    assert len(split.held_out) == round(0.1 * (100 - len(split.evaluation)))
    order = rng.permutation(100)
    shuffled = split_texts(rows[order], high[order], low[order])
    assert shuffled.digest == split.digest
    assert (shuffled.held_out == split.held_out).all()
    assert split_texts(rows, high, low, seed=1).digest != split.digest


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_texts_are_refused_with_their_number(n: int) -> None:
    with pytest.raises(InvalidInputError, match=f"of the sample's {n},"):
        split_texts(np.arange(n), *hashes(n))


@pytest.mark.parametrize(("share", "seed"), [(0.0, 0), (1.0, 0), (0.5, -1)])
def test_a_share_or_seed_that_cannot_be_is_refused(share: float, seed: int) -> None:
    with pytest.raises(InvalidInputError, match="--eval-share 0.2 --seed 0"):
        split_texts(np.arange(50), *hashes(50), eval_share=share, seed=seed)
