"""Logit-lens metrics against scipy, in bits."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from actstore.metrics import (
    lens_entropy,
    lens_kl_final_to_layer,
    lens_kl_layer_to_final,
    lens_values,
)
from actstore.metrics.lens import kernel as lens_module
from actstore.store import LensHead
from actstore.store.head_ops import Linear, RmsNorm, Softcap
from tests.metrics.metric_blocks import linear_head


def gemma_head(rng: np.random.Generator, vocabulary: int) -> LensHead:
    """A normed, scaled and soft-capped head in float32."""
    arrays = {
        "gain": rng.normal(1, 0.1, 16).astype(np.float32),
        "shift": np.zeros(16, np.float32),
        "unembedding": rng.normal(size=(vocabulary, 16)).astype(np.float32),
    }
    ops = (RmsNorm("gain", "shift", 1e-6), Linear("unembedding", None), Softcap(30.0))
    return LensHead(ops, arrays, 0.0)


@pytest.fixture
def head(rng: np.random.Generator) -> LensHead:
    return linear_head(rng.normal(size=(16, 9000)))


def test_entropy_is_scipys(head: LensHead, rng: np.random.Generator) -> None:
    states = rng.normal(size=(20, 16)) * rng.uniform(0, 4, size=(20, 1))
    p = softmax(head.logits(states), axis=1)
    expected = -(p * log_softmax(head.logits(states), axis=1)).sum(axis=1) / np.log(2)
    assert lens_entropy(states, head) == pytest.approx(expected, rel=1e-12)


def test_divergences_are_scipys_in_both_directions(
    head: LensHead, rng: np.random.Generator
) -> None:
    states, final = rng.normal(size=(2, 20, 16))
    p, q = softmax(head.logits(states), axis=1), softmax(head.logits(final), axis=1)
    forward = lens_kl_layer_to_final(states, final, head)
    backward = lens_kl_final_to_layer(states, final, head)
    assert forward == pytest.approx(rel_entr(p, q).sum(axis=1) / np.log(2))
    assert backward == pytest.approx(rel_entr(q, p).sum(axis=1) / np.log(2))
    assert not np.allclose(forward, backward)


def test_the_last_layer_diverges_from_itself_by_exactly_nothing(rng: np.random.Generator) -> None:
    head = gemma_head(rng, 5000)
    states = rng.normal(size=(2, 33, 16)).astype(np.float32) * 5
    values = lens_values(states, head)
    assert (values["kl_layer_to_final_bits"][-1] == 0).all()
    assert (values["kl_final_to_layer_bits"][-1] == 0).all()


def test_a_layer_equal_to_the_last_diverges_by_rounding_alone(rng: np.random.Generator) -> None:
    """A matrix product may round equal rows otherwise, by their place in it."""
    head = gemma_head(rng, 5000)
    final = rng.normal(size=(33, 16)).astype(np.float32) * 5
    assert np.abs(lens_kl_layer_to_final(final, final, head)).max() < 1e-6
    assert np.abs(lens_kl_final_to_layer(final, final, head)).max() < 1e-6


def test_float32_logits_keep_five_digits_over_a_large_vocabulary(rng: np.random.Generator) -> None:
    head = gemma_head(rng, 50_000)
    states, final = rng.normal(size=(2, 12, 16)).astype(np.float32)
    lp = log_softmax(head.logits(states).astype(np.float64), axis=1)
    lq = log_softmax(head.logits(final).astype(np.float64), axis=1)
    expected = (np.exp(lp) * (lp - lq)).sum(axis=1) / np.log(2)
    assert lens_kl_layer_to_final(states, final, head) == pytest.approx(expected, abs=1e-5)
    expected_entropy = -(np.exp(lp) * lp).sum(axis=1) / np.log(2)
    assert lens_entropy(states, head) == pytest.approx(expected_entropy, abs=1e-5)


def test_a_layer_that_knows_nothing_has_the_entropy_of_the_vocabulary() -> None:
    head = linear_head(np.ones((4, 1024)))
    assert lens_entropy(np.ones((3, 4)), head) == pytest.approx([10.0] * 3)


def test_a_certain_prediction_has_no_entropy_and_divergences_stay_finite() -> None:
    head = linear_head(1e4 * np.eye(4, 50))
    sure, other = np.eye(4)[:1], np.eye(4)[1:2]
    assert lens_entropy(sure, head) == pytest.approx([0.0], abs=1e-12)
    assert lens_kl_layer_to_final(sure, other, head) == pytest.approx([1e4 / np.log(2)])


def test_tiling_changes_nothing(
    head: LensHead, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, final = rng.normal(size=(2, 30, 16))
    whole = lens_kl_final_to_layer(states, final, head)
    monkeypatch.setattr(lens_module, "_MOST_IDS", 700)
    monkeypatch.setattr(lens_module, "_TILE_BYTES", 7 * 3 * 2 * 700 * 8)
    assert lens_module.tile_shape(3, 16, 8) == (7, 700)
    assert lens_kl_final_to_layer(states, final, head) == pytest.approx(whole, rel=1e-12)


def test_the_largest_logit_may_come_in_any_tile(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums over earlier tiles are scaled to it, of the layer and of the final layer apart."""
    ramp = np.linspace(-40, 40, 900)
    ramps = linear_head(np.stack([ramp, ramp[::-1], rng.normal(size=900)]))
    states, final = rng.normal(size=(2, 20, 3))
    monkeypatch.setattr(lens_module, "_MOST_IDS", 64)
    lp, lq = (log_softmax(ramps.logits(x), axis=1) for x in (states, final))
    forward = (np.exp(lp) * (lp - lq)).sum(axis=1) / np.log(2)
    backward = (np.exp(lq) * (lq - lp)).sum(axis=1) / np.log(2)
    assert lens_kl_layer_to_final(states, final, ramps) == pytest.approx(forward, rel=1e-10)
    assert lens_kl_final_to_layer(states, final, ramps) == pytest.approx(backward, rel=1e-10)


def test_all_layers_at_once_are_the_layers_one_by_one(
    head: LensHead, rng: np.random.Generator
) -> None:
    states = rng.normal(size=(5, 12, 16))
    together = lens_values(states, head)
    for i, layer in enumerate(states):
        assert together["entropy_bits"][i] == pytest.approx(lens_entropy(layer, head))
        forward = lens_kl_layer_to_final(layer, states[-1], head)
        assert together["kl_layer_to_final_bits"][i] == pytest.approx(forward, abs=1e-12)


@pytest.mark.parametrize("n_layers", [1, 26, 82, 10_000])
@pytest.mark.parametrize("width", [4, 1024, 16_384])
@pytest.mark.parametrize("itemsize", [4, 8])
def test_a_tile_stays_within_its_bounds(n_layers: int, width: int, itemsize: int) -> None:
    tokens, ids = lens_module.tile_shape(n_layers, width, itemsize)
    rows = tokens * n_layers
    assert tokens >= 1
    assert 256 <= ids <= 2048
    assert ids == 256 or ids * width * itemsize <= 8 * 2**20
    assert tokens == 1 or 2 * rows * ids * itemsize <= 26 * 2**20
    assert tokens == 1 or rows * width * itemsize <= 8 * 2**20


def test_memory_does_not_grow_with_the_tokens(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = linear_head(rng.normal(size=(4, 20_000)))
    monkeypatch.setattr(lens_module, "_TILE_BYTES", 4 * 2**20)
    states, final = rng.normal(size=(2, 200, 4))
    tracemalloc.start()
    lens_kl_layer_to_final(states, final, head)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20  # all logits of one layer at once are 32 MB
