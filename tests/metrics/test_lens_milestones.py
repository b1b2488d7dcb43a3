"""First layers of things, against loops and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actstore.metrics.lens.milestones import (
    Milestones,
    first_kl_below,
    first_layer,
    first_rank_le,
    milestones,
    reached,
)

NAN = float("nan")


def columns(*rows: list[float]) -> Any:
    return np.array(rows, float).T


def test_the_first_set_flag_counts_though_later_ones_are_not_set() -> None:
    flags = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]], bool)
    np.testing.assert_array_equal(first_layer(flags, (0, 4, 8)), [4, 0, NAN])


def test_a_milestone_behind_something_unknown_is_unknown() -> None:
    kl = columns([5, 0.5, 0], [NAN, 0.5, 0], [5, 0.5, NAN], [NAN, NAN, NAN])
    np.testing.assert_array_equal(first_kl_below(kl, (0, 1, 2)), [1, NAN, 1, NAN])


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=8))
def test_steps_are_the_or_of_three_valued_logic(values: list[bool | None]) -> None:
    def either(a: bool | None, b: bool | None) -> bool | None:
        return True if a or b else (None if a is None or b is None else False)

    flags = np.array([[bool(v)] for v in values])
    known = np.array([[v is not None] for v in values])
    expected, so_far = [], values[0]
    for value in values:
        so_far = either(so_far, value)
        expected.append(NAN if so_far is None else float(so_far))
    np.testing.assert_array_equal(reached(flags, known)[:, 0], expected)


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=8))
def test_the_milestone_is_where_the_steps_rise_from_known_ground(
    values: list[bool | None],
) -> None:
    flags = np.array([[bool(v)] for v in values])
    known = np.array([[v is not None] for v in values])
    places = [i for i, v in enumerate(values) if v]
    told = bool(places) and None not in values[: places[0]]
    expected = 10 * places[0] if told else NAN
    layers = range(0, 10 * len(values), 10)
    np.testing.assert_array_equal(first_layer(flags, layers, known), [expected])


def test_below_means_at_most() -> None:
    kl = columns([2, 1.0, 0.5, 0])
    assert first_kl_below(kl, range(4), 1.0).tolist() == [1]
    assert first_kl_below(kl, range(4), 0.5).tolist() == [2]
    assert first_kl_below(kl, range(4), 0.4).tolist() == [3]


def test_ranks_count_from_one_and_positions_without_gold_have_none() -> None:
    rank = columns([90, 10, 4, 1, 2], [NAN] * 5, [60] * 5)
    for k, expected in ((1, 3), (5, 2), (10, 1)):
        np.testing.assert_array_equal(first_rank_le(rank, range(5), k), [expected, NAN, NAN])


def of_a_position(**changes: Any) -> Milestones:
    nothing = np.zeros(5, bool)
    values: dict[str, Any] = {
        "copied": nothing,
        "soft_copied": {1: nothing, 2: nothing},
        "entropy_bits": np.array([9, 8, 4, 0.9, 2.0]),
        "kl_layer_to_final_bits": np.array([9, 8, 1.0, 0.2, 0]),
        "gold_rank": np.array([700.0, 9, 5, 1, 1]),
    }
    return milestones((0, 1, 2, 3, 4), **{**values, **changes})


def test_all_milestones_of_a_position() -> None:
    found = of_a_position(copied=np.array([0, 1, 0, 0, 0], bool))
    assert found.named() == {
        "L_copy": 1,
        "L_copy_soft_k1": None,
        "L_copy_soft_k2": None,
        "L_copy_H": 3,
        "L_semantic": 3,
        "delta_layers": 2,
        "delta_hat": 0.5,
        "L_copy_frac": 0.25,
        "L_semantic_frac": 0.75,
        "first_kl_below_0.5": 3,
        "first_kl_below_1.0": 2,
        "first_rank_le_1": 3,
        "first_rank_le_5": 2,
        "first_rank_le_10": 1,
    }


def test_depth_is_counted_from_the_earliest_soft_copy_where_none_is_strict() -> None:
    soft = {1: np.array([0, 0, 1, 0, 0], bool), 2: np.array([0, 1, 1, 0, 0], bool)}
    found = of_a_position(soft_copied=soft)
    assert found.delta_layers is None
    assert found.delta_hat == pytest.approx((3 - 1) / 4)


def test_without_a_gold_token_nothing_is_semantic() -> None:
    found = of_a_position(gold_rank=np.full(5, NAN), copied=np.ones(5, bool))
    assert (found.l_copy, found.l_semantic, found.delta_layers, found.delta_hat) == (
        0,
        None,
        None,
        None,
    )
    assert set(found.first_rank_le.values()) == {None}


def test_copies_at_layers_without_logits_are_not_told() -> None:
    found = of_a_position(
        entropy_bits=np.array([NAN, 8, 4, 0.9, 2]), copied=np.array([0, 1, 0, 0, 0], bool)
    )
    assert found.l_copy is None
    assert found.l_copy_entropy is None
