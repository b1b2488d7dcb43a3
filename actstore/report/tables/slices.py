"""Slices of an incomplete grid that have no gaps: what can be compared as it is."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Box = tuple[list[int], ...]
"""Places on each axis; of their product no cell is missing."""


def largest_box(present: NDArray[np.bool_], keep: Collection[int] = ()) -> Box:
    """The largest product of places on each axis that has no gap, as far as a search finds it.

    keep: axes of which every place stays. Finding the largest is NP-hard; the search drops the
    place with the largest share of gaps until none is left, adds what fits again, and does so for
    every choice of further axes to keep, and once from a single place. With all axes but one kept
    the answer is exact. Always maximal: no place can be added to it. All axes are empty where
    nothing fits.
    """
    free = [axis for axis in range(present.ndim) if axis not in keep]
    choices = [
        {*keep, *more} for count in range(len(free)) for more in combinations(free, count)
    ] or [{*keep}]
    found = [_grown(present, _shrunk(present, kept), kept) for kept in choices]
    found.append(_grown(present, _densest(present, keep), keep))
    best = max(found, key=_size)
    return best if _size(best) else tuple([] for _ in range(present.ndim))


def _size(box: Box) -> int:
    return int(np.prod([len(places) for places in box]))


def _shrunk(present: NDArray[np.bool_], keep: Collection[int]) -> Box:
    """Without the places that have the largest share of gaps, one after the other.

    Where gaps are most of the grid, that can end with nothing: hence `_densest` besides.
    """
    box: Box = tuple(list(range(n)) for n in present.shape)
    while _size(box) and not (part := present[np.ix_(*box)]).all():
        worst = (0.0, -1, -1)
        for axis in range(present.ndim):
            if axis not in keep:
                others = tuple(i for i in range(present.ndim) if i != axis)
                shares = 1 - part.mean(axis=others)
                place = int(len(shares) - 1 - shares[::-1].argmax())  # the last of equal ones
                worst = max(worst, (float(shares[place]), axis, place))
        if worst[1] < 0:
            return tuple([] for _ in box)
        del box[worst[1]][worst[2]]
    return box


def _densest(present: NDArray[np.bool_], keep: Collection[int]) -> Box:
    """One place on each axis that is not kept: the line without gaps whose places have most."""
    whole = present.all(axis=tuple(keep), keepdims=True)
    if not whole.any():
        return tuple([] for _ in range(present.ndim))
    counts = np.zeros(whole.shape)
    for axis in range(present.ndim):
        others = tuple(i for i in range(present.ndim) if i != axis)
        counts = counts + whole.sum(axis=others, keepdims=True)
    at = np.unravel_index(np.where(whole, counts, -1).argmax(), whole.shape)
    return tuple(
        list(range(n)) if axis in keep else [int(at[axis])] for axis, n in enumerate(present.shape)
    )


def _grown(present: NDArray[np.bool_], box: Box, keep: Collection[int]) -> Box:
    """With every place that still fits."""
    if not _size(box):
        return box
    for axis in range(present.ndim):
        if axis in keep:
            continue
        for place in range(present.shape[axis]):
            line = [[place] if i == axis else places for i, places in enumerate(box)]
            if place not in box[axis] and present[np.ix_(*line)].all():
                box[axis].append(place)
        box[axis].sort()
    return box
