"""Intrinsic dimension against shapes of known dimension and against another program."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree

from actstore.metrics import METRICS
from actstore.metrics.blocks import PooledBlock
from actstore.metrics.tokens.dimension import intrinsic_dimension_2nn


def shapes() -> Iterator[tuple[str, np.ndarray]]:
    """What DADApy was run on, drawn in the same order."""
    rng = np.random.default_rng(11)
    yield "line", np.outer(rng.uniform(size=400), rng.normal(size=6))
    yield "square", rng.uniform(size=(500, 2)) @ rng.normal(size=(2, 7))
    directions = rng.normal(size=(600, 4))
    yield "sphere", directions / np.linalg.norm(directions, axis=1, keepdims=True)
    yield "gauss", rng.normal(size=(25, 12))


SHAPES = dict(shapes())
DADAPY = {  # 0.3.4, compute_id_2NN: base with mu_fraction 0.9, base with 0.5, ml
    "line": (0.9900885888176707, 0.9723907272875882, 0.9601108825476582),
    "square": (2.056309086586923, 1.998325113450002, 2.043666967052884),
    "sphere": (2.6084144313513766, 2.6876122436867314, 2.685371144334148),
    "gauss": (12.026519157110318, 10.913867904255474, 11.03165115138577),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_dimension_is_dadapys(shape: str) -> None:
    base, half, ml = DADAPY[shape]
    points = SHAPES[shape]
    n = len(points)
    assert intrinsic_dimension_2nn(points) == pytest.approx(base, rel=1e-8)
    assert intrinsic_dimension_2nn(points, discard=0.5) == pytest.approx(half, rel=1e-8)
    likeliest = intrinsic_dimension_2nn(points, discard=0, fit="mle")
    assert likeliest * (n - 1) / n == pytest.approx(ml, rel=1e-8)  # DADApy's is the unbiased one


@pytest.mark.parametrize("fit", ["linear", "mle"])
@pytest.mark.parametrize("dimension", [1, 2, 3, 5])
def test_uniform_points_have_the_dimension_of_the_space_they_fill(
    dimension: int, fit: str, rng: np.random.Generator
) -> None:
    basis, _ = np.linalg.qr(rng.normal(size=(20, dimension)))
    points = rng.uniform(size=(1500, dimension)) @ basis.T
    assert intrinsic_dimension_2nn(points, fit=fit) == pytest.approx(dimension, rel=0.12)


def test_a_bent_line_is_a_line_where_points_are_close(rng: np.random.Generator) -> None:
    around = rng.uniform(0, 2 * np.pi, size=1000)
    circle = np.stack([np.cos(around), np.sin(around), 3 + 0 * around], axis=1)
    assert intrinsic_dimension_2nn(circle) == pytest.approx(1, rel=0.1)


def ratios(points: np.ndarray) -> np.ndarray:
    distances, _ = KDTree(points).query(points, k=3)
    return np.sort(distances[:, 2] / distances[:, 1])


@pytest.mark.parametrize("n", [3, 4, 10, 11, 200])
def test_the_linear_fit_is_least_squares_through_the_origin(
    n: int, rng: np.random.Generator
) -> None:
    points = rng.normal(size=(n, 6))
    kept = int(0.9 * n)
    x = np.log(ratios(points))[:kept, None]
    y = [-np.log(1 - i / n) for i in range(1, kept + 1)]
    [slope] = np.linalg.lstsq(x, np.array(y), rcond=None)[0]
    assert intrinsic_dimension_2nn(points) == pytest.approx(slope, rel=1e-10)


@pytest.mark.parametrize("discard", [0.0, 0.1, 0.4])
def test_the_likeliest_dimension_has_the_highest_likelihood(
    discard: float, rng: np.random.Generator
) -> None:
    """Each mu kept has the density d mu^(-d - 1), each other one is above the last with mu^-d."""
    points = rng.normal(size=(80, 5))
    mu, kept = ratios(points), int(80 * (1 - discard))

    def log_likelihood(d: float) -> float:
        seen = kept * np.log(d) - (d + 1) * np.log(mu[:kept]).sum()
        return float(seen - (80 - kept) * d * np.log(mu[kept - 1]))

    found = intrinsic_dimension_2nn(points, discard=discard, fit="mle")
    best = log_likelihood(found)
    assert best > max(log_likelihood(found * 1.001), log_likelihood(found * 0.999))


@pytest.mark.parametrize("fit", ["linear", "mle"])
def test_points_that_are_there_twice_count_once(fit: str, rng: np.random.Generator) -> None:
    points = rng.normal(size=(40, 8))
    repeated = np.concatenate([points, points[:17], points[:3]])[rng.permutation(60)]
    expected = intrinsic_dimension_2nn(points, fit=fit)
    assert intrinsic_dimension_2nn(repeated, fit=fit) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(3, 30), st.floats(1e-6, 1e6))
def test_neither_order_nor_turning_nor_size_nor_place_matter(
    seed: int, n: int, factor: float
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 5))
    turned, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    moved = (rng.permutation(points) @ turned + rng.normal(size=5)) * factor
    expected = intrinsic_dimension_2nn(points)
    assert intrinsic_dimension_2nn(moved) == pytest.approx(expected, rel=1e-6)
    assert expected > 0


@pytest.mark.parametrize("fit", ["linear", "mle"])
@pytest.mark.parametrize(
    "points",
    [
        np.empty((0, 4)),
        np.eye(1, 4),
        np.eye(2, 4),
        np.ones((9, 4)),
        np.tile(np.eye(2, 4), (5, 1)),
        np.eye(6),  # all equally far
        np.arange(30.0)[:, None],  # but for the ends, both neighbours equally far
        np.full((5, 4), np.nan),
        np.where(np.eye(5) > 0, np.inf, 1.0),
    ],
    ids=["none", "one", "two", "equal", "two kinds", "simplex", "lattice", "nan", "inf"],
)
def test_the_dimension_of_too_little_is_undefined(points: np.ndarray, fit: str) -> None:
    assert np.isnan(intrinsic_dimension_2nn(points, fit=fit))


def test_float16_points_far_from_the_origin_lose_nothing(rng: np.random.Generator) -> None:
    points = (rng.normal(size=(50, 6)) * 5_000 + 9_000).astype(np.float16)
    assert intrinsic_dimension_2nn(points) == intrinsic_dimension_2nn(points.astype(np.float64))


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (np.eye(1, 4), "only one"),
        (np.ones((9, 4)), "fewer than three rows differ"),
        (np.full((5, 4), np.nan), "not finite"),
    ],
)
def test_pooled_rows_without_a_dimension_say_why(points: np.ndarray, reason: str) -> None:
    metric = METRICS["intrinsic_dimension_2nn_pooled"]
    stats = metric.chunk(PooledBlock.of(points))
    assert np.isnan(metric.finalize(stats))
    assert reason in stats.degenerate
