"""The largest part of a grid without gaps."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actstore.report.tables.slices import largest_box

grids = arrays(
    bool, st.tuples(*[st.integers(1, 4)] * 3), elements=st.sampled_from([True] * 3 + [False])
)


def size(box: tuple[list[int], ...]) -> int:
    return int(np.prod([len(places) for places in box]))


def largest_by_trying_all(present: np.ndarray) -> int:
    def subsets(n: int) -> list[tuple[int, ...]]:
        return list(chain.from_iterable(combinations(range(n), k) for k in range(1, n + 1)))

    some = [subsets(n) for n in present.shape]
    boxes = ((a, b, c) for a in some[0] for b in some[1] for c in some[2])
    whole = (box for box in boxes if present[np.ix_(*box)].all())
    return max((size(box) for box in whole), default=0)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(grids)
def test_a_slice_has_no_gap_and_nothing_can_be_added_to_it(present: np.ndarray) -> None:
    box = largest_box(present)
    assert bool(size(box)) == bool(present.any())
    if not size(box):
        return
    assert present[np.ix_(*box)].all()
    for axis, length in enumerate(present.shape):
        for place in set(range(length)) - set(box[axis]):
            more = [[*box[i], place] if i == axis else box[i] for i in range(3)]
            assert not present[np.ix_(*more)].all()


@settings(max_examples=60, deadline=None)
@given(grids, st.integers(0, 2))
def test_kept_axes_stay_whole_or_there_is_no_slice(present: np.ndarray, axis: int) -> None:
    box = largest_box(present, keep=[axis])
    assert box[axis] == list(range(present.shape[axis])) or not any(box)


@settings(max_examples=60, deadline=None)
@given(grids)
def test_with_two_axes_kept_the_slice_is_the_places_without_any_gap(present: np.ndarray) -> None:
    whole = np.flatnonzero(present.all(axis=(0, 1))).tolist()
    assert largest_box(present, keep=[0, 1])[2] == whole


def test_the_search_finds_nearly_what_trying_all_finds() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(30):
        present = rng.uniform(size=(3, 4, 4)) < 0.85
        shares.append(size(largest_box(present)) / largest_by_trying_all(present))
    assert max(shares) <= 1
    assert np.mean(shares) > 0.9


def test_one_missing_layer_costs_that_layer_alone() -> None:
    present = np.ones((4, 6, 5), bool)
    present[:, 2] = False
    present[3, :, 4] = False
    found = largest_box(present)
    assert found[1] == [0, 1, 3, 4, 5]
    assert size(found) == 80  # a task less: 4 x 5 x 4; a checkpoint less: 75


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 3, 0)])
def test_an_empty_grid_has_an_empty_slice(shape: tuple[int, ...]) -> None:
    assert largest_box(np.ones(shape, bool)) == ([], [], [])
