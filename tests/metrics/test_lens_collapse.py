"""Copy, entropy and semantic collapse against loops that follow the definitions word by word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from actstore.metrics.blocks import spans_of
from actstore.metrics.lens.collapse import (
    copied_over_depth,
    copy_collapse,
    entropy_collapse,
    semantic_collapse,
    soft_copy_collapse,
)


def column(*ids: int) -> NDArray[np.int64]:
    """Top-1 ids of layers at the last of the positions, which alone is looked at."""
    return np.array(ids)[:, None]


def sure(shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.full(shape, 0.99)


def by_loops(top1: Any, ids: Any, spans: Any, window: int) -> NDArray[np.bool_]:
    copied = np.zeros(top1.shape, bool)
    for start, stop in spans:
        for token in range(start, stop):
            prompt = list(ids[start : token + 1])
            for layer in range(window - 1, len(top1)):
                seen = list(top1[layer - window + 1 : layer + 1, token])
                slices = [prompt[i : i + window] for i in range(len(prompt) - window + 1)]
                copied[layer, token] = seen in slices
    return copied


@given(st.data())
def test_what_is_copied_is_what_loops_over_slices_find(data: Any) -> None:
    lengths = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    n_layers, window = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    some = st.integers(0, 3)
    ids = data.draw(arrays.arrays(np.int32, sum(lengths), elements=some))
    top1 = data.draw(arrays.arrays(np.int64, (n_layers, sum(lengths)), elements=some))
    spans = spans_of(lengths)
    expected = by_loops(top1, ids, spans, window)
    np.testing.assert_array_equal(copied_over_depth(top1, ids, spans, window), expected)


def test_a_prompt_ends_at_the_position_itself() -> None:
    top1 = np.array([[8, 8, 8]])
    flags = copy_collapse(top1, sure((1, 3)), sure((1, 3)), np.array([7, 8, 9]))
    assert flags.tolist() == [[False, True, True]]


def test_another_text_is_not_part_of_the_prompt() -> None:
    top1 = np.array([[7, 7, 7]])
    spans = np.array([[0, 1], [1, 3]])
    flags = copy_collapse(top1, sure((1, 3)), sure((1, 3)), np.array([7, 8, 9]), spans)
    assert flags.tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("p", "margin", "copied"),
    [
        (0.95, 0.5, False),
        (np.nextafter(0.95, 1), 0.5, True),
        (0.99, 0.10, False),
        (0.99, np.nextafter(0.10, 1), True),
        (np.nan, 0.5, False),
        (0.99, np.nan, False),
    ],
)
def test_both_thresholds_are_strict(p: float, margin: float, copied: bool) -> None:
    one = np.ones((1, 1), np.int64)
    flags = copy_collapse(one, np.array([[p]]), np.array([[margin]]), np.array([1]))
    assert flags.tolist() == [[copied]]


def test_thresholds_of_the_sweep_are_nested() -> None:
    p = np.linspace(0.005, 0.995, 100)[:, None]
    top1 = np.zeros((100, 1), np.int64)
    found = [
        copy_collapse(top1, p, p, np.array([0]), threshold=t).sum() for t in (0.7, 0.8, 0.9, 0.95)
    ]
    assert found == [30, 20, 10, 5]


def test_punctuation_and_special_tokens_are_no_copies() -> None:
    ignored = np.array([False, True, False])
    top1 = column(1, 2)
    flags = copy_collapse(top1, sure((2, 1)), sure((2, 1)), np.array([2]), ignored=ignored)
    assert flags[:, 0].tolist() == [False, True]
    both = np.array([[1, 2], [1, 2]])
    flags = copy_collapse(both, sure((2, 2)), sure((2, 2)), np.array([1, 2]), ignored=ignored)
    assert flags.tolist() == [[False, True], [False, True]]


def test_soft_windows_run_over_depth_and_not_over_positions() -> None:
    ids = np.array([4, 5, 6])
    top1 = np.array([[0, 0, 4], [0, 0, 5], [0, 0, 6], [0, 0, 5]])
    p = np.full(top1.shape, 0.6)

    def last(window: int) -> list[bool]:
        return soft_copy_collapse(top1, p, ids, window=window)[:, 2].tolist()

    assert last(1) == [True, True, True, True]
    assert last(2) == [False, True, True, False]  # 6, 5 is not the prompt's order
    assert last(3) == [False, False, True, False]
    assert last(4) == [False] * 4
    across = np.array([[4, 5, 6]])
    assert not soft_copy_collapse(across, p[:1], ids, window=2).any()


def test_soft_copies_ask_for_more_than_half_at_their_own_layer_only() -> None:
    top1, ids = np.array([[4, 4], [5, 5]]), np.array([4, 5])
    p = np.array([[0.1, 0.1], [0.5, 0.51]])
    assert soft_copy_collapse(top1, p, ids, window=2).tolist() == [[False] * 2, [False, True]]


def test_a_soft_window_with_a_special_token_in_it_is_no_copy() -> None:
    top1, ids = column(0, 4, 5), np.array([0, 4, 5])
    top1, p = np.tile(top1, (1, 3)), np.full((3, 3), 0.6)
    special = np.arange(6) == 0
    flags = soft_copy_collapse(top1, p, ids, window=2, ignored=special)
    assert flags[:, 2].tolist() == [False, False, True]


def test_entropy_of_exactly_one_bit_has_collapsed() -> None:
    entropy = np.array([[1.0, np.nextafter(1.0, 2), 0.0, np.nan]])
    assert entropy_collapse(entropy).tolist() == [[True, False, True, False]]
    assert entropy_collapse(entropy, bits=0.5).tolist() == [[False, False, True, False]]


def test_only_rank_one_is_semantic() -> None:
    assert semantic_collapse(np.array([[1.0, 2.0, np.nan]])).tolist() == [[True, False, False]]
