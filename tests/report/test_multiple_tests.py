"""p values of many tests."""

from __future__ import annotations

import numpy as np
import pytest

from actstore.report.multiple_tests import Correction, adjusted

P = np.array([0.01, 0.04, 0.03, 0.005])


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        # by hand: sorted p times 4, 3, 2, 1, never falling
        (Correction.HOLM, [0.03, 0.06, 0.06, 0.02]),
        # sorted p times 4/1, 4/2, 4/3, 4/4, never rising from the end
        (Correction.BH, [0.02, 0.04, 0.04, 0.02]),
        # the same times 1 + 1/2 + 1/3 + 1/4
        (Correction.BY, np.array([0.02, 0.04, 0.04, 0.02]) * 25 / 12),
        (Correction.NONE, P),
    ],
)
def test_p_values_are_adjusted_as_by_hand(correction: Correction, expected: list[float]) -> None:
    assert adjusted(P, correction) == pytest.approx(expected)


@pytest.mark.parametrize("correction", Correction)
def test_what_was_not_tested_is_not_counted(correction: Correction) -> None:
    with_gaps = np.array([np.nan, *P, np.nan])
    found = adjusted(with_gaps, correction)
    assert found[1:5].tolist() == adjusted(P, correction).tolist()
    assert np.isnan(found[[0, 5]]).all()
    assert adjusted(np.array([0.9, 0.8]), correction).max() <= 1
    assert np.isnan(adjusted(np.array([np.nan]), correction)).all()
