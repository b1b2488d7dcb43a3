"""Metrics of token states against answers worked out another way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from actstore.metrics import curvature, prompt_entropy


@pytest.mark.parametrize("n", [2, 3, 10, 50])
def test_prompt_entropy_of_orthogonal_tokens_is_the_log_of_their_number_less_one(n: int) -> None:
    """Centred orthogonal tokens are a simplex: n directions that sum to zero, evenly spread."""
    assert prompt_entropy(5 * np.eye(n, 60)) == pytest.approx(np.log(n - 1), abs=1e-12)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (7, 7)])
def test_prompt_entropy_is_that_of_the_gram_matrix(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    tokens = rng.normal(size=shape) * np.geomspace(10, 0.1, shape[1])
    centred = tokens - tokens.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    spectrum = np.linalg.svd(units, compute_uv=False) ** 2
    assert prompt_entropy(tokens) == pytest.approx(scipy.stats.entropy(spectrum))


def test_prompt_entropy_does_not_clamp_the_gram_matrix(rng: np.random.Generator) -> None:
    """Clamped at 0, as in the paper's code, short random texts would all give ln(tokens)."""
    assert prompt_entropy(rng.normal(size=(7, 64))) < np.log(6)


@pytest.mark.parametrize("tokens", [np.ones((1, 4)), np.ones((5, 4)), np.empty((0, 4))])
def test_prompt_entropy_of_one_or_equal_tokens_is_undefined(tokens: np.ndarray) -> None:
    assert np.isnan(prompt_entropy(tokens))


def test_a_straight_line_has_no_curvature(rng: np.random.Generator) -> None:
    steps = np.cumsum(rng.uniform(0.1, 3, size=30))
    line = rng.normal(size=9) + steps[:, None] * rng.normal(size=9)
    assert curvature(line) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("n", [3, 4, 12, 360])
def test_a_regular_polygon_turns_by_its_outer_angle(n: int, rng: np.random.Generator) -> None:
    around = 2 * np.pi * np.arange(n + 2) / n
    plane, _ = np.linalg.qr(rng.normal(size=(20, 2)))
    circle = 7 * np.stack([np.cos(around), np.sin(around)], axis=1) @ plane.T
    assert curvature(circle) == pytest.approx(2 * np.pi / n)


def test_going_back_and_forth_turns_by_pi() -> None:
    """The absolute cosine, as in the paper's code, would say 0."""
    assert curvature(np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0], [1.0, 2.0]])) == pytest.approx(
        np.pi
    )


def test_curvature_is_the_mean_of_arccosines(rng: np.random.Generator) -> None:
    tokens = rng.normal(size=(25, 30)).astype(np.float32)
    steps = np.diff(tokens.astype(np.float64), axis=0)
    angles = [
        np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in itertools.pairwise(steps)
    ]
    assert curvature(tokens) == pytest.approx(np.mean(angles))


def test_curvature_keeps_its_digits_near_a_straight_line() -> None:
    bend = 1e-9
    tokens = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, bend]])
    assert curvature(tokens) == pytest.approx(math.atan(bend), rel=1e-6)


def test_a_repeated_token_leaves_out_the_angles_it_touches() -> None:
    corner = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    assert curvature(np.array([*corner, [1.0, 1.0]])) == pytest.approx(np.pi / 2)


@pytest.mark.parametrize("tokens", [np.eye(1, 4), np.eye(2, 4), np.ones((6, 4))])
def test_curvature_without_an_angle_is_undefined(tokens: np.ndarray) -> None:
    assert np.isnan(curvature(tokens))


@pytest.mark.parametrize("metric", [prompt_entropy, curvature])
def test_float16_tokens_with_massive_values_lose_nothing(
    metric: Callable[[np.ndarray], float], rng: np.random.Generator
) -> None:
    tokens = (rng.normal(size=(30, 8)) * 5_000 + 9_000).astype(np.float16)
    assert metric(tokens) == metric(tokens.astype(np.float64))
