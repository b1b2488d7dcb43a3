"""Logit-lens metrics against scipy, in bits."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from actstore.metrics import (
    METRICS,
    lens_entropy,
    lens_kl_final_to_layer,
    lens_kl_layer_to_final,
    lens_values,
)
from actstore.metrics.blocks import LensBlock, spans_of
from actstore.metrics.lens import kernel as lens_module
from actstore.metrics.lens.kernel import BASE
from actstore.store import LensHead
from tests.metrics.lens_reference import rms_head
from tests.metrics.metric_blocks import linear_head


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
    head = rms_head(rng, 5000)
    states = rng.normal(size=(2, 33, 16)).astype(np.float32) * 5
    values = lens_values(states, head)
    assert (values["kl_layer_to_final_bits"][-1] == 0).all()
    assert (values["kl_final_to_layer_bits"][-1] == 0).all()


def test_a_layer_equal_to_the_last_diverges_by_rounding_alone(rng: np.random.Generator) -> None:
    """A matrix product may round equal rows otherwise, by their place in it."""
    head = rms_head(rng, 5000)
    final = rng.normal(size=(33, 16)).astype(np.float32) * 5
    assert np.abs(lens_kl_layer_to_final(final, final, head)).max() < 1e-6
    assert np.abs(lens_kl_final_to_layer(final, final, head)).max() < 1e-6


def test_float32_logits_keep_five_digits_over_a_large_vocabulary(rng: np.random.Generator) -> None:
    head = rms_head(rng, 50_000)
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


def lens_block(rng: np.random.Generator) -> tuple[LensBlock, dict[str, Any]]:
    """Three texts of five tokens at one layer; the last token of each has no gold id."""
    head, states = rms_head(rng, 300), rng.normal(size=(2, 15, 16))
    gold = rng.integers(0, 300, 15)
    gold[4::5] = -1
    values = lens_values(states, head, quantities=BASE, gold=gold)
    at_layer = {name: v[0] for name, v in values.items()}
    return LensBlock(at_layer, spans_of([5, 5, 5]), np.arange(3)), at_layer


MEANS = {
    "lens_entropy": "entropy_bits",
    "lens_kl_layer_to_final": "kl_layer_to_final_bits",
    "lens_kl_final_to_layer": "kl_final_to_layer_bits",
    "lens_js": "js_bits",
    "lens_cross_entropy": "cross_entropy_bits",
    "lens_p_top1": "p_top1",
    "lens_p_top5": "p_top5",
    "lens_p_gold": "p_gold",
    "lens_gold_rank": "gold_rank",
    "lens_top1_is_final": "top1_is_final",
    "lens_cos_to_final": "cos_to_final",
    "lens_residual_norm": "resid_norm",
}


@pytest.mark.parametrize(("name", "quantity"), MEANS.items())
def test_metrics_are_means_over_the_tokens_that_have_the_quantity(
    name: str, quantity: str, rng: np.random.Generator
) -> None:
    block, values = lens_block(rng)
    metric = METRICS[name]
    stats = metric.chunk(block)
    assert metric.quantities == (quantity,)
    assert metric.finalize(stats) == pytest.approx(np.nanmean(values[quantity]), rel=1e-12)
    assert stats.n == np.isfinite(values[quantity]).sum()
    assert stats.n + stats.n_undefined == 15


@pytest.mark.parametrize("k", [1, 5, 10])
def test_ranks_within_k_are_a_share_of_the_tokens_that_have_a_gold_id(
    k: int, rng: np.random.Generator
) -> None:
    block, values = lens_block(rng)
    ranks = np.array([1, 2, 5, 6, np.nan, 10, 11, 1, 300, np.nan, 4, 7, 1, 1, np.nan])
    metric = METRICS[f"lens_gold_top{k}"]
    stats = metric.chunk(replace(block, values={**values, "gold_rank": ranks}))
    assert metric.finalize(stats) == pytest.approx((ranks[~np.isnan(ranks)] <= k).sum() / 12)
    assert (stats.n, stats.n_undefined) == (12, 3)


def test_texts_without_any_gold_id_have_no_share_and_say_so(rng: np.random.Generator) -> None:
    block, values = lens_block(rng)
    nothing = replace(block, values={**values, "gold_rank": np.full(15, np.nan)})
    stats = METRICS["lens_gold_top1"].chunk(nothing)
    assert np.isnan(METRICS["lens_gold_top1"].finalize(stats))
    assert stats.degenerate


def test_at_the_last_layer_cross_entropy_is_the_models_own_loss(rng: np.random.Generator) -> None:
    head, states = rms_head(rng, 300), rng.normal(size=(1, 9, 16))
    gold = rng.integers(0, 300, 9)
    losses = -log_softmax(head.logits(states[0]), axis=1)[np.arange(9), gold]
    values = lens_values(states, head, quantities=["cross_entropy_bits"], gold=gold)
    block = LensBlock({name: v[-1] for name, v in values.items()}, spans_of([9]), np.arange(1))
    metric = METRICS["lens_cross_entropy"]
    assert metric.finalize(metric.chunk(block)) * np.log(2) == pytest.approx(losses.mean())
