"""Thresholds found in arrays are those that mteb's own loops find."""

from __future__ import annotations

import mteb
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actstore.evaluate.fast.thresholds import best_accuracy, best_f1, thresholds

LOOPS = mteb.get_task("TwitterSemEval2015")
FEW = st.sampled_from([-0.5, -0.0, 0.0, 0.25, 1.0])
SCORES = st.one_of(FEW, st.floats(-1e3, 1e3, width=32))


@st.composite
def scored_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 30))
    labels = draw(arrays(np.int64, n, elements=st.sampled_from([0, 1])))
    return draw(arrays(np.float64, n, elements=SCORES)), labels


@given(scored_pairs(), st.booleans())
def test_the_best_accuracy_is_that_of_the_loop(
    pairs: tuple[np.ndarray, np.ndarray], high: bool
) -> None:
    scores, labels = pairs
    expected = LOOPS._find_best_acc_and_threshold(scores.tolist(), labels, high)
    found = best_accuracy(thresholds(scores, labels, high_is_similar=high), labels)
    assert found == tuple(map(float, expected))


@given(scored_pairs(), st.booleans())
def test_the_best_f1_is_that_of_the_loop(pairs: tuple[np.ndarray, np.ndarray], high: bool) -> None:
    scores, labels = pairs
    expected = LOOPS._find_best_f1_and_threshold(scores.tolist(), labels, high)
    best = best_f1(thresholds(scores, labels, high_is_similar=high), labels)
    found = (best.f1, best.precision, best.recall, best.threshold)
    assert found == tuple(map(float, expected))


def test_no_threshold_parts_equal_scores() -> None:
    scores, labels = np.array([1.0, 1.0, 0.0]), np.array([1, 0, 0])
    found = thresholds(scores, labels, high_is_similar=True)
    assert found.places.tolist() == [2]
    assert found.middles.tolist() == [0.5]
    assert best_accuracy(found, labels) == (2 / 3, 0.5)
