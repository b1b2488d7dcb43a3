"""Classification: training rows drawn once, fits reused by a second split, one pass of metrics."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import xxhash
from mteb._evaluators.sklearn_evaluator import SklearnEvaluator
from mteb.abstasks.classification import AbsTaskClassification, ClassificationMetrics
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from actstore.evaluate.fast.tables import Table

_MOST_FITS = 128
"""Kept of a task with several splits; 53 MB for a hundred labels and a thousand dimensions."""


@dataclass(frozen=True)
class Draw:
    """Training rows of one experiment."""

    given: list[int] | None
    """The order of rows that was shuffled: None, or that of the experiment before."""
    order: list[int]
    chosen: list[int]


class QuickDraws(AbsTaskClassification):
    """Draws the training rows once: they depend on labels and seed alone."""

    def _undersample_data(
        self, dataset: Any, experiment_num: int, idxs: list[int] | None = None
    ) -> Any:
        if not isinstance(dataset, Table):
            return super()._undersample_data(dataset, experiment_num, idxs)
        key = ("draws", self.label_column_name, self.seed, self.samples_per_label)
        draw = _draw_once(dataset.once(key, list), dataset[self.label_column_name], idxs, *key[2:])
        return dataset.select(draw.chosen), draw.order, draw.chosen


class QuickFits(AbsTaskClassification):
    """Fits a classifier once where the next split asks for the same fit."""

    _fits: Mapping[bytes, Any] = MappingProxyType({})

    def _run_experiment(
        self,
        train_split: Any,
        eval_split: Any,
        train_embeddings: Any,
        test_embeddings: Any,
        **more: Any,
    ) -> Any:
        if not self._fits_repeat() or not isinstance(train_embeddings, np.ndarray):
            return super()._run_experiment(
                train_split, eval_split, train_embeddings, test_embeddings, **more
            )
        names = {"label_column_name": self.label_column_name}
        # Evaluators set the seeds of all generators when they are made, also for what comes next.
        evaluator = self.evaluator(
            train_split, eval_split, **names, evaluator_model=self.evaluator_model, **more
        )
        labels = train_split[self.label_column_name]
        key = _digest(train_embeddings, labels)
        if key in self._fits:
            predicted = self._fits[key].predict(test_embeddings)
        else:
            predicted = evaluator(train_embeddings, test_embeddings)
            self._keep(key, copy.copy(self.evaluator_model))
        return self._calculate_scores(
            eval_split[self.label_column_name], predicted
        ), predicted.tolist()

    def _fits_repeat(self) -> bool:
        """Whether splits share their fits, and a fit depends on its data alone."""
        model = self.evaluator_model
        own = self.evaluator is SklearnEvaluator and type(model) is LogisticRegression
        return own and not model.warm_start and len(self.eval_splits) > 1

    def _keep(self, key: bytes, fit: Any) -> None:
        """Keep a fit for the next split, which asks for those of all subsets in the same order."""
        most = min(self.n_experiments * len(self.hf_subsets), _MOST_FITS)
        self._fits = dict([*self._fits.items(), (key, fit)][-most:])


class QuickMetrics(AbsTaskClassification):
    """Counts once what seven metrics count for themselves."""

    def _calculate_scores(self, y_test: Any, y_pred: Any) -> ClassificationMetrics:
        true, predicted = np.asarray(y_test), np.asarray(y_pred)
        if not _countable(true, predicted):
            return super()._calculate_scores(y_test, y_pred)
        return classification_metrics(true, predicted)


def classification_metrics(true: NDArray[Any], predicted: NDArray[Any]) -> ClassificationMetrics:
    """mteb's metrics of (n,) labels, with scikit-learn's arithmetic in its order."""
    classes, codes = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    true_codes, predicted_codes = np.split(codes, [len(true)])
    hits = true_codes == predicted_codes
    n_hit, n_predicted, n_true = (
        np.bincount(some, minlength=len(classes))
        for some in (true_codes[hits], predicted_codes, true_codes)
    )
    precision, recall = _ratio(n_hit, n_predicted), _ratio(n_hit, n_true)
    f1 = _ratio(2.0 * n_hit, n_true.astype(np.float64) + n_predicted)
    binary = np.count_nonzero(n_true) == 2
    ap = average_precision_score(true, predicted) if binary else None
    return ClassificationMetrics(
        accuracy=float(np.average(hits)),
        f1=float(np.average(f1)),
        f1_weighted=float(np.average(f1, weights=n_true)),
        precision=float(np.average(precision)),
        precision_weighted=float(np.average(precision, weights=n_true)),
        recall=float(np.average(recall)),
        recall_weighted=float(np.average(recall, weights=n_true)),
        ap=ap,
        ap_weighted=ap,  # of two classes there is nothing to weigh
    )


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole, 0 where there is nothing."""
    ratio = part / np.where(whole == 0, 1, whole)
    ratio[whole == 0] = 0.0
    return ratio.astype(np.float64)


def _countable(true: NDArray[Any], predicted: NDArray[Any]) -> bool:
    """Whether these are labels that scikit-learn compares as they are."""
    kinds = {true.dtype.kind, predicted.dtype.kind}
    same = kinds <= set("iu") or kinds == {"U"}
    return same and true.ndim == predicted.ndim == 1 and 0 < len(true) == len(predicted)


def _draw_once(
    draws: list[Draw], labels: list[Any], given: list[int] | None, seed: int, per_label: int
) -> Draw:
    """The draw that follows `given`, from those made before where it is one of theirs."""
    for draw in draws:
        if draw.given is given:
            return draw
    new = _draw(labels, given, seed, per_label)
    if given is None or any(draw.order is given for draw in draws):
        draws.append(new)
    return new


def _draw(labels: list[Any], given: list[int] | None, seed: int, per_label: int) -> Draw:
    """mteb's own draw: rows in shuffled order, the first `per_label` of each label."""
    shuffled = np.arange(len(labels)) if given is None else np.array(given)
    np.random.RandomState(seed).shuffle(shuffled)  # the generator mteb uses
    order: list[int] = shuffled.tolist()
    wanted = sum(min(count, per_label) for count in Counter(labels).values())
    counts: dict[Any, int] = defaultdict(int)
    chosen: list[int] = []
    for row in order:
        if len(chosen) == wanted:
            break
        if counts[labels[row]] < per_label:
            chosen.append(row)
            counts[labels[row]] += 1
    return Draw(given, order, chosen)


def _digest(vectors: NDArray[Any], labels: Sequence[Any]) -> bytes:
    digest = xxhash.xxh3_128(np.ascontiguousarray(vectors).data)
    digest.update(repr((vectors.shape, vectors.dtype.str, list(labels))).encode())
    return digest.digest()
