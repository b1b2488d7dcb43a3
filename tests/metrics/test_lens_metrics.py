"""Logit-lens metrics against scipy, in bits."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr, softmax

from actstore.metrics import lens as lens_module
from actstore.metrics import lens_entropy, lens_kl_final_to_layer, lens_kl_layer_to_final
from tests.metrics.metric_blocks import LinearHead


@dataclass(frozen=True)
class Float32Head:
    """A scaled and soft-capped head in float32, as a Gemma has."""

    unembedding: NDArray[np.float32]

    def logits(self, states: Any) -> NDArray[np.float32]:
        raw = np.asarray(states, np.float32) @ self.unembedding
        return np.asarray(30 * np.tanh(raw / 30), np.float32)


@pytest.fixture
def head(rng: np.random.Generator) -> LinearHead:
    return LinearHead(rng.normal(size=(16, 9000)))


def test_entropy_is_scipys(head: LinearHead, rng: np.random.Generator) -> None:
    states = rng.normal(size=(20, 16)) * rng.uniform(0, 4, size=(20, 1))
    p = softmax(head.logits(states), axis=1)
    expected = -(p * log_softmax(head.logits(states), axis=1)).sum(axis=1) / np.log(2)
    assert lens_entropy(states, head) == pytest.approx(expected, rel=1e-12)


def test_divergences_are_scipys_in_both_directions(
    head: LinearHead, rng: np.random.Generator
) -> None:
    states, final = rng.normal(size=(2, 20, 16))
    p, q = softmax(head.logits(states), axis=1), softmax(head.logits(final), axis=1)
    forward = lens_kl_layer_to_final(states, final, head)
    backward = lens_kl_final_to_layer(states, final, head)
    assert forward == pytest.approx(rel_entr(p, q).sum(axis=1) / np.log(2))
    assert backward == pytest.approx(rel_entr(q, p).sum(axis=1) / np.log(2))
    assert not np.allclose(forward, backward)


def test_the_last_layer_diverges_from_itself_by_exactly_nothing(rng: np.random.Generator) -> None:
    head = Float32Head(rng.normal(size=(16, 5000)).astype(np.float32))
    final = rng.normal(size=(33, 16)).astype(np.float32) * 5
    assert (lens_kl_layer_to_final(final, final, head) == 0).all()
    assert (lens_kl_final_to_layer(final, final, head) == 0).all()


def test_float32_logits_keep_five_digits_over_a_large_vocabulary(rng: np.random.Generator) -> None:
    head = Float32Head(rng.normal(size=(16, 50_000)).astype(np.float32))
    states, final = rng.normal(size=(2, 12, 16)).astype(np.float32)
    lp = log_softmax(head.logits(states).astype(np.float64), axis=1)
    lq = log_softmax(head.logits(final).astype(np.float64), axis=1)
    expected = (np.exp(lp) * (lp - lq)).sum(axis=1) / np.log(2)
    assert lens_kl_layer_to_final(states, final, head) == pytest.approx(expected, abs=1e-5)
    expected_entropy = -(np.exp(lp) * lp).sum(axis=1) / np.log(2)
    assert lens_entropy(states, head) == pytest.approx(expected_entropy, abs=1e-5)


def test_a_layer_that_knows_nothing_has_the_entropy_of_the_vocabulary() -> None:
    head = LinearHead(np.ones((4, 1024)))
    assert lens_entropy(np.ones((3, 4)), head) == pytest.approx([10.0] * 3)


def test_a_certain_prediction_has_no_entropy_and_divergences_stay_finite() -> None:
    head = LinearHead(1e4 * np.eye(4, 50))
    sure, other = np.eye(4)[:1], np.eye(4)[1:2]
    assert lens_entropy(sure, head) == pytest.approx([0.0], abs=1e-12)
    assert lens_kl_layer_to_final(sure, other, head) == pytest.approx([1e4 / np.log(2)])


def test_tiling_changes_nothing(
    head: LinearHead, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, final = rng.normal(size=(2, 30, 16))
    whole = lens_kl_final_to_layer(states, final, head)
    monkeypatch.setattr(lens_module, "_VOCAB_TILE", 700)
    monkeypatch.setattr(lens_module, "_TILE_BYTES", 7 * 4 * 9000 * 8)
    assert lens_kl_final_to_layer(states, final, head) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("vocab", [10, 50_304, 256_000, 10**9])
@pytest.mark.parametrize("itemsize", [4, 8])
def test_a_tile_of_tokens_stays_within_its_bound(vocab: int, itemsize: int) -> None:
    tokens = lens_module.tokens_per_tile(vocab, itemsize)
    assert tokens >= 1
    assert tokens == 1 or 4 * tokens * vocab * itemsize <= 64 * 2**20


def test_memory_does_not_grow_with_the_tokens(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = LinearHead(rng.normal(size=(4, 20_000)))
    monkeypatch.setattr(lens_module, "_TILE_BYTES", 4 * 2**20)
    states, final = rng.normal(size=(2, 200, 4))
    tracemalloc.start()
    lens_kl_layer_to_final(states, final, head)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20  # all logits of one layer at once are 32 MB
