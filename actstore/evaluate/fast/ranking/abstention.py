"""mteb's abstention scores (nAUC), with everything sorted once instead of once for each measure.

Source: Gisserot-Boukhlef et al. 2024, https://arxiv.org/abs/2402.12997; mteb's `nauc`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from mteb._evaluators.retrieval_metrics import _DEFAULT_ABSTENTION_RATES as RATES
from numpy.typing import NDArray
from sklearn.metrics import auc

Floats = NDArray[np.float64]


class Abstention:
    """How much better the scores are when a model abstains where it is not sure."""

    def __init__(self, confidence: Mapping[str, Floats]) -> None:
        """confidence: by name, (query,)."""
        self._orders = {}
        for name, values in confidence.items():
            order = np.argsort(values, stable=True)
            self._orders[name] = order, _Ties.of(values[order])

    def scores(self, measure: str, values: Floats) -> dict[str, float]:
        """mteb's name -> score of one measure. values: (query,)."""
        ordered = np.sort(values)  # one order for ties: they are equal
        oracle = _curve(ordered, _Ties.of(ordered))
        found = {}
        for name, (order, ties) in self._orders.items():
            found[f"nAUC_{measure}_{name}"] = _normalized(_curve(values[order], ties), oracle)
        return found


@dataclass(frozen=True)
class _Ties:
    """Runs of equal values."""

    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]

    @classmethod
    def of(cls, ordered: Floats) -> _Ties:
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        return cls(starts, np.diff(np.r_[starts, len(ordered)]))


def _curve(values: Floats, ties: _Ties) -> Floats:
    """The mean of what is left after abstaining at each rate. values: least sure first."""
    means = np.add.reduceat(values, ties.starts) / ties.sizes
    spread, n = np.repeat(means, ties.sizes), len(values)
    return np.array([spread[min(round(rate * n), n - 1) :].mean() for rate in RATES])


def _normalized(curve: Floats, oracle: Floats) -> float:
    best, flat = auc(RATES, oracle), oracle[0] * (RATES[-1] - RATES[0])
    if best == flat:
        return float("nan")
    score: float = (auc(RATES, curve) - flat) / (best - flat)
    return score
