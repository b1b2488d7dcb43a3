"""Several labels a text: no second prediction, no rank search for every row."""

from __future__ import annotations

from typing import Any

import numpy as np
from mteb._evaluators.classification_metrics import hamming_score
from mteb.abstasks.multilabel_classification import (
    AbsTaskMultilabelClassification,
    MultilabelClassificationMetrics,
)
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier


class QuickMultilabel(AbsTaskMultilabelClassification):
    """Metrics of the predictions at hand."""

    def _calculate_scores(
        self, y_test: Any, y_pred: Any, x_test_embedding: Any, current_classifier: Any
    ) -> MultilabelClassificationMetrics:
        if type(current_classifier) is not KNeighborsClassifier or not _binary(y_test, y_pred):
            return super()._calculate_scores(y_test, y_pred, x_test_embedding, current_classifier)
        return MultilabelClassificationMetrics(
            accuracy=accuracy_score(y_test, y_pred),  # its score() predicts again, the same
            lrap=ranking_precision(y_test, y_pred),
            f1=f1_score(y_test, y_pred, average="macro"),
            hamming=hamming_score(y_test, y_pred),
        )


def ranking_precision(true: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Label ranking average precision of (text, label) zeros and ones.

    The same as scikit-learn's of `predicted` as scores, each distinct pair of rows done once.
    """
    pairs = np.concatenate([true, predicted], axis=1).astype(bool)
    distinct, which = np.unique(pairs, axis=0, return_inverse=True)
    n_labels = true.shape[1]
    each = np.array([_row_precision(row[:n_labels], row[n_labels:]) for row in distinct])
    # Added one by one, as scikit-learn does: np.sum would add in another order.
    return float(np.cumsum(each[which.reshape(-1)])[-1] / len(true))


def _row_precision(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    n_true, n_labels = int(true.sum()), len(true)
    if n_true in (0, n_labels):
        return 1.0
    # Predicted labels share the rank of the last of them, the others the last rank of all.
    both, n_predicted = int((true & predicted).sum()), int(predicted.sum())
    above = both / n_predicted if both else 0.0
    return float(np.where(predicted[true], above, n_true / n_labels).mean())


def _binary(*arrays: Any) -> bool:
    """Whether all are dense (text, label) arrays of integers 0 and 1 with rows."""
    return all(
        isinstance(one, np.ndarray)
        and one.ndim == 2
        and one.dtype.kind in "iu"
        and one.size > 0
        and bool(((one == 0) | (one == 1)).all())
        for one in arrays
    )
