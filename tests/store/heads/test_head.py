"""The lens head's ops against answers worked out by hand, and its way through JSON."""

from __future__ import annotations

import json
import math
import operator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from actstore.errors import CorruptShardError
from actstore.store.heads.head import LensHead
from actstore.store.heads.head_ops import (
    ACTIVATIONS,
    OPS,
    Activation,
    LayerNorm,
    Linear,
    RmsNorm,
    Scale,
    Softcap,
)

HIDDEN, WIDTH, VOCABULARY = 6, 4, 11
ONE_OF_EACH = (
    LayerNorm("norm.gain", "norm.bias", 1e-5),
    Linear("project.weight", None),
    Activation("gelu"),
    RmsNorm("second.gain", "second.bias", 1e-6),
    Linear("unembed.weight", "unembed.bias"),
    Scale(0.25),
    Softcap(3.0),
)


def arrays() -> dict[str, NDArray[np.floating]]:
    rng = np.random.default_rng(0)
    sizes = {
        "norm.gain": (HIDDEN,),
        "norm.bias": (HIDDEN,),
        "project.weight": (WIDTH, HIDDEN),
        "second.gain": (WIDTH,),
        "second.bias": (WIDTH,),
        "unembed.weight": (VOCABULARY, WIDTH),
        "unembed.bias": (VOCABULARY,),
    }
    return {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}


def head() -> LensHead:
    return LensHead(ONE_OF_EACH, arrays(), max_abs_error=1e-6)


def states(dtype: type[np.floating] = np.float64) -> NDArray[np.floating]:
    return np.random.default_rng(1).normal(1.0, 3.0, size=(5, HIDDEN)).astype(dtype)


def dot(row: list[float], x: list[float]) -> float:
    return sum(map(operator.mul, row, x))


def row_by_row(x: list[float]) -> list[float]:
    """The logits of one state, by the formulas, one number at a time."""
    a = {name: array.astype(float).tolist() for name, array in arrays().items()}
    mean = sum(x) / len(x)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + 1e-5)
    gains = zip(x, a["norm.gain"], a["norm.bias"], strict=True)
    x = [(v - mean) / deviation * gain + bias for v, gain, bias in gains]
    x = [dot(row, x) for row in a["project.weight"]]
    x = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x]
    root = math.sqrt(sum(v * v for v in x) / len(x) + 1e-6)
    gains = zip(x, a["second.gain"], a["second.bias"], strict=True)
    x = [v / root * gain + bias for v, gain, bias in gains]
    logits = map(operator.add, (dot(row, x) for row in a["unembed.weight"]), a["unembed.bias"])
    return [3 * math.tanh(logit / 4 / 3) for logit in logits]


def test_a_head_of_every_op_gives_the_logits_worked_out_number_by_number() -> None:
    assert {type(op) for op in ONE_OF_EACH} == set(OPS.values())
    expected = [row_by_row(row) for row in states().tolist()]
    np.testing.assert_allclose(head().logits(states()), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("given", "computed"),
    [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)],
)
def test_logits_are_float32_unless_the_states_are_float64(given: type, computed: type) -> None:
    logits = head().logits(states(given))
    assert logits.dtype == computed
    exact = head().logits(states(given).astype(np.float64))
    np.testing.assert_allclose(logits, exact, atol=1e-5 if computed == np.float32 else 0)


def test_weights_in_float16_are_widened_before_they_are_multiplied() -> None:
    short = {name: array.astype(np.float16) for name, array in arrays().items()}
    wide = {name: array.astype(np.float32) for name, array in short.items()}
    of_short = LensHead(ONE_OF_EACH, short, 0.0).logits(states(np.float32))
    of_wide = LensHead(ONE_OF_EACH, wide, 0.0).logits(states(np.float32))
    np.testing.assert_array_equal(of_short, of_wide)


def test_norm_then_unembed_are_the_logits_and_slices_of_the_vocabulary_join_to_them() -> None:
    normed = head().norm(states())
    assert normed.shape == (5, WIDTH)
    assert head().unembedding.shape == (VOCABULARY, WIDTH)
    assert head().vocabulary_size == VOCABULARY
    parts = [head().unembed(normed, slice(i, i + 4)) for i in range(0, VOCABULARY, 4)]
    joined = np.concatenate(parts, axis=1)
    np.testing.assert_array_equal(head().unembed(normed), head().logits(states()))
    np.testing.assert_allclose(joined, head().logits(states()), rtol=1e-13)


def test_a_head_changes_neither_states_nor_arrays() -> None:
    given, ours = states(np.float32), head()
    ours.logits(given)
    np.testing.assert_array_equal(given, states(np.float32))
    for name, array in arrays().items():
        np.testing.assert_array_equal(ours.arrays[name], array)


@pytest.mark.parametrize(
    ("function", "at_minus_one", "at_two"),
    [
        ("gelu", -0.15865525393145707, 1.9544997361036416),  # x times the normal distribution
        ("gelu_tanh", -0.15880800939172324, 1.9545976940877752),
        ("silu", -0.2689414213699951, 1.7615941559557649),  # x / (1 + exp(-x))
        ("relu", 0.0, 2.0),
        ("tanh", -0.7615941559557649, 0.9640275800758169),
    ],
)
def test_an_activation_has_its_known_values_and_no_overflow(
    function: str, at_minus_one: float, at_two: float
) -> None:
    values = ACTIVATIONS[function](np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_allclose(values, [at_minus_one, 0.0, at_two], rtol=1e-14)
    far = ACTIVATIONS[function](np.array([-1e4, 1e4], dtype=np.float32))
    assert far.dtype == np.float32
    assert np.isfinite(far).all()


def test_the_program_survives_json_and_gives_the_same_logits() -> None:
    text = json.dumps(head().to_json())
    again = LensHead.from_json(json.loads(text), arrays())
    assert again.ops == ONE_OF_EACH
    assert again.max_abs_error == 1e-6
    np.testing.assert_array_equal(again.logits(states()), head().logits(states()))


def test_block_norms_survive_json_and_are_applied_with_the_heads_arrays() -> None:
    norms = {0: RmsNorm("second.gain", "second.bias", 1e-6), 2: LayerNorm("a", "b", 1e-5)}
    with_norms = replace(head(), block_norms=norms)
    program = json.loads(json.dumps(with_norms.to_json()))
    of_norms = {"a": np.ones(HIDDEN), "b": np.zeros(HIDDEN)}
    again = LensHead.from_json(program, arrays() | of_norms)
    assert again.block_norms == norms
    normed = again.block_norms[2].apply(states(), again.arrays)
    np.testing.assert_allclose(normed.mean(axis=1), 0, atol=1e-12)
    with pytest.raises(CorruptShardError, match=r"lacks a, b"):
        LensHead.from_json(program, arrays())


def test_a_head_stored_before_block_norms_were_has_none() -> None:
    program = head().to_json()
    del program["block_norms"]
    assert LensHead.from_json(program, arrays()).block_norms == {}


@pytest.mark.parametrize("norms", [{"first": {"kind": "scale", "factor": 1.0}}, {"0": {}}, [1]])
def test_block_norms_that_cannot_be_read_are_an_error_that_shows_them(norms: object) -> None:
    program = head().to_json() | {"block_norms": norms}
    with pytest.raises(CorruptShardError, match="block_norms"):
        LensHead.from_json(program, arrays())


def test_an_op_of_a_later_version_is_an_error_that_shows_it() -> None:
    program = json.loads(json.dumps(head().to_json()))
    program["ops"][2]["kind"] = "mixture_of_softmaxes"
    with pytest.raises(CorruptShardError, match="mixture_of_softmaxes"):
        LensHead.from_json(program, arrays())


def test_a_program_that_lacks_an_array_names_it() -> None:
    present = {name: array for name, array in arrays().items() if name != "second.gain"}
    with pytest.raises(CorruptShardError, match=r"lacks second\.gain"):
        LensHead.from_json(head().to_json(), present)


def test_a_program_without_an_unembedding_is_no_head() -> None:
    program = LensHead((Scale(2.0),), {}, 0.0).to_json()
    with pytest.raises(CorruptShardError, match="lacks an unembedding"):
        LensHead.from_json(program, {})
