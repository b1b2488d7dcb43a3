"""The best threshold between similar and dissimilar pairs, found in whole arrays.

The searches of `mteb.abstasks.pair_classification` walk through the pairs in order of their scores
and try a threshold after each but those whose successor has the same score. Here all thresholds
are tried at once; of equally good ones the first is taken, as there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Thresholds:
    """The places where a threshold can be, and the counts on their near side."""

    places: NDArray[np.int64]
    """(threshold,) how many pairs lie before it."""
    middles: NDArray[np.float64]
    """Its value, between two scores."""
    similar: NDArray[np.int64]
    """How many pairs with label 1 lie before it."""


@dataclass(frozen=True)
class BestF1:
    f1: float
    precision: float
    recall: float
    threshold: float


def thresholds(
    scores: NDArray[np.float64], labels: NDArray[np.int64], *, high_is_similar: bool
) -> Thresholds:
    """All thresholds, from the most similar pairs on."""
    order = np.argsort(-scores if high_is_similar else scores, kind="stable")
    ordered, similar = scores[order], np.cumsum(labels[order] == 1)
    places = np.flatnonzero(ordered[:-1] != ordered[1:])
    middles = (ordered[places] + ordered[places + 1]) / 2
    return Thresholds(places + 1, middles, similar[places])


def best_accuracy(found: Thresholds, labels: NDArray[np.int64]) -> tuple[float, float]:
    """The highest accuracy and its threshold; 0 and -1 where no threshold is right once."""
    negatives = np.count_nonzero(labels == 0) - (found.places - found.similar)
    accuracy = (found.similar + negatives) / max(len(labels), 1)
    if not (accuracy > 0).any():
        return 0.0, -1.0
    best = int(np.argmax(accuracy))
    return float(accuracy[best]), float(found.middles[best])


def best_f1(found: Thresholds, labels: NDArray[np.int64]) -> BestF1:
    """The highest F1 with its precision, recall and threshold; zeros where there is none."""
    some = found.similar > 0
    similar = found.similar[some]
    if not len(similar):
        return BestF1(0.0, 0.0, 0.0, 0.0)
    precision, recall = similar / found.places[some], similar / labels.sum()
    f1 = 2 * precision * recall / (precision + recall)
    best = int(np.argmax(f1))
    middle = found.middles[some][best]
    return BestF1(float(f1[best]), float(precision[best]), float(recall[best]), float(middle))
