"""Which norm stands before the unembedding: the final one, the next block's, or none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actstore.errors import InvalidInputError
from actstore.metrics.lens.decoders import FINAL, RAW, NextBlockNorm
from actstore.metrics.lens.kernel import lens_values
from actstore.store import LensHead
from actstore.store.heads.head_ops import Activation, LayerNorm, Linear, RmsNorm, Scale
from tests.metrics.lens_reference import capped_head

HIDDEN, VOCABULARY = 16, 700


@pytest.fixture
def head(rng: np.random.Generator) -> LensHead:
    return capped_head(rng, VOCABULARY)


@pytest.fixture
def states(rng: np.random.Generator) -> NDArray[Any]:
    return rng.normal(size=(4, 5, HIDDEN))


@pytest.fixture
def next_block(rng: np.random.Generator) -> NextBlockNorm:
    norms = {layer: RmsNorm(f"gain{layer}", "zeros", 1e-6) for layer in range(3)}
    gains = {f"gain{layer}": rng.normal(1, 0.3, HIDDEN) for layer in range(3)}
    return NextBlockNorm(norms, {**gains, "zeros": np.zeros(HIDDEN)})


def rms(x: NDArray[Any], gain: NDArray[Any]) -> NDArray[Any]:
    scaled: NDArray[Any] = x * gain / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
    return scaled


def test_the_final_norm_serves_all_layers(head: LensHead, states: NDArray[Any]) -> None:
    found = FINAL.normed(states, range(4), head)
    x = states - states.mean(axis=-1, keepdims=True)
    x /= np.sqrt(states.var(axis=-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, x * head.arrays["gain"] + head.arrays["shift"])


def test_the_raw_lens_leaves_states_as_they_are(head: LensHead, states: NDArray[Any]) -> None:
    np.testing.assert_array_equal(RAW.normed(states, range(4), head), states)
    half = RAW.normed(states.astype(np.float16), range(4), head)
    assert half.dtype == np.float32


def test_the_raw_lens_refuses_a_head_that_projects_first(rng: np.random.Generator) -> None:
    arrays = {"down": rng.normal(size=(8, HIDDEN)), "unembedding": rng.normal(size=(9, 8))}
    head = LensHead((Linear("down", None), Linear("unembedding", None)), arrays, 0.0)
    with pytest.raises(InvalidInputError, match="width 16 .* has width 8.*'final'"):
        RAW.normed(rng.normal(size=(2, 3, HIDDEN)), range(2), head)
    assert FINAL.normed(rng.normal(size=(2, 3, HIDDEN)), range(2), head).shape == (2, 3, 8)


def test_a_layer_is_read_with_the_norm_of_the_block_that_follows_it(
    head: LensHead, states: NDArray[Any], next_block: NextBlockNorm
) -> None:
    found = next_block.normed(states, range(4), head)
    for layer in range(3):
        gain = next_block.arrays[f"gain{layer}"]
        np.testing.assert_allclose(found[layer], rms(states[layer], gain))
    np.testing.assert_array_equal(found[3], FINAL.normed(states[3:], [3], head)[0])


def test_layers_left_out_change_nothing_for_the_others(
    head: LensHead, states: NDArray[Any], next_block: NextBlockNorm
) -> None:
    whole = next_block.normed(states, range(4), head)
    some = next_block.normed(states[[1, 3]], [1, 3], head)
    np.testing.assert_array_equal(some, whole[[1, 3]])


def test_only_the_norm_is_another_one(
    rng: np.random.Generator, states: NDArray[Any], next_block: NextBlockNorm
) -> None:
    """T5 scales what it unembeds; its lens does too, whichever the norm."""
    arrays = {"gain": np.ones(HIDDEN), "zeros": np.zeros(HIDDEN), "unembedding": np.eye(HIDDEN)}
    ops = (RmsNorm("gain", "zeros", 1e-6), Scale(0.25), Linear("unembedding", None))
    found = next_block.normed(states, range(4), LensHead(ops, arrays, 0.0))
    np.testing.assert_allclose(found[0], 0.25 * rms(states[0], next_block.arrays["gain0"]))


def test_a_block_whose_norm_is_not_stored_is_named(
    head: LensHead, states: NDArray[Any], next_block: NextBlockNorm
) -> None:
    with pytest.raises(InvalidInputError, match=r"layer 3 .* block 4.*\[0, 1, 2\].*'final'"):
        next_block.normed(states, [1, 2, 3, 4], head)
    with pytest.raises(InvalidInputError, match="known are none"):
        NextBlockNorm({}, {}).normed(states, range(4), head)


def test_the_next_blocks_lens_ends_in_the_model_itself(
    head: LensHead, states: NDArray[Any], next_block: NextBlockNorm
) -> None:
    found = lens_values(states, head, decoder=next_block)
    final = lens_values(states, head)
    assert (found["kl_layer_to_final_bits"][-1] == 0).all()
    assert (found["kl_final_to_layer_bits"][-1] == 0).all()
    np.testing.assert_array_equal(found["entropy_bits"][-1], final["entropy_bits"][-1])
    assert not np.isclose(found["entropy_bits"][:-1], final["entropy_bits"][:-1]).any()


def test_a_tokens_row_is_the_same_to_the_bit_in_any_company(
    rng: np.random.Generator, states: NDArray[Any]
) -> None:
    """Also behind a matrix product (BERT's dense layer): the last layer is then the final one."""
    arrays = {
        "dense": rng.normal(size=(HIDDEN, HIDDEN)),
        "gain": np.ones(HIDDEN),
        "zeros": np.zeros(HIDDEN),
        "unembedding": rng.normal(size=(VOCABULARY, HIDDEN)),
    }
    norm = LayerNorm("gain", "zeros", 1e-12)
    ops = (Linear("dense", None), Activation("gelu"), norm, Linear("unembedding", None))
    bert = LensHead(ops, arrays, 0.0)
    last = FINAL.normed(states[-1:], [3], bert)
    np.testing.assert_array_equal(FINAL.normed(states, range(4), bert)[-1:], last)
    assert (lens_values(states, bert)["kl_layer_to_final_bits"][-1] == 0).all()
