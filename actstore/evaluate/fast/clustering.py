"""Clustering: sets of texts and their labels prepared once, not for every layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from mteb._evaluators import ClusteringEvaluator
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
from numpy.typing import NDArray

from actstore.evaluate.fast.tables import Table, as_table

_LABELS = "label"


@dataclass(frozen=True)
class ClusterSet:
    """Texts that are clustered together, and how many labels they have."""

    data: Table
    """`text`, and the labels as numbers in the order of the labels."""
    labels: NDArray[Any]
    """(text,) the same numbers."""
    n_labels: int


class QuickSets(AbsTaskClusteringLegacy):
    """Clusters prepared sets; nothing but k-means and the measure is done for a layer."""

    def _evaluate_subset(
        self,
        model: Any,
        data_split: Any,
        *,
        encode_kwargs: Any,
        hf_split: str,
        hf_subset: str,
        prediction_folder: Any = None,
        **more: Any,
    ) -> Any:
        known = self.evaluator is ClusteringEvaluator and isinstance(data_split, Table)
        place = {"hf_split": hf_split, "hf_subset": hf_subset}
        if not known or prediction_folder is not None:
            return super()._evaluate_subset(
                model,
                data_split,
                encode_kwargs=encode_kwargs,
                prediction_folder=prediction_folder,
                **place,
                **more,
            )
        more.pop("num_proc", None)
        names = self.input_column_name, self.label_column_name
        sets = data_split.once(("sets", *names), lambda: cluster_sets(data_split, *names))
        measures = [self._v_measure(one, model, encode_kwargs, place | more) for one in sets]
        mean, deviation = np.mean(measures), np.std(measures)
        return {"v_measure": mean, "v_measure_std": deviation, "v_measures": measures}

    def _v_measure(
        self, one: ClusterSet, model: Any, encode_kwargs: Any, settings: dict[str, Any]
    ) -> float:
        """mteb's measure of one set. A set of one label is not even encoded."""
        if one.n_labels <= 1:
            return 1.0
        evaluator = self.evaluator(
            one.data,
            input_column_name=["text"],  # a list: the columns are named by what is in them
            label_column_name=_LABELS,
            task_metadata=self.metadata,
            **settings,
        )
        found = evaluator(model, encode_kwargs=encode_kwargs)
        measure: float = self._compute_metrics(one.labels, found, v_measure_only=True)["v_measure"]
        return measure


def cluster_sets(data: Dataset, input_column: str, label_column: str) -> list[ClusterSet]:
    """The sets in the rows of a data set."""
    rows = zip(data[input_column], data[label_column], strict=True)
    return [_cluster_set(texts, label_codes(labels)) for texts, labels in rows]


def _cluster_set(texts: list[str], labels: list[Any]) -> ClusterSet:
    data = as_table(Dataset.from_dict({"text": texts, _LABELS: labels}))
    return ClusterSet(data, np.asarray(labels), len(set(labels)))


def label_codes(labels: list[Any]) -> list[Any]:
    """Labels as numbers in the labels' own order, which is all that k-means' measures see of them.

    Labels that are not all text or all whole numbers stay as they are, and so do those that numpy
    cannot tell apart.
    """
    kinds = {type(one) for one in labels}
    if len(kinds) > 1 or not kinds <= {str, int}:
        return labels
    distinct, codes = np.unique(np.asarray(labels), return_inverse=True)
    same: list[int] = codes.tolist()
    return same if len(distinct) == len(set(labels)) else labels


def with_label_codes(data: Any, label_column: str) -> Any:
    """A data set as a table, its labels as numbers where they are text."""
    table = as_table(data)
    if not isinstance(table, Table) or label_column not in table.column_names:
        return table
    labels = table[label_column]
    if not all(isinstance(one, str) for one in labels):
        return table  # numbers have a meaning: -1 is no label
    coded = table.remove_columns([label_column]).add_column(label_column, label_codes(labels))
    return as_table(coded)
