"""The walk over the vocabulary against whole arrays of logits, in float64 or with many digits."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cosine
from scipy.special import rel_entr, softmax

from actstore.errors import UnknownNameError
from actstore.metrics.lens import kernel
from actstore.metrics.lens.decoders import RAW
from actstore.metrics.lens.kernel import BASE, lens_values, token_probabilities
from actstore.metrics.lens.quantities import QUANTITIES, LensTokens, measure, sources
from actstore.metrics.lens.sums import GoldRank, Tile
from actstore.store import LensHead
from actstore.store.heads.head_ops import Linear
from tests.metrics.lens_reference import Array, capped_head, expected, rms_head
from tests.metrics.metric_blocks import linear_head

LAYERS, TOKENS, VOCABULARY = 4, 11, 3000
FROM_LOGITS = [name for name in BASE if name not in {"cos_to_final", "resid_norm", "normed_norm"}]


@pytest.fixture
def head(rng: np.random.Generator) -> LensHead:
    return capped_head(rng, VOCABULARY)


@pytest.fixture
def states(rng: np.random.Generator) -> Array:
    return rng.normal(size=(LAYERS, TOKENS, 16)) * rng.uniform(0.2, 3, size=(LAYERS, TOKENS, 1))


@pytest.fixture
def gold(rng: np.random.Generator) -> Array:
    return rng.integers(0, VOCABULARY, TOKENS)


def logits_of(states: Array, head: LensHead) -> Array:
    flat = head.logits(states.reshape(-1, states.shape[-1]))
    return flat.reshape(*states.shape[:2], -1).astype(np.float64)


def read(states: Array, head: LensHead, name: str, **known: Any) -> Array:
    return lens_values(states, head, quantities=[name], **known)[name]


@pytest.mark.parametrize("name", FROM_LOGITS)
@pytest.mark.parametrize("ids", [2048, 64])
def test_every_quantity_is_what_its_definition_says(
    name: str,
    ids: int,
    states: Array,
    head: LensHead,
    gold: Array,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel, "_MOST_IDS", ids)
    monkeypatch.setattr(kernel, "_TILE_BYTES", 3 * 5 * 2 * ids * 8)
    assert kernel.tile_shape(LAYERS + 1, 16, 8) == (3, ids)
    logits = logits_of(states, head)
    found = read(states, head, name, gold=gold)
    np.testing.assert_allclose(
        found, expected(logits, logits[-1], gold)[name], rtol=1e-11, atol=1e-13
    )


@pytest.mark.parametrize("name", FROM_LOGITS)
def test_float32_states_give_five_digits_over_a_large_vocabulary(
    name: str, rng: np.random.Generator
) -> None:
    head = rms_head(rng, 50_000)
    states = rng.normal(size=(3, 6, 16)).astype(np.float32)
    gold = rng.integers(0, 50_000, 6)
    logits = logits_of(states, head)  # the same float32 logits: what is tested are the sums
    found = read(states, head, name, gold=gold)
    assert found.dtype == (np.int64 if name in {"top_ids", "top1_id"} else np.float64)
    np.testing.assert_allclose(
        found, expected(logits, logits[-1], gold)[name], rtol=1e-5, atol=1e-6
    )


def test_asking_for_all_at_once_gives_what_each_gives_alone(
    states: Array, head: LensHead, gold: Array
) -> None:
    together = lens_values(states, head, quantities=BASE, gold=gold)
    assert tuple(together) == BASE
    for name, values in together.items():
        np.testing.assert_array_equal(values, read(states, head, name, gold=gold))


def test_sums_hold_against_fifty_digits_where_probabilities_are_far_below_float64() -> None:
    logits = np.array([[[0.0, -800.0, 3.0, 690.0]], [[500.0, 1.0, -300.0, 499.0]]])
    head = linear_head(np.eye(4))
    found = lens_values(logits, head, quantities=BASE, gold=np.array([1]))
    with localcontext() as context:
        context.prec = 50
        p, q = ([Decimal(float(z)).exp() for z in row[0]] for row in logits)
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        ln2 = Decimal(2).ln()
        exact = {
            "entropy_bits": -sum(x * x.ln() for x in p) / ln2,
            "kl_layer_to_final_bits": sum(x * (x / y).ln() for x, y in zip(p, q, strict=True))
            / ln2,
            "kl_final_to_layer_bits": sum(y * (y / x).ln() for x, y in zip(p, q, strict=True))
            / ln2,
            "cross_entropy_bits": -p[1].ln() / ln2,
        }
    for name, number in exact.items():
        assert found[name][0, 0] == pytest.approx(float(number), rel=1e-13, abs=1e-200), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_last_layer_is_exactly_the_final_prediction(
    dtype: type, rng: np.random.Generator
) -> None:
    head = rms_head(rng, 5000)
    states = rng.normal(size=(3, 40, 16)).astype(dtype) * 5
    names = ("kl_layer_to_final_bits", "kl_final_to_layer_bits", "js_bits")
    found = lens_values(states, head, quantities=(*names, "cos_to_final", "top1_is_final"))
    assert all((found[name][-1] == 0).all() for name in names)
    assert (found["cos_to_final"][-1] == 1).all()
    assert (found["top1_is_final"][-1] == 1).all()


def test_a_lens_that_changes_the_last_layer_is_still_held_against_the_model(
    states: Array, head: LensHead, gold: Array
) -> None:
    """The final prediction is the model's own: raw logits of the last layer diverge from it."""
    flat = states.reshape(-1, 16)
    raw = head.unembed(flat).reshape(LAYERS, TOKENS, -1)
    wanted = expected(raw, logits_of(states, head)[-1], gold)
    found = lens_values(states, head, quantities=FROM_LOGITS, gold=gold, decoder=RAW)
    for name, values in found.items():
        np.testing.assert_allclose(values, wanted[name], rtol=1e-10, atol=1e-12, err_msg=name)
    assert (found["kl_layer_to_final_bits"][-1] > 0.01).all()


def test_the_cosine_is_of_logits_before_bias_scale_and_soft_cap(
    states: Array, head: LensHead
) -> None:
    raw = np.stack([head.norm(layer) @ head.unembedding.T for layer in states])
    found = read(states, head, "cos_to_final")
    for layer in range(LAYERS):
        for token in range(TOKENS):
            direct = 1 - cosine(raw[layer, token], raw[-1, token])
            assert found[layer, token] == pytest.approx(direct, abs=1e-12)


def test_a_cosine_is_at_most_one_where_layers_are_all_but_equal(rng: np.random.Generator) -> None:
    final = rng.normal(size=(500, 16)).astype(np.float32)
    states = np.stack([final * (1 + rng.normal(size=(500, 1)) * 1e-3), final]).astype(np.float32)
    found = read(
        states, linear_head(rng.normal(size=(16, 3000)).astype(np.float32)), "cos_to_final"
    )
    assert (found <= 1).all()
    assert (found > 1 - 1e-6).all()


def test_logits_that_are_all_zero_have_no_cosine(rng: np.random.Generator) -> None:
    states = rng.normal(size=(2, 2, 4))
    states[0, 1] = 0
    found = read(states, linear_head(rng.normal(size=(4, 9))), "cos_to_final")
    np.testing.assert_array_equal(np.isnan(found), [[False, True], [False, False]])


def test_lengths_are_of_the_residual_and_of_what_the_unembedding_multiplies(
    states: Array, head: LensHead
) -> None:
    found = lens_values(states, head, quantities=["resid_norm", "normed_norm"])
    np.testing.assert_allclose(found["resid_norm"], np.linalg.norm(states, axis=-1))
    normed = np.stack([head.norm(layer) for layer in states])
    np.testing.assert_allclose(found["normed_norm"], np.linalg.norm(normed, axis=-1))


def test_lengths_of_massive_half_precision_states_do_not_overflow() -> None:
    states = np.full((1, 1, 4), 60_000, np.float16)
    found = read(states, linear_head(np.ones((4, 3), np.float32)), "resid_norm")
    assert found == pytest.approx(2 * float(np.float16(60_000)))


small_logits = arrays(np.float64, (2, 3, 23), elements=st.integers(-3, 3).map(float))


@given(small_logits, arrays(np.int64, 3, elements=st.integers(0, 22)))
def test_ties_favour_the_gold_id_and_the_smaller_of_the_top_ones(
    logits: Array, gold: Array
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_MOST_IDS", 4)
        names = ["gold_rank", "gold_logit", "top_ids", "top_logits", "top1_id", "top1_is_final"]
        found = lens_values(logits, linear_head(np.eye(23)), quantities=names, gold=gold)
    wanted = expected(logits, logits[-1], gold)
    for name, values in found.items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ids_with_the_same_logits_share_a_rank_wherever_they_stand(
    dtype: type, rng: np.random.Generator
) -> None:
    """Equal rows of the unembedding, in other tiles and columns of the product."""
    one = rng.normal(size=(701, 64)).astype(dtype)
    head = linear_head(np.concatenate([one] * 9).T)
    states = rng.normal(size=(5, 50, 64)).astype(dtype)
    gold = rng.integers(0, 701 * 9, 50)
    rank = read(states, head, "gold_rank", gold=gold)
    np.testing.assert_array_equal((rank - 1) % 9, 0)
    np.testing.assert_array_equal(rank, read(states, head, "gold_rank", gold=gold % 701))


def test_a_gold_id_never_outranks_itself_through_rounding() -> None:
    """Another library's product may round a column otherwise than that of a whole tile."""
    logits = np.array([[[1.0, 3.0, 2.0]]])
    for rounded in (2 - 1e-15, 2.0, 2 + 1e-15):
        rank = GoldRank(np.array([5]), np.array([[rounded]]))
        rank.add(Tile(logits, first=3, top=logits.max(axis=-1)))
        rank.add(Tile(logits, first=6, top=logits.max(axis=-1)))
        found = rank.values(np.array([[4.0]]))
        assert found["gold_rank"] == 3  # behind the 3.0 of both tiles; equal to the other 2.0
        assert found["gold_logit"] == 2.0


def test_a_token_without_a_gold_id_has_no_rank_but_all_else(
    states: Array, head: LensHead, gold: Array
) -> None:
    names = ("gold_rank", "p_gold", "gold_logit", "cross_entropy_bits", "entropy_bits")
    some = np.where(np.arange(TOKENS) % 3, gold, -1)
    found = lens_values(states, head, quantities=names, gold=some)
    without = lens_values(states, head, quantities=names)
    for name in names[:-1]:
        np.testing.assert_array_equal(np.isnan(found[name]), np.tile(some < 0, (LAYERS, 1)))
        assert np.isnan(without[name]).all()
    assert np.isfinite(without["entropy_bits"]).all()


def test_a_gold_id_that_is_the_most_likely_has_exactly_its_probability(
    rng: np.random.Generator,
) -> None:
    head = rms_head(rng, 5000)
    states = rng.normal(size=(1, 60, 16)).astype(np.float32)
    first = read(states, head, "top1_id")[0]
    found = lens_values(states, head, quantities=["p_gold", "p_top1", "gold_rank"], gold=first)
    np.testing.assert_array_equal(found["p_gold"], found["p_top1"])
    np.testing.assert_array_equal(found["gold_rank"], 1)


@given(arrays(np.float64, (2, 1, 6), elements=st.floats(-300, 300)))
def test_the_jensen_shannon_divergence_is_symmetric_and_at_most_a_bit(logits: Array) -> None:
    head = linear_head(np.eye(6))
    forward = read(logits, head, "js_bits")[0, 0]
    backward = read(logits[::-1], head, "js_bits")[0, 0]
    p, q = softmax(logits[:, 0], axis=-1)
    halves = rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2)
    assert forward == pytest.approx(halves.sum() / 2 / np.log(2), abs=1e-14)
    assert forward == pytest.approx(backward, abs=1e-15)
    assert -1e-15 <= forward <= 1 + 1e-15


def test_predictions_without_a_token_in_common_are_one_bit_apart() -> None:
    logits = 1e4 * np.eye(2, 3)[:, None, :]
    assert read(logits, linear_head(np.eye(3)), "js_bits")[0] == pytest.approx([1.0], abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_that_are_not_finite_spoil_their_own_token_and_layer_only(
    bad: float, dtype: type, states: Array, head: LensHead, gold: Array
) -> None:
    states = states.astype(dtype)
    broken = states.copy()
    broken[1, 4, 2] = bad
    whole = lens_values(states, head, quantities=BASE, gold=gold)
    found = lens_values(broken, head, quantities=BASE, gold=gold)
    for name, values in found.items():
        nothing = -1 if values.dtype == np.int64 else np.nan
        np.testing.assert_array_equal(values[1, 4], np.full_like(values[1, 4], nothing), name)
        values[1, 4] = whole[name][1, 4]
        np.testing.assert_array_equal(values, whole[name], name)


def test_nothing_is_compared_with_a_final_prediction_that_is_not_finite(
    states: Array, head: LensHead, gold: Array
) -> None:
    states[-1, 7] = np.nan
    found = lens_values(states, head, quantities=BASE, gold=gold)
    compared = {"kl_layer_to_final_bits", "kl_final_to_layer_bits", "js_bits"}
    for name, values in found.items():
        of_others = values[:-1, 7].astype(np.float64)
        alone = name not in compared | {"cos_to_final", "top1_is_final"}
        assert np.isfinite(of_others).all() == alone, name
        assert np.isnan(of_others).all() != alone, name


@pytest.mark.parametrize("bias", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_have_no_quantities(bias: float) -> None:
    arrays_ = {"unembedding": np.eye(5), "bias": np.array([0, 0, bias, 0, 0])}
    head = LensHead((Linear("unembedding", "bias"),), arrays_, max_abs_error=0.0)
    found = lens_values(np.ones((2, 1, 5)), head, quantities=BASE, gold=np.array([0]))
    for name in {*FROM_LOGITS} - {"top_ids", "top1_id"}:
        assert np.isnan(found[name]).all(), name
    assert (found["top_ids"] == -1).all()


def test_a_vocabulary_smaller_than_the_list_gives_all_of_it(rng: np.random.Generator) -> None:
    states = rng.normal(size=(2, 3, 4))
    names = ["top_ids", "top_logits", "p_top5", "p_top1_margin"]
    found = lens_values(states, linear_head(rng.normal(size=(4, 3))), quantities=names)
    assert found["top_ids"].shape == found["top_logits"].shape == (2, 3, 3)
    np.testing.assert_array_equal(np.sort(found["top_ids"], axis=-1), [[[0, 1, 2]] * 3] * 2)
    assert found["p_top5"] == pytest.approx(np.ones((2, 3)))
    sure = lens_values(states, linear_head(np.ones((4, 1))), quantities=names)
    assert (sure["p_top1_margin"] == 1).all()


@pytest.mark.parametrize("k", [1, 3, 8, 40])
def test_as_many_top_ids_as_asked_for(
    k: int, states: Array, head: LensHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_MOST_IDS", 32)  # fewer than the longest list
    found = lens_values(states, head, quantities=["top_ids", "p_top5"], top_k=k)
    order = np.argsort(-logits_of(states, head), axis=-1, kind="stable")
    np.testing.assert_array_equal(found["top_ids"], order[..., :k])
    assert found["p_top5"] == pytest.approx(read(states, head, "p_top5"), rel=1e-12)


def test_half_precision_states_are_read_in_single(rng: np.random.Generator) -> None:
    head = rms_head(rng, 500)
    states = rng.normal(size=(2, 5, 16)).astype(np.float16)
    half = lens_values(states, head, quantities=BASE, gold=np.arange(5))
    single = lens_values(states.astype(np.float32), head, quantities=BASE, gold=np.arange(5))
    for name in BASE:
        np.testing.assert_array_equal(half[name], single[name])


def test_no_tokens_give_empty_values(head: LensHead) -> None:
    found = lens_values(np.empty((3, 0, 16)), head, quantities=BASE, gold=np.empty(0, np.int64))
    assert {name: v.shape for name, v in found.items() if v.ndim == 2} == dict.fromkeys(
        (name for name in BASE if name not in {"top_ids", "top_logits"}), (3, 0)
    )
    assert found["top_ids"].shape == (3, 0, 5)


def test_an_unknown_quantity_names_the_nearest(states: Array, head: LensHead) -> None:
    with pytest.raises(UnknownNameError, match="'entropy_bit'.*'entropy_bits'"):
        lens_values(states, head, quantities=["entropy_bit"])


def test_probabilities_of_any_ids_take_no_walk(states: Array, head: LensHead) -> None:
    ids = np.array([5, 5, 2999, 0])
    log_normaliser = read(states, head, "log_normaliser")
    found = token_probabilities(states, head, ids, log_normaliser)
    np.testing.assert_allclose(found, softmax(logits_of(states, head), axis=-1)[..., ids])
    one = token_probabilities(states, head, ids[:1], log_normaliser)
    np.testing.assert_array_equal(one, found[..., :1])
    assert token_probabilities(states, head, ids[:0], log_normaliser).shape == (LAYERS, TOKENS, 0)


def test_probabilities_of_a_token_without_a_prediction_are_unknown(
    states: Array, head: LensHead
) -> None:
    states[0, 0] = np.nan
    log_normaliser = read(states, head, "log_normaliser")
    found = token_probabilities(states, head, np.arange(3), log_normaliser)
    assert np.isnan(found[0, 0]).all()
    assert np.isfinite(found).sum() == found.size - 3


def test_every_base_quantity_is_described_and_no_other_lacks_a_source() -> None:
    assert set(BASE) == {name for name, one in QUANTITIES.items() if one.derive is None}
    for name, quantity in QUANTITIES.items():
        assert quantity.unit
        assert quantity.description
        assert set(sources([name])) <= set(BASE)
        assert sources([name])


def test_measuring_gives_what_is_asked_for_and_no_more(
    states: Array, head: LensHead, gold: Array
) -> None:
    tokens = LensTokens(gold, np.array([[0, TOKENS]]), gold, tuple(range(LAYERS)))
    found = measure(states, tokens, head, ["p_gold", "top_ids"], top_k=2)
    assert set(found) == {"p_gold", "top_ids"}
    np.testing.assert_array_equal(found["p_gold"], read(states, head, "p_gold", gold=gold))
    assert found["top_ids"].shape == (LAYERS, TOKENS, 2)


def test_buffers_stay_small_whatever_the_tokens_and_the_vocabulary(
    rng: np.random.Generator,
) -> None:
    """All logits would be 216 MB."""
    head = rms_head(rng, 30_000)
    states = rng.normal(size=(6, 300, 16)).astype(np.float32)
    tracemalloc.start()
    lens_values(states, head, quantities=BASE, gold=np.zeros(300, np.int64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
