"""Samples of texts: seeded, nested, and known to a worker without a list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actstore.metrics.running.chosen import Chosen, row_hash

ROWS = np.arange(3, 40_003, 4)


def chosen(at_most: int, seed: int = 0) -> Chosen:
    return Chosen(ROWS, seed, at_most, "")


def members(limit: int, seed: int = 0) -> set[int]:
    return set(ROWS[row_hash(ROWS, seed) <= np.uint64(limit)].tolist())


@pytest.mark.parametrize("n", [1, 2, 777, 9_999, 10_000, 20_000])
def test_a_sample_for_all_pairs_has_the_size_asked_for(n: int) -> None:
    assert len(members(chosen(n).pairs_limit(ROWS))) == min(n, len(ROWS))


def test_a_larger_sample_contains_a_smaller_one() -> None:
    small, large = (members(chosen(n).pairs_limit(ROWS)) for n in (50, 500))
    assert small < large


def test_seeds_draw_different_texts_evenly() -> None:
    one, other = (members(chosen(1000, seed).pairs_limit(ROWS), seed) for seed in (0, 1))
    assert 60 < len(one & other) < 140  # a tenth of 1,000, by chance
    thirds = np.histogram(sorted(one), bins=3, range=(0, 40_003))[0]
    assert thirds.min() > 280


@given(st.integers(0, 2**63), st.integers(0, 2**40))
def test_numbers_of_rows_differ_and_are_the_same_every_time(seed: int, row: int) -> None:
    rows = np.array([row, row + 1, row + 2])
    found = row_hash(rows, seed)
    assert len(set(found.tolist())) == 3
    assert (row_hash(rows[::-1], seed)[::-1] == found).all()
