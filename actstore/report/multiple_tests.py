"""p values of many tests at once."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Correction(StrEnum):
    """What is held at the level that an adjusted p value is compared with."""

    BH = "bh"
    """The share of false findings (Benjamini & Hochberg 1995); tests may be positively dependent.
    """
    BY = "by"
    """The same under any dependence (Benjamini & Yekutieli 2001)."""
    HOLM = "holm"
    """The probability of any false finding (Holm 1979), under any dependence."""
    NONE = "none"


def adjusted(p: NDArray[np.float64], correction: Correction) -> NDArray[np.float64]:
    """p values adjusted for all tests of a family; NaN are no tests and stay."""
    p = np.asarray(p, np.float64)
    tested = np.isfinite(p)
    found = p.copy()
    if tested.any():
        found[tested] = _adjusted(p[tested], correction)
    return found


def _adjusted(p: NDArray[np.float64], correction: Correction) -> NDArray[np.float64]:
    from scipy import stats

    if correction is Correction.NONE:
        return p
    if correction is Correction.HOLM:
        order = np.argsort(p)
        stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
        found = np.empty_like(p)
        found[order] = np.minimum(stepped, 1)
        return found
    return np.asarray(stats.false_discovery_control(p, method=correction.value), np.float64)
