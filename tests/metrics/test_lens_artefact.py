"""The normed lens against the raw one: scipy for the divergences, published runs for the score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, softmax

from actstore.metrics.lens import artefact
from actstore.metrics.lens.artefact import artefact_score, lens_difference, raw_against_normed
from actstore.store import LensHead
from actstore.store.heads.head_ops import LayerNorm, Linear, Scale, Softcap

NAN = float("nan")


@pytest.fixture
def head(rng: np.random.Generator) -> LensHead:
    """A norm, a biased unembedding and a soft cap."""
    arrays = {
        "gain": rng.normal(1, 0.3, 8),
        "shift": rng.normal(size=8),
        "unembedding": rng.normal(size=(400, 8)),
        "bias": rng.normal(size=400),
    }
    ops = (LayerNorm("gain", "shift", 1e-5), Linear("unembedding", "bias"), Softcap(6.0))
    return LensHead(ops, arrays, 0.0)


def test_divergences_are_scipys_between_the_normed_and_the_raw_lens(
    head: LensHead, rng: np.random.Generator
) -> None:
    states = rng.normal(size=(3, 4, 8)) * 3
    found = raw_against_normed(states, head)
    for layer, token in np.ndindex(3, 4):
        h = states[layer, token][None]
        p, q = softmax(head.logits(h)[0]), softmax(head.unembed(h)[0])
        at = layer, token
        assert found.kl_bits[at] == pytest.approx(rel_entr(p, q).sum() / np.log(2), rel=1e-10)
        assert found.kl_back_bits[at] == pytest.approx(rel_entr(q, p).sum() / np.log(2), rel=1e-10)
        assert found.js_bits[at] == pytest.approx(jensenshannon(p, q, base=2) ** 2, rel=1e-9)
        assert found.l1[at] == pytest.approx(np.abs(p - q).sum(), rel=1e-10)


def test_the_top_tokens_of_both_over_those_of_either(
    head: LensHead, rng: np.random.Generator
) -> None:
    states = rng.normal(size=(2, 3, 8))
    for k in (1, 5, 50, 400, 1000):
        found = raw_against_normed(states, head, k=k).top_jaccard
        for at in np.ndindex(2, 3):
            h = states[at][None]
            orders = np.argsort(head.logits(h)[0]), np.argsort(head.unembed(h)[0])
            a, b = (set(order[-k:].tolist()) for order in orders)
            assert found[at] == pytest.approx(len(a & b) / len(a | b))


def test_a_gold_token_first_under_the_norm_alone_is_norm_only() -> None:
    arrays = {
        "gain": np.array([-1.0, 1.0]),
        "shift": np.zeros(2),
        "unembedding": np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]),
    }
    head = LensHead((LayerNorm("gain", "shift", 1e-5), Linear("unembedding", None)), arrays, 0.0)
    states = np.array([[[1.0, -1.0]] * 4, [[-1.0, 1.0]] * 4])
    found = raw_against_normed(states, head, np.array([1, 0, 2, -1]))
    np.testing.assert_array_equal(found.rank, [[1, 3, 2, NAN], [3, 1, 2, NAN]])
    np.testing.assert_array_equal(found.other_rank, [[3, 1, 2, NAN], [1, 3, 2, NAN]])
    assert found.only_first.tolist() == [[True, False, False, False], [False, True, False, False]]


def test_ties_favour_the_gold_token_and_are_all_among_the_top() -> None:
    head = LensHead((Linear("unembedding", None),), {"unembedding": np.ones((7, 3))}, 0.0)
    found = lens_difference(np.ones((1, 2, 3)), np.zeros((1, 2, 3)), head, np.array([6, 0]), k=2)
    assert found.rank.tolist() == [[1, 1]]
    assert found.top_jaccard.tolist() == [[1, 1]]
    assert found.kl_bits == pytest.approx(np.zeros((1, 2)), abs=1e-15)


def test_blocks_and_tiles_change_nothing(
    head: LensHead, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, gold = rng.normal(size=(4, 5, 8)), rng.integers(0, 400, 5)
    whole = vars(raw_against_normed(states, head, gold))
    monkeypatch.setattr(artefact, "_VOCAB_TILE", 37)
    monkeypatch.setattr(artefact, "_BLOCK_BYTES", 3 * 64 * 400)
    for name, values in vars(raw_against_normed(states, head, gold)).items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-10, atol=1e-13)


def test_states_that_are_not_finite_differ_by_nothing_known_and_leave_others_alone(
    head: LensHead, rng: np.random.Generator
) -> None:
    states = rng.normal(size=(2, 3, 8)).astype(np.float32)
    kept = vars(raw_against_normed(states, head, np.array([1, 2, 3])))
    states[0, 0, 0], states[1, 2] = np.inf, NAN
    broken = raw_against_normed(states, head, np.array([1, 2, 3]))
    undefined = np.array([[True, False, False], [False, False, True]])
    for name, values in vars(broken).items():
        assert np.isnan(values[undefined]).all()
        np.testing.assert_allclose(values[~undefined], kept[name][~undefined], rtol=1e-6)
    assert not broken.only_first[undefined].any()


def test_certain_predictions_of_different_tokens_are_as_different_as_can_be() -> None:
    head = LensHead(
        (Scale(1.0), Linear("unembedding", None)), {"unembedding": 1e4 * np.eye(4)}, 0.0
    )
    found = lens_difference(np.eye(4)[None, :1], np.eye(4)[None, 1:2], head)
    assert found.kl_bits[0, 0] == pytest.approx(1e4 / np.log(2))
    assert found.js_bits[0, 0] == pytest.approx(1.0)
    assert found.l1[0, 0] == pytest.approx(2.0)


def test_no_raw_lens_where_the_unembedding_takes_another_width(rng: np.random.Generator) -> None:
    arrays = {"project": rng.normal(size=(3, 8)), "unembedding": rng.normal(size=(40, 3))}
    head = LensHead((Linear("project", None), Linear("unembedding", None)), arrays, 0.0)
    found = raw_against_normed(rng.normal(size=(2, 5, 8)), head)
    assert found.kl_bits.shape == (2, 5)
    assert all(np.isnan(values).all() for values in vars(found).values())


@pytest.mark.parametrize(
    ("layers", "above", "largest", "norm_only", "js", "l1", "score", "v2", "tier"),
    [
        (33, 1, 5.2565, True, 0.0168, 0.2403, 0.4182, 0.4590, "medium"),  # Meta-Llama-3-8B
        (41, 31, 98.578, False, 0.358, 1.134, 0.5537, 0.704, "high"),  # Qwen3-14B
        (41, 1, 5.9801, False, 0.0, 0.0, 0.1146, 0.1146, "low"),  # Mistral-Small-24B
        (81, 1, 1.2437, True, 0.00245, 0.0918, 0.3323, 0.3439, "medium"),  # Meta-Llama-3-70B
    ],
)
def test_scores_are_those_of_published_runs(
    layers: int,
    above: int,
    largest: float,
    norm_only: bool,
    js: float,
    l1: float,
    score: float,
    v2: float,
    tier: str,
) -> None:
    """logos-in-layers, 001_layers_baseline/run-latest: `raw_lens_full` of its output files."""
    kl = np.full(layers, 0.2)
    kl[:above] = 1.0
    kl[0] = largest
    flags = np.arange(layers) < norm_only
    found = artefact_score(kl, np.full(layers, js), np.full(layers, l1), flags)
    assert found.score == pytest.approx(score, abs=6e-5)
    assert found.score_v2 == pytest.approx(v2, abs=6e-4)
    assert (found.tier, found.risk) == (tier, "high")


@pytest.mark.parametrize(
    ("kl", "norm_only", "risk"),
    [(0.49, False, "low"), (0.5, False, "medium"), (1.0, False, "high"), (0.0, True, "high")],
)
def test_risk_goes_by_the_largest_divergence(kl: float, norm_only: bool, risk: str) -> None:
    one = np.array([kl])
    assert artefact_score(one, one, one, np.array([norm_only])).risk == risk


def test_a_score_is_at_most_one_and_the_second_one_is_cut_there() -> None:
    worst = artefact_score(np.full(4, 9.0), np.ones(4), np.full(4, 2.0), np.ones(4, bool))
    assert (worst.score, worst.score_v2) == (pytest.approx(1.0), 1.0)


@pytest.mark.parametrize("kl", [[], [NAN, 0.1]])
def test_a_score_of_undefined_divergences_is_undefined(kl: list[float]) -> None:
    values = np.array(kl)
    found = artefact_score(values, values, values, np.zeros(len(kl), bool))
    assert np.isnan(found.score)
    assert np.isnan(found.score_v2)
    assert found.tier is None
    assert found.risk is None
