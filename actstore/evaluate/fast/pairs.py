"""Pairs of texts: pair classification and semantic similarity."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from datasets import Dataset
from mteb._set_seed import _set_seed
from mteb.abstasks.pair_classification import AbsTaskPairClassification
from mteb.abstasks.sts import AbsTaskSTS
from sklearn.metrics import average_precision_score

from actstore.evaluate.fast.similarity import (
    PairScores,
    Side,
    are_plain,
    distinct_texts,
    encode,
    pair_scores,
)
from actstore.evaluate.fast.tables import Table, as_table
from actstore.evaluate.fast.thresholds import best_accuracy, best_f1, thresholds

_EVALUATOR_SEED = 42
"""mteb's evaluators set it when they are made, for all generators."""


class QuickPairs(AbsTaskPairClassification):
    """Encodes distinct texts, compares in blocks and searches thresholds in arrays."""

    def _evaluate_subset(self, model: Any, data_split: Any, **settings: Any) -> Any:
        columns = self.input1_column_name, self.input2_column_name
        scores = _scores(self, model, data_split, columns, settings)
        if scores is None:
            return super()._evaluate_subset(model, data_split, **settings)
        by_name = {
            "similarity_scores": scores.similarity,
            "cosine_scores": scores.cosine,
            "manhattan_distances": scores.manhattan,
            "euclidean_distances": scores.euclidean,
            "dot_scores": scores.dot,
        }
        return self._compute_metrics(by_name, data_split[self.label_column_name])

    def _compute_metrics_values(
        self, scores: Any, labels: Any, high_score_more_similar: bool
    ) -> dict[str, float]:
        values = np.asarray(scores, np.float64)
        found = thresholds(values, labels, high_is_similar=high_score_more_similar)
        best = best_f1(found, labels)
        ap = average_precision_score(labels, values if high_score_more_similar else -values)
        return {
            "accuracy": best_accuracy(found, labels)[0],
            "f1": best.f1,
            "precision": best.precision,
            "recall": best.recall,
            "ap": float(ap),
        }


class QuickSimilarity(AbsTaskSTS):
    """Encodes distinct texts and compares in blocks."""

    def _evaluate_subset(self, model: Any, data_split: Any, **settings: Any) -> Any:
        scores = _scores(self, model, data_split, self.column_names, settings)
        if scores is None:
            return super()._evaluate_subset(model, data_split, **settings)
        by_name = {
            "cosine_scores": scores.cosine.tolist(),
            "manhattan_distances": (-scores.manhattan).tolist(),
            "euclidean_distances": (-scores.euclidean).tolist(),
            "similarity_scores": scores.similarity.tolist(),
        }
        return self._calculate_scores(by_name, [*map(self._normalize, data_split["score"])])


def unfolded(data: Any) -> Any:
    """The pairs as a table, where version 1 of a task keeps them as lists in a single row."""
    if len(data) != 1 or not all(isinstance(column, list) for column in data[0].values()):
        return as_table(data)
    pairs = Dataset.from_dict(data[0])
    # mteb would take a single pair for a folded row again.
    return as_table(pairs) if len(pairs) > 1 else data


def _scores(
    task: Any, model: Any, data: Any, columns: tuple[Any, Any], settings: dict[str, Any]
) -> PairScores | None:
    """The similarities of the pairs in two columns; None where mteb's own way has to be gone."""
    known = isinstance(data, Table) and all(isinstance(column, str) for column in columns)
    if not known or settings["prediction_folder"] is not None or len(data) == 0:
        return None
    _set_seed(_EVALUATOR_SEED)
    sides = [_encode(task, model, data, columns, number, settings) for number in (0, 1)]
    if not are_plain(*sides):
        return None
    with _phase("Scoring", settings):
        return pair_scores(model, *sides)


def _encode(
    task: Any,
    model: Any,
    data: Table,
    columns: tuple[str, str],
    number: int,
    settings: dict[str, Any],
) -> Side:
    prompts = task.input1_prompt_type, task.input2_prompt_type
    place = {name: settings[name] for name in ("hf_split", "hf_subset")}
    with _phase(f"Encoding samples {number + 1}", settings):
        return encode(
            distinct_texts(data, columns[number]),
            model,
            settings["encode_kwargs"],
            task_metadata=task.metadata,
            prompt_type=prompts[number],
            **place,
        )


def _phase(name: str, settings: dict[str, Any]) -> AbstractContextManager[Any]:
    """Times what is done in it, under the name that mteb has for it."""
    phase: AbstractContextManager[Any] = settings["timer"](
        name, split=settings["hf_split"], subset=settings["hf_subset"]
    )
    return phase
