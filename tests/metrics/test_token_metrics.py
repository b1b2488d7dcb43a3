"""Metrics of token states against answers worked out another way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from actstore.errors import InvalidInputError
from actstore.metrics import METRICS, curvature, prompt_entropy
from actstore.metrics.blocks import TokenBlock
from actstore.metrics.tokens.angles import CurvatureVariant


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


def paper_code(tokens: np.ndarray) -> float:
    """The entropy as the Layer by Layer code works it out, step by step."""
    z = tokens - tokens.mean(axis=0)
    z = np.array([row / np.sqrt(sum(row**2)) for row in z])
    k = z @ z.T if len(z) <= z.shape[1] else z.T @ z
    k[k < 0] = 0
    found = scipy.linalg.eig(k / np.trace(k))[0].real
    positive = found[found > 0] / found[found > 0].sum()
    return float(-sum(p * math.log(p) for p in positive))


@pytest.mark.parametrize("shape", [(7, 64), (12, 12), (6, 40), (40, 6), (90, 30)])
def test_clamped_prompt_entropy_is_that_of_the_papers_code(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    tokens = rng.normal(size=shape) + np.linspace(-2, 2, shape[0])[:, None]
    tokens[:, ::2] *= -1
    clamped = prompt_entropy(tokens, variant="clamped")
    assert clamped == pytest.approx(paper_code(tokens), rel=1e-9)
    assert abs(clamped - prompt_entropy(tokens)) > 1e-3


@pytest.mark.parametrize("n", [2, 3, 7, 12])
def test_clamped_prompt_entropy_of_a_few_unrelated_tokens_is_the_log_of_their_number(
    n: int,
) -> None:
    """Seen from their mean they all point away from each other, which clamping hides."""
    tokens = 5 * np.eye(n, 60)
    assert prompt_entropy(tokens, variant="clamped") == pytest.approx(np.log(n), abs=1e-12)


def test_two_tokens_have_one_direction_and_clamped_two(rng: np.random.Generator) -> None:
    tokens = rng.normal(size=(2, 9))
    assert prompt_entropy(tokens) == pytest.approx(0.0, abs=1e-12)
    assert prompt_entropy(tokens, variant="clamped") == pytest.approx(np.log(2), abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0, 3.7, np.inf])
@pytest.mark.parametrize("n", [2, 5, 40])
def test_entropies_of_all_orders_agree_where_directions_are_evenly_spread(
    n: int, alpha: float
) -> None:
    assert prompt_entropy(np.eye(n, 60), alpha=alpha) == pytest.approx(np.log(n - 1), abs=1e-12)


def test_entropies_of_other_orders_are_renyis(rng: np.random.Generator) -> None:
    tokens = rng.normal(size=(9, 30)) * np.geomspace(10, 0.1, 30)
    centred = tokens - tokens.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    p = np.linalg.svd(units, compute_uv=False)[:8] ** 2 / 9
    assert prompt_entropy(tokens, alpha=0) == pytest.approx(np.log(8))
    assert prompt_entropy(tokens, alpha=2) == pytest.approx(-np.log((p**2).sum()))
    assert prompt_entropy(tokens, alpha=0.5) == pytest.approx(2 * np.log(np.sqrt(p).sum()))
    assert prompt_entropy(tokens, alpha=np.inf) == pytest.approx(-np.log(p.max()))
    near_one = prompt_entropy(tokens, alpha=1 + 1e-7)
    assert near_one == pytest.approx(prompt_entropy(tokens), rel=1e-6)


def test_an_order_below_zero_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"alpha must be 0 or more"):
        prompt_entropy(np.eye(3), alpha=-1.0)


@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.integers(2, 20))
def test_prompt_entropy_stays_in_its_range(seed: int, n: int, hidden: int) -> None:
    tokens = np.random.default_rng(seed).normal(size=(n, hidden)).astype(np.float32)
    most = min(np.log(n - 1), np.log(hidden)) + 1e-12
    orders = [prompt_entropy(tokens, alpha=alpha) for alpha in (0, 0.5, 1, 2, np.inf)]
    assert all(0 <= one <= most for one in orders)
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(orders))
    clamped = prompt_entropy(tokens, variant="clamped")
    assert 0 <= clamped <= min(np.log(n), np.log(hidden)) + 1e-12


@pytest.mark.parametrize("variant", ["clean", "clamped"])
@pytest.mark.parametrize(
    "tokens",
    [
        np.full((5, 4), np.nan),
        np.where(np.eye(5) > 0, np.inf, 1.0),
        np.array([[0.0], [1.0], [5.0]]),
        np.ones((1, 4)),
        np.ones((5, 4)),
    ],
    ids=["nan", "inf", "one dimension", "one token", "equal"],
)
def test_tokens_without_directions_have_no_entropy(tokens: np.ndarray, variant: str) -> None:
    assert np.isnan(prompt_entropy(tokens, variant=variant))


@pytest.mark.parametrize("hidden", [5, 24, 300])
@pytest.mark.parametrize(
    ("name", "variant"), [("prompt_entropy", "clean"), ("prompt_entropy_clamped", "clamped")]
)
def test_texts_taken_together_have_the_entropy_of_each_alone(
    name: str, variant: str, hidden: int, rng: np.random.Generator
) -> None:
    texts = [rng.normal(size=(n, hidden)).astype(np.float32) for n in rng.integers(1, 80, 60)]
    texts += [np.ones((7, hidden), np.float32), texts[0] * np.nan]
    expected = [prompt_entropy(text, variant=variant) for text in texts]
    metric = METRICS[name]
    found = metric.per_text(metric.chunk(TokenBlock.of(texts))).values()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert np.isnan(expected).any()


def test_normalised_entropies_are_divided_text_by_text(rng: np.random.Generator) -> None:
    texts = [rng.normal(size=(n, 8)) for n in (2, 5, 8, 30)]
    divisors = {
        "maxentropy": lambda n: min(np.log(n), np.log(8)),
        "logn": np.log,
        "logd": lambda _: np.log(8),
        "lognlogd": lambda n: np.log(n) * np.log(8),
    }
    for name, divisor in divisors.items():
        expected = np.mean([prompt_entropy(text) / divisor(len(text)) for text in texts])
        metric = METRICS[f"prompt_entropy_{name}"]
        stats = metric.chunk(TokenBlock.of([*texts, np.ones((1, 8))]))
        assert (stats.n, stats.n_undefined) == (4, 1)
        assert metric.finalize(stats) == pytest.approx(expected, rel=1e-12)


def test_all_normalisations_share_one_spectrum() -> None:
    names = ("", "_maxentropy", "_logn", "_logd", "_lognlogd")
    assert len({METRICS[f"prompt_entropy{name}"].chunk for name in names}) == 1


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


def units_of(tokens: np.ndarray) -> np.ndarray:
    centred = tokens - tokens.mean(axis=0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def test_the_absolute_variant_is_that_of_the_papers_code(rng: np.random.Generator) -> None:
    tokens = rng.normal(size=(15, 4))
    z, angles = units_of(tokens), []
    for t in range(1, 14):
        a, b = z[t] - z[t - 1], z[t + 1] - z[t]
        angles.append(np.arccos(abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)))
    assert curvature(tokens, "abs") == pytest.approx(np.mean(angles), rel=1e-10)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_adjacent_variant_is_that_of_the_older_code(k: int, rng: np.random.Generator) -> None:
    tokens = rng.normal(size=(9, 30))
    z = units_of(tokens)
    angles = [np.arccos(z[t] @ z[t + k]) for t in range(9 - k)]
    assert curvature(tokens, "adjacent", k=k) == pytest.approx(np.mean(angles), rel=1e-10)


def test_the_adjacent_angle_of_tokens_in_one_direction_is_zero_and_not_undefined() -> None:
    """Unclipped, as in the older code, the cosine may come out above 1."""
    directions = np.random.default_rng(3).normal(size=(200, 7))
    for one in directions:
        tokens = np.array([one, 3 * one, -one, -3 * one])
        assert curvature(tokens, "adjacent") == pytest.approx(np.pi / 3, rel=1e-12)


@pytest.mark.parametrize("n", [3, 8, 40])
def test_neighbours_on_a_circle_are_its_step_apart(n: int) -> None:
    around = 2 * np.pi * np.arange(n) / n
    circle = np.stack([np.cos(around), np.sin(around)], axis=1) + 4
    assert curvature(circle, "adjacent") == pytest.approx(2 * np.pi / n)


def test_the_absolute_variant_takes_turning_back_for_going_on() -> None:
    there_and_back = np.array([[0.0, 0.0, 1.0], [1.0, 2.0, 0.0]] * 3)
    assert curvature(there_and_back) == pytest.approx(np.pi)
    assert curvature(there_and_back, "abs") == pytest.approx(0.0, abs=1e-12)


def test_angles_at_a_token_that_equals_the_mean_are_left_out() -> None:
    tokens = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 0.0]])
    tokens[-1] = -tokens[:-1].sum(axis=0) + [1e-3, 0]
    tokens -= tokens.mean(axis=0)
    tokens[2] = 0.0
    tokens[5] = -tokens[:5].sum(axis=0)
    kept = [(0, 1), (3, 4), (4, 5)]
    z = [token / np.linalg.norm(token) if token.any() else token for token in tokens]
    expected = np.mean([np.arccos(np.clip(z[i] @ z[j], -1, 1)) for i, j in kept])
    assert curvature(tokens, "adjacent") == pytest.approx(expected, rel=1e-7)
    only_last = [z[4] - z[3], z[5] - z[4]]
    a, b = (step / np.linalg.norm(step) for step in only_last)
    assert curvature(tokens, "abs") == pytest.approx(np.arccos(abs(a @ b)), rel=1e-7)


@pytest.mark.parametrize("variant", ["signed", "abs", "adjacent"])
@pytest.mark.parametrize(
    "tokens",
    [np.empty((0, 4)), np.eye(1, 4), np.ones((6, 4)), np.full((6, 4), np.nan)],
    ids=["none", "one", "equal", "nan"],
)
def test_no_variant_of_curvature_has_a_value_without_an_angle(
    tokens: np.ndarray, variant: CurvatureVariant
) -> None:
    assert np.isnan(curvature(tokens, variant))


@pytest.mark.parametrize("variant", ["signed", "abs", "adjacent"])
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_one_token_that_is_not_finite_leaves_the_text_without_curvature(
    variant: CurvatureVariant, broken: float, rng: np.random.Generator
) -> None:
    tokens = rng.normal(size=(9, 4))
    tokens[4, 2] = broken
    assert np.isnan(curvature(tokens, variant))


@given(st.integers(0, 2**32 - 1), st.integers(3, 20), st.integers(2, 6))
def test_curvatures_stay_in_their_ranges(seed: int, n: int, hidden: int) -> None:
    tokens = np.random.default_rng(seed).normal(size=(n, hidden)).astype(np.float16)
    assert 0 <= curvature(tokens) <= np.pi
    assert 0 <= curvature(tokens, "adjacent") <= np.pi
    assert 0 <= curvature(tokens, "abs") <= np.pi / 2


@pytest.mark.parametrize(("variant", "k"), [("signed", 2), ("abs", 2), ("adjacent", 0)])
def test_a_k_that_would_be_ignored_is_refused(variant: CurvatureVariant, k: int) -> None:
    with pytest.raises(InvalidInputError, match=rf'variant="{variant}".*k={k}'):
        curvature(np.eye(5), variant, k=k)


@pytest.mark.parametrize(
    ("name", "variant"),
    [("curvature", "signed"), ("curvature_abs", "abs"), ("curvature_adjacent", "adjacent")],
)
def test_texts_taken_together_have_the_curvature_of_each_alone(
    name: str, variant: CurvatureVariant, rng: np.random.Generator
) -> None:
    """Of more numbers than are taken at once."""
    texts = [rng.normal(size=(n, 700)).astype(np.float32) for n in rng.integers(1, 30, 40)]
    texts += [np.ones((7, 700), np.float32), texts[0] * np.nan]
    expected = [curvature(text, variant) for text in texts]
    metric = METRICS[name]
    found = metric.per_text(metric.chunk(TokenBlock.of(texts))).values()
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert np.isnan(expected).any()


@pytest.mark.parametrize("metric", [prompt_entropy, curvature])
def test_float16_tokens_with_massive_values_lose_nothing(
    metric: Callable[[np.ndarray], float], rng: np.random.Generator
) -> None:
    tokens = (rng.normal(size=(30, 8)) * 5_000 + 9_000).astype(np.float16)
    assert metric(tokens) == metric(tokens.astype(np.float64))
