"""Collapse and milestones as quantities: flags of every token at every layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import actstore.metrics.lens.steps  # noqa: F401  (registers the quantities)
from actstore.metrics.lens.collapse import copy_collapse
from actstore.metrics.lens.milestones import first_kl_below, first_layer, first_rank_le
from actstore.metrics.lens.quantities import QUANTITIES, LensTokens, measure
from actstore.store import LensHead
from tests.metrics.metric_blocks import linear_head

NAN = float("nan")
LAYERS = (0, 1, 2, 3, 4)
COLLAPSES = ["copy_collapse", "entropy_collapse", "semantic_collapse"]
MILESTONES = [
    "copy_reached",
    "entropy_collapse_reached",
    "kl_below_0.5_reached",
    "kl_below_1_reached",
    "rank_le_1_reached",
    "rank_le_5_reached",
    "rank_le_10_reached",
]


@pytest.fixture
def head(rng: np.random.Generator) -> LensHead:
    return linear_head(rng.normal(size=(6, 15)) * 2)


@pytest.fixture
def states(rng: np.random.Generator) -> NDArray[Any]:
    """Of two texts of 7 and 5 tokens; a layer more, a prediction surer."""
    scale = np.geomspace(0.3, 6, len(LAYERS))[:, None, None]
    return rng.normal(size=(len(LAYERS), 12, 6)) * scale + rng.normal(size=(1, 12, 6))


@pytest.fixture
def tokens(rng: np.random.Generator) -> LensTokens:
    ids = rng.integers(0, 15, 12)
    gold = np.append(ids[1:], -1)
    gold[6] = -1
    return LensTokens(ids, np.array([[0, 7], [7, 12]]), gold, LAYERS, np.arange(15) == 3)


def test_flags_are_those_of_the_plain_functions(
    head: LensHead, states: NDArray[Any], tokens: LensTokens
) -> None:
    base = measure(
        states,
        tokens,
        head,
        ["top1_id", "p_top1", "p_top1_margin", "entropy_bits", "gold_rank", *COLLAPSES],
    )
    copied = copy_collapse(
        base["top1_id"],
        base["p_top1"],
        base["p_top1_margin"],
        tokens.token_id,
        tokens.spans,
        ignored=tokens.blank,
    )
    assert 0 < copied.sum() < copied.size
    np.testing.assert_array_equal(base["copy_collapse"], copied)
    np.testing.assert_array_equal(base["entropy_collapse"], base["entropy_bits"] <= 1)
    without = np.array(tokens.gold) < 0
    assert np.isnan(base["semantic_collapse"][:, without]).all()
    found = base["semantic_collapse"][:, ~without]
    np.testing.assert_array_equal(found, base["gold_rank"][:, ~without] == 1)


def test_the_first_layer_of_the_steps_is_the_milestone(
    head: LensHead, states: NDArray[Any], tokens: LensTokens
) -> None:
    names = ["kl_layer_to_final_bits", "gold_rank", "copy_collapse", *MILESTONES]
    values = measure(states, tokens, head, names)
    kl, rank = values["kl_layer_to_final_bits"], values["gold_rank"]
    expected = {
        "kl_below_1_reached": first_kl_below(kl, LAYERS, 1.0),
        "kl_below_0.5_reached": first_kl_below(kl, LAYERS, 0.5),
        **{f"rank_le_{k}_reached": first_rank_le(rank, LAYERS, k) for k in (1, 5, 10)},
        "copy_reached": first_layer(values["copy_collapse"] == 1, LAYERS),
    }
    for name, first in expected.items():
        steps = values[name]
        assert set(np.unique(steps[np.isfinite(steps)])) <= {0.0, 1.0}
        assert (np.diff(steps, axis=0)[np.isfinite(steps[1:])] >= 0).all()
        np.testing.assert_array_equal(first_layer(steps == 1, LAYERS), first)
    assert (values["kl_below_0.5_reached"][-1] == 1).all()


def test_shares_are_undefined_where_logits_are_not_finite_until_something_is_reached(
    head: LensHead, states: NDArray[Any], tokens: LensTokens
) -> None:
    states[0, 0], states[3, 1] = NAN, NAN
    values = measure(states, tokens, head, [*COLLAPSES, *MILESTONES, "kl_layer_to_final_bits"])
    for name in COLLAPSES:
        assert np.isnan(values[name][[0, 3], [0, 1]]).all()
    for name in MILESTONES:
        steps = values[name]
        assert np.isnan(steps[0, 0])
        assert not (steps[:, 0] == 0).any()  # it may have been reached at layer 0
    kl = values["kl_layer_to_final_bits"][:, 1]
    before = (kl[:3] <= 1).any()
    assert np.isnan(values["kl_below_1_reached"][3, 1]) != before


def test_copies_cannot_be_told_without_knowing_which_tokens_are_blank(
    head: LensHead, states: NDArray[Any], tokens: LensTokens
) -> None:
    unknown = LensTokens(tokens.token_id, tokens.spans, tokens.gold, LAYERS)
    values = measure(states, unknown, head, ["copy_collapse", "copy_reached"])
    assert np.isnan(values["copy_collapse"]).all()
    assert np.isnan(values["copy_reached"]).all()


def test_what_was_reached_says_that_it_needs_the_layers_below() -> None:
    assert all(QUANTITIES[name].over_depth for name in MILESTONES)
    assert not any(QUANTITIES[name].over_depth for name in COLLAPSES)
